//! Variance and standard deviation.

use super::fuse::{Fused, fuse};
use crate::error::TensorError;
use crate::tensor::{Axes, Tensor};
use std::sync::LazyLock;

static SQUARED_DISTANCE: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[x, mean]| (x - mean).square()));

impl Tensor {
    /// Returns the variance along axes, which are removed from the shape: one axis, a list of axes, or `..` for all.
    /// This is the sum of the squared deviations from the mean, divided by n − `correction` for n elements. Correction
    /// 1, PyTorch's default, gives the sample variance; correction 0, NumPy's default, the population variance. For f32
    /// and f16; f16 is computed in f32 and rounded once. NaN if n is 0, or if n and the correction are 1. Equals
    /// `torch.var`.
    ///
    /// Cost: three kernels that read the elements twice, and a temporary tensor of the same size.
    ///
    /// # Errors
    /// [`TensorError::NotDefined`] for integers; as [`Tensor::sum`].
    #[track_caller]
    pub fn var(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("var", &axes)?;
        self.variance("var", &axes, correction, false)?.to(self.dtype())
    }

    /// As [`Tensor::var`], with the axes kept in the shape, with size 1. Equals `torch.var(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::var`].
    #[track_caller]
    pub fn var_keepdim(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("var", &axes)?;
        self.variance("var", &axes, correction, true)?.to(self.dtype())
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

    /// As [`Tensor::std`], with the axes kept in the shape, with size 1. Equals `torch.std(keepdim=True)`.
    ///
    /// # Errors
    /// As [`Tensor::var`].
    #[track_caller]
    pub fn std_keepdim(&self, axes: impl Axes, correction: usize) -> Result<Self, TensorError> {
        let axes = self.layout().axes("std", &axes)?;
        self.variance("std", &axes, correction, true)?.sqrt()?.to(self.dtype())
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
        if !self.dtype().is_floating_point() {
            return Err(TensorError::NotDefined { operation: name, dtype: self.dtype().name() });
        }
        let x = self.as_dtype(self.dtype().number())?;
        let squares = SQUARED_DISTANCE.run_as(name, [&x, &x.mean_keepdim(axes)?])?;
        let sum = if keep_dims { squares.sum_keepdim(axes)? } else { squares.sum(axes)? };
        // The number of elements in each sum. If there are no sums, the divisor is not used.
        let count = self.elements() / sum.elements().max(1);
        sum.div_(count.saturating_sub(correction) as f64)?;
        Ok(sum)
    }
}
