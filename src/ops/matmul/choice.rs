//! The choice of the kernel of a product, by sizes, layout and device.

use super::{FOUR, Matrices, Sizes};
use crate::ops::launch::with_gpu;
use crate::ops::shader::{TILED_FEW, TILED_MANY, Tiled};
use crate::tensor::Tensor;

/// The kernels of one size of `matmul_tiled.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    pub(super) shaders: &'static Tiled,
    /// Rows and columns of a workgroup.
    pub(super) tile: usize,
    /// The tile size along the K dimension.
    pub(super) slice: usize,
}

pub(super) const MANY: Tiling = Tiling { shaders: &TILED_MANY, tile: 128, slice: 16 };
pub(super) const FEW: Tiling = Tiling { shaders: &TILED_FEW, tile: 64, slice: 8 };

/// From this many large tiles on, a large GPU has work for all of it.
const MANY_TILES: usize = 128;
/// With fewer rows or columns, `matmul.wgsl` has more parallelism than a tile.
const LEAST_SIDE: usize = 32;
/// The smallest K for tiles on every device and with a remainder of a slice, which takes a dispatch of its own.
const LEAST_DEPTH: usize = 64;

/// The layout of the operands of a tiled kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperandLayout {
    /// Whether rows, offsets and strides are all multiples of four.
    pub(super) in_vec4s: bool,
    /// Whether the left and the right operand is contiguous along K; otherwise along the other dimension.
    pub(super) deep: [bool; 2],
}

impl OperandLayout {
    /// `None` unless each operand is contiguous along one dimension.
    fn of(sizes: &Sizes, left: &Matrices<'_>, right: &Matrices<'_>) -> Option<Self> {
        let one = |along: usize, across: usize| match (along, across) {
            (1, stride) => Some((true, stride)),
            (stride, 1) => Some((false, stride)),
            _ => None,
        };
        let (left_deep, left_stride) = one(left.column, left.row)?;
        let (right_deep, right_stride) = one(right.row, right.column)?;
        let rows = if left_deep { 0 } else { sizes.rows };
        let numbers = [
            rows,
            sizes.columns,
            left_stride,
            right_stride,
            left.operand.offset(),
            right.operand.offset(),
            left.batch,
            right.batch,
        ];
        let in_vec4s = numbers.iter().all(|number| number.is_multiple_of(FOUR));
        Some(Self { in_vec4s, deep: [left_deep, right_deep] })
    }
}

/// Returns whether the device of a tensor may have many multiprocessors. The sizes of a product then decide between large tiles,
/// which load less, and small ones, of which there are more.
pub(super) fn is_large_gpu(tensor: &Tensor) -> bool {
    with_gpu(tensor, |gpu| !gpu.is_software() && gpu.has_large_workgroups())
}

/// Returns the tiled kernels that suit these operands; `None` selects `matmul.wgsl`.
pub(super) fn tiling(
    sizes: &Sizes,
    left: &Matrices<'_>,
    right: &Matrices<'_>,
    is_large_gpu: bool,
) -> Option<(Tiling, OperandLayout)> {
    let layout = OperandLayout::of(sizes, left, right)?;
    Some((tiling_of_sizes(sizes, is_large_gpu)?, layout))
}

/// As [`tiling`], for operands that are contiguous along one dimension each.
fn tiling_of_sizes(sizes: &Sizes, is_large_gpu: bool) -> Option<Tiling> {
    let Sizes { batches, rows, columns, depth } = *sizes;
    let tiles = |tile: usize| rows.div_ceil(tile) * columns.div_ceil(tile) * batches;
    let computed = |tiling: Tiling| tiles(tiling.tile) * tiling.tile * tiling.tile;
    // Elements past the end of the matrices are computed too. A small tile takes about 4 / 3 of a large one's time per element.
    let fills_large = 3 * computed(MANY) <= 4 * computed(FEW);
    let tiling = if is_large_gpu && tiles(MANY.tile) >= MANY_TILES && fills_large { MANY } else { FEW };
    let is_deep = depth >= LEAST_DEPTH || (is_large_gpu && depth.is_multiple_of(MANY.slice));
    (rows.min(columns) >= LEAST_SIDE && is_deep).then_some(tiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tile for one product of matrices, or 0 for `matmul.wgsl`.
    fn tile(batches: usize, [rows, depth, columns]: [usize; 3], is_large_gpu: bool) -> usize {
        tiling_of_sizes(&Sizes { batches, rows, columns, depth }, is_large_gpu).map_or(0, |tiling| tiling.tile)
    }

    #[test]
    fn a_short_k_takes_the_tiles_that_a_long_one_takes() {
        for depth in [16, 32, 64, 65, 127, 128, 4096] {
            assert_eq!(tile(1, [4096, depth, 4096], true), 128, "K = {depth}");
            assert_eq!(tile(96, [1024, depth, 1024], true), 128, "K = {depth}");
            assert_eq!(tile(1, [262_144, depth, 64], true), 64, "K = {depth}");
        }
        // A remainder of a slice takes a dispatch of its own, which costs more than these tiles save.
        for depth in [1, 8, 15, 17, 33, 63] {
            assert_eq!(tile(1, [4096, depth, 4096], true), 0, "K = {depth}");
        }
    }

    #[test]
    fn large_tiles_are_for_outputs_that_fill_them_and_the_device() {
        for (sizes, wanted) in [
            ([262_144, 256, 64], 64),
            ([64, 256, 262_144], 64),
            ([262_144, 256, 65], 128),
            ([65_536, 256, 192], 128),
            ([65_536, 256, 130], 128),
            ([1024, 256, 1024], 64),
            ([32, 256, 65_536], 64),
            ([31, 256, 65_536], 0),
        ] {
            assert_eq!(tile(1, sizes, true), wanted, "{sizes:?}");
        }
        assert_eq!(tile(96, [1024, 1024, 64], true), 64);
        assert_eq!(tile(2, [1024, 256, 1024], true), 128);
    }

    #[test]
    fn software_drivers_take_small_tiles_from_k_64_on() {
        for (depth, wanted) in [(16, 0), (32, 0), (63, 0), (64, 64), (65, 64), (4096, 64)] {
            assert_eq!(tile(1, [4096, depth, 4096], false), wanted, "K = {depth}");
        }
    }
}
