//! Losses, and their gradients.

use super::fuse::{Fused, fuse};
use super::launch::check_kinds;
use crate::error::TensorError;
use crate::tensor::Tensor;
use std::sync::LazyLock;

static SQUARED_ERROR: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[input, target]| (input - target).square()));

impl Tensor {
    /// The mean of the squared differences to `target`, a scalar. For f32 and f16; f16 is computed in f32 and rounded once. Equals `torch.nn.functional.mse_loss`.
    ///
    /// # Errors
    /// [`TensorError::Shape`] unless the two are of one shape, [`TensorError::DType`], [`TensorError::NotDefined`] for integers,
    /// [`TensorError::Pools`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn mse_loss(&self, target: &Self) -> Result<Self, TensorError> {
        self.check_target("mse_loss", target)?;
        SQUARED_ERROR.run_unrounded_as("mse_loss", [self, target])?.mean(..)?.to(self.dtype())
    }

    /// The gradient of [`Tensor::mse_loss`] by its input: 2 (input − target) / n for n elements. Equals what
    /// `torch.nn.functional.mse_loss(input, target).backward()` leaves in `input.grad`.
    ///
    /// # Errors
    /// As [`Tensor::mse_loss`].
    #[track_caller]
    pub fn mse_loss_backward(&self, target: &Self) -> Result<Self, TensorError> {
        self.check_target("mse_loss_backward", target)?;
        let half = real(self.elements()) / 2.0;
        fuse(|[input, target]| (input - target) / half).run_as("mse_loss_backward", [self, target])
    }

    /// The mean negative log-likelihood of classes, a scalar: for logits of shape (n, classes, …), dtype f32 or f16, and targets of
    /// shape (n, …), dtype u32, the mean of −log softmax(logits)\[i, target\[i\]\] over all targets, with the softmax along axis 1.
    /// A target beyond the classes counts as 0. f16 is computed in f32, in a copy of the logits, and rounded once. Equals `torch.nn.functional.cross_entropy` of class indices.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`] unless targets are u32, [`TensorError::NotDefined`] of integers for logits,
    /// [`TensorError::Pools`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn cross_entropy(&self, targets: &Self) -> Result<Self, TensorError> {
        let column = self.check_classes("cross_entropy", targets)?;
        let number = self.dtype().number();
        if self.dtype() != number {
            // What the kernels hand to each other isn't rounded.
            return self.to(number)?.cross_entropy(targets)?.to(self.dtype());
        }
        let chosen = self.log_softmax(1)?.gather(1, &column)?;
        chosen.mean(..)?.neg()
    }

    /// The gradient of [`Tensor::cross_entropy`] by its logits: (softmax(logits) − one-hot(targets)) / n, of the
    /// logits' shape. Equals what `torch.nn.functional.cross_entropy(logits, targets).backward()` leaves in `logits.grad`.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy`].
    #[track_caller]
    pub fn cross_entropy_backward(&self, targets: &Self) -> Result<Self, TensorError> {
        let name = "cross_entropy_backward";
        let column = self.check_classes(name, targets)?;
        let number = self.dtype().number();
        if self.dtype() != number {
            return self.to(number)?.cross_entropy_backward(targets)?.to(self.dtype());
        }
        let mut lone = vec![1; self.rank()];
        lone[1] = self.shape()[1];
        let classes = Self::arange(&self.pool(), lone[1], 0_u32, 1_u32)?.reshape(lone)?;
        let count = real(targets.elements());
        let gradient = fuse(|[likely, target, class]| (likely - target.eq(class).select(1.0_f32, 0.0_f32)) / count);
        gradient.run_as(name, [&self.softmax(1)?, &column, &classes])
    }

    fn check_target(&self, name: &'static str, target: &Self) -> Result<(), TensorError> {
        check_kinds(name, self, target)?;
        if !self.dtype().is_floating_point() {
            return Err(TensorError::NotDefined { operation: name, dtype: self.dtype().name() });
        }
        if self.shape() == target.shape() {
            return Ok(());
        }
        let (left, right) = (self.shape().to_vec(), target.shape().to_vec());
        Err(TensorError::Shape { operation: name, left, right })
    }

    /// The targets with one class each, if they go with these logits.
    fn check_classes(&self, name: &'static str, targets: &Self) -> Result<Self, TensorError> {
        let column = |shape: &[usize]| -> Option<Vec<usize>> {
            let mut column = self.shape().to_vec();
            *column.get_mut(1)? = 1;
            (column[0] == *shape.first()? && column[2..] == shape[1..]).then_some(column)
        };
        match column(targets.shape()) {
            Some(column) => targets.contiguous()?.reshape(column),
            None => {
                let (left, right) = (self.shape().to_vec(), targets.shape().to_vec());
                Err(TensorError::Shape { operation: name, left, right })
            }
        }
    }
}

/// What a mean is divided by.
fn real(count: usize) -> f32 {
    count as f32
}
