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
/// Outputs and windows of a workgroup of `conv2d_rows_tiled.wgsl`; its taps on each axis, and the channels of a slice.
pub(super) const ROWS_TILED: [usize; 2] = [64, 32];
const TAPS_OF_ROWS: [usize; 2] = [3, 5];
pub(super) const CHANNELS_OF_ROWS: [usize; 2] = [2, 1];
/// Invocations of its workgroup, and bytes of its workgroup memory.
const INVOCATIONS_OF_ROWS: u32 = 256;
pub(in crate::ops) const BYTES_OF_ROWS: [u32; 2] = [16_896, 21_760];
/// Outputs that leave too much of a tile empty, and the least channels for which it is chosen.
const LEAST_OUTPUTS_OF_ROWS: [usize; 2] = [48, 32];
const LEAST_CHANNELS_OF_ROWS: [usize; 2] = [5, 1];

/// Whether so many workgroups occupy four fifths of the multiprocessors of a large GPU in each wave.
fn fills_multiprocessors(workgroups: usize) -> bool {
    let waves = workgroups.div_ceil(MANY_MULTIPROCESSORS).max(1);
    workgroups / 4 >= waves.saturating_mul(MANY_MULTIPROCESSORS) / 5
}

impl Correlation {
    /// Whether `conv2d_rows.wgsl` can compute the correlation of this image.
    pub(super) fn can_be_rows(&self, image: &Tensor) -> bool {
        self.has_rows(3, image) && self.rows_iterations() <= loop_limit()
    }

    /// Whether `conv2d_rows_tiled.wgsl` can compute the correlation of this image on its device with this number of taps.
    pub(super) fn can_be_rows_in_tiles(&self, number: usize, image: &Tensor) -> bool {
        let fits = |gpu: &crate::device::Gpu| {
            gpu.workgroup_size() >= INVOCATIONS_OF_ROWS && gpu.workgroup_bytes() >= BYTES_OF_ROWS[number]
        };
        self.has_rows(TAPS_OF_ROWS[number], image)
            && self.rows_in_tiles_iterations(number) <= loop_limit()
            && with_gpu(image, fits)
    }

    /// Whether the windows are those of rows in vec4s, with so many taps on each axis. A copy of an image that is not contiguous starts a
    /// storage.
    fn has_rows(&self, taps: usize, image: &Tensor) -> bool {
        let KernelWindow { kernel, stride, dilation, padding, .. } = self.window;
        kernel == [taps; 2]
            && [stride, dilation] == [[1, 1]; 2]
            && padding[1] == [taps / 2; 2]
            && self.size[1].is_multiple_of(COLUMNS_OF_ROWS)
            && (!image.is_contiguous() || image.layout().offset.is_multiple_of(COLUMNS_OF_ROWS))
    }

    /// Workgroups of a kernel of rows with these outputs and windows in a tile; saturates.
    pub(super) fn workgroups_of_rows(&self, [outputs, windows]: [usize; 2]) -> usize {
        let [rows, columns] = self.windows_of_rows();
        let tiles = self.batch.saturating_mul(rows).saturating_mul(columns).div_ceil(windows);
        tiles.saturating_mul(self.groups).saturating_mul(self.outputs.div_ceil(outputs))
    }

    /// Windows of the kernels of rows on each axis.
    pub(super) fn windows_of_rows(&self) -> [usize; 2] {
        [self.written[0].div_ceil(ROWS_AT_ONCE), self.written[1] / COLUMNS_OF_ROWS]
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

    /// The number of taps with which `conv2d_rows_tiled.wgsl` is faster than the other kernels, apart from cooperative matrices.
    ///
    /// On an H200 and with 16 × 128 × 128 windows it reaches 46 TFLOP/s with 64 channels and outputs and 3 × 3 taps, tiles of 64 × 64 36; with
    /// 8 channels 34 and 29, with 4 25, `conv2d_rows.wgsl` 26; with 48 outputs 34, as that kernel; with 5 × 5 taps 47 and 38, and with 3
    /// channels 31 and 24. Its workgroups take as long on a multiprocessor as two at once, so that their number must fill it: with 64
    /// outputs of 1 × 128 × 128 windows, 64 workgroups, it takes 61 µs, as with 128, and tiles take 51.
    pub(super) fn rows_in_tiles(&self, image: &Tensor) -> Option<usize> {
        let number = usize::from(self.window.kernel == [5, 5]);
        let has_enough =
            self.outputs > LEAST_OUTPUTS_OF_ROWS[number] && self.channels >= LEAST_CHANNELS_OF_ROWS[number];
        let suits = has_enough
            && fills_multiprocessors(self.workgroups_of_rows(ROWS_TILED))
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
        let slices = self.channels.div_ceil(CHANNELS_OF_ROWS[number]) as u64;
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
