//! The choice of the kernel of a product, by sizes, layout and device.

use super::product::COOPERATIVE_TILE;
use super::{DEEPEST, FOUR, Matrices, Sizes};
use crate::ops::launch::with_gpu;
use crate::ops::parts::parts_that_fill;
use crate::ops::shader::{TILED_FEW, TILED_FEW_ROWS, TILED_MANY, Tiled};
use crate::tensor::{DType, Tensor, arithmetic};

/// Rows and columns of the tile that a workgroup of `matmul.wgsl` makes.
const TILE: [usize; 2] = [64; 2];
/// The tile size of a cooperative kernel along the K dimension.
const COOPERATIVE_SLICE: usize = 32;

/// The kernels of one size of `matmul_tiled.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Tiling {
    pub(super) shaders: &'static Tiled,
    /// Rows and columns of a workgroup.
    pub(super) tile: [usize; 2],
    /// The tile size along the K dimension.
    pub(super) slice: usize,
}

pub(super) const MANY: Tiling = Tiling { shaders: &TILED_MANY, tile: [128, 128], slice: 16 };
pub(in crate::ops) const FEW: Tiling = Tiling { shaders: &TILED_FEW, tile: [64, 64], slice: 8 };
pub(super) const FEW_ROWS: Tiling = Tiling { shaders: &TILED_FEW_ROWS, tile: [32, 128], slice: 8 };

/// From this many large tiles on, a large GPU has work for all of it.
const MANY_TILES: usize = 128;
/// The same of smaller tiles.
const MANY_SMALL_TILES: usize = 256;
/// With fewer rows or columns, `matmul.wgsl` has more parallelism than a tile.
const LEAST_SIDE: usize = 32;
/// The smallest K for tiles on every device and with a remainder of a slice, which takes a dispatch of its own.
const LEAST_DEPTH: usize = 64;
/// The least K of a part where the device is occupied without shorter ones. A tile of 128 × 128 then takes about 50 µs if two on each of
/// 132 multiprocessors share 46 TFLOP/s, longer than the start of a workgroup and the sum of the parts.
const LEAST_PART: usize = 256;
/// The least K of a part where the device is not occupied. On an H200, a product of 512³ takes 35 µs whole, and 17 in eight parts; one of
/// 128 × 512 × 4096 takes 35 whole and 25 in four parts.
const LEAST_SHORT_PART: usize = 64;
/// The fewest parts for each batch that save more than their sum takes, and the most, which one invocation adds.
const LEAST_PARTS: usize = 3;
const MOST_PARTS: usize = 256;

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

/// The kernel that computes a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    /// `matmul.wgsl`.
    Strided,
    /// `matmul_tiled.wgsl`.
    Tiled(Tiling, OperandLayout),
    /// `matmul_cooperative.wgsl`, with the tiled kernel for lengths of K that it does not support.
    Cooperative(Tiling, OperandLayout),
}

impl Kernel {
    /// Returns the kernel that suits sizes, operands and device.
    pub(super) fn of(sizes: &Sizes, left: &Matrices<'_>, right: &Matrices<'_>, output: &Tensor) -> Self {
        let Some(layout) = OperandLayout::of(sizes, left, right) else { return Self::Strided };
        let (is_large_gpu, is_cooperative) =
            with_gpu(output, |gpu| (!gpu.is_software() && gpu.has_large_workgroups(), gpu.has_cooperative_matrices()));
        let tiling = tiling(sizes, is_large_gpu);
        #[cfg(test)]
        let tiling = forced::CHOICE.get().map_or(tiling, |(tiling, _)| tiling);
        match tiling {
            Some(tiling) if is_cooperative && left.dtype == DType::F16 && layout.in_vec4s => {
                Self::Cooperative(tiling, layout)
            }
            Some(tiling) => Self::Tiled(tiling, layout),
            None => Self::Strided,
        }
    }

    /// Returns the kernel that begins a sum of `depth` products, whose first multiple of [`Kernel::slice`] it adds.
    pub(super) fn for_depth(self, depth: usize) -> Self {
        match self {
            Self::Cooperative(tiling, layout) if !depth.is_multiple_of(COOPERATIVE_SLICE) || depth > DEEPEST => {
                Self::Tiled(tiling, layout).for_depth(depth)
            }
            Self::Tiled(tiling, _) if depth < tiling.slice => Self::Strided,
            _ => self,
        }
    }

    /// The lengths of K that the kernel supports are multiples of this.
    pub(super) fn slice(self) -> usize {
        match self {
            Self::Strided => 1,
            Self::Tiled(tiling, _) => tiling.slice,
            Self::Cooperative(..) => COOPERATIVE_SLICE,
        }
    }

    /// Rows and columns of a workgroup.
    pub(super) fn tile(self) -> [usize; 2] {
        match self {
            Self::Strided => TILE,
            Self::Tiled(tiling, _) => tiling.tile,
            Self::Cooperative(..) => COOPERATIVE_TILE,
        }
    }
}

impl Sizes {
    /// Returns the tiles of the output of one batch.
    fn tiles(&self, [rows, columns]: [usize; 2]) -> usize {
        self.rows.div_ceil(rows) * self.columns.div_ceil(columns)
    }
}

/// Returns the tiles for operands that are contiguous along one dimension each; `None` selects `matmul.wgsl`. Large tiles load less,
/// and small ones are more workgroups.
fn tiling(sizes: &Sizes, is_large_gpu: bool) -> Option<Tiling> {
    let Sizes { batches, rows, columns, depth } = *sizes;
    let is_deep = depth >= LEAST_DEPTH || (is_large_gpu && depth.is_multiple_of(MANY.slice));
    if is_large_gpu && rows <= FEW_ROWS.tile[0] {
        return (columns >= LEAST_SIDE && is_deep).then_some(FEW_ROWS);
    }
    let tiles = |tiling: Tiling| sizes.tiles(tiling.tile);
    let computed = |tiling: Tiling| tiles(tiling) as u64 * arithmetic::elements(&tiling.tile) as u64;
    // Elements past the end of the matrices are computed too. A small tile is assumed to take 4 / 3 of a large one's time per element.
    let fills_large = 3 * computed(MANY) <= 4 * computed(FEW);
    // The parts of a batch are computed together, and one batch after the other.
    let workgroups = match parts_on_gpu(sizes, MANY.tile) {
        1 => tiles(MANY) * batches,
        parts => tiles(MANY) * parts,
    };
    let tiling = if is_large_gpu && fills_large && workgroups >= MANY_TILES { MANY } else { FEW };
    (rows.min(columns) >= LEAST_SIDE && is_deep).then_some(tiling)
}

/// Returns the parts of the K dimension of each product, with sums of their own; 1 if K is not divided.
pub(super) fn parts(sizes: &Sizes, kernel: Kernel, output: &Tensor) -> usize {
    #[cfg(test)]
    if let Some((_, parts)) = forced::CHOICE.get() {
        return parts;
    }
    match with_gpu(output, crate::device::Gpu::is_software) {
        true => 1,
        false => parts_on_gpu(sizes, kernel.tile()),
    }
}

/// Returns the parts of the K dimension on a GPU: more than one if the product would otherwise have too few workgroups for a long sum.
fn parts_on_gpu(sizes: &Sizes, tile: [usize; 2]) -> usize {
    let parts = parts_that_fill(arithmetic::elements(&tile), sizes.tiles(tile));
    // More parts than these would have more sums to store and to add, and no more invocations at once.
    let occupying = if tile == MANY.tile { MANY_TILES } else { MANY_SMALL_TILES } / sizes.tiles(tile);
    let most = occupying.min(sizes.depth / LEAST_SHORT_PART).max(sizes.depth / LEAST_PART);
    let parts = parts.min(most).min(MOST_PARTS);
    // The batches of a divided product are computed one after the other, those of an undivided one together.
    if parts < LEAST_PARTS.saturating_mul(sizes.batches) { 1 } else { parts }
}

/// A choice for all sizes and devices, for tests on one thread: the tiles, or `None` for `matmul.wgsl`, and the parts of K.
#[cfg(test)]
pub(in crate::ops) mod forced {
    use super::Tiling;
    use std::cell::Cell;

    thread_local! {
        pub(super) static CHOICE: Cell<Option<(Option<Tiling>, usize)>> = const { Cell::new(None) };
    }

    /// Runs `act` with these tiles and parts for every product.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with<R>(tiling: Option<Tiling>, parts: usize, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&CHOICE, Some((tiling, parts)), act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the tile for one product of matrices, or 0 for `matmul.wgsl`.
    fn tile(batches: usize, [rows, depth, columns]: [usize; 3], is_large_gpu: bool) -> usize {
        tiling(&Sizes { batches, rows, columns, depth }, is_large_gpu).map_or(0, |tiling| tiling.tile[0])
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
            ([33, 256, 65_536], 64),
            ([32, 256, 65_536], 32),
            ([1, 256, 65_536], 32),
            ([1, 256, 31], 0),
            ([65_536, 256, 31], 0),
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
        assert_eq!(tile(1, [32, 4096, 4096], false), 64);
        assert_eq!(tile(1, [31, 4096, 4096], false), 0);
    }

    #[test]
    fn k_is_divided_where_tiles_would_occupy_a_fraction_of_the_device() {
        for (batches, [rows, depth, columns], tile, wanted) in [
            (1, [256, 65_536, 256], 128, 64),
            (1, [32, 4096, 4096], 32, 16),
            (1, [1, 4096, 4096], 32, 16),
            (1, [4096, 4096, 1], 0, 16),
            (1, [1, 1 << 20, 1], 0, 256),
            (1, [1024, 1024, 1024], 128, 4),
            (1, [64, 2048, 2048], 64, 8),
            // Shorter parts, as many as occupy the device.
            (1, [512, 512, 512], 128, 8),
            (1, [256, 192, 256], 64, 3),
            (1, [256, 191, 256], 64, 1),
            (1, [128, 512, 4096], 128, 4),
            (1, [128, 255, 4096], 64, 1),
            (1, [1024, 512, 1024], 64, 1),
            // Tiles that occupy the device, and a K of few parts.
            (1, [4096, 4096, 4096], 128, 1),
            (1, [2048, 4096, 11_008], 128, 1),
            (1, [1408, 65_536, 1024], 64, 1),
            (1, [262_144, 64, 64], 64, 1),
            (96, [1024, 1024, 64], 64, 1),
            // Batches: divided only if each of them occupies the device.
            (4, [256, 65_536, 256], 128, 64),
            (4, [256, 1024, 256], 64, 16),
            (4, [256, 767, 256], 64, 1),
            (64, [256, 65_536, 256], 128, 1),
        ] {
            let sizes = Sizes { batches, rows, columns, depth };
            let tiling = tiling(&sizes, true);
            assert_eq!(tiling.map_or(0, |tiling| tiling.tile[0]), tile, "{sizes:?}");
            let parts = parts_on_gpu(&sizes, tiling.map_or(TILE, |tiling| tiling.tile));
            assert_eq!(parts, wanted, "{sizes:?}");
            // The documented bound of the sums of all parts.
            assert!(parts == 1 || parts * rows * columns <= 1 << 22, "{sizes:?}");
        }
    }
}
