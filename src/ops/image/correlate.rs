//! Convolutions and their input gradients as one kernel: the kernels of `lib/convolution.wgsl`, which are given the image
//! and the packed weights, and never an unfolded image.

use super::KernelWindow;
use super::correlation_kernel::{Kernel, SINGLE_ROWS};
use super::correlation_rows::COLUMNS_OF_ROWS;
use super::correlation_weights::Weights;
use crate::error::TensorError;
use crate::ops::activation::Activation;
use crate::ops::launch::{grid, index, iterations, launch, with_gpu, workgroup_size};
use crate::ops::placed::Placed;
use crate::ops::shader::{AS_IT_IS, Specialization, Variant};
use crate::tensor::{DType, Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};

/// Windows of a vec4.
const FOUR: usize = 4;

/// The parameters of `lib/convolution.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    size: [u32; 2],
    written: [u32; 2],
    windows: [u32; 2],
    kernel: [u32; 2],
    dilation: [u32; 2],
    phases: [u32; 2],
    stride: [u32; 2],
    tap_step: [u32; 2],
    tap_move: [u32; 2],
    origin: [u32; 2],
    channels: u32,
    outputs: u32,
    groups: u32,
    count: u32,
    image_offset: u32,
    bias_offset: u32,
    weights_across: u32,
    first_unit: u32,
    end_unit: u32,
    span: u32,
    tiles: u32,
    accumulate: u32,
    weights_rows: u32,
    weights_offset: u32,
}

/// The sums that both a convolution and its input gradient are, as stated in `lib/convolution.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Of a group: those that are summed over, and those of the result.
    pub(super) channels: usize,
    pub(super) outputs: usize,
    /// Of the image that is read, and of the result.
    pub(super) size: [usize; 2],
    pub(super) written: [usize; 2],
    /// The window of the convolution, also for its gradient.
    pub(super) window: KernelWindow,
    /// Whether this is the input gradient of the convolution.
    pub(super) is_gradient: bool,
}

/// The epilogue of a correlation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<'a> {
    /// One element for each output of all groups.
    pub(super) bias: Option<&'a Tensor>,
    pub(super) activation: Option<Activation>,
}

impl Finish<'_> {
    /// Stores the sums unchanged.
    pub(super) const NONE: Self = Self { bias: None, activation: None };

    /// The activation in a kernel.
    pub(super) fn operation(&self, name: &'static str, dtype: DType) -> Result<Specialization, TensorError> {
        self.activation.map_or(Ok(AS_IT_IS), |activation| activation.on(name, dtype))
    }
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl Correlation {
    /// The shape of the result.
    pub(super) fn shape(&self) -> [usize; 4] {
        [self.batch, self.groups * self.outputs, self.written[0], self.written[1]]
    }

    /// The result of the kernel that suits the device and the sizes, or of `kernel`. `weight` has the convolution's shape.
    #[track_caller]
    pub(super) fn run(&self, image: &Tensor, weight: &Tensor, finish: Finish<'_>) -> Result<Tensor, TensorError> {
        let channels = self.channels;
        let dtype = image.dtype();
        if self.shape().contains(&0) {
            return image.new_empty(self.shape(), dtype);
        }
        if channels == 0 || self.size.contains(&0) {
            // There is no element to bind, and the sum of no elements is 0: that of a 0 that no window reads or of 0 times 0.
            let outputs = if self.is_gradient { [self.groups, self.outputs] } else { [self.groups * self.outputs, 1] };
            let [rows, columns] = self.window.kernel;
            let weight = Tensor::zeros(&image.pool(), [outputs[0], outputs[1], rows, columns], dtype)?;
            let image = Tensor::zeros(&image.pool(), [self.batch, self.groups, 1, 1], dtype)?;
            return Self { channels: 1, size: [1, 1], ..*self }.run(&image, &weight, finish);
        }
        let image = &image.contiguous()?;
        if self.is_matrix_product(finish) {
            return self.multiplied(image, weight);
        }
        let kernel = self.kernel(image);
        let weights = match kernel {
            Kernel::Small | Kernel::Rows => self.unpacked(&weight.contiguous()?.in_other_storage_than(image)?)?,
            _ => self.packed(weight, kernel)?,
        };
        let bias = match finish.bias {
            Some(bias) => {
                Some(bias.contiguous()?.in_other_storage_than(image)?.in_other_storage_than(&weights.tensor)?)
            }
            None => None,
        };
        let finish = Finish { bias: bias.as_ref(), ..finish };
        let units = self.units(kernel);
        let parts = self.parts(kernel, image);
        if parts > 1 {
            let shape = [&[parts], &self.shape()[..]].concat();
            let sums = image.new_empty(shape, dtype.number())?;
            index(self.name, sums.elements())?;
            self.dispatch(kernel, [&sums, image], &weights, Finish::NONE, 0..units, parts)?;
            let sum = sums.sum(0)?;
            let sum = match finish.bias {
                Some(bias) => sum.add(&bias.to(dtype.number())?.reshape([1, self.groups * self.outputs, 1, 1])?)?,
                None => sum,
            };
            return finish.activation.map_or(Ok(sum.clone()), |activation| activation.apply(&sum))?.to(dtype);
        }
        let most = if kernel.has_one_pass() { units.max(1) } else { self.most_units(kernel) };
        let is_whole = units <= most;
        // Sums that continue in the next dispatch are not rounded.
        let output = image.new_empty(self.shape(), if is_whole { dtype } else { dtype.number() })?;
        for first in (0..units).step_by(most) {
            let end = units.min(first + most);
            let finish = if end == units { finish } else { Finish::NONE };
            self.dispatch(kernel, [&output, image], &weights, finish, first..end, 1)?;
        }
        output.to(dtype)
    }

    /// Windows of the phases on each axis: places of the result, rounded up to whole phases.
    pub(super) fn windows(&self) -> [usize; 2] {
        let phases = self.phases();
        [0, 1].map(|axis| self.written[axis].div_ceil(phases[axis]))
    }

    pub(super) fn phases(&self) -> [usize; 2] {
        // The stride of a single window has no effect.
        [0, 1].map(|axis| if self.is_gradient && self.size[axis] != 1 { self.window.stride[axis] } else { 1 })
    }

    /// Places from one tap to the next; where there is one tap, none matters.
    fn dilation(&self) -> [usize; 2] {
        [0, 1].map(|axis| if self.window.kernel[axis] == 1 { 1 } else { self.window.dilation[axis] })
    }

    /// Taps from one tap of a phase to the next.
    pub(super) fn tap_step(&self) -> [usize; 2] {
        let (phases, dilation) = (self.phases(), self.dilation());
        [0, 1].map(|axis| phases[axis] / divisor(phases[axis], dilation[axis]))
    }

    /// Adds up a range of the K dimension, in parts; the first tensor is written.
    #[track_caller]
    fn dispatch(
        &self,
        kernel: Kernel,
        [output, image]: [&Tensor; 2],
        weights: &Weights,
        finish: Finish<'_>,
        units: std::ops::Range<usize>,
        parts: usize,
    ) -> Result<(), TensorError> {
        let Self { name, batch, groups, channels, outputs, size, written, window, .. } = *self;
        let number = |value| index(name, value);
        let pair =
            |[rows, columns]: [usize; 2]| -> Result<[u32; 2], TensorError> { Ok([number(rows)?, number(columns)?]) };
        // Kernels count positions in 32 bits, also within the padding.
        for axis in [0, 1] {
            let image = if self.is_gradient { written[axis] } else { size[axis] };
            number(arithmetic::padded_size(image, window.padding[axis]).unwrap_or(usize::MAX))?;
            number(window.extent(axis).unwrap_or(usize::MAX))?;
        }
        let (windows, phases, dilation, tap_step) = (self.windows(), self.phases(), self.dilation(), self.tap_step());
        let stride = [0, 1].map(|axis| {
            let is_one = self.is_gradient || written[axis] == 1;
            if is_one { 1 } else { window.stride[axis] }
        });
        let before = pair(window.padding.map(|[before, _]| before))?;
        // dilation · tap_step / phases, whose product may exceed 32 bits.
        let moves = pair([0, 1].map(|axis| dilation[axis] / divisor(phases[axis], dilation[axis])))?;
        // The gradient's taps go backwards, and the convolution starts before the image.
        let (origin, tap_move) = match self.is_gradient {
            true => (before, moves.map(u32::wrapping_neg)),
            false => (before.map(u32::wrapping_neg), moves),
        };
        let (column, windows) =
            if kernel.is_of_rows() { (COLUMNS_OF_ROWS, self.windows_of_rows()) } else { (1, windows) };
        let count = number(arithmetic::size_of(&[batch, windows[0], windows[1]], 1)?)?;
        let tile = kernel.tile();
        let (tiles, workgroups) = match kernel {
            Kernel::Single => {
                let rows = windows[0].div_ceil(SINGLE_ROWS);
                let tiles = arithmetic::size_of(&[batch, groups, outputs, rows, windows[1]], 1)?;
                let phases = [0, 1].map(|axis| phases[axis].min(written[axis]));
                let invocations = number(arithmetic::size_of(&[tiles, phases[0], phases[1]], 1)?)?;
                (number(tiles)?, invocations.div_ceil(workgroup_size(image)))
            }
            _ if kernel.is_of_rows() => (count.div_ceil(number(tile[1])?), number(self.workgroups_of_rows(tile))?),
            _ => (count.div_ceil(number(tile[1])?), number(self.workgroups(tile).saturating_mul(parts))?),
        };
        let bias = finish.bias.map(|bias| Placed::of(bias).bind_contiguous(name, 1)).transpose()?;
        let (source, image_offset) = Placed::of(image).bind_contiguous(name, column)?;
        let (of_weights, weights_offset) = Placed::of(&weights.tensor).bind_contiguous(name, 1)?;
        let params = Params {
            size: pair([size[0], size[1] / column])?,
            written: pair([written[0], written[1] / column])?,
            windows: pair(windows)?,
            kernel: pair(window.kernel)?,
            dilation: pair(dilation)?,
            phases: pair(phases)?,
            stride: pair(stride)?,
            tap_step: pair(tap_step)?,
            tap_move,
            origin,
            channels: number(channels)?,
            outputs: number(outputs)?,
            groups: number(groups)?,
            count,
            image_offset,
            bias_offset: bias.map_or(0, |(_, offset)| offset),
            weights_across: number(weights.across)?,
            first_unit: number(units.start)?,
            end_unit: number(units.end)?,
            span: number(units.len().div_ceil(parts))?,
            tiles,
            accumulate: u32::from(units.start > 0),
            weights_rows: number(weights.rows)?,
            weights_offset,
        };
        let is_vec4 = phases == [1, 1] && (written[0] * written[1]).is_multiple_of(FOUR);
        let variant = Variant {
            operation: finish.operation(name, image.dtype())?,
            bias: bias.is_some(),
            output: output.dtype(),
            ..Variant::plain(image.dtype())
        };
        let program = with_gpu(image, |gpu| kernel.shader(parts > 1, is_vec4).program(gpu, variant))?;
        let output = Placed::of(output).bind_whole(name)?;
        let mut bindings = [output, source, of_weights, output];
        let bound = match bias {
            Some((bias, _)) => {
                bindings[3] = bias;
                &bindings[..]
            }
            None => &bindings[..3],
        };
        let slices = (units.len().div_ceil(kernel.units_at_once())) as u64;
        let loops = match kernel {
            Kernel::Single => self.single_iterations(),
            Kernel::Small => self.small_iterations(),
            Kernel::Rows => self.rows_iterations(),
            Kernel::RowsTiled(number) => self.rows_in_tiles_iterations(number),
            _ => iterations(slices, 0) + 1 + kernel.preparation() + self.other_iterations(),
        };
        launch(name, &program, bound, bytemuck::bytes_of(&params), grid(workgroups), loops)
    }
}
