//! Convolutions, as products of matrices over unfolded images.

use super::super::launch::{check_kinds, with_gpu};
use super::super::shader::{AS_IT_IS, FOLD, UNFOLD};
use super::{Planes, Run, Window};
use crate::device::Memory;
use crate::error::TensorError;
use crate::tensor::Tensor;

/// Bytes that an unfolded part of a batch may have, if a shader can be bound to as much; at least one image is unfolded at a time.
const MOST_COLUMNS: u64 = 256 << 20;

impl Tensor {
    /// The patches under a window as columns: (n, c, h, w) gives (n, c · kernel places, windows), channels outermost. For every
    /// dtype. Equals `torch.nn.functional.unfold` without dilation.
    ///
    /// # Errors
    /// [`TensorError::Axis`] unless it has four dimensions, [`TensorError::Window`] if the window doesn't fit; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn unfold(&self, window: Window) -> Result<Self, TensorError> {
        let name = "unfold";
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let lines = planes.channels * window.kernel[0] * window.kernel[1];
        let columns = self.beside([planes.batch, lines, out[0] * out[1]], self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { name, shader: &UNFOLD, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        run.over(&[&columns, &input], columns.elements())?;
        Ok(columns)
    }

    /// Columns added up into an image of `size`, (height, width): the reverse of [`Tensor::unfold`], and its gradient. For every
    /// dtype. Equals `torch.nn.functional.fold` without dilation.
    ///
    /// # Errors
    /// [`TensorError::Shape`] unless the columns are those of such an image, [`TensorError::Window`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn fold(&self, size: [usize; 2], window: Window) -> Result<Self, TensorError> {
        let name = "fold";
        let out = window.out(name, size)?;
        let places = window.kernel[0] * window.kernel[1];
        let windows = out[0] * out[1];
        let &[batch, lines, count] = self.shape() else {
            let (left, right) = (self.shape().to_vec(), vec![0, places, windows]);
            return Err(TensorError::Shape { operation: name, left, right });
        };
        if lines % places != 0 || count != windows {
            let (left, right) = (self.shape().to_vec(), vec![batch, lines.next_multiple_of(places), windows]);
            return Err(TensorError::Shape { operation: name, left, right });
        }
        let planes = Planes { batch, channels: lines / places, size };
        let image = self.beside(planes.shape(size), self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { name, shader: &FOLD, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        run.over(&[&image, &input], image.elements())?;
        Ok(image)
    }

    /// The convolution (cross-correlation) with `weight`: (n, c, h, w) by (o, c, kernel) gives (n, o, windows), plus a bias of
    /// shape (o). The window's kernel must be the weight's. For every dtype. Equals `torch.nn.functional.conv2d` without
    /// dilation and groups.
    ///
    /// Cost: the images are unfolded, a part of the batch at a time, and multiplied: up to 256 MiB of memory besides the result, or
    /// what one unfolded image takes. That must not be more than a shader can be bound to: compute larger images in tiles.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Shape`], [`TensorError::Window`], [`TensorError::DType`], [`TensorError::Pools`];
    /// as [`Tensor::matmul`].
    #[track_caller]
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, window: Window) -> Result<Self, TensorError> {
        let convolution = Convolution::new("conv2d", self.shape(), weight.shape(), window)?;
        check_kinds("conv2d", self, weight)?;
        let Convolution { planes, outputs, lines, windows, out } = convolution;
        let matrix = weight.contiguous()?.reshape([outputs, lines])?;
        let output = self.beside([planes.batch, outputs, windows], self.dtype())?;
        for (start, length) in convolution.parts(self) {
            let columns = self.narrow(0, start, length)?.unfold(window)?;
            output.narrow(0, start, length)?.copy_(&matrix.matmul(&columns)?)?;
        }
        let output = match bias {
            Some(bias) => {
                bias.check_shape("conv2d", &[outputs])?;
                output.add(&bias.reshape([outputs, 1])?)?
            }
            None => output,
        };
        output.reshape([planes.batch, outputs, out[0], out[1]])
    }

    /// The gradient of [`Tensor::conv2d`] by its input, of this shape; `self` is the gradient of the result. Equals
    /// `torch.nn.grad.conv2d_input`.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_input(&self, input: [usize; 4], weight: &Self, window: Window) -> Result<Self, TensorError> {
        let name = "conv2d_input";
        let convolution = Convolution::new(name, &input, weight.shape(), window)?;
        check_kinds(name, self, weight)?;
        self.check_shape(name, &convolution.output())?;
        let Convolution { planes, outputs, lines, windows, .. } = convolution;
        let turned = weight.contiguous()?.reshape([outputs, lines])?.t()?;
        let gradient = self.contiguous()?.reshape([planes.batch, outputs, windows])?;
        let result = self.beside(input, self.dtype())?;
        for (start, length) in convolution.parts(self) {
            let columns = turned.matmul(&gradient.narrow(0, start, length)?)?;
            result.narrow(0, start, length)?.copy_(&columns.fold(planes.size, window)?)?;
        }
        Ok(result)
    }

    /// The gradient of [`Tensor::conv2d`] by its weight, of this shape; `self` is the gradient of the result. That by the bias is the
    /// sum over all axes but the channels'. Equals `torch.nn.grad.conv2d_weight`.
    ///
    /// # Errors
    /// As [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv2d_weight(&self, input: &Self, weight: [usize; 4], window: Window) -> Result<Self, TensorError> {
        let name = "conv2d_weight";
        let convolution = Convolution::new(name, input.shape(), &weight, window)?;
        check_kinds(name, self, input)?;
        self.check_shape(name, &convolution.output())?;
        let Convolution { planes, outputs, lines, windows, .. } = convolution;
        let gradient = self.contiguous()?.reshape([planes.batch, outputs, windows])?;
        let mut total = Self::zeros(&self.pool(), [outputs, lines], self.dtype())?;
        for (start, length) in convolution.parts(self) {
            let columns = input.narrow(0, start, length)?.unfold(window)?;
            let products = gradient.narrow(0, start, length)?.matmul(&columns.transpose(1, 2)?)?;
            total = total.add(&products.sum([0], false)?)?;
        }
        total.reshape(weight)
    }
}

/// What a convolution's operands come to.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    planes: Planes,
    outputs: usize,
    /// Elements of one output's weight, and of one window's column.
    lines: usize,
    windows: usize,
    out: [usize; 2],
}

impl Convolution {
    fn new(name: &'static str, input: &[usize], weight: &[usize], window: Window) -> Result<Self, TensorError> {
        let planes = Planes::of(name, input)?;
        let [rows, columns] = window.kernel;
        let &[outputs, channels, height, width] = weight else {
            return Err(TensorError::Axis { operation: name, axis: 3, rank: weight.len(), shape: weight.to_vec() });
        };
        if channels != planes.channels || [height, width] != window.kernel {
            let right = vec![outputs, planes.channels, rows, columns];
            return Err(TensorError::Shape { operation: name, left: weight.to_vec(), right });
        }
        let out = window.out(name, planes.size)?;
        Ok(Self { planes, outputs, lines: channels * rows * columns, windows: out[0] * out[1], out })
    }

    fn output(&self) -> [usize; 4] {
        [self.planes.batch, self.outputs, self.out[0], self.out[1]]
    }

    /// Parts of the batch that are unfolded together: the first image and how many.
    fn parts(&self, tensor: &Tensor) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = with_gpu(tensor, |gpu| gpu.limits().largest_binding.min(MOST_COLUMNS)) / tensor.dtype().bytes();
        let one = self.lines.saturating_mul(self.windows).max(1);
        let length = (usize::try_from(most).unwrap_or(usize::MAX) / one).max(1);
        let batch = self.planes.batch;
        (0..batch).step_by(length).map(move |start| (start, length.min(batch - start)))
    }
}
