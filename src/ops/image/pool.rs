//! Pooling: one number for each place of a window.

use super::super::launch::check_pools;
use super::super::shader::{AS_IT_IS, AVERAGE_POOL, AVERAGE_POOL_BACK, MAX_POOL, MAX_POOL_BACK};
use super::{Planes, Run, Window};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

impl Tensor {
    /// The largest element under each place of a window, and where in its plane it is, as u32: (n, c, h, w) gives (n, c, places)
    /// twice. Of several the first; what is not a number is the largest. For f32 and f16. Equals
    /// `torch.nn.functional.max_pool2d(return_indices=True)`.
    ///
    /// # Errors
    /// [`TensorError::Axis`] unless it has four dimensions, [`TensorError::Window`] if the window doesn't fit, or could lie wholly
    /// beyond an edge, [`TensorError::NotDefined`] for integers; as [`Tensor::empty`].
    #[track_caller]
    pub fn max_pool2d(&self, window: Window) -> Result<(Self, Self), TensorError> {
        let name = "max_pool2d";
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let Window { kernel, stride, padding } = window;
        if (0..2).any(|axis| padding[axis] * 2 > kernel[axis]) {
            return Err(TensorError::Window { operation: name, size: planes.size, kernel, stride, padding });
        }
        let largest = self.beside(planes.shape(out), self.dtype())?;
        let places = self.beside(planes.shape(out), DType::U32)?;
        let input = self.contiguous()?;
        let run = Run { name, shader: &MAX_POOL, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        run.over(&[&largest, &places, &input], largest.elements())?;
        Ok((largest, places))
    }

    /// The gradient of [`Tensor::max_pool2d`] by its input, of this shape; `self` is the gradient of its first result, `places` its
    /// second one. For f32 and f16. Equals what
    /// `torch.nn.functional.max_pool2d(x, …).backward(gradient)` leaves in `x.grad`.
    ///
    /// # Errors
    /// As [`Tensor::max_pool2d`]; [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::Pools`].
    #[track_caller]
    pub fn max_pool2d_backward(&self, places: &Self, input: [usize; 4], window: Window) -> Result<Self, TensorError> {
        let name = "max_pool2d_backward";
        self.check_real(name)?;
        let planes = Planes::of(name, &input)?;
        let out = window.out(name, planes.size)?;
        self.check_shape(name, &planes.shape(out))?;
        places.check_shape(name, &planes.shape(out))?;
        if places.dtype() != DType::U32 {
            let (left, right) = (places.dtype().name(), DType::U32.name());
            return Err(TensorError::DType { operation: name, left, right });
        }
        check_pools(name, self, places)?;
        let result = self.beside(input, self.dtype())?;
        let gradient = self.contiguous()?;
        let places = places.whole()?;
        let run = Run {
            name,
            shader: &MAX_POOL_BACK,
            operation: AS_IT_IS,
            planes,
            out,
            window,
            scale: 1.0,
            input: &gradient,
        };
        run.over(&[&result, &gradient, &places], result.elements())?;
        Ok(result)
    }

    /// The mean under each place of a window, zeros beyond the edges included: (n, c, h, w) gives (n, c, places). For f32 and f16.
    /// Equals `torch.nn.functional.avg_pool2d`.
    ///
    /// # Errors
    /// [`TensorError::Axis`], [`TensorError::Window`], [`TensorError::NotDefined`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn avg_pool2d(&self, window: Window) -> Result<Self, TensorError> {
        let name = "avg_pool2d";
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let averages = self.beside(planes.shape(out), self.dtype())?;
        let input = self.contiguous()?;
        let scale = area_of(window);
        let run = Run { name, shader: &AVERAGE_POOL, operation: AS_IT_IS, planes, out, window, scale, input: &input };
        run.over(&[&averages, &input], averages.elements())?;
        Ok(averages)
    }

    /// The gradient of [`Tensor::avg_pool2d`] by its input, of this shape; `self` is the gradient of the result. For f32
    /// and f16. Equals what `torch.nn.functional.avg_pool2d(x, …).backward(gradient)` leaves in `x.grad`.
    ///
    /// # Errors
    /// As [`Tensor::avg_pool2d`]; [`TensorError::Shape`].
    #[track_caller]
    pub fn avg_pool2d_backward(&self, input: [usize; 4], window: Window) -> Result<Self, TensorError> {
        let name = "avg_pool2d_backward";
        self.check_real(name)?;
        let planes = Planes::of(name, &input)?;
        let out = window.out(name, planes.size)?;
        self.check_shape(name, &planes.shape(out))?;
        let result = self.beside(input, self.dtype())?;
        let gradient = self.contiguous()?;
        let scale = area_of(window);
        let shader = &AVERAGE_POOL_BACK;
        let run = Run { name, shader, operation: AS_IT_IS, planes, out, window, scale, input: &gradient };
        run.over(&[&result, &gradient], result.elements())?;
        Ok(result)
    }
}

/// What the sum under a window is divided by for the mean.
fn area_of(window: Window) -> f32 {
    (window.kernel[0] * window.kernel[1]) as f32
}
