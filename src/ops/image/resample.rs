//! Images in another size.

use super::super::launch::iterations;
use super::super::shader::{AS_IT_IS, Operation, UPSAMPLE, UPSAMPLE_BACK};
use super::{Planes, Run, shape_like};
use crate::error::TensorError;
use crate::tensor::Tensor;

/// The longest axis of which `lib/resample.wgsl` gives places exactly. In f32 such an axis alone has 4 GiB.
const LONGEST_AXIS: usize = (1 << 30) - 1;

/// Loop iterations of a division of 64 bits.
const DIVISION: u64 = iterations(32, 0);

const BILINEAR: Operation =
    Operation::of_lines("bilinear", &[["const BILINEAR: bool = false;", "const BILINEAR: bool = true;"]]);

/// Every way there is.
#[cfg(test)]
pub(in crate::ops) const ALL: [Operation; 2] = [AS_IT_IS, BILINEAR];

impl Tensor {
    /// The images in another size, (height, width), each element that of the nearest place, ⌊i · h / height⌋ in exact arithmetic:
    /// (n, c, h, w), or (c, h, w) without a batch axis, gives (n, c, size). For f32 and f16. Equals `torch.nn.functional.interpolate(size, mode="nearest")`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless it has three or four dimensions, [`TensorError::Empty`] of images without elements,
    /// [`TensorError::NotDefined`] for integers, [`TensorError::TooManyElements`] of an axis of 2^30 places or more; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn upsample_nearest(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.resampled("upsample_nearest", AS_IT_IS, size)
    }

    /// The images in another size, each element a mean of the four nearest places by their distance. A place whose weight is 0 is left
    /// out, whatever is there. Equals `torch.nn.functional.interpolate(size, mode="bilinear", align_corners=False)`, which makes NaN of a
    /// NaN or an infinity at such a place.
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
    fn resampled(&self, name: &'static str, operation: Operation, out: [usize; 2]) -> Result<Self, TensorError> {
        let planes = self.check_sizes(name, out)?;
        let result = self.new_empty(shape_like(self.shape(), planes.shape(out)), self.dtype())?;
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, ..Run::new(name, &UPSAMPLE, &input) };
        run.over(&[&result, &input], result.elements(), 2 * DIVISION)?;
        Ok(result)
    }

    #[track_caller]
    fn gathered_back(&self, name: &'static str, operation: Operation, size: [usize; 2]) -> Result<Self, TensorError> {
        let own = self.check_sizes(name, size)?;
        let (planes, out) = (Planes { size, ..own }, own.size);
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, ..Run::new(name, &UPSAMPLE_BACK, &input) };
        // Places that take from one: from out / size of them the nearest form, from twice as many the bilinear one, and those
        // that the ends of the range are rounded to.
        let takers = |axis: usize| (2 * out[axis]).div_ceil(size[axis]).saturating_add(2).min(out[axis]);
        run.sums(&shape_like(self.shape(), planes.shape(size)), &[&input], [takers(0), takers(1)], 4 * DIVISION)
    }

    fn check_sizes(&self, name: &'static str, size: [usize; 2]) -> Result<Planes, TensorError> {
        self.check_real(name)?;
        let planes = Planes::of(name, self.shape())?;
        if planes.size.contains(&0) || size.contains(&0) {
            return Err(TensorError::Empty { operation: name, shape: self.shape().to_vec() });
        }
        for axis in planes.size.into_iter().chain(size) {
            if axis > LONGEST_AXIS {
                let (elements, limit) = (axis as u64, LONGEST_AXIS as u64);
                return Err(TensorError::TooManyElements { operation: name, elements, limit });
            }
        }
        Ok(planes)
    }
}
