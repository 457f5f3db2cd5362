//! Pooling: one number for each place of a window.

use super::super::launch::check_pools;
use super::super::shader::{AS_IT_IS, AVERAGE_POOL, AVERAGE_POOL_BACK, MAX_POOL, MAX_POOL_BACK};
use super::{Planes, Run, Window, places_under, windows_over};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

impl Tensor {
    /// The largest element under each place of a window, and where in its plane it is, as u32: (n, c, h, w) gives (n, c, places)
    /// twice. Of several the first; what is not a number is the largest. For f32 and f16. Equals
    /// `torch.nn.functional.max_pool2d(return_indices=True)`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless it has four dimensions, [`TensorError::Window`] if the window doesn't fit, or could lie wholly
    /// beyond an edge, [`TensorError::NotDefined`] for integers; as [`Tensor::empty`].
    #[track_caller]
    pub fn max_pool2d(&self, window: Window) -> Result<(Self, Self), TensorError> {
        let name = "max_pool2d";
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let Window { kernel, stride, padding } = window;
        // Twice the padding is no overflow: the window fits.
        if (0..2).any(|axis| padding[axis] > kernel[axis] / 2) {
            return Err(TensorError::Window { operation: name, size: planes.size, kernel, stride, padding });
        }
        let largest = self.new_empty(planes.shape(out), self.dtype())?;
        let places = self.new_empty(planes.shape(out), DType::U32)?;
        let input = self.contiguous()?;
        let run = Run { name, shader: &MAX_POOL, operation: AS_IT_IS, planes, out, window, scale: 1.0, input: &input };
        let extent = places_under(window, planes.size);
        run.in_passes(&[&largest, &places, &input], largest.elements(), extent, 0)?;
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
        run.sums(input, &[&gradient, &places], windows_over(window, out), 0)
    }

    /// The mean under each place of a window, zeros beyond the edges included: (n, c, h, w) gives (n, c, places). For f32 and f16.
    /// Equals `torch.nn.functional.avg_pool2d`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`], [`TensorError::Window`], [`TensorError::NotDefined`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn avg_pool2d(&self, window: Window) -> Result<Self, TensorError> {
        let name = "avg_pool2d";
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        let out = window.out(name, planes.size)?;
        let input = self.contiguous()?;
        let scale = area_of(window);
        let run = Run { name, shader: &AVERAGE_POOL, operation: AS_IT_IS, planes, out, window, scale, input: &input };
        run.sums(planes.shape(out), &[&input], places_under(window, planes.size), 0)
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
        let gradient = self.contiguous()?;
        let scale = area_of(window);
        let shader = &AVERAGE_POOL_BACK;
        let run = Run { name, shader, operation: AS_IT_IS, planes, out, window, scale, input: &gradient };
        run.sums(input, &[&gradient], windows_over(window, out), 0)
    }
}

/// Places of a window, by which its mean divides.
#[expect(clippy::cast_possible_truncation, reason = "the divisor of a mean is rounded to f32")]
fn area_of(window: Window) -> f32 {
    (window.kernel[0] as f64 * window.kernel[1] as f64) as f32
}
