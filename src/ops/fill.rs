//! Tensors of one value.

use super::elementwise::{Code, Elementwise, IDENTITY, Operation, Single, Typed};
use super::launch::check_pools;
use crate::error::TensorError;
use crate::pool::Pool;
use crate::tensor::{DType, Element, Operand, Tensor, TensorOrScalar};

/// The operand, which is a number.
pub(super) static FILL: Operation = Operation::new("fill", 1, Code::new("x"), IDENTITY);

impl Tensor {
    /// Creates a tensor whose elements are all `value`. Equals `torch.full`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn full<T: Element>(pool: &Pool, shape: impl AsRef<[usize]>, value: T) -> Result<Self, TensorError> {
        let tensor = Self::empty(pool, shape, T::DTYPE)?;
        tensor.fill_with_bits(value.bits())?;
        Ok(tensor)
    }

    /// Creates a tensor of ones. Equals `torch.ones`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn ones(pool: &Pool, shape: impl AsRef<[usize]>, dtype: DType) -> Result<Self, TensorError> {
        let tensor = Self::empty(pool, shape, dtype)?;
        tensor.fill_(1)?;
        Ok(tensor)
    }

    /// Creates a contiguous tensor with the shape, dtype and pool of this tensor, whose elements are not initialized. Equals
    /// `torch.empty_like`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn empty_like(&self) -> Result<Self, TensorError> {
        self.new_empty(self.shape(), self.dtype())
    }

    /// Creates a tensor of zeros with the shape, dtype and pool of this tensor. Equals `torch.zeros_like`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn zeros_like(&self) -> Result<Self, TensorError> {
        let tensor = self.new_empty(self.shape(), self.dtype())?;
        tensor.clear()?;
        Ok(tensor)
    }

    /// Creates a tensor of ones with the shape, dtype and pool of this tensor. Equals `torch.ones_like`.
    ///
    /// # Errors
    /// As [`Tensor::empty`].
    #[track_caller]
    pub fn ones_like(&self) -> Result<Self, TensorError> {
        self.full_like(1)
    }

    /// Creates a tensor with the shape, dtype and pool of this tensor, whose elements are all `value`: a number, or a
    /// tensor of rank
    /// 0. Equals `torch.full_like`.
    ///
    /// # Errors
    /// As [`Tensor::fill_`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn full_like(&self, value: impl TensorOrScalar) -> Result<Self, TensorError> {
        let tensor = self.new_empty(self.shape(), self.dtype())?;
        tensor.fill_(value).map_err(|error| error.of_operation("full_like"))?;
        Ok(tensor)
    }

    /// Sets every element to `value`, a number or a tensor of rank 0, in place. The value is converted to the dtype of
    /// the tensor. Equals `torch.Tensor.fill_`.
    ///
    /// # Errors
    /// [`TensorError::DType`] for a floating-point value in an integer tensor, [`TensorError::Scalar`] for an integer beyond the
    /// dtype's range, [`TensorError::Dimensions`] for a value of higher rank; [`TensorError::Pools`], [`TensorError::Overlap`].
    #[track_caller]
    pub fn fill_(&self, value: impl TensorOrScalar) -> Result<(), TensorError> {
        let (name, dtype) = ("fill_", self.dtype());
        match value.operand() {
            Operand::Scalar(number) => self.fill_with_bits(number.bits(name, "value", dtype)?),
            Operand::Tensor(value) => {
                if value.rank() > 0 {
                    return Err(TensorError::dimensions(name, "value", value.shape(), "0"));
                }
                check_pools(name, ("tensor", self), ("value", value))?;
                if value.dtype().is_floating_point() && !dtype.is_floating_point() {
                    let of_value = value.dtype().name();
                    return Err(TensorError::dtypes(name, ("value", of_value), ("tensor", dtype.name())));
                }
                self.copy_(value).map_err(|error| error.of_operation(name))
            }
        }
    }

    fn fill_with_bits(&self, bits: u32) -> Result<(), TensorError> {
        let single = Single::of(&FILL, Typed::number(self.dtype()));
        Elementwise::single("fill_", single, &[], &[bits]).launch(self)
    }

    /// A new tensor of its dtype, of floating point, whose elements are all one number.
    #[track_caller]
    pub(super) fn filled(&self, shape: &[usize], value: f32) -> Result<Self, TensorError> {
        let tensor = self.new_empty(shape, self.dtype())?;
        tensor.fill_with_bits(value.to_bits())?;
        Ok(tensor)
    }
}
