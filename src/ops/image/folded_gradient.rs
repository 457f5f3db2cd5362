//! The gradient of a convolution by its input as a matrix product of the weight and the gradient, whose columns are folded into the image:
//! for few channels, and for windows that do not overlap.
//!
//! The kernels of `lib/convolution.wgsl` compute eight outputs or more at once, which are the channels here: with three, five eighths
//! of the products are of zeros. In the matrix product the channels and taps together are the rows. Windows that do not overlap have
//! columns of the size of the image.

use super::KernelWindow;
use super::convolve::Convolution;
use super::correlation_kernel;
use crate::error::TensorError;
use crate::ops::launch::with_gpu;
use crate::tensor::{DType, Tensor, arithmetic};
use std::ops::Range;

/// The most channels for which this is faster: with 3 channels, 64 outputs, 3 × 3 taps and 512 × 512 pixels an H100 takes 89 µs, 193 µs
/// with the kernel for few outputs, and 160 µs with `conv2d_rows.wgsl`.
const MOST_CHANNELS: usize = 4;
/// The elements of a vec4.
const FOUR: usize = 4;
/// The least outputs, which are the K dimension of the product, for few channels, and for windows that do not overlap. With 2 × 2 taps, a
/// stride of 2, 512 channels, 1,024 outputs and 64 × 64 pixels an H200 takes 145 µs, 174 with tiles; with 256 and 512 of 128 × 128 153 and
/// 153, with 128 and 256 of 256 × 256 188 and 181.
const LEAST_OUTPUTS: usize = 32;
const LEAST_OUTPUTS_APART: usize = 512;
/// The most bytes of the columns, unless those of one row of windows are more. Bands take longer: with 16 MiB the product above takes
/// 148 µs.
const MOST_BYTES: u64 = 64 << 20;

impl Convolution {
    /// Returns the number of rows of windows, of all images, whose columns are computed at once. `None` if the kernels of
    /// `lib/convolution.wgsl` are faster.
    pub(super) fn rows_of_columns(&self, gradient: &Tensor) -> Option<usize> {
        let taps = arithmetic::elements(&self.window.kernel);
        let is_apart = self.window.kernel == self.window.stride && self.window.dilation == [1, 1];
        let has_few_channels = self.planes.channels <= MOST_CHANNELS && self.outputs >= LEAST_OUTPUTS;
        let suits = (has_few_channels || (is_apart && self.outputs >= LEAST_OUTPUTS_APART))
            && taps > 1
            && gradient.dtype() == DType::F32
            && !correlation_kernel::is_forced()
            && !with_gpu(gradient, crate::device::Gpu::is_software);
        #[cfg(test)]
        if let Some(rows) = forced::ROWS.get() {
            return (self.groups == 1).then_some(rows);
        }
        if self.groups > 1 || !suits {
            return None;
        }
        let bytes =
            arithmetic::product(&[self.lines, self.out[1]]).map_or(u64::MAX, |row| (row as u64).saturating_mul(4));
        let largest = gradient.any_storage().largest_block();
        let rows = usize::try_from(MOST_BYTES.min(largest) / bytes.max(1)).unwrap_or(usize::MAX).max(1);
        (bytes <= largest).then_some(rows)
    }

    /// The input gradient, of images with at least one window.
    #[track_caller]
    pub(super) fn folded_gradient(
        &self,
        name: &'static str,
        gradient: &Tensor,
        weight: &Tensor,
        rows: usize,
    ) -> Result<Tensor, TensorError> {
        let Self { planes, outputs, lines, windows, out, .. } = *self;
        let weight = weight.contiguous()?.reshape([outputs, lines])?.t()?;
        // Contiguous along K, so that products of any number of lines load vec4s.
        let weight = if lines.is_multiple_of(FOUR) { weight } else { weight.contiguous()? };
        let gradient = gradient.contiguous()?.reshape([planes.batch, outputs, windows])?;
        if rows >= planes.batch.saturating_mul(out[0]) {
            return weight.matmul(&gradient)?.folded(name, planes.size, self.window);
        }
        // Bands of rows of windows overlap in the image.
        let result = Tensor::zeros(&gradient.pool(), planes.shape(planes.size), gradient.dtype())?;
        let images = (rows / out[0]).max(1);
        let rows = rows.min(out[0]);
        for first in (0..planes.batch).step_by(images) {
            let count = images.min(planes.batch - first);
            let gradient = gradient.narrow(0, first, count)?;
            for row in (0..out[0]).step_by(rows) {
                let band = row..out[0].min(row + rows);
                let Some((of_image, window)) = self.band(&band) else { continue };
                let columns = weight.matmul(&gradient.narrow(2, row * out[1], band.len() * out[1])?)?;
                let folded = columns.folded(name, [of_image.len(), planes.size[1]], window)?;
                result.narrow(0, first, count)?.narrow(2, of_image.start, of_image.len())?.add_(&folded)?;
            }
        }
        Ok(result)
    }

    /// The rows of the image that a band of rows of windows covers, and the window with the padding of the band. `None` if it covers
    /// the padding only.
    fn band(&self, band: &Range<usize>) -> Option<(Range<usize>, KernelWindow)> {
        let (window, size) = (self.window, self.planes.size[0]);
        let [[before, _], columns] = window.padding;
        // Positions in the padded image, whose size is checked.
        let start = band.start * window.stride[0];
        let end = (band.end - 1) * window.stride[0] + window.extent(0)?;
        let covered = start.saturating_sub(before)..end.saturating_sub(before).min(size);
        let padding = [before.saturating_sub(start), end.saturating_sub(before + size)];
        (!covered.is_empty()).then_some((covered, KernelWindow { padding: [padding, columns], ..window }))
    }
}

/// Rows at once for all sizes and devices, for tests on one thread.
#[cfg(test)]
pub(in crate::ops) mod forced {
    use std::cell::Cell;

    thread_local! {
        pub(super) static ROWS: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `act` with the columns of so many rows of windows for every input gradient of a convolution without groups.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with<R>(rows: usize, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&ROWS, Some(rows), act)
    }
}
