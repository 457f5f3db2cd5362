//! The kernels of correlations that read rows of the image in vec4s: what they can compute, and where they are faster than others.

use super::KernelWindow;
use super::correlate::Correlation;
use super::weight_tile::MANY_MULTIPROCESSORS;
use crate::ops::launch::{iterations, loop_limit, with_gpu};
use crate::tensor::{DType, Tensor};

/// Outputs and windows of a workgroup of `conv2d_rows.wgsl`, where a window is a vec4 of columns in two rows, and the channels of a
/// chunk.
pub(super) const ROWS: [usize; 2] = [8, 128];
const ROWS_CHUNK: usize = 4;
/// The elements of a vec4, and the rows of a window.
pub(super) const COLUMNS_OF_ROWS: usize = 4;
const ROWS_AT_ONCE: usize = 2;
/// The workgroups of `conv2d_rows.wgsl` that occupy a large GPU, and the channels for which it is as fast with fewer: an iteration takes
/// 0.7 µs on an H100, and with 128 channels of 64 × 64 it takes 92 µs, PyTorch 51.
const MANY_OF_ROWS: usize = 256;
const FEW_CHANNELS_OF_ROWS: usize = 32;
/// Outputs and windows of a workgroup of `conv2d_rows_tiled.wgsl`, and its invocations.
pub(super) const ROWS_TILED: [usize; 2] = [64, 32];
const INVOCATIONS_OF_ROWS: u32 = 256;

/// A kernel of [`CONV2D_ROWS_TILED`](crate::ops::shader::CONV2D_ROWS_TILED).
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct RowsKernel {
    /// On each axis.
    taps: usize,
    dilation: usize,
    /// Channels of a slice.
    pub(super) channels: usize,
    /// Bytes of workgroup memory.
    pub(in crate::ops) bytes: u32,
    /// With at most so many outputs, too much of a tile is empty.
    most_outputs_of_others: usize,
    /// The least channels for which it is chosen.
    least_channels: usize,
}

const OF_THREE: RowsKernel =
    RowsKernel { taps: 3, dilation: 1, channels: 2, bytes: 16_896, most_outputs_of_others: 48, least_channels: 5 };

pub(in crate::ops) const ROWS_KERNELS: [RowsKernel; 3] = [
    OF_THREE,
    RowsKernel { taps: 5, channels: 1, bytes: 21_760, most_outputs_of_others: 32, least_channels: 1, ..OF_THREE },
    RowsKernel { dilation: 2, least_channels: 4, ..OF_THREE },
];

/// Whether so many workgroups occupy four fifths of the multiprocessors of a large GPU in each wave.
fn fills_multiprocessors(workgroups: usize) -> bool {
    let waves = workgroups.div_ceil(MANY_MULTIPROCESSORS).max(1);
    workgroups / 4 >= waves.saturating_mul(MANY_MULTIPROCESSORS) / 5
}

impl Correlation {
    /// Whether `conv2d_rows.wgsl` can compute the correlation of this image.
    pub(super) fn can_be_rows(&self, image: &Tensor) -> bool {
        self.has_rows(3, 1, image) && self.rows_iterations() <= loop_limit()
    }

    /// Whether a kernel of [`ROWS_KERNELS`] can compute the correlation of this image on its device.
    pub(super) fn can_be_rows_in_tiles(&self, number: usize, image: &Tensor) -> bool {
        let RowsKernel { taps, dilation, bytes, .. } = ROWS_KERNELS[number];
        let fits =
            |gpu: &crate::device::Gpu| gpu.workgroup_size() >= INVOCATIONS_OF_ROWS && gpu.workgroup_bytes() >= bytes;
        self.has_rows(taps, dilation, image)
            && self.rows_in_tiles_iterations(number) <= loop_limit()
            && with_gpu(image, fits)
    }

    /// Whether the windows are those of rows in vec4s, with so many taps and such a dilation on each axis. A copy of an image that is not
    /// contiguous starts a storage.
    fn has_rows(&self, taps: usize, dilation: usize, image: &Tensor) -> bool {
        let KernelWindow { kernel, stride, padding, .. } = self.window;
        kernel == [taps; 2]
            && stride == [1, 1]
            && self.window.dilation == [dilation; 2]
            && padding[1] == [(taps / 2).saturating_mul(dilation); 2]
            && self.size[1].is_multiple_of(COLUMNS_OF_ROWS)
            && (!image.is_contiguous() || image.layout().offset.is_multiple_of(COLUMNS_OF_ROWS))
    }

    /// Workgroups of a kernel of rows with these outputs and windows in a tile; saturates.
    pub(super) fn workgroups_of_rows(&self, [outputs, windows]: [usize; 2]) -> usize {
        let [rows, columns] = self.windows_of_rows();
        let tiles = self.batch.saturating_mul(rows).saturating_mul(columns).div_ceil(windows);
        tiles.saturating_mul(self.groups).saturating_mul(self.outputs.div_ceil(outputs))
    }

    /// Windows of the kernels of rows on each axis. The rows of a window are as far apart as its taps.
    pub(super) fn windows_of_rows(&self) -> [usize; 2] {
        let (rows, dilation) = (self.written[0], self.window.dilation[0]);
        let rest = rows % dilation.saturating_mul(ROWS_AT_ONCE);
        let whole = (rows - rest) / ROWS_AT_ONCE;
        [whole.saturating_add(rest.min(dilation)), self.written[1] / COLUMNS_OF_ROWS]
    }

    /// Whether `conv2d_rows.wgsl` is faster than the other kernels. On an H100, with 16 × 128 × 128 windows and 32 channels and outputs it
    /// takes 148 µs, where the tile takes 162, with 64 548 and 524, and in f16 144 and 176 with 32. Its time grows with the outputs.
    pub(super) fn is_faster_in_rows(&self, image: &Tensor) -> bool {
        let has_many = self.channels <= FEW_CHANNELS_OF_ROWS || self.workgroups_of_rows(ROWS) >= MANY_OF_ROWS;
        has_many
            && self.sizes_suit_rows(image.dtype())
            && self.can_be_rows(image)
            && with_gpu(image, |gpu| !gpu.is_software())
    }

    /// Whether the outputs would leave half of a tile empty, or the channels most of a unit.
    fn sizes_suit_rows(&self, dtype: DType) -> bool {
        // With more outputs of f16 cooperative matrices are faster.
        self.outputs <= 32 || (dtype == DType::F32 && (self.outputs <= 48 || self.channels <= 4))
    }

    /// The kernel of [`ROWS_KERNELS`] that is faster than the other kernels, apart from cooperative matrices.
    ///
    /// On an H200 and with 16 × 128 × 128 windows it reaches 46 TFLOP/s with 64 channels and outputs and 3 × 3 taps, tiles of 64 × 64 36; with
    /// 8 channels 34 and 29, with 4 25, `conv2d_rows.wgsl` 26; with 48 outputs 34, as that kernel; with 5 × 5 taps 47 and 38, and with 3
    /// channels 31 and 24; with a dilation of 2 41 and 36, and with 4 channels 22 and 17. Its workgroups take as long on a multiprocessor as
    /// two at once, so that their number must fill it: with 64 outputs of 1 × 128 × 128 windows, 64 workgroups, it takes 61 µs, as with 128,
    /// and tiles take 51.
    pub(super) fn rows_in_tiles(&self, image: &Tensor) -> Option<usize> {
        let is_of = |kernel: &RowsKernel| {
            [self.window.kernel, self.window.dilation] == [[kernel.taps; 2], [kernel.dilation; 2]]
                && self.outputs > kernel.most_outputs_of_others
                && self.channels >= kernel.least_channels
        };
        let number = ROWS_KERNELS.iter().position(is_of)?;
        let suits = fills_multiprocessors(self.workgroups_of_rows(ROWS_TILED))
            && self.can_be_rows_in_tiles(number, image)
            && with_gpu(image, |gpu| !gpu.is_software());
        suits.then_some(number)
    }

    /// Loop iterations of an invocation of `conv2d_rows.wgsl`.
    pub(super) fn rows_iterations(&self) -> u64 {
        let chunks = self.channels.div_ceil(ROWS_CHUNK) as u64;
        iterations(self.channels as u64, 0)
            .saturating_add(chunks)
            .saturating_add(chunks)
            .saturating_add(self.other_iterations())
    }

    /// Loop iterations of an invocation of `conv2d_rows_tiled.wgsl`.
    pub(super) fn rows_in_tiles_iterations(&self, number: usize) -> u64 {
        let slices = self.channels.div_ceil(ROWS_KERNELS[number].channels) as u64;
        iterations(slices, 0).saturating_add(1).saturating_add(self.other_iterations())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workgroups_fill_whole_waves_of_multiprocessors() {
        // 64 outputs of one to six images of 128 × 128, with 64 workgroups each.
        let found = [1, 2, 3, 4, 5, 6].map(|images| fills_multiprocessors(64 * images));
        assert_eq!(found, [false, true, false, true, true, true]);
        assert!(!fills_multiprocessors(0) && !fills_multiprocessors(133) && fills_multiprocessors(usize::MAX));
    }
}
