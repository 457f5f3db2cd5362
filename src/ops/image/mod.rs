//! Kernels over images, (batch, channels, height, width): windows that move over them, and other sizes.

mod convolve;
mod passes;
mod pool;
mod resample;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

#[cfg(test)]
pub(super) use resample::ALL as RESAMPLING;

use super::launch::{WORKGROUP, grid, index, launch, with_gpu};
use super::placed::Placed;
use super::shader::{Operation, Shader, Variant};
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};
use bytemuck::{Pod, Zeroable};
use passes::Pass;

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
    unused: u32,
}

const _: () = assert!(size_of::<Params>() == super::shader::IMAGE_BYTES as usize);

/// A window that moves over an image. Sizes are (height, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// How far it moves from one place to the next.
    pub stride: [usize; 2],
    /// Places by which the image is widened on each side, with zeros; for a maximum, with nothing.
    pub padding: [usize; 2],
}

impl Window {
    /// A square window that moves by its own size, over no padding, as PyTorch's pooling does if nothing else is said.
    #[must_use]
    pub const fn square(size: usize) -> Self {
        Self { kernel: [size; 2], stride: [size; 2], padding: [0; 2] }
    }

    /// Where it stops on an image of this size: on each axis ⌊(size + 2 padding − kernel) / stride⌋ + 1 places.
    fn out(&self, name: &'static str, size: [usize; 2]) -> Result<[usize; 2], TensorError> {
        let Self { kernel, stride, padding } = *self;
        let along = |axis: usize| arithmetic::window_positions(size[axis], kernel[axis], stride[axis], padding[axis]);
        match (along(0), along(1)) {
            (Some(rows), Some(columns)) => Ok([rows, columns]),
            _ => Err(TensorError::Window { operation: name, size, kernel, stride, padding }),
        }
    }
}

/// Places of the image that lie under a window, at most, on each axis.
fn places_under(window: Window, size: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| window.kernel[axis].min(size[axis]))
}

/// Windows that cover a place of the image, at most, on each axis.
fn windows_over(window: Window, out: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| window.kernel[axis].div_ceil(window.stride[axis]).min(out[axis]))
}

/// An image's planes, and the size of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planes {
    batch: usize,
    channels: usize,
    size: [usize; 2],
}

impl Planes {
    fn of(name: &'static str, shape: &[usize]) -> Result<Self, TensorError> {
        match *shape {
            [batch, channels, height, width] => Ok(Self { batch, channels, size: [height, width] }),
            _ => Err(TensorError::Dimensions { operation: name, wanted: "4", shape: shape.to_vec() }),
        }
    }

    fn shape(&self, size: [usize; 2]) -> [usize; 4] {
        [self.batch, self.channels, size[0], size[1]]
    }
}

/// One run of a kernel over images.
struct Run<'a> {
    name: &'static str,
    shader: &'a Shader,
    operation: Operation,
    planes: Planes,
    out: [usize; 2],
    window: Window,
    scale: f32,
    /// The tensor that is read and may begin anywhere in its storage. All others are bound from their storage's start.
    input: &'a Tensor,
}

impl<'a> Run<'a> {
    /// Runs `count` invocations; the first tensor is written. `iterations` are those of an invocation's loops.
    fn over(&self, bound: &[&'a Tensor], count: usize, iterations: u64) -> Result<(), TensorError> {
        self.pass(bound, count, Pass::WHOLE, iterations)
    }

    /// Runs `count` invocations of one pass.
    fn pass(&self, bound: &[&'a Tensor], count: usize, pass: Pass, iterations: u64) -> Result<(), TensorError> {
        let workgroups = count.div_ceil(WORKGROUP as usize);
        self.convolving(bound, Convolved { pass, ..Convolved::default() }, count, workgroups, iterations)
    }

    /// Runs some workgroups of a kernel that makes other channels of those that the image has.
    fn convolving(
        &self,
        bound: &[&'a Tensor],
        Convolved { outputs, span, pass }: Convolved,
        count: usize,
        workgroups: usize,
        iterations: u64,
    ) -> Result<(), TensorError> {
        if count == 0 {
            return Ok(());
        }
        let Self { name, planes, out, window, .. } = *self;
        let number = |value| index(name, value);
        // Also of padded sizes kernels count places in 32 bits.
        for axis in [0, 1] {
            number(arithmetic::padded_size(planes.size[axis], window.padding[axis]).unwrap_or(usize::MAX))?;
        }
        // Where there is one window only, no stride matters.
        let stride = [0, 1].map(|axis| if out[axis] == 1 { 1 } else { window.stride[axis] });
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
            padding: pair(window.padding)?,
            channels: number(planes.channels)?,
            outputs: number(outputs)?,
            span: number(span)?,
            count: number(count)?,
            input_offset,
            scale: self.scale.to_bits(),
            tile_start: pair(pass.start)?,
            tile_end: pair(pass.end)?,
            pass_kind: pass.kind(),
            unused: 0,
        };
        let written = bound.first().map_or(self.input.dtype(), |tensor| tensor.dtype());
        let variant = Variant { operation: self.operation, output: written, ..Variant::plain(self.input.dtype()) };
        let program = with_gpu(self.input, |gpu| self.shader.program(gpu, variant))?;
        launch(name, &program, &bindings, bytemuck::bytes_of(&params), grid(number(workgroups)?), iterations)
    }
}

/// What a convolution's kernels are told besides the image and the window.
#[derive(Clone, Copy, Debug, Default)]
struct Convolved {
    outputs: usize,
    span: usize,
    pass: Pass,
}

impl Tensor {
    fn check_real(&self, name: &'static str) -> Result<(), TensorError> {
        if self.dtype().is_floating_point() {
            return Ok(());
        }
        Err(TensorError::NotDefined { operation: name, dtype: self.dtype().name() })
    }

    fn check_shape(&self, name: &'static str, wanted: &[usize]) -> Result<(), TensorError> {
        if self.shape() == wanted {
            return Ok(());
        }
        Err(TensorError::Shape { operation: name, left: self.shape().to_vec(), right: wanted.to_vec() })
    }
}
