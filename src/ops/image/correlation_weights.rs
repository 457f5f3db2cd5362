//! The weights of correlations, in the order in which a kernel reads them.

use super::correlate::Correlation;
use super::correlation_kernel::Kernel;
use crate::error::TensorError;
use crate::ops::launch::{grid, index, launch, with_gpu, workgroup_size};
use crate::ops::placed::Placed;
use crate::ops::shader::{CONV2D_PACK, Variant};
use crate::tensor::{Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// Elements of a vector of packed weights.
const FOUR: usize = 4;
/// The most adjacent outputs of a workgroup of `conv2d_pack.wgsl`, and the lines of an invocation.
const SIDE: usize = 32;
const LINES: usize = 4;

/// The parameters of `conv2d_pack.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct PackParams {
    lines: u32,
    rows: u32,
    across: u32,
    side: u32,
    pack: u32,
    channels: u32,
    kernel: [u32; 2],
    outputs: u32,
    weight_offset: u32,
    group_stride: u32,
    output_stride: u32,
    channel_stride: u32,
    blocks: u32,
    tap_stride: [u32; 2],
}

/// The weights that a kernel reads.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) tensor: Tensor,
    /// Vectors of a row of packed weights; otherwise elements from one output to the next.
    pub(super) across: usize,
    /// Rows of a group of packed weights; otherwise elements from one channel to the next.
    pub(super) rows: usize,
}

impl Correlation {
    /// Weights in the order in which a kernel reads them.
    #[track_caller]
    pub(super) fn packed(&self, weight: &Tensor, kernel: Kernel) -> Result<Weights, TensorError> {
        let Self { name, groups, channels, outputs, window, .. } = *self;
        let number = |value| index(name, value);
        let bytes = weight.dtype().bytes();
        let across = outputs.next_multiple_of(FOUR);
        // Lines have the order of the weight, and are rounded up as a whole.
        let (pack, whole) = if kernel.is_by_lines() { (1, kernel.pack()) } else { (kernel.pack(), 1) };
        let rows = arithmetic::size_of(&[channels.next_multiple_of(pack), window.kernel[0], window.kernel[1]], bytes)?;
        let rows = rows.next_multiple_of(whole);
        let packed = weight.new_empty([groups, rows, across], weight.dtype())?;
        number(packed.elements())?;
        let lines = arithmetic::elements(&[groups, rows]);
        let side = across.next_power_of_two().min(SIDE);
        let blocks = across.div_ceil(side);
        let &[of_output, of_channel, of_row, of_column] = weight.strides() else {
            return Err(TensorError::dimensions(name, "weight", weight.shape(), "4"));
        };
        // In the gradient the convolution's outputs are summed over. They are what its groups divide.
        let (group_stride, output_stride, channel_stride) = match self.is_gradient {
            false => (outputs * of_output, of_output, of_channel),
            true => (channels * of_output, of_channel, of_output),
        };
        let (source, weight_offset) = Placed::of(weight).bind(name, 1)?;
        let params = PackParams {
            lines: number(lines)?,
            rows: number(rows)?,
            across: number(across)?,
            side: number(side)?,
            pack: number(pack)?,
            channels: number(channels)?,
            kernel: [number(window.kernel[0])?, number(window.kernel[1])?],
            outputs: number(outputs)?,
            weight_offset,
            group_stride: number(group_stride)?,
            output_stride: number(output_stride)?,
            channel_stride: number(channel_stride)?,
            blocks: number(blocks)?,
            tap_stride: [number(of_row)?, number(of_column)?],
        };
        let bindings = [Placed::of(&packed).bind_whole(name)?, source];
        let program = with_gpu(weight, |gpu| CONV2D_PACK.program(gpu, Variant::plain(weight.dtype())))?;
        let lines_at_once = workgroup_size(weight) as usize / side * LINES;
        let workgroups = grid(number(lines.div_ceil(lines_at_once) * blocks)?);
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), workgroups, 0)?;
        Ok(Weights { tensor: packed, across: across / FOUR, rows })
    }

    /// Contiguous weights as they are, for `conv2d_small.wgsl` and `conv2d_rows.wgsl`.
    pub(super) fn unpacked(&self, weight: &Tensor) -> Result<Weights, TensorError> {
        let &[of_output, of_channel, ..] = weight.strides() else {
            return Err(TensorError::dimensions(self.name, "weight", weight.shape(), "4"));
        };
        let [across, rows] = if self.is_gradient { [of_channel, of_output] } else { [of_output, of_channel] };
        Ok(Weights { tensor: weight.clone(), across, rows })
    }
}
