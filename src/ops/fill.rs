//! Tensors of one value.

use super::elementwise::Elementwise;
use super::shader::{AS_IT_IS, FILL};
use crate::error::TensorError;
use crate::pool::Pool;
use crate::tensor::{Element, Tensor};

impl Tensor {
    /// A tensor whose elements are all `value`. Equals `torch.full`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn full<T: Element>(pool: &Pool, shape: impl AsRef<[usize]>, value: T) -> Result<Self, TensorError> {
        let tensor = Self::empty(pool, shape, T::DTYPE)?;
        tensor.fill_(value)?;
        Ok(tensor)
    }

    /// Sets every element to `value`, in place. Equals `torch.Tensor.fill_`.
    ///
    /// # Errors
    /// [`TensorError::DType`] if the value's type isn't the tensor's, nor f32 where that is f16.
    pub fn fill_<T: Element>(&self, value: T) -> Result<(), TensorError> {
        self.check_scalar("fill_", T::DTYPE)?;
        let run = Elementwise {
            name: "fill_",
            shader: &FILL,
            operation: AS_IT_IS,
            output: self,
            left: None,
            right: None,
            shared: false,
            scalar: value.bits(),
        };
        run.run()
    }

    /// A new tensor of its dtype, of floating point, whose elements are all one number.
    #[track_caller]
    pub(super) fn filled(&self, shape: &[usize], value: f32) -> Result<Self, TensorError> {
        let tensor = self.beside(shape, self.dtype())?;
        tensor.fill_(value)?;
        Ok(tensor)
    }
}
