//! Products and convolutions compared with a single-threaded Rust loop and with the crate matrixmultiply, which uses the
//! SIMD instructions of the CPU on one thread. For a convolution the CPU unfolds the image and multiplies.

use super::Bench;
use super::plain::contest;
use std::error::Error;
use std::hint::black_box;
use wgpu_pool::{Conv2d, Padding, Tensor, TensorError};

/// A product of row-major matrices, rows × inner by inner × columns.
#[derive(Clone, Copy, Debug)]
struct Matrices {
    rows: usize,
    inner: usize,
    columns: usize,
}

/// A 3 × 3 convolution with padding 1 of one image with equal numbers of channels.
#[derive(Clone, Copy, Debug)]
struct Image {
    channels: usize,
    side: usize,
}

const PRODUCTS: [Matrices; 3] = [
    Matrices { rows: 256, inner: 256, columns: 256 },
    Matrices { rows: 1024, inner: 64, columns: 64 },
    Matrices { rows: 512, inner: 512, columns: 512 },
];
const IMAGES: [Image; 4] = [
    Image { channels: 4, side: 64 },
    Image { channels: 16, side: 64 },
    Image { channels: 32, side: 32 },
    Image { channels: 64, side: 32 },
];

/// Prints the times of both on the device and on the CPU, and the speed-ups: medians of the ratios.
pub(super) fn compare(bench: &Bench<'_>) -> Result<(), Box<dyn Error>> {
    for size in PRODUCTS {
        let Matrices { rows, inner, columns } = size;
        let name = format!("matmul {rows}×{inner} by {inner}×{columns}");
        let (left, right) = (bench.random(&[rows, inner], 1)?, bench.random(&[inner, columns], 2)?);
        let (a, b) = (left.read_blocking::<f32>()?, right.read_blocking::<f32>()?);
        let device = || left.matmul(&right);
        verified_contest(bench, &format!("{name}, a plain loop"), device, |out| size.in_a_loop(&a, &b, out))?;
        verified_contest(bench, &format!("{name}, matrixmultiply"), device, |out| size.by_library(&a, &b, out))?;
    }
    for image in IMAGES {
        let Image { channels, side } = image;
        let name = format!("conv2d 3×3 1×{channels}×{side}²");
        let x = bench.random(&[1, channels, side, side], 3)?;
        let weight = bench.random(&[channels, channels, 3, 3], 4)?;
        let (pixels, weights) = (x.read_blocking::<f32>()?, weight.read_blocking::<f32>()?);
        let options = Conv2d { padding: Padding::all(1), ..Conv2d::default() };
        let device = || x.conv2d(&weight, None, options);
        let plain = |out: &mut [f32]| image.in_a_loop(&pixels, &weights, out);
        verified_contest(bench, &format!("{name}, a plain loop"), device, plain)?;
        let mut unfolded = vec![0.0; 9 * pixels.len()];
        let library = |out: &mut [f32]| image.by_library(&pixels, &weights, &mut unfolded, out);
        verified_contest(bench, &format!("{name}, matrixmultiply"), device, library)?;
    }
    Ok(())
}

/// Compares the results, then the times.
///
/// # Panics
/// If the results differ by more than rounding.
fn verified_contest(
    bench: &Bench<'_>,
    name: &str,
    device: impl Fn() -> Result<Tensor, TensorError>,
    mut host: impl FnMut(&mut [f32]),
) -> Result<(), Box<dyn Error>> {
    if !bench.wanted(name) {
        return Ok(());
    }
    let result = device()?.read_blocking::<f32>()?;
    let mut out = vec![f32::NAN; result.len()];
    host(&mut out);
    // Sums of at most 576 terms below 1.
    let agree = result.iter().zip(&out).all(|(ours, other)| (ours - other).abs() <= 1e-2);
    assert!(agree, "{name}: the results differ");
    contest(bench, name, device, || host(black_box(&mut out)))
}

impl Matrices {
    fn in_a_loop(self, left: &[f32], right: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (row, out) in left.chunks(self.inner).zip(out.chunks_mut(self.columns)) {
            for (&factor, right) in row.iter().zip(right.chunks(self.columns)) {
                out.iter_mut().zip(right).for_each(|(out, &value)| *out += factor * value);
            }
        }
    }

    fn by_library(self, left: &[f32], right: &[f32], out: &mut [f32]) {
        let Self { rows, inner, columns } = self;
        assert_eq!([left.len(), right.len(), out.len()], [rows * inner, inner * columns, rows * columns]);
        let [line, width] = [inner, columns].map(isize::try_from).map(|stride| stride.expect("a slice has this many"));
        #[expect(unsafe_code, reason = "matrixmultiply takes pointers; the lengths of the slices are checked above")]
        unsafe {
            let (left, right) = (left.as_ptr(), right.as_ptr());
            matrixmultiply::sgemm(
                rows,
                inner,
                columns,
                1.0,
                left,
                line,
                1,
                right,
                width,
                1,
                0.0,
                out.as_mut_ptr(),
                width,
                1,
            );
        }
    }
}

impl Image {
    /// The place of a tap in a row or column, if it is inside the image.
    fn inside(self, place: usize, tap: usize) -> Option<usize> {
        (place + tap).checked_sub(1).filter(|&at| at < self.side)
    }

    fn in_a_loop(self, image: &[f32], weights: &[f32], out: &mut [f32]) {
        let Self { channels, side } = self;
        out.fill(0.0);
        for (output, out) in out.chunks_mut(side * side).enumerate() {
            for (channel, image) in image.chunks(side * side).enumerate() {
                let taps = &weights[(output * channels + channel) * 9..][..9];
                for (row, out) in out.chunks_mut(side).enumerate() {
                    for (tap, &weight) in taps.iter().enumerate() {
                        let Some(from) = self.inside(row, tap / 3) else { continue };
                        let line = &image[from * side..][..side];
                        for (column, out) in out.iter_mut().enumerate() {
                            if let Some(at) = self.inside(column, tap % 3) {
                                *out += weight * line[at];
                            }
                        }
                    }
                }
            }
        }
    }

    fn by_library(self, image: &[f32], weights: &[f32], unfolded: &mut [f32], out: &mut [f32]) {
        let Self { channels, side } = self;
        let places = side * side;
        for (number, line) in unfolded.chunks_mut(places).enumerate() {
            let (channel, tap) = (number / 9, number % 9);
            for (place, value) in line.iter_mut().enumerate() {
                let at = self.inside(place / side, tap / 3).zip(self.inside(place % side, tap % 3));
                *value = at.map_or(0.0, |(row, column)| image[(channel * side + row) * side + column]);
            }
        }
        Matrices { rows: channels, inner: 9 * channels, columns: places }.by_library(weights, unfolded, out);
    }
}
