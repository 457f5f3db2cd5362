//! Images of one channel, and PNG files.

use crate::nn::Failure;
use crate::shapes::CLASSES;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// An image: the brightness of each pixel from 0 to 1, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gray {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) light: Vec<f32>,
}

impl Gray {
    /// Reads a PNG file of any kind: the luma of its colours, without transparency.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let named = |error: png::DecodingError| format!("{}: {error}", path.display());
        let mut reader = decoder.read_info().map_err(named)?;
        let mut bytes = vec![0; reader.output_buffer_size()];
        let info = reader.next_frame(&mut bytes).map_err(named)?;
        let samples = info.color_type.samples();
        let light = bytes[..info.buffer_size()].chunks_exact(samples).map(|pixel| match *pixel {
            // ITU-R BT.601.
            [red, green, blue, ..] => {
                (f32::from(red) * 0.299 + f32::from(green) * 0.587 + f32::from(blue) * 0.114) / 255.0
            }
            [gray, ..] => f32::from(gray) / 255.0,
            [] => 0.0,
        });
        Ok(Self { width: info.width as usize, height: info.height as usize, light: light.collect() })
    }

    /// Cuts both sides to multiples of `unit`.
    pub(crate) fn cut(self, unit: usize) -> Result<Self, Failure> {
        let [width, height] = [self.width, self.height].map(|side| side - side % unit);
        if width == 0 || height == 0 {
            return Err(
                format!("the image has {} × {} pixels, fewer than {unit} × {unit}", self.width, self.height).into()
            );
        }
        let rows = self.light.chunks_exact(self.width).take(height);
        Ok(Self { width, height, light: rows.flat_map(|row| &row[..width]).copied().collect() })
    }

    /// The classes of an image as brightness.
    pub(crate) fn of_classes(classes: &[u32], image: &Self) -> Self {
        let light = classes.iter().map(|&class| class as f32 / (CLASSES - 1) as f32).collect();
        Self { width: image.width, height: image.height, light }
    }

    /// Writes a PNG file of 8 bits.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (width, height) = (u32::try_from(self.width)?, u32::try_from(self.height)?);
        let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let bytes: Vec<u8> = self.light.iter().map(|light| (light.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        encoder.write_header()?.write_image_data(&bytes)?;
        Ok(())
    }
}
