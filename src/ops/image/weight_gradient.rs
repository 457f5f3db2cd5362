//! Weight gradients of convolutions, in parts of the windows that are added up in a fixed order.

use super::convolve::Convolution;
use super::weight_kernel::Kernel;
use super::weight_sum::Parts;
use super::weight_tile::{InUnits, Lines, ROWS, SINGLE, Tile};
use super::{Convolved, Run};
use crate::error::TensorError;
use crate::ops::launch::{grid, index, iterations, launch, with_gpu};
use crate::ops::placed::Placed;
use crate::ops::shader::{CONV2D_WEIGHT, MOST_LINES, Variant};
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
/// The most slices of a part.
const MOST_SLICES: usize = 1 << 14;
/// Bytes of the parts of a gradient, unless one part has more.
const MOST_PARTS: u64 = 64 << 20;

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

impl Convolution {
    /// The weight gradient of a gradient with at least one window, and a weight with at least one element.
    #[track_caller]
    pub(super) fn weight_gradient(
        &self,
        name: &'static str,
        gradient: &Tensor,
        image: &Tensor,
    ) -> Result<Tensor, TensorError> {
        let kernel = self.weight_kernel(gradient, image);
        let parts = match kernel {
            Kernel::Direct => self.direct_parts(name, gradient, image)?,
            Kernel::Single => self.parts(name, gradient, image, SINGLE)?,
            Kernel::Rows => self.parts(name, gradient, image, ROWS)?,
            Kernel::RowsTiled(number) => self.parts(name, gradient, image, Tile::rows_tiled(number))?,
            Kernel::Few(number) => self.parts(name, gradient, image, Tile::few(number))?,
            Kernel::Tiled(number) => self.parts(name, gradient, image, Tile::tiled(number))?,
        };
        self.sum(name, &parts, gradient.dtype())
    }

    /// The parts of `conv2d_weight.wgsl`.
    #[track_caller]
    fn direct_parts(&self, name: &'static str, gradient: &Tensor, image: &Tensor) -> Result<Parts, TensorError> {
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
        let loops = iterations((span / 64) as u64 + 1, iterations(BLOCK as u64, 0)) + 50;
        run.convolving(
            &[&sums, &image, &gradient],
            Convolved { outputs, span, groups, ..Convolved::default() },
            all,
            workgroups,
            loops,
        )?;
        Ok(Parts { sums, in_units: false })
    }

    /// The parts of a kernel of `lib/weight_gradient.wgsl`.
    #[track_caller]
    fn parts(
        &self,
        name: &'static str,
        gradient: &Tensor,
        image: &Tensor,
        of_tile: Tile,
    ) -> Result<Parts, TensorError> {
        let Tile { lines: divided, slice, least_slices, whole, more_iterations, .. } = of_tile;
        let column = divided.column();
        let Self { planes, outputs, groups, windows, out, window, .. } = *self;
        let number = |value| index(name, value);
        let pair =
            |[rows, columns]: [usize; 2]| -> Result<[u32; 2], TensorError> { Ok([number(rows)?, number(columns)?]) };
        let dtype = gradient.dtype();
        let [channels, of_group] = [planes.channels, outputs].map(|all| all / groups);
        let lines_of_units = self.lines_of_units(divided);
        let tiles = arithmetic::size_of(&[groups, self.tiles_of_group(&of_tile)], 1)?;
        number(arithmetic::size_of(&[planes.batch, windows], 1)?)?;
        let [size, out] = [planes.size, out].map(|[rows, columns]| [rows, columns / column]);
        let count = arithmetic::elements(&[planes.batch, out[0], out[1]]);
        // Slices of a part: parts for all of a large GPU, of bounded memory, and loops of bounded length.
        let slices = count.div_ceil(slice);
        let bytes = (outputs as u64).saturating_mul(lines_of_units as u64).saturating_mul(dtype.number().bytes());
        let most_bytes = MOST_PARTS.min(gradient.any_storage().largest_block());
        let most = usize::try_from(most_bytes / bytes.max(1)).unwrap_or(usize::MAX);
        let parts = of_tile.parts(tiles, slices, most);
        let least_slices = if slices <= whole { slices } else { least_slices };
        let slices = slices.div_ceil(parts).clamp(least_slices, MOST_SLICES);
        let span = slices * slice;
        let parts = count.div_ceil(span);
        let (shader, in_units) = match of_tile.in_units {
            InUnits::Several(shader) if parts > 1 => (shader, true),
            InUnits::All => (of_tile.shader, true),
            InUnits::None | InUnits::Several(_) => (of_tile.shader, false),
        };
        let lines = if in_units { lines_of_units } else { self.lines };
        // Lines are prepared by 32 or more invocations.
        let preparation =
            if matches!(divided, Lines::Together(_)) { iterations((MOST_LINES / 32) as u64, 0) } else { 0 };
        let loops = iterations(slices as u64, 0) + preparation + more_iterations;
        for axis in [0, 1] {
            number(arithmetic::padded_size(planes.size[axis], window.padding[axis]).unwrap_or(usize::MAX))?;
            number(window.extent(axis).unwrap_or(usize::MAX))?;
        }
        // The stride of a single window and the dilation of a single tap have no effect.
        let stride = [0, 1].map(|axis| if out[axis] == 1 { 1 } else { window.stride[axis] });
        let dilation = [0, 1].map(|axis| if window.kernel[axis] == 1 { 1 } else { window.dilation[axis] });
        // The parts of a sum of f16 are not rounded.
        let sums = gradient.new_empty([parts, outputs, lines], dtype.number())?;
        number(sums.elements())?;
        let gradient = gradient.contiguous()?;
        let image = image.contiguous()?.in_other_storage_than(&gradient)?;
        let (of_image, image_offset) = Placed::of(&image).bind_contiguous(name, column)?;
        let (of_gradient, gradient_offset) = Placed::of(&gradient).bind_contiguous(name, column)?;
        let (rows, columns_step) = (slice / out[1], slice % out[1]);
        let params = Params {
            size: pair(size)?,
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
        Ok(Parts { sums, in_units })
    }
}
