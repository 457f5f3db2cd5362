//! The kernels of correlations, and which of them suits the sizes and the device.

use super::correlate::Correlation;
use super::correlation_rows::{ROWS, ROWS_KERNELS, ROWS_TILED};
use crate::ops::launch::{iterations, loop_limit, with_gpu};
use crate::ops::parts::parts_that_fill;
use crate::ops::shader::{
    CONV2D_COOPERATIVE, CONV2D_NARROW, CONV2D_ROWS, CONV2D_ROWS_TILED, CONV2D_SINGLE, CONV2D_SMALL, CONV2D_TILED,
    MOST_LINES, Shader,
};
use crate::tensor::{DType, Tensor, arithmetic};

/// Outputs and windows of a workgroup of `conv2d_narrow.wgsl`, and the channels of a unit of its packed weights.
const NARROW: [usize; 2] = [8, 512];
const NARROW_PACK: usize = 4;
/// Outputs and windows of a workgroup of `conv2d_small.wgsl`, and the lines of a chunk and of an iteration.
const SMALL: [usize; 2] = [8, 32];
const SMALL_CHUNK: usize = 256;
const SMALL_LINES: usize = 32;
/// Channels of a unit of the packed weights of `conv2d_tiled.wgsl`.
const TILED_PACK: usize = 8;
/// Rows of windows of an invocation of `conv2d_single.wgsl`.
pub(super) const SINGLE_ROWS: usize = 8;
/// Outputs and windows of a workgroup of `conv2d_cooperative.wgsl`, and the units of a slice.
const COOPERATIVE: [usize; 2] = [128, 128];
const COOPERATIVE_UNITS: usize = 4;
/// The most sums, of outputs rounded up to 8, and the most products for which `conv2d_small.wgsl` is chosen. Timed on an H100 in CUDA:
/// 8 outputs of 18,432 windows take 4.5 to 9 µs with 9 to 216 lines, 32 of 1,152 windows with 288 lines 7 µs; `conv2d_narrow.wgsl` and
/// tiles take 27 to 35 µs for these sizes, and 7 more for packing. 8 outputs of 262,144 windows with 72 lines take 52 and 34 µs.
const MOST_SUMS_OF_SMALL: usize = 1 << 20;
const MOST_PRODUCTS_OF_SMALL: usize = 1 << 27;
/// Invocations, and bytes of workgroup memory, of `conv2d_small.wgsl`.
const SMALL_INVOCATIONS: u32 = 256;
const SMALL_BYTES: u32 = 12 << 10;
/// Workgroups that occupy a large GPU.
const MANY_WORKGROUPS: usize = 128;
/// The least units of a part of the K dimension.
const LEAST_UNITS: usize = 16;
/// Tiles of [`CONV2D_TILED`] by the number of outputs of a group.
const TILE_OF_MANY: usize = 0;
pub(super) const TILE_OF_SOME: usize = 1;
const TILE_OF_FEW: usize = 2;
/// The same two for few channels.
const LINES_OF_SOME: usize = 3;
const LINES_OF_FEW: usize = 4;

/// The kernel that computes a correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Kernel {
    /// `conv2d_single.wgsl`.
    Single,
    /// `conv2d_narrow.wgsl`.
    Narrow,
    /// `conv2d_small.wgsl`.
    Small,
    /// `conv2d_rows.wgsl`.
    Rows,
    /// `conv2d_rows_tiled.wgsl` with one of its windows: see [`ROWS_KERNELS`].
    RowsTiled(usize),
    /// `conv2d_tiled.wgsl` with one of its tiles: see [`CONV2D_TILED`].
    Tiled(usize),
    /// `conv2d_cooperative.wgsl`.
    Cooperative,
}

impl Kernel {
    /// Outputs and windows of a workgroup.
    pub(super) fn tile(self) -> [usize; 2] {
        match self {
            Self::Single => [1, 1],
            Self::Narrow => NARROW,
            Self::Small => SMALL,
            Self::Rows => ROWS,
            Self::RowsTiled(_) => ROWS_TILED,
            Self::Tiled(number) => CONV2D_TILED[number].tile,
            Self::Cooperative => COOPERATIVE,
        }
    }

    /// Channels of a unit.
    pub(super) fn pack(self) -> usize {
        match self {
            Self::Single | Self::Small | Self::Rows => 1,
            Self::Narrow => NARROW_PACK,
            Self::RowsTiled(number) => ROWS_KERNELS[number].channels,
            Self::Tiled(_) | Self::Cooperative => TILED_PACK,
        }
    }

    /// Units of one iteration of the loop along the K dimension.
    pub(super) fn units_at_once(self) -> usize {
        match self {
            Self::Single | Self::Narrow | Self::Small | Self::Rows | Self::RowsTiled(_) => 1,
            Self::Tiled(number) => CONV2D_TILED[number].slice / TILED_PACK,
            Self::Cooperative => COOPERATIVE_UNITS,
        }
    }

    /// Whether a column is a vec4, and a window two rows of it.
    pub(super) fn is_of_rows(self) -> bool {
        matches!(self, Self::Rows | Self::RowsTiled(_))
    }

    /// Whether one dispatch computes the whole sums.
    pub(super) fn has_one_pass(self) -> bool {
        self.is_of_rows() || matches!(self, Self::Single | Self::Small)
    }

    /// Whether units are those of `lib/lines.wgsl`.
    pub(super) fn is_by_lines(self) -> bool {
        matches!(self, Self::Tiled(number) if CONV2D_TILED[number].by_lines)
    }

    /// Loop iterations of an invocation that prepares the units.
    pub(super) fn preparation(self) -> u64 {
        let [outputs, windows] = self.tile();
        if self.is_by_lines() { iterations((MOST_LINES * 64 / (outputs * windows)) as u64, 0) } else { 0 }
    }

    pub(super) fn shader(self, in_parts: bool, is_vec4: bool) -> &'static Shader {
        match self {
            Self::Single => &CONV2D_SINGLE,
            Self::Narrow => &CONV2D_NARROW,
            Self::Small => &CONV2D_SMALL,
            Self::Rows => &CONV2D_ROWS,
            Self::RowsTiled(number) => &CONV2D_ROWS_TILED[number],
            Self::Tiled(number) => &CONV2D_TILED[number].shaders[usize::from(in_parts)][usize::from(is_vec4)],
            Self::Cooperative => &CONV2D_COOPERATIVE[usize::from(in_parts)][usize::from(is_vec4)],
        }
    }
}

/// The choice of the kernel.
impl Correlation {
    /// Units along the K dimension, of the phase with the most taps.
    pub(super) fn units(&self, kernel: Kernel) -> usize {
        if kernel.is_by_lines() {
            return self.lines().div_ceil(kernel.pack());
        }
        let (step, size) = (self.tap_step(), self.window.kernel);
        let taps = [0, 1].map(|axis| size[axis].div_ceil(step[axis]));
        self.channels.div_ceil(kernel.pack()).saturating_mul(taps[0]).saturating_mul(taps[1])
    }

    /// Loop iterations of an invocation apart from those along the K dimension.
    pub(super) fn other_iterations(&self) -> u64 {
        let step = self.tap_step();
        (0..2).map(|axis| iterations(step[axis].min(self.window.kernel[axis]) as u64, 0)).sum()
    }

    /// Units that one dispatch can add up.
    pub(super) fn most_units(&self, kernel: Kernel) -> usize {
        let left = loop_limit().saturating_sub(self.other_iterations() + kernel.preparation() + 3);
        usize::try_from(left).unwrap_or(usize::MAX).saturating_mul(kernel.units_at_once()).max(kernel.units_at_once())
    }

    /// The kernel that suits the sizes and the device.
    pub(super) fn kernel(&self, image: &Tensor) -> Kernel {
        let chosen = self.fastest(image);
        #[cfg(test)]
        let chosen = forced::KERNEL.get().unwrap_or(chosen);
        match chosen {
            // These have a single pass over the K dimension.
            Kernel::Single if self.single_iterations() > loop_limit() => Kernel::Narrow,
            Kernel::Small if self.small_iterations() > loop_limit() => Kernel::Narrow,
            Kernel::Rows if !self.can_be_rows(image) => Kernel::Tiled(TILE_OF_SOME),
            Kernel::RowsTiled(number) if !self.can_be_rows_in_tiles(number, image) => Kernel::Tiled(TILE_OF_SOME),
            Kernel::Tiled(_) if chosen.is_by_lines() && !self.can_be_by_lines() => Kernel::Tiled(TILE_OF_SOME),
            Kernel::Cooperative if self.units(chosen) > self.most_units(chosen) => Kernel::Tiled(TILE_OF_SOME),
            _ => chosen,
        }
    }

    /// The fastest kernel. On an H100 with images of 16 × 128 × 128 and kernels of 3 × 3, the narrow one reaches 3.6 TFLOP/s
    /// with 4 channels and 9.2 with 8, tiles of 32 × 256 1.5 and 5.6. With 16 channels they reach 11.5 and 12.6, with 32 12
    /// and 27. With 64 channels tiles of 32 × 256 reach 30, of 64 × 64 35, of 128 × 128 19; with 128 channels 31, 36 and 39. So the
    /// large tile is chosen if it computes at most 39 / 36 times as many outputs, rounded up to tiles. The same holds in parts: on an
    /// H200, one image of 512 channels of 32² takes 155 µs in small tiles and 145 in large ones.
    fn fastest(&self, image: &Tensor) -> Kernel {
        let is_by_lines = self.can_be_by_lines() && self.is_faster_by_lines();
        match self.outputs {
            1 => return Kernel::Single,
            _ if self.is_small(image) => return Kernel::Small,
            _ if self.is_faster_in_rows(image) => return Kernel::Rows,
            2..=8 => return Kernel::Narrow,
            9..=32 => return Kernel::Tiled(if is_by_lines { LINES_OF_FEW } else { TILE_OF_FEW }),
            _ => {}
        }
        let (is_large, is_cooperative) =
            with_gpu(image, |gpu| (!gpu.is_software() && gpu.has_large_workgroups(), gpu.has_cooperative_matrices()));
        let is_cooperative = is_cooperative && image.dtype() == DType::F16;
        match self.rows_in_tiles(image) {
            Some(number) if !is_cooperative => return Kernel::RowsTiled(number),
            _ if is_by_lines => return Kernel::Tiled(LINES_OF_SOME),
            _ if is_cooperative => return Kernel::Cooperative,
            _ => {}
        }
        let padded = |tile: usize| self.outputs.next_multiple_of(CONV2D_TILED[tile].tile[0]);
        let suits_large = || {
            let large = Kernel::Tiled(TILE_OF_MANY);
            let workgroups = self.workgroups(large.tile()).saturating_mul(self.parts(large, image));
            padded(TILE_OF_MANY) / 13 <= padded(TILE_OF_SOME) / 12 && workgroups >= MANY_WORKGROUPS
        };
        Kernel::Tiled(if is_large && suits_large() { TILE_OF_MANY } else { TILE_OF_SOME })
    }

    /// Whether there are so few windows, and so few products, that `conv2d_small.wgsl` is faster than kernels with larger tiles.
    fn is_small(&self, image: &Tensor) -> bool {
        self.has_few_products()
            && with_gpu(image, |gpu| {
                !gpu.is_software() && gpu.workgroup_size() >= SMALL_INVOCATIONS && gpu.workgroup_bytes() >= SMALL_BYTES
            })
    }

    fn has_few_products(&self) -> bool {
        let sums = self.workgroups(SMALL).saturating_mul(arithmetic::elements(&SMALL));
        sums <= MOST_SUMS_OF_SMALL && sums.saturating_mul(self.units(Kernel::Small)) <= MOST_PRODUCTS_OF_SMALL
    }

    /// Channels and taps of a group; saturates.
    fn lines(&self) -> usize {
        self.window.kernel.into_iter().fold(self.channels, usize::saturating_mul)
    }

    /// Whether `lib/lines.wgsl` has room for the lines. It needs one phase.
    fn can_be_by_lines(&self) -> bool {
        self.phases() == [1, 1] && self.lines() <= MOST_LINES
    }

    /// Whether so few channels are rounded up to a unit that lines make the K dimension shorter by a quarter.
    fn is_faster_by_lines(&self) -> bool {
        let lines = self.lines().next_multiple_of(TILED_PACK);
        let taps =
            self.window.kernel.into_iter().fold(self.channels.next_multiple_of(TILED_PACK), usize::saturating_mul);
        lines + taps / 4 <= taps
    }

    /// Loop iterations of an invocation of `conv2d_single.wgsl`.
    pub(super) fn single_iterations(&self) -> u64 {
        let [rows, columns] = self.window.kernel.map(|size| size as u64);
        let taps = iterations(self.channels as u64, iterations(rows, iterations(columns, 0)));
        taps.saturating_add(self.other_iterations())
    }

    /// Loop iterations of an invocation of `conv2d_small.wgsl`.
    pub(super) fn small_iterations(&self) -> u64 {
        let lines = self.units(Kernel::Small);
        let chunks = lines.div_ceil(SMALL_CHUNK) as u64;
        (lines.div_ceil(SMALL_LINES) as u64 + 2 * chunks).saturating_add(1 + 4) + self.other_iterations()
    }

    /// Workgroups of a kernel with these outputs and windows in a tile; saturates.
    pub(super) fn workgroups(&self, [outputs, windows]: [usize; 2]) -> usize {
        let ([rows, columns], phases) = (self.windows(), self.phases());
        let phases = [0, 1].map(|axis| phases[axis].min(self.written[axis]));
        let tiles = self.batch.saturating_mul(rows).saturating_mul(columns).div_ceil(windows);
        let all = [self.groups, self.outputs.div_ceil(outputs), phases[0], phases[1]];
        all.into_iter().fold(tiles, usize::saturating_mul)
    }

    /// Parts of the K dimension, with sums of their own: more than one where a large GPU would otherwise have too few
    /// workgroups for a long sum. All sums together have at most 16 MiB, since a workgroup's have 16, 32 or 64 KiB.
    pub(super) fn parts(&self, kernel: Kernel, image: &Tensor) -> usize {
        let units = self.units(kernel);
        let [outputs, windows] = kernel.tile();
        if kernel.has_one_pass() || kernel == Kernel::Narrow || units > self.most_units(kernel) {
            return 1;
        }
        let wanted = match with_gpu(image, crate::device::Gpu::is_software) {
            true => 1,
            false => parts_that_fill(outputs * windows, self.workgroups([outputs, windows])),
        };
        // The sums of all parts are in one block.
        let sum = arithmetic::bytes(arithmetic::elements(&self.shape()), image.dtype().number().bytes());
        let fitting = usize::try_from(image.any_storage().largest_block() / sum.max(1)).unwrap_or(usize::MAX);
        let wanted = wanted.min(units / LEAST_UNITS).min(fitting);
        #[cfg(test)]
        let wanted = forced::PARTS.get().unwrap_or(wanted);
        // As many as parts of equal length fill, so that none is empty.
        units.div_ceil(units.div_ceil(wanted.max(1)))
    }
}

/// Whether a test has chosen a kernel.
pub(super) fn is_forced() -> bool {
    #[cfg(test)]
    return forced::KERNEL.get().is_some();
    #[cfg(not(test))]
    false
}

/// A kernel for all sizes and devices, for tests on one thread.
#[cfg(test)]
pub(in crate::ops) mod forced {
    use super::Kernel;
    use std::cell::Cell;

    thread_local! {
        pub(super) static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
        pub(super) static PARTS: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `act` with this kernel for every correlation.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops) fn with<R>(kernel: Kernel, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&KERNEL, Some(kernel), act)
    }

    /// Runs `act` with this number of parts of the K dimension.
    #[cfg(not(target_arch = "wasm32"))]
    pub(in crate::ops::image) fn with_parts<R>(parts: usize, act: impl FnOnce() -> R) -> R {
        crate::device::with_choice(&PARTS, Some(parts), act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::image::KernelWindow;

    #[test]
    fn small_convolutions_have_few_windows_and_few_products() {
        let is_small = |[batch, channels, outputs, side]: [usize; 4], kernel: usize| {
            let padding = [[kernel / 2; 2]; 2];
            let window =
                KernelWindow { kernel: [kernel; 2], stride: [1, 1], dilation: [1, 1], padding, ceil_mode: false };
            let (size, written) = ([side; 2], [side; 2]);
            let name = "test";
            Correlation { name, batch, groups: 1, channels, outputs, size, written, window, is_gradient: false }
                .has_few_products()
        };
        // The example `unet`.
        for [channels, outputs, side] in [[1, 8, 48], [24, 8, 48], [8, 24, 48], [48, 16, 24], [32, 32, 12]] {
            assert!(is_small([8, channels, outputs, side], 3), "{channels} {outputs} {side}");
        }
        assert!(!is_small([16, 4, 8, 128], 3), "many windows");
        assert!(!is_small([1, 256, 256, 32], 3), "many products");
        assert!(!is_small([1, usize::MAX >> 4, usize::MAX >> 4, 32], 3), "saturates");
    }
}
