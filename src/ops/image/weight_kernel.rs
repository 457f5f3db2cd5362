//! The kernels of weight gradients, and which of them suits the sizes and the device.

use super::KernelWindow;
use super::convolve::Convolution;
use super::weight_tile::{FOUR, Lines, PACK, ROWS, SINGLE, TILE_OF_MANY, Tile};
use crate::ops::launch::with_gpu;
use crate::ops::shader::{CONV2D_WEIGHT_TILED, MOST_LINES};
use crate::tensor::{Tensor, arithmetic};

/// Tiles of [`CONV2D_WEIGHT_TILED`] by the number of outputs of a group, apart from [`TILE_OF_MANY`].
const TILE_OF_SOME: usize = 1;
const TILE_OF_FEW: usize = 2;
/// The same two for few channels.
const LINES_OF_SOME: usize = 3;
const LINES_OF_FEW: usize = 4;
/// Units of [`CONV2D_WEIGHT_FEW`].
const FEW_CHANNELS: usize = 0;
const FEW_LINES: usize = 1;
/// The most outputs for which `conv2d_weight.wgsl` is as fast as tiles on Mesa's software driver: for 3 × 3 taps with 64 channels of
/// 16 × 16 it takes 11 ms, a tile 4.2; with 1,024 channels of 4 × 4 3.3 s, a tile 0.1.
const MOST_OF_SOFTWARE: usize = 32;
/// Times that an element of a gradient takes in each kernel, relative to each other, with padding to whole tiles. On an H100 with 3 × 3
/// taps and images of 16 × 128 × 128: rows 12.6 TFLOP/s, and more with few windows; 8 × 8 elements for few outputs 9, or 8 by lines;
/// tiles of 32 × 64 22, of 64 × 64 33, of 128 × 128 39; rows in tiles of 128 outputs 44 and of 64 41; single outputs 1.7. Tiles by lines
/// take 1.3 times as long. Those of rows are of all taps; with 5 × 5 rows in tiles reach 45 on an H200.
const COST_OF_ROWS: usize = 738;
const COST_OF_FEW: [usize; 2] = [118, 135];
const COST_OF_TILES: [usize; 5] = [26, 33, 45, 43, 58];
const COST_OF_SINGLE: usize = 600;
const COST_OF_ROWS_TILED: [usize; 3] = [207, 234, 562];
/// Tiles of [`CONV2D_WEIGHT_ROWS_TILED`], and the taps of each on an axis.
const ROWS_OF_MANY: usize = 0;
const ROWS_OF_SOME: usize = 1;
const ROWS_OF_FIVE: usize = 2;
const TAPS_OF_ROWS: [usize; 3] = [3, 3, 5];
/// Invocations of a workgroup of these tiles, and bytes of its workgroup memory.
const INVOCATIONS_OF_ROWS: u32 = 256;
pub(in crate::ops) const BYTES_OF_WEIGHT_ROWS: [u32; 3] = [30_528, 30_528, 32_640];

/// The kernel that computes a weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Kernel {
    /// `conv2d_weight.wgsl`.
    Direct,
    /// `conv2d_weight_single.wgsl`.
    Single,
    /// `conv2d_weight_rows.wgsl`.
    Rows,
    /// `conv2d_weight_rows_tiled.wgsl` with one of its tiles: see [`CONV2D_WEIGHT_ROWS_TILED`].
    RowsTiled(usize),
    /// `conv2d_weight_few.wgsl` with units of channels or of lines: see [`CONV2D_WEIGHT_FEW`].
    Few(usize),
    /// `conv2d_weight_tiled.wgsl` with one of its tiles: see [`CONV2D_WEIGHT_TILED`].
    Tiled(usize),
}

impl Convolution {
    /// The kernel that suits the sizes and the device.
    pub(super) fn weight_kernel(&self, gradient: &Tensor, image: &Tensor) -> Kernel {
        #[cfg(test)]
        if let Some(forced) = forced::KERNEL.get() {
            return match forced {
                Kernel::Tiled(number) if CONV2D_WEIGHT_TILED[number].by_lines && self.lines > MOST_LINES => {
                    Kernel::Tiled(TILE_OF_SOME)
                }
                Kernel::Few(FEW_LINES) if self.lines > MOST_LINES => Kernel::Few(FEW_CHANNELS),
                Kernel::Rows if !self.has_rows(3, gradient, image) => Kernel::Few(FEW_CHANNELS),
                Kernel::RowsTiled(number) if !self.has_rows_in_tiles(number, gradient, image) => {
                    Kernel::Few(FEW_CHANNELS)
                }
                forced => forced,
            };
        }
        let outputs = self.outputs / self.groups;
        if outputs <= MOST_OF_SOFTWARE && with_gpu(gradient, crate::device::Gpu::is_software) {
            return Kernel::Direct;
        }
        let tiled = self.tile_of_weight(gradient);
        if with_gpu(gradient, crate::device::Gpu::is_software) {
            return tiled;
        }
        let has_lines = self.lines <= MOST_LINES;
        let has_rows = self.has_rows(3, gradient, image);
        let in_tiles = |number| self.has_rows_in_tiles(number, gradient, image).then_some(Kernel::RowsTiled(number));
        [
            Some(tiled),
            Some(Kernel::Single),
            Some(Kernel::Few(FEW_CHANNELS)),
            has_lines.then_some(Kernel::Few(FEW_LINES)),
            has_rows.then_some(Kernel::Rows),
            in_tiles(ROWS_OF_MANY),
            in_tiles(ROWS_OF_SOME),
            in_tiles(ROWS_OF_FIVE),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|&kernel| self.cost(kernel))
        .unwrap_or(tiled)
    }

    /// The tile of `conv2d_weight_tiled.wgsl` that suits the sizes and the device.
    fn tile_of_weight(&self, gradient: &Tensor) -> Kernel {
        let outputs = self.outputs / self.groups;
        let channels = self.planes.channels / self.groups;
        let padded = channels.next_multiple_of(PACK).saturating_mul(arithmetic::elements(&self.window.kernel));
        let lines = self.lines.next_multiple_of(PACK);
        let is_by_lines = self.lines <= MOST_LINES && lines + padded / 4 <= padded;
        let large = &CONV2D_WEIGHT_TILED[TILE_OF_MANY];
        let fits = |gpu: &crate::device::Gpu| {
            gpu.workgroup_size() as usize >= large.invocations()
                && gpu.workgroup_bytes() as usize >= large.workgroup_bytes()
        };
        let suits_large = outputs > 64 && padded >= 512;
        Kernel::Tiled(match outputs {
            ..=32 if is_by_lines => LINES_OF_FEW,
            _ if is_by_lines => LINES_OF_SOME,
            ..=32 => TILE_OF_FEW,
            _ if suits_large && with_gpu(gradient, fits) => TILE_OF_MANY,
            _ => TILE_OF_SOME,
        })
    }

    /// Lines of an output in the order of the units of a tile; saturates.
    pub(super) fn lines_of_units(&self, lines: Lines) -> usize {
        let (channels, taps) = (self.planes.channels / self.groups, arithmetic::elements(&self.window.kernel));
        match lines {
            Lines::OfChannels(unit) => channels.next_multiple_of(unit).saturating_mul(taps),
            Lines::Together(unit) => self.lines.next_multiple_of(unit),
            Lines::Pairs => self.lines,
            Lines::Channels => channels.next_multiple_of(PACK).saturating_mul(taps),
        }
    }

    /// Workgroups of one part of a group; saturates.
    pub(super) fn tiles_of_group(&self, of_tile: &Tile) -> usize {
        let [channels, outputs] = [self.planes.channels, self.outputs].map(|all| all / self.groups);
        let [tall, wide] = of_tile.tile;
        let down = outputs.div_ceil(tall);
        match of_tile.lines {
            Lines::Pairs => down.saturating_mul(channels).div_ceil(wide),
            Lines::Channels => down.saturating_mul(channels.div_ceil(wide)),
            lines => down.saturating_mul(self.lines_of_units(lines).div_ceil(wide)),
        }
    }

    /// The relative time that a kernel takes for the gradient of a group; saturates.
    fn cost(&self, kernel: Kernel) -> usize {
        let (tile, cost) = match kernel {
            Kernel::Direct => return usize::MAX,
            Kernel::Single => (SINGLE, COST_OF_SINGLE),
            Kernel::Rows => (ROWS, COST_OF_ROWS),
            Kernel::Few(number) => (Tile::few(number), COST_OF_FEW[number]),
            Kernel::Tiled(number) => (Tile::tiled(number), COST_OF_TILES[number]),
            Kernel::RowsTiled(number) => (Tile::rows_tiled(number), COST_OF_ROWS_TILED[number]),
        };
        self.tiles_of_group(&tile).saturating_mul(arithmetic::elements(&tile.tile) * cost)
    }

    /// Whether `conv2d_weight_rows_tiled.wgsl` can compute the gradient of these operands on their device.
    fn has_rows_in_tiles(&self, number: usize, gradient: &Tensor, image: &Tensor) -> bool {
        let fits = |gpu: &crate::device::Gpu| {
            gpu.workgroup_size() >= INVOCATIONS_OF_ROWS && gpu.workgroup_bytes() >= BYTES_OF_WEIGHT_ROWS[number]
        };
        self.has_rows(TAPS_OF_ROWS[number], gradient, image) && with_gpu(gradient, fits)
    }

    /// Whether the kernels of rows with so many taps on each axis can compute the gradient of these operands.
    fn has_rows(&self, taps: usize, gradient: &Tensor, image: &Tensor) -> bool {
        let KernelWindow { kernel, stride, dilation, padding, .. } = self.window;
        // A copy starts at the start of its storage.
        let is_aligned = |tensor: &Tensor| !tensor.is_contiguous() || tensor.layout().offset.is_multiple_of(FOUR);
        kernel == [taps; 2]
            && [stride[1], dilation[1]] == [1, 1]
            && padding[1] == [taps / 2; 2]
            && self.out[1].is_multiple_of(FOUR)
            && is_aligned(gradient)
            && is_aligned(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Conv2d;

    #[test]
    fn the_cheapest_kernel_has_tiles_that_the_gradient_fills() {
        let of_three = [Kernel::Rows, Kernel::RowsTiled(ROWS_OF_MANY), Kernel::RowsTiled(ROWS_OF_SOME)];
        let kernels = [Kernel::Few(0), Kernel::Few(1), Kernel::Single];
        let cheapest = |[outputs, channels, groups]: [usize; 3], kernel: usize, tile: usize| {
            let options = Conv2d { groups, padding: (kernel / 2).into(), ..Conv2d::default() };
            let weight = [outputs, channels / groups, kernel, kernel];
            let convolution = Convolution::new("test", &[1, channels, 64, 64], &weight, options).expect("it exists");
            let of_three = of_three.into_iter().filter(|_| kernel == 3);
            let of_five = (kernel == 5).then_some(Kernel::RowsTiled(ROWS_OF_FIVE));
            let all = of_three.chain(of_five).chain(kernels).chain([Kernel::Tiled(tile)]);
            all.min_by_key(|&one| convolution.cost(one)).expect("there are kernels")
        };
        assert_eq!(cheapest([8, 8, 1], 3, TILE_OF_FEW), Kernel::Rows);
        assert_eq!(cheapest([16, 16, 1], 3, TILE_OF_FEW), Kernel::Rows);
        assert_eq!(cheapest([32, 32, 1], 3, TILE_OF_FEW), Kernel::Tiled(TILE_OF_FEW));
        assert_eq!(cheapest([64, 3, 1], 3, LINES_OF_SOME), Kernel::Rows);
        assert_eq!(cheapest([64, 64, 1], 3, TILE_OF_SOME), Kernel::RowsTiled(ROWS_OF_SOME));
        assert_eq!(cheapest([128, 128, 1], 3, TILE_OF_MANY), Kernel::RowsTiled(ROWS_OF_MANY));
        assert_eq!(cheapest([64, 64, 1], 5, TILE_OF_SOME), Kernel::RowsTiled(ROWS_OF_FIVE));
        assert_eq!(cheapest([128, 128, 1], 5, TILE_OF_MANY), Kernel::RowsTiled(ROWS_OF_FIVE));
        assert_eq!(cheapest([64, 64, 64], 3, TILE_OF_FEW), Kernel::Single);
        assert_eq!(cheapest([8, 8, 1], 5, TILE_OF_FEW), Kernel::Few(0));
        assert_eq!(cheapest([8, 3, 1], 7, LINES_OF_FEW), Kernel::Few(1));
        assert_eq!(cheapest([32, 32, 1], 5, TILE_OF_FEW), Kernel::RowsTiled(ROWS_OF_FIVE));
        assert_eq!(cheapest([128, 128, 1], 7, TILE_OF_MANY), Kernel::Tiled(TILE_OF_MANY));
        assert_eq!(cheapest([usize::MAX >> 8, 1, 1], 3, TILE_OF_FEW), Kernel::Rows, "saturates");
    }
}

/// A kernel for all sizes and devices, for tests on one thread.
#[cfg(test)]
pub(in crate::ops) mod forced {
    use super::Kernel;
    use std::cell::Cell;

    thread_local! {
        pub(super) static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
    }

    /// Runs `act` with this kernel for every weight gradient.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with<R>(kernel: Kernel, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&KERNEL, Some(kernel), act)
    }
}
