//! Weight gradients of convolutions, in parts of the windows that are added up in a fixed order.

use super::convolve::Convolution;
use super::{Convolved, Run};
use crate::error::TensorError;
use crate::ops::launch::{grid, index, iterations, launch, with_gpu};
use crate::ops::placed::Placed;
use crate::ops::shader::{
    CONV2D_WEIGHT, CONV2D_WEIGHT_SINGLE, CONV2D_WEIGHT_TILED, MOST_LINES, Shader, Variant, WeightTile,
};
use crate::tensor::{Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// Outputs and lines that `conv2d_weight.wgsl` computes at once.
const BLOCK: usize = 8;
const FOUR: usize = 4;
/// Windows of a part of `conv2d_weight.wgsl`: at least some for each of a workgroup's invocations, at most what keeps its loops
/// within the limit of iterations; and the parts that a large device needs.
const LEAST_SPAN: usize = 1024;
const MOST_SPAN: usize = 1 << 18;
const PARTS: usize = 2048;
/// Channels of a unit of `conv2d_weight_tiled.wgsl`.
const PACK: usize = 8;
/// Invocations of `conv2d_weight_tiled.wgsl` that occupy a large GPU, and the workgroups that are distributed evenly over its
/// multiprocessors: with 144 tiles of 128 × 128 in one part, an H100 with 132 of them is half idle.
const MANY_INVOCATIONS: usize = 1 << 16;
const MANY_WORKGROUPS: usize = 512;
/// The least and most slices of a part.
const LEAST_SLICES: usize = 16;
const MOST_SLICES: usize = 1 << 14;
/// Tiles of [`CONV2D_WEIGHT_TILED`] by the number of outputs of a group.
const TILE_OF_MANY: usize = 0;
const TILE_OF_SOME: usize = 1;
const TILE_OF_FEW: usize = 2;
/// The same two for few channels.
const LINES_OF_SOME: usize = 3;
const LINES_OF_FEW: usize = 4;
/// The most outputs for which `conv2d_weight.wgsl` is as fast as tiles on Mesa's software driver: for 3 × 3 taps with 64 channels of
/// 16 × 16 it takes 11 ms, a tile 4.2; with 1,024 channels of 4 × 4 3.3 s, a tile 0.1.
const MOST_OF_SOFTWARE: usize = 32;
/// Blocks of `conv2d_weight_single.wgsl` that take as long as the smallest tile of `conv2d_weight_tiled.wgsl`: on an H100 with
/// 262,144 windows, 64 blocks take 0.22 ms and three tiles 0.19 ms.
const SINGLES_OF_A_TILE: usize = 16;
/// Bytes of the parts of a gradient, unless one part has more.
const MOST_PARTS: u64 = 32 << 20;

/// The parameters of `conv2d_weight_tiled.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    size: [u32; 2],
    windows: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    tap_move: [u32; 2],
    origin: [u32; 2],
    channels: u32,
    outputs: u32,
    groups: u32,
    count: u32,
    span: u32,
    parts: u32,
    image_offset: u32,
    gradient_offset: u32,
    images_step: u32,
    rows_step: u32,
    columns_step: u32,
    unused: u32,
}

/// The kernel that computes a weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Kernel {
    /// `conv2d_weight.wgsl`.
    Direct,
    /// `conv2d_weight_single.wgsl`.
    Single,
    /// `conv2d_weight_tiled.wgsl` with one of its tiles: see [`CONV2D_WEIGHT_TILED`].
    Tiled(usize),
}

/// A kernel of `lib/weight_gradient.wgsl`.
#[derive(Clone, Copy, Debug)]
struct Tile {
    shader: &'static Shader,
    /// Outputs and lines of a workgroup.
    tile: [usize; 2],
    /// Channels of a unit, to which lines are rounded up.
    pack: usize,
    /// Whether units are of lines, to which all lines are rounded up together.
    by_lines: bool,
    /// Windows of a step of the loop.
    slice: usize,
    /// Workgroups that occupy a large GPU.
    least: usize,
}

const SINGLE: Tile =
    Tile { shader: &CONV2D_WEIGHT_SINGLE, tile: [1, 12], pack: 1, by_lines: false, slice: 64, least: 4096 };

impl Convolution {
    /// The weight gradient of a gradient with at least one window, and a weight with at least one element.
    #[track_caller]
    pub(super) fn weight_gradient(
        &self,
        name: &'static str,
        gradient: &Tensor,
        image: &Tensor,
    ) -> Result<Tensor, TensorError> {
        let kernel = self.weight_kernel(gradient);
        let parts = match kernel {
            Kernel::Direct => self.direct_parts(name, gradient, image)?,
            Kernel::Single => self.parts(name, gradient, image, SINGLE)?,
            Kernel::Tiled(number) => {
                let &WeightTile { tile, slice, by_lines, ref shader } = &CONV2D_WEIGHT_TILED[number];
                let least = (MANY_INVOCATIONS / CONV2D_WEIGHT_TILED[number].invocations()).max(MANY_WORKGROUPS);
                self.parts(name, gradient, image, Tile { shader, tile, pack: PACK, by_lines, slice, least })?
            }
        };
        let sum = if parts.shape()[0] == 1 { parts } else { parts.sum(0)? };
        sum.to(gradient.dtype())
    }

    fn weight_kernel(&self, gradient: &Tensor) -> Kernel {
        #[cfg(test)]
        if let Some(forced) = forced::KERNEL.get() {
            return match forced {
                Kernel::Tiled(number) if CONV2D_WEIGHT_TILED[number].by_lines && self.lines > MOST_LINES => {
                    Kernel::Tiled(TILE_OF_SOME)
                }
                forced => forced,
            };
        }
        let outputs = self.outputs / self.groups;
        if outputs <= MOST_OF_SOFTWARE && with_gpu(gradient, crate::device::Gpu::is_software) {
            return Kernel::Direct;
        }
        let channels = self.planes.channels / self.groups;
        let padded = channels.next_multiple_of(PACK).saturating_mul(arithmetic::elements(&self.window.kernel));
        let singles = outputs.saturating_mul(self.lines.div_ceil(SINGLE.tile[1]));
        let [of_outputs, of_lines] = CONV2D_WEIGHT_TILED[TILE_OF_FEW].tile;
        let lines = self.lines.next_multiple_of(PACK);
        let is_by_lines = self.lines <= MOST_LINES && lines + padded / 4 <= padded;
        let all_lines = if is_by_lines { lines } else { padded };
        let tiles = outputs.div_ceil(of_outputs).saturating_mul(all_lines.div_ceil(of_lines));
        if singles <= tiles.saturating_mul(SINGLES_OF_A_TILE) {
            return Kernel::Single;
        }
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

    /// The parts of `conv2d_weight.wgsl`.
    #[track_caller]
    fn direct_parts(&self, name: &'static str, gradient: &Tensor, image: &Tensor) -> Result<Tensor, TensorError> {
        let Self { planes, outputs, groups, lines, windows, out, window } = *self;
        let bytes = gradient.dtype().bytes();
        let all = arithmetic::size_of(&[planes.batch, windows], bytes)?;
        let blocks = [lines.div_ceil(FOUR), groups, (outputs / groups).div_ceil(BLOCK)];
        let blocks = arithmetic::size_of(&blocks, bytes)?;
        let span = (all.saturating_mul(blocks) / PARTS).clamp(LEAST_SPAN, MOST_SPAN);
        let parts = all.div_ceil(span);
        // The parts of a sum of f16 are not rounded.
        let sums = gradient.new_empty([parts, outputs, lines], gradient.dtype().number())?;
        let gradient = gradient.whole()?;
        let image = image.contiguous()?.in_other_storage_than(&gradient)?;
        let run = Run { planes, out, window, ..Run::new(name, &CONV2D_WEIGHT, &image) };
        let workgroups = arithmetic::size_of(&[blocks, parts], bytes)?;
        let loops = iterations((span / 64) as u64 + 1, iterations(4, 0) + iterations(BLOCK as u64, 0)) + 55;
        run.convolving(
            &[&sums, &image, &gradient],
            Convolved { outputs, span, groups, ..Convolved::default() },
            all,
            workgroups,
            loops,
        )?;
        Ok(sums)
    }

    /// The parts of a kernel of `lib/weight_gradient.wgsl`.
    #[track_caller]
    fn parts(
        &self,
        name: &'static str,
        gradient: &Tensor,
        image: &Tensor,
        Tile { shader, tile, pack, by_lines, slice, least }: Tile,
    ) -> Result<Tensor, TensorError> {
        let Self { planes, outputs, groups, lines, windows, out, window } = *self;
        let number = |value| index(name, value);
        let pair =
            |[rows, columns]: [usize; 2]| -> Result<[u32; 2], TensorError> { Ok([number(rows)?, number(columns)?]) };
        let dtype = gradient.dtype();
        let [channels, of_group] = [planes.channels, outputs].map(|all| all / groups);
        let taps = arithmetic::elements(&window.kernel);
        let all_lines = match by_lines {
            true => lines.next_multiple_of(pack),
            false => arithmetic::size_of(&[channels.next_multiple_of(pack), taps], 1)?,
        };
        let tiles = [groups, of_group.div_ceil(tile[0]), all_lines.div_ceil(tile[1])];
        let tiles = arithmetic::size_of(&tiles, 1)?;
        let count = arithmetic::size_of(&[planes.batch, windows], 1)?;
        number(count)?;
        // Slices of a part: parts for all of a large GPU, of bounded memory, and loops of bounded length.
        let slices = count.div_ceil(slice);
        let bytes = (outputs as u64).saturating_mul(lines as u64).saturating_mul(dtype.number().bytes());
        let most_bytes = MOST_PARTS.min(gradient.any_storage().largest_block());
        let most = usize::try_from(most_bytes / bytes.max(1)).unwrap_or(usize::MAX);
        let parts = (least / tiles).min(most).max(1);
        let slices = slices.div_ceil(parts).clamp(LEAST_SLICES, MOST_SLICES);
        let span = slices * slice;
        let parts = count.div_ceil(span);
        // Lines are prepared by 32 or more invocations.
        let preparation = if by_lines { iterations((MOST_LINES / 32) as u64, 0) } else { 0 };
        let loops = iterations(slices as u64, 0) + preparation + 9;
        for axis in [0, 1] {
            number(arithmetic::padded_size(planes.size[axis], window.padding[axis]).unwrap_or(usize::MAX))?;
            number(window.extent(axis).unwrap_or(usize::MAX))?;
        }
        // Where there is one window only, no stride matters, nor a dilation where there is one tap.
        let stride = [0, 1].map(|axis| if out[axis] == 1 { 1 } else { window.stride[axis] });
        let dilation = [0, 1].map(|axis| if window.kernel[axis] == 1 { 1 } else { window.dilation[axis] });
        // The parts of a sum of f16 are not rounded.
        let sums = gradient.new_empty([parts, outputs, lines], dtype.number())?;
        number(sums.elements())?;
        let gradient = gradient.contiguous()?;
        let image = image.contiguous()?.in_other_storage_than(&gradient)?;
        let (of_image, image_offset) = Placed::of(&image).bind_contiguous(name, 1)?;
        let (of_gradient, gradient_offset) = Placed::of(&gradient).bind_contiguous(name, 1)?;
        let (rows, columns_step) = (slice / out[1], slice % out[1]);
        let params = Params {
            size: pair(planes.size)?,
            windows: pair(out)?,
            kernel: pair(window.kernel)?,
            stride: pair(stride)?,
            tap_move: pair(dilation)?,
            origin: pair(window.padding.map(|[before, _]| before))?.map(u32::wrapping_neg),
            channels: number(channels)?,
            outputs: number(of_group)?,
            groups: number(groups)?,
            count: number(count)?,
            span: number(span)?,
            parts: number(parts)?,
            image_offset,
            gradient_offset,
            images_step: number(rows / out[0])?,
            rows_step: number(rows % out[0])?,
            columns_step: number(columns_step)?,
            unused: 0,
        };
        let variant = Variant { output: dtype.number(), ..Variant::plain(dtype) };
        let program = with_gpu(&gradient, |gpu| shader.program(gpu, variant))?;
        let bindings = [Placed::of(&sums).bind_whole(name)?, of_image, of_gradient];
        let workgroups = grid(number(arithmetic::size_of(&[tiles, parts], 1)?)?);
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), workgroups, loops)?;
        Ok(sums)
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
