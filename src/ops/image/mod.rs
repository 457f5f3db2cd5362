//! Kernels over images, (batch, channels, height, width): convolution, pooling, unfolding, and resizing.

mod bands;
mod blocks;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod convolution_tests;
mod convolve;
mod correlate;
mod correlation_kernel;
mod correlation_rows;
mod correlation_weights;
mod folded_gradient;
mod options;
mod passes;
mod patches;
mod pointwise;
mod pool;
mod resample;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod rows_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod special_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
mod weight_gradient;
mod weight_kernel;
mod weight_parts;
mod weight_sum;
mod weight_tile;

#[cfg(all(test, not(target_arch = "wasm32")))]
pub(super) use correlation_kernel::{Kernel as CorrelationKernel, forced as forced_correlation};
#[cfg(test)]
pub(super) use correlation_rows::ROWS_KERNELS;
#[cfg(test)]
pub(super) use resample::ALL as RESAMPLING;
#[cfg(test)]
pub(super) use weight_kernel::BYTES_OF_WEIGHT_ROWS;
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(super) use weight_kernel::{Kernel as WeightKernel, forced as forced_weight};
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(super) use weight_sum::sum_of_parts;

use super::launch::{grid, index, launch, with_gpu, workgroup_size};
use super::placed::Placed;
use super::shader::{AS_IT_IS, Shader, Specialization, Variant};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};
use options::KernelWindow;
pub use options::{AvgPool2d, Conv2d, MaxPool2d, Padding, Unfold};
use passes::Pass;
pub use resample::Corners;

/// The parameters of `lib/image.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Params {
    size: [u32; 2],
    out: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    channels: u32,
    outputs: u32,
    span: u32,
    count: u32,
    input_offset: u32,
    scale: u32,
    tile_start: [u32; 2],
    tile_end: [u32; 2],
    pass_kind: u32,
    groups: u32,
    dilation: [u32; 2],
    counted_first: [u32; 2],
    counted_end: [u32; 2],
}

/// An image's planes, and the size of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planes {
    batch: usize,
    channels: usize,
    size: [usize; 2],
}

impl Planes {
    /// Images, or one image without a batch axis.
    fn of(name: &'static str, shape: &[usize]) -> Result<Self, TensorError> {
        match *shape {
            [channels, height, width] => Ok(Self { batch: 1, channels, size: [height, width] }),
            [batch, channels, height, width] => Ok(Self { batch, channels, size: [height, width] }),
            _ => Err(TensorError::dimensions(name, "input", shape, "3 or 4")),
        }
    }

    fn shape(&self, size: [usize; 2]) -> [usize; 4] {
        [self.batch, self.channels, size[0], size[1]]
    }
}

/// The name of the tensor whose method was called, in the errors of an operation on images.
fn receiver(name: &str) -> &'static str {
    if name.contains("_backward") { "gradient" } else { "input" }
}

/// One run of a kernel over images.
struct Run<'a> {
    name: &'static str,
    shader: &'a Shader,
    operation: Specialization,
    planes: Planes,
    out: [usize; 2],
    window: KernelWindow,
    /// The divisor of sums; 0 for the number of elements that count.
    scale: f32,
    /// The range of the padded image that counts in an average. Of resampling: the first rows of the band, and the heights.
    counted: [[usize; 2]; 2],
    /// The input, which may have an offset in its storage. All other tensors start at the start of their storages.
    input: &'a Tensor,
}

impl<'a> Run<'a> {
    /// Creates a run over one element; the caller sets further fields.
    fn new(name: &'static str, shader: &'a Shader, input: &'a Tensor) -> Self {
        let planes = Planes { batch: 1, channels: 1, size: [1; 2] };
        let (window, counted) = (KernelWindow::ONE, [[0; 2]; 2]);
        Self { name, shader, operation: AS_IT_IS, planes, out: [1; 2], window, scale: 1.0, counted, input }
    }

    /// Runs `count` invocations; the first tensor is written. `iterations` is the number of loop iterations of an invocation.
    fn over(&self, bound: &[&'a Tensor], count: usize, iterations: u64) -> Result<(), TensorError> {
        self.pass(bound, count, Pass::WHOLE, iterations)
    }

    /// Runs `count` invocations of one pass.
    fn pass(&self, bound: &[&'a Tensor], count: usize, pass: Pass, iterations: u64) -> Result<(), TensorError> {
        let workgroups = count.div_ceil(workgroup_size(self.input) as usize);
        self.convolving(bound, Convolved { pass, ..Convolved::default() }, count, workgroups, iterations)
    }

    /// Runs workgroups of a kernel whose output has other channels than the image.
    fn convolving(
        &self,
        bound: &[&'a Tensor],
        Convolved { outputs, span, groups, pass }: Convolved,
        count: usize,
        workgroups: usize,
        iterations: u64,
    ) -> Result<(), TensorError> {
        if count == 0 {
            return Ok(());
        }
        let Self { name, planes, out, window, counted, .. } = *self;
        let number = |value| index(name, value);
        // Kernels compute positions in the padded image in 32 bits.
        for axis in [0, 1] {
            number(arithmetic::padded_size(planes.size[axis], window.padding[axis]).unwrap_or(usize::MAX))?;
            number(window.extent(axis).unwrap_or(usize::MAX))?;
        }
        // With a single window along an axis, its stride has no effect and may exceed 32 bits.
        let stride = [0, 1].map(|axis| if out[axis] == 1 { 1 } else { window.stride[axis] });
        // The same applies to the dilation of a single tap.
        let dilation = [0, 1].map(|axis| if window.kernel[axis] == 1 { 1 } else { window.dilation[axis] });
        let before = window.padding.map(|[before, _]| before);
        let pair =
            |[rows, columns]: [usize; 2]| -> Result<[u32; 2], TensorError> { Ok([number(rows)?, number(columns)?]) };
        let (input, input_offset) = Placed::of(self.input).bind_contiguous(name, 1)?;
        let bind = |tensor: &&'a Tensor| match std::ptr::eq(*tensor, self.input) {
            true => Ok(input),
            false => Placed::of(tensor).bind_whole(name),
        };
        let bindings: Vec<_> = bound.iter().map(bind).collect::<Result<_, TensorError>>()?;
        let params = Params {
            size: pair(planes.size)?,
            out: pair(out)?,
            kernel: pair(window.kernel)?,
            stride: pair(stride)?,
            padding: pair(before)?,
            channels: number(planes.channels)?,
            outputs: number(outputs)?,
            span: number(span)?,
            count: number(count)?,
            input_offset,
            scale: self.scale.to_bits(),
            tile_start: pair(pass.start)?,
            tile_end: pair(pass.end)?,
            pass_kind: pass.kind(),
            groups: number(groups)?,
            dilation: pair(dilation)?,
            counted_first: pair(counted[0])?,
            counted_end: pair(counted[1])?,
        };
        let written = bound.first().map_or(self.input.dtype(), |tensor| tensor.dtype());
        let variant = Variant { operation: self.operation, output: written, ..Variant::plain(self.input.dtype()) };
        let program = with_gpu(self.input, |gpu| self.shader.program(gpu, variant))?;
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), grid(number(workgroups)?), iterations)
    }
}

/// The parameters of a kernel in addition to the image and the window.
#[derive(Clone, Copy, Debug)]
struct Convolved {
    outputs: usize,
    span: usize,
    groups: usize,
    pass: Pass,
}

impl Default for Convolved {
    fn default() -> Self {
        Self { outputs: 0, span: 0, groups: 1, pass: Pass::WHOLE }
    }
}

/// Returns the shape of a result for images of this shape: without a batch axis if they have none.
fn shape_like(images: &[usize], shape: [usize; 4]) -> Vec<usize> {
    if images.len() == 3 { shape[1..].to_vec() } else { shape.to_vec() }
}

impl Tensor {
    /// Whether this tensor or a contiguous copy of it, or results of this shape, take more than one block.
    fn exceeds_a_block(&self, results: &[usize]) -> bool {
        let elements = self.elements().max(arithmetic::elements(results));
        let bytes = arithmetic::bytes(elements, self.dtype().number().bytes());
        self.is_divided() || bytes > self.any_storage().largest_block()
    }

    /// The tensor with four axes: an image without a batch axis becomes a batch of one.
    fn as_batch(&self) -> Result<Self, TensorError> {
        if self.rank() == 3 { self.unsqueeze(0) } else { Ok(self.clone()) }
    }

    /// Checks the shape of an argument of the operation `name`, which follows from the shape of the argument `by`.
    fn check_shape(
        &self,
        (name, argument): (&'static str, &'static str),
        wanted: &[usize],
        (by, of): (&'static str, &[usize]),
    ) -> Result<(), TensorError> {
        if self.shape() == wanted {
            return Ok(());
        }
        let required = ShapeRequirement::Exactly { shape: wanted.to_vec(), by: by.into(), of: of.to_vec() };
        Err(TensorError::shape(name, argument, self.shape(), required))
    }
}
