//! Variance and standard deviation.

use super::fuse::{Expression, Fused, fuse};
use super::launch::check_floating_point;
use super::reduce::{DISTANCES, SQUARES};
use crate::error::TensorError;
use crate::tensor::{Axes, DType, Tensor};
use std::sync::LazyLock;

/// The factor of what is summed for a mean: no sum of so many finite numbers overflows. A power of two, so that products are exact.
/// Differences that it makes subnormal are below 2^-81, and their squares are 0.
const SHARE: f32 = 1.0 / (1_u64 << SHARE_BITS) as f32;
const SHARE_BITS: u32 = 45;

/// The differences to the first element, for their sum; as `lib/distance.wgsl`. 0 for equal numbers, exactly; no difference overflows.
static DISTANCE: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[x, first]| x * SHARE - first * SHARE));
static MEAN: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[first, half_rest]| (first * 0.5_f32 + half_rest) * 2.0_f32));
static DEVIATION: LazyLock<Fused<4>> = LazyLock::new(|| fuse(deviation));
static SQUARED_DEVIATION: LazyLock<Fused<4>> = LazyLock::new(|| fuse(|inputs| deviation(inputs).square()));

/// The difference to the mean, as in `lib/deviation.wgsl`: the mean is the first element plus twice `half_rest`, and `mean` is that sum,
/// rounded. Its rounding error is subtracted, too: compilers would assume that it is 0 in the kernel that computes the mean. They also
/// rearrange sums, but not across the limits, which are for differences that overflow: a sum of infinities of both signs would be NaN.
fn deviation([x, first, half_rest, mean]: [Expression<'_>; 4]) -> Expression<'_> {
    let [distance, rest] = [first - mean, half_rest * 2.0_f32].map(|x| x.maximum(f32::MIN).minimum(f32::MAX));
    let error = distance + rest;
    (x - mean) - error
}

impl Tensor {
    /// Returns the variance along axes, which are removed from the shape: one axis, a list of axes, or `..` for all.
    /// This is the sum of the squared deviations from the mean, divided by n − `correction` for n elements. Correction
    /// 1, PyTorch's default, gives the sample variance; correction 0, NumPy's default, the population variance. For f32
    /// and f16; f16 is computed in f32 and rounded once. NaN if n is 0, or if n and the correction are 1. Equals
    /// `torch.var`.
    ///
    /// Exactly 0 for equal numbers. Accuracy in f32: a relative error of e + e² · (1 + r²), where e is (k + 10) · 2⁻²³ for the k
    /// sequential additions of [`Tensor::sum`], and r is the distance of the first element from the mean in standard
    /// deviations, at most √n. Infinite if the sum of the squared deviations is 3.4e38 or more.
    ///
    /// Cost: two kernels over all elements, which read them once each, and a few over the results. Of a tensor in several blocks,
    /// and on a device with four storage buffers in a shader, four kernels that also write and read a temporary tensor of the same size twice.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers; as [`Tensor::sum`].
    #[track_caller]
    pub fn var(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("var", &axes)?;
        self.variance("var", &axes, correction, false)?.to(self.dtype())
    }

    /// Returns the variance along axes, which keep size 1 in the shape. See [`Tensor::var`]. Equals
    /// `torch.var(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::var`].
    #[track_caller]
    pub fn var_keepdim(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("var_keepdim", &axes)?;
        self.variance("var_keepdim", &axes, correction, true)?.to(self.dtype())
    }

    /// Returns the standard deviation along axes: the square root of [`Tensor::var`]. Equals `torch.std`.
    ///
    /// # Errors
    /// As [`Tensor::var`].
    #[track_caller]
    pub fn std(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("std", &axes)?;
        self.variance("std", &axes, correction, false)?.sqrt()?.to(self.dtype())
    }

    /// Returns the standard deviation along axes, which keep size 1 in the shape. See [`Tensor::std`]. Equals
    /// `torch.std(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::var`].
    #[track_caller]
    pub fn std_keepdim(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("std_keepdim", &axes)?;
        self.variance("std_keepdim", &axes, correction, true)?.sqrt()?.to(self.dtype())
    }

    /// The variance in f32.
    #[track_caller]
    fn variance(
        &self,
        name: &'static str,
        axes: &[usize],
        correction: usize,
        keep_dims: bool,
    ) -> Result<Self, TensorError> {
        check_floating_point(name, ("input", self))?;
        let sum = match self.squared_deviations(name, axes)? {
            Some(sum) if keep_dims => sum,
            Some(sum) => sum.without_axes(axes)?,
            None => {
                let x = self.as_dtype(self.dtype().number())?;
                let squares = x.mean_differences(name, &SQUARED_DEVIATION, axes)?;
                if keep_dims { squares.sum_keepdim(axes)? } else { squares.sum(axes)? }
            }
        };
        // The number of elements in each sum. If there are no sums, the divisor is not used.
        let count = self.elements() / sum.elements().max(1);
        sum.div_(count.saturating_sub(correction) as f64)?;
        Ok(sum)
    }

    /// The sum of the squared deviations from the mean in f32, with the axes kept, by kernels that store nothing for an element.
    /// `None` if the elements or the outputs are in several blocks, or there are none, and on devices with few storage buffers in a shader.
    #[track_caller]
    fn squared_deviations(&self, name: &'static str, axes: &[usize]) -> Result<Option<Self>, TensorError> {
        if self.elements() == 0 || !self.sums_bind(3) {
            return Ok(None);
        }
        let first = self.first_along(axes)?;
        let first = if first.dtype() == DType::F32 { first.copied()? } else { first.to(DType::F32)? };
        let Some(half_rest) = self.sum_with(name, DISTANCES, axes, &[&first])? else { return Ok(None) };
        let mean = self.mean_of_distances(name, &first, &half_rest)?;
        let (half_rest, mean) = (half_rest.whole()?, mean.whole()?);
        self.sum_with(name, SQUARES, axes, &[&first, &half_rest, &mean])
    }

    /// The first element along axes, which are kept with size 1.
    #[track_caller]
    fn first_along(&self, axes: &[usize]) -> Result<Self, TensorError> {
        let mut first = self.clone();
        for axis in (0..self.rank()).filter(|axis| axes.is_empty() || axes.contains(axis)) {
            first = first.narrow(axis, 0, 1)?;
        }
        Ok(first)
    }

    /// Makes half of the mean's distance to the first element out of the sum of distances, and returns the mean.
    #[track_caller]
    fn mean_of_distances(&self, name: &'static str, first: &Self, half_rest: &Self) -> Result<Self, TensorError> {
        let count = self.elements() / half_rest.elements();
        half_rest.mul_((1_u64 << (SHARE_BITS - 1)) as f64 / count as f64)?;
        MEAN.run_as(name, [first, half_rest])
    }

    /// The tensor without axes of size 1.
    #[track_caller]
    fn without_axes(&self, axes: &[usize]) -> Result<Self, TensorError> {
        let is_kept = |axis: &usize| !axes.is_empty() && !axes.contains(axis);
        let shape: Vec<usize> = (0..self.rank()).filter(is_kept).map(|axis| self.shape()[axis]).collect();
        self.reshape(&shape)
    }

    /// The differences of f32 elements to their mean along axes: exactly 0 for equal numbers.
    #[track_caller]
    pub(super) fn deviations(&self, name: &'static str, axes: &[usize]) -> Result<Self, TensorError> {
        self.mean_differences(name, &DEVIATION, axes)
    }

    #[track_caller]
    fn mean_differences(&self, name: &'static str, result: &Fused<4>, axes: &[usize]) -> Result<Self, TensorError> {
        if self.elements() == 0 {
            return Ok(self.clone());
        }
        let first = self.first_along(axes)?;
        let half_rest = DISTANCE.run_as(name, [self, &first])?.sum_keepdim(axes)?;
        let mean = self.mean_of_distances(name, &first, &half_rest)?;
        result.run_as(name, [self, &first, &half_rest, &mean])
    }
}
