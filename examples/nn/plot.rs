//! Plots as PNG files.

use plotters::prelude::*;
use plotters::style::register_font;
use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::Once;

const SIZE: (u32, u32) = (960, 540);
/// The free share above the highest point, for the legend.
const HEADROOM: f64 = 0.25;
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 90, 180), RGBColor(220, 110, 20), RGBColor(40, 140, 70), RGBColor(160, 40, 60)];

/// The number of points per curve, which is sufficient for the image size.
const MANY: usize = 100;

/// A curve of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Curves over one axis.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The labels of the axes.
    pub(crate) axes: [&'static str; 2],
    pub(crate) curves: Vec<Curve>,
}

impl Plot {
    /// Writes the image, and replaces an existing file.
    ///
    /// # Errors
    /// An error of the file system or the encoder.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        register_a_font();
        let area = BitMapBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(in_words)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, (FONT, 22))
            .margin(14)
            .margin_right(34)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(self.range(|point| point.0, false), self.range(|point| point.1, true))
            .map_err(in_words)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.axes[0]).y_desc(self.axes[1]).label_style((FONT, 15)).axis_desc_style((FONT, 16));
        mesh.max_light_lines(1).x_label_formatter(&|x| format!("{x:.0}"));
        mesh.draw().map_err(in_words)?;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            // The corners of a thick line extend far beyond the points if many are sharp.
            let width = if curve.points.len() > MANY { 1 } else { 2 };
            let series = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(width));
            let drawn = chart.draw_series(series).map_err(in_words)?;
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            drawn.label(&curve.name).legend(sample);
        }
        let mut legend = chart.configure_series_labels();
        legend.label_font((FONT, 15)).background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
        legend.position(SeriesLabelPosition::UpperRight).draw().map_err(in_words)?;
        area.present().map_err(in_words)
    }

    /// The range of the points along an axis, never empty.
    fn range(&self, along: impl Fn(&(f64, f64)) -> f64, from_zero: bool) -> Range<f64> {
        let points = self.curves.iter().flat_map(|curve| &curve.points).map(along).filter(|value| value.is_finite());
        let start = if from_zero { 0.0 } else { f64::INFINITY };
        let (least, most) = points.fold((start, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        match least < most {
            true => least..most + (most - least) * if from_zero { HEADROOM } else { 0.0 },
            false => 0.0..1.0,
        }
    }
}

const FONT: &str = "sans-serif";

/// The font is embedded, so that the system needs none.
fn register_a_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without the font the text is omitted and the curves are still drawn.
        let _ = register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
}

/// An error that does not borrow from the image.
fn in_words<E: Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Box<dyn Error> {
    error.to_string().into()
}
