//! Images in another size.

use super::super::shader::{AS_IT_IS, Operation, Shader, UPSAMPLE, UPSAMPLE_BACK};
use super::{Planes, Run, Window};
use crate::error::TensorError;
use crate::tensor::Tensor;

const BILINEAR: Operation =
    Operation::of_lines("bilinear", &[["const BILINEAR: bool = false;", "const BILINEAR: bool = true;"]]);

/// Every way there is.
#[cfg(test)]
pub(in crate::ops) const ALL: [Operation; 2] = [AS_IT_IS, BILINEAR];

impl Tensor {
    /// The images in another size, (height, width), each element that of the nearest place: (n, c, h, w) gives (n, c, size). For
    /// f32 and f16. Equals `torch.nn.functional.interpolate(size, mode="nearest")`.
    ///
    /// # Errors
    /// [`TensorError::Axis`] unless it has four dimensions, [`TensorError::Empty`] of images without elements,
    /// [`TensorError::NotDefined`] for integers; as [`Tensor::empty`].
    #[track_caller]
    pub fn upsample_nearest(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.resampled("upsample_nearest", AS_IT_IS, size)
    }

    /// The images in another size, each element a mean of the four nearest places by their distance. Equals
    /// `torch.nn.functional.interpolate(size, mode="bilinear", align_corners=False)`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_bilinear(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.resampled("upsample_bilinear", BILINEAR, size)
    }

    /// The gradient of [`Tensor::upsample_nearest`] by its input, whose images were of this size; `self` is the gradient of the
    /// result. For f32 and f16. Equals what
    /// `torch.nn.functional.interpolate(x, size, mode="nearest").backward(gradient)` leaves in `x.grad`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_nearest_backward(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.gathered_back("upsample_nearest_backward", AS_IT_IS, size)
    }

    /// The gradient of [`Tensor::upsample_bilinear`] by its input, whose images were of this size; `self` is the gradient of the
    /// result. For f32 and f16. Equals what
    /// `torch.nn.functional.interpolate(x, size, mode="bilinear").backward(gradient)` leaves in `x.grad`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_bilinear_backward(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.gathered_back("upsample_bilinear_backward", BILINEAR, size)
    }

    #[track_caller]
    fn resampled(&self, name: &'static str, operation: Operation, size: [usize; 2]) -> Result<Self, TensorError> {
        let planes = self.check_sizes(name, size)?;
        self.run_resampled(name, &UPSAMPLE, operation, planes, size, planes.shape(size))
    }

    #[track_caller]
    fn gathered_back(&self, name: &'static str, operation: Operation, size: [usize; 2]) -> Result<Self, TensorError> {
        let own = self.check_sizes(name, size)?;
        let planes = Planes { size, ..own };
        self.run_resampled(name, &UPSAMPLE_BACK, operation, planes, own.size, planes.shape(size))
    }

    #[track_caller]
    fn run_resampled(
        &self,
        name: &'static str,
        shader: &Shader,
        operation: Operation,
        planes: Planes,
        out: [usize; 2],
        shape: [usize; 4],
    ) -> Result<Self, TensorError> {
        let result = self.beside(shape, self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { name, shader, operation, planes, out, window: Window::square(1), scale: 1.0, input: &input };
        run.over(&[&result, &input], result.elements())?;
        Ok(result)
    }

    fn check_sizes(&self, name: &'static str, size: [usize; 2]) -> Result<Planes, TensorError> {
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        if planes.size.contains(&0) || size.contains(&0) {
            return Err(TensorError::Empty { operation: name, shape: self.shape().to_vec() });
        }
        Ok(planes)
    }
}
