//! Losses, and their gradients.

use super::fuse::{Fused, fuse};
use super::launch::{check_floating_point, check_pools};
use crate::error::{ShapeRequirement, TensorError};
use crate::tensor::{DType, Operand, Tensor, result_type};
use std::sync::LazyLock;

/// The reduction of the losses of all elements, PyTorch's argument `reduction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The loss of each element.
    None,
    /// The sum of the losses, a scalar.
    Sum,
    /// The mean of the losses, a scalar. PyTorch's default.
    #[default]
    Mean,
}

static SQUARED_ERROR: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[input, target]| (input - target).square()));

impl Tensor {
    /// Returns the squared differences to `target`, or their sum or mean. For f32 and f16; of different dtypes the operands are
    /// converted as by [`Tensor::add`]. f16 is computed in f32 and rounded once. Equals
    /// `torch.nn.functional.mse_loss(input, target, reduction)`, which broadcasts shapes with a warning.
    ///
    /// # Errors
    /// [`TensorError::Shape`] unless the two are of one shape, [`TensorError::NotDefined`] for integers, [`TensorError::Pools`];
    /// as [`Tensor::empty`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Reduction, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// let outputs = Tensor::from_slice(&pool, &[1.0_f32, 2.0], [2])?;
    /// let targets = Tensor::from_slice(&pool, &[1.0_f32, 5.0], [2])?;
    /// assert_eq!(outputs.mse_loss(&targets, Reduction::Mean)?.item_blocking::<f32>()?, 4.5);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[track_caller]
    pub fn mse_loss(&self, target: &Self, reduction: Reduction) -> Result<Self, TensorError> {
        let name = "mse_loss";
        let dtype = self.check_target(name, target)?;
        let operands = [&*self.as_dtype(dtype)?, &*target.as_dtype(dtype)?];
        match reduction {
            Reduction::None => SQUARED_ERROR.run_as(name, operands),
            Reduction::Sum => SQUARED_ERROR.run_unrounded_as(name, operands)?.sum(..)?.to(dtype),
            Reduction::Mean => SQUARED_ERROR.run_unrounded_as(name, operands)?.mean(..)?.to(dtype),
        }
    }

    /// Returns the gradient of [`Tensor::mse_loss`] with respect to its input, in the input's dtype: 2 (input −
    /// target), divided by the number of elements for [`Reduction::Mean`]. Equals `input.grad` after
    /// `torch.nn.functional.mse_loss(input, target, reduction).backward()`; for [`Reduction::None`] multiply by the
    /// gradient of each loss.
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`].
    #[track_caller]
    pub fn mse_loss_backward(&self, target: &Self, reduction: Reduction) -> Result<Self, TensorError> {
        let name = "mse_loss_backward";
        let dtype = self.check_target(name, target)?;
        let half = match reduction {
            Reduction::None | Reduction::Sum => 0.5,
            Reduction::Mean => self.elements() as f32 / 2.0,
        };
        let gradient = fuse(|[input, target]| (input - target) / half);
        let operands = [&*self.as_dtype(dtype)?, &*target.as_dtype(dtype)?];
        if dtype == self.dtype() {
            return gradient.run_as(name, operands);
        }
        gradient.run_unrounded_as(name, operands)?.to(self.dtype())
    }

    /// The dtype that an input and its target are computed in.
    fn check_target(&self, name: &'static str, target: &Self) -> Result<DType, TensorError> {
        check_pools(name, ("input", self), ("target", target))?;
        let dtype = result_type(name, ("input", Operand::Tensor(self)), ("target", Operand::Tensor(target)))?;
        check_floating_point(name, ("input", self))?;
        if self.shape() == target.shape() {
            return Ok(dtype);
        }
        let required = ShapeRequirement::Same { by: "input".into(), of: self.shape().to_vec() };
        Err(TensorError::shape(name, "target", target.shape(), required))
    }
}
