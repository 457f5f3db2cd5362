//! Resizing of images.

use super::super::launch::iterations;
use super::super::shader::{AS_IT_IS, Specialization, UPSAMPLE, UPSAMPLE_BACK};
use super::blocks::{Band, BandPiece, band_pieces, plane_pieces};
use super::{Planes, Run, shape_like};
use crate::error::TensorError;
use crate::tensor::Tensor;
use std::ops::Range;

/// The longest axis of which `lib/resample.wgsl` gives places exactly. In f32 such an axis alone has 4 GiB.
const LONGEST_AXIS: usize = (1 << 30) - 1;

/// Loop iterations of a division of 64 bits.
const DIVISION: u64 = iterations(32, 0);

const BILINEAR: Specialization = Specialization::new("bilinear", &[["BILINEAR", "true"]]);

const BILINEAR_ALIGNED: Specialization =
    Specialization::new("bilinear_aligned", &[["BILINEAR", "true"], ["ALIGNED", "true"]]);

/// Every variant.
#[cfg(test)]
pub(in crate::ops) const ALL: [Specialization; 3] = [AS_IT_IS, BILINEAR, BILINEAR_ALIGNED];

/// The points of two images of different size that coincide, PyTorch's argument `align_corners`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Corners {
    /// The outer corners of the images, with elements as squares: position i is at (i + 1/2) · h / height − 1/2 of the
    /// original, clamped to its range. Equals `align_corners=False`, PyTorch's default.
    #[default]
    Outer,
    /// The centers of the elements in the corners: position i is at i · (h − 1) / (height − 1) of the original, or at 0
    /// if there is only one position. Equals `align_corners=True`.
    Centers,
}

impl Corners {
    fn operation(self) -> Specialization {
        match self {
            Self::Outer => BILINEAR,
            Self::Centers => BILINEAR_ALIGNED,
        }
    }
}

impl Tensor {
    /// Resizes images to (height, width). Element i along an axis is the nearest element, ⌊i · h / height⌋, in exact arithmetic.
    /// (n, c, h, w), or (c, h, w) without a batch axis, gives (n, c, size). For f32 and f16. Equals
    /// `torch.nn.functional.interpolate(size, mode="nearest")`.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] unless there are three or four dimensions, [`TensorError::Empty`] for images without elements,
    /// [`TensorError::NotDefined`] for integers, [`TensorError::TooManyElements`] for an axis of 2^30 elements or more; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn upsample_nearest(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.resampled("upsample_nearest", AS_IT_IS, size)
    }

    /// Resizes images to (height, width) with bilinear interpolation: each element is the mean of the four nearest
    /// elements, weighted by distance. `corners` selects the points of both images that coincide. Shapes and dtypes are
    /// those of [`Tensor::upsample_nearest`]. Distances are exact for every size. Elements of weight 0 do not
    /// contribute, also if they are NaN or infinite. Equals
    /// `torch.nn.functional.interpolate(size, mode="bilinear", align_corners)`, in which NaN or infinity of weight 0
    /// gives NaN.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Corners, Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let image = Tensor::from_slice(&pool, &[0.0_f32, 3.0], [1, 1, 2])?;
    /// let wide = image.upsample_bilinear([1, 4], Corners::Centers)?;
    /// assert_eq!(wide.read_blocking::<f32>()?, [0.0, 1.0, 2.0, 3.0]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn upsample_bilinear(&self, size: [usize; 2], corners: Corners) -> Result<Self, TensorError> {
        self.resampled("upsample_bilinear", corners.operation(), size)
    }

    /// Returns the gradient of [`Tensor::upsample_nearest`] with respect to its input, whose images have the given
    /// size. `self` is the gradient of the result. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.interpolate(x, size, mode="nearest").backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_nearest_backward(&self, size: [usize; 2]) -> Result<Self, TensorError> {
        self.gathered_back("upsample_nearest_backward", AS_IT_IS, size)
    }

    /// Returns the gradient of [`Tensor::upsample_bilinear`] with respect to its input, whose images have the given
    /// size. `self` is the gradient of the result. For f32 and f16. Equals `x.grad` after
    /// `torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners).backward(gradient)`.
    ///
    /// # Errors
    /// As [`Tensor::upsample_nearest`].
    #[track_caller]
    pub fn upsample_bilinear_backward(&self, size: [usize; 2], corners: Corners) -> Result<Self, TensorError> {
        self.gathered_back("upsample_bilinear_backward", corners.operation(), size)
    }

    #[track_caller]
    fn resampled(&self, name: &'static str, operation: Specialization, out: [usize; 2]) -> Result<Self, TensorError> {
        let planes = self.check_sizes(name, out)?;
        let result = self.new_empty(shape_like(self.shape(), planes.shape(out)), self.dtype())?;
        if self.exceeds_a_block(result.shape()) {
            // Rows of nearest neighbours at a whole factor do not depend on each other.
            let factor = out[0] / planes.size[0];
            let is_whole = operation == AS_IT_IS && factor * planes.size[0] == out[0];
            match plane_pieces(name, self.rank() - 2, &[&result], &[self]) {
                Ok(pieces) => {
                    for piece in pieces {
                        piece[0].copy_(&piece[1].resampled(name, operation, out)?)?;
                    }
                }
                Err(TensorError::SeveralBlocks { .. }) if is_whole => {
                    let needed = |rows: &Range<usize>| {
                        Some(Band { rows: rows.start / factor..rows.end / factor, padding: [0; 2] })
                    };
                    for BandPiece { outputs, input, windows, .. } in
                        band_pieces(name, &[&result], self, factor, &needed)?
                    {
                        outputs[0].copy_(&input.resampled(name, operation, [windows.len(), out[1]])?)?;
                    }
                }
                Err(error) => return Err(error),
            }
            return Ok(result);
        }
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, ..Run::new(name, &UPSAMPLE, &input) };
        run.over(&[&result, &input], result.elements(), 2 * DIVISION)?;
        Ok(result)
    }

    #[track_caller]
    fn gathered_back(
        &self,
        name: &'static str,
        operation: Specialization,
        size: [usize; 2],
    ) -> Result<Self, TensorError> {
        let own = self.check_sizes(name, size)?;
        let (planes, out) = (Planes { size, ..own }, own.size);
        let shape = shape_like(self.shape(), planes.shape(size));
        if self.exceeds_a_block(&shape) {
            let result = self.new_empty(&shape, self.dtype())?;
            for piece in plane_pieces(name, self.rank() - 2, &[&result], &[self])? {
                piece[0].copy_(&piece[1].gathered_back(name, operation, size)?)?;
            }
            return Ok(result);
        }
        let input = self.contiguous()?;
        let run = Run { operation, planes, out, ..Run::new(name, &UPSAMPLE_BACK, &input) };
        // An upper bound of the number of outputs that read one input element: out / size for nearest, twice as many for
        // bilinear, plus one at each end for rounding. With aligned corners, both sizes are one less.
        let takers = |axis: usize| {
            let (out, size) = (out[axis], size[axis]);
            let each = match operation == BILINEAR_ALIGNED {
                true if size == 1 => out,
                true => (2 * (out - 1)).div_ceil(size - 1),
                false => (2 * out).div_ceil(size),
            };
            each.saturating_add(2).min(out)
        };
        run.sums(&shape, &[&input], [takers(0), takers(1)], 4 * DIVISION)
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
