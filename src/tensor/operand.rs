//! Operands of elementwise operations: tensors and numbers, and the promotion of their dtypes.

use super::{DType, Element, Tensor};
use crate::error::{Argument, TensorError};

/// An operand of an elementwise operation: a tensor, or a number.
///
/// Implemented by [`Tensor`], `f32`, `f64`, [`f16`](half::f16), `i32`, `i64`, `u32`, and references to them. A number
/// does not change the precision: the result has the tensor's dtype, except for an integer tensor and a floating-point
/// number, whose result is f32, as by `torch.result_type`.
pub trait TensorOrScalar: sealed::TensorOrScalar {}

impl<T: sealed::TensorOrScalar> TensorOrScalar for T {}

/// An operand: a tensor or a number.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    Tensor(&'a Tensor),
    Scalar(Number),
}

/// A number as an operand.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Integer(i64),
    Single(f32),
    Double(f64),
}

pub(crate) mod sealed {
    use super::{Number, Operand, Tensor};

    pub trait TensorOrScalar {
        fn operand(&self) -> Operand<'_>;
    }

    impl TensorOrScalar for Tensor {
        fn operand(&self) -> Operand<'_> {
            Operand::Tensor(self)
        }
    }

    impl<T: TensorOrScalar> TensorOrScalar for &T {
        fn operand(&self) -> Operand<'_> {
            (**self).operand()
        }
    }

    macro_rules! numbers {
        ($($kind:ident: $($number:ty),*;)*) => {
            $($(
                impl TensorOrScalar for $number {
                    fn operand(&self) -> Operand<'_> {
                        Operand::Scalar(Number::$kind((*self).into()))
                    }
                }
            )*)*
        };
    }

    numbers! { Integer: i32, i64, u32; Single: f32, half::f16; Double: f64; }
}

impl Number {
    /// Returns the number of an element.
    pub(crate) fn of<T: Element>(element: T) -> Self {
        let value = element.value();
        #[expect(clippy::cast_possible_truncation, reason = "the value of an integer dtype is an integer of 32 bits")]
        if T::DTYPE.is_floating_point() { Self::Double(value) } else { Self::Integer(value as i64) }
    }

    /// Returns the bits of the number for kernels over a dtype. Floating-point numbers are rounded to f32. For u32, negative
    /// 32-bit integers wrap, as in PyTorch.
    ///
    /// # Errors
    /// [`TensorError::Scalar`] for an integer beyond the dtype's range; [`TensorError::DType`] for a floating-point number
    /// and an integer dtype.
    pub(crate) fn bits(
        self,
        operation: &'static str,
        argument: impl Into<Argument>,
        dtype: DType,
    ) -> Result<u32, TensorError> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "numbers are rounded to f32 where the tensor is of floating point"
        )]
        match (self, dtype.number()) {
            (Self::Single(number), DType::F32) => Ok(number.to_bits()),
            (Self::Double(number), DType::F32) => Ok((number as f32).to_bits()),
            (Self::Integer(number), DType::F32) => Ok((number as f32).to_bits()),
            (Self::Integer(number), DType::I32) if i32::try_from(number).is_ok() => Ok(number as u32),
            (Self::Integer(number), DType::U32) if i32::try_from(number).is_ok() || u32::try_from(number).is_ok() => {
                Ok(number as u32)
            }
            (Self::Integer(value), _) => {
                Err(TensorError::Scalar { operation, argument: argument.into(), value, dtype: dtype.name() })
            }
            (Self::Single(_) | Self::Double(_), _) => {
                Err(TensorError::dtypes(operation, (argument, DType::F32.name()), ("tensor", dtype.name())))
            }
        }
    }

    fn dtype_with(self, dtype: DType) -> DType {
        match self {
            Self::Single(_) | Self::Double(_) if !dtype.is_floating_point() => DType::F32,
            _ => dtype,
        }
    }
}

impl DType {
    /// Returns the dtype to which both dtypes are promoted: the floating-point dtype for floating point and integer, f32 for
    /// f16 and f32. `None` for i32 and u32, which PyTorch does not promote either. Equals `torch.promote_types`.
    #[must_use]
    pub fn promote(self, other: Self) -> Option<Self> {
        match (self, other) {
            (left, right) if left == right => Some(left),
            (Self::F32, _) | (_, Self::F32) => Some(Self::F32),
            (Self::F16, _) | (_, Self::F16) => Some(Self::F16),
            _ => None,
        }
    }
}

/// Returns the dtype in which an operation on two operands is computed. For two tensors of rank 1 or more, or two tensors of rank
/// 0, [`DType::promote`]. A number, or a tensor of rank 0 with a tensor of higher rank, matters only if it is floating point and
/// the other operand is not. Equals `torch.result_type`.
///
/// # Errors
/// [`TensorError::DType`] for i32 and u32.
pub(crate) fn result_type(
    operation: &'static str,
    (by, left): (impl Into<Argument>, Operand<'_>),
    (argument, right): (impl Into<Argument>, Operand<'_>),
) -> Result<DType, TensorError> {
    let (left, right) = match (left, right) {
        (Operand::Tensor(left), Operand::Tensor(right)) => (left, right),
        (Operand::Tensor(tensor), Operand::Scalar(number)) | (Operand::Scalar(number), Operand::Tensor(tensor)) => {
            return Ok(number.dtype_with(tensor.dtype()));
        }
        (Operand::Scalar(left), Operand::Scalar(right)) => {
            return Ok(right.dtype_with(left.dtype_with(DType::I32)));
        }
    };
    let (of_left, of_right) = (left.dtype(), right.dtype());
    let (higher, lower) = match (left.rank(), right.rank()) {
        (0, 1..) => (of_right, of_left),
        (1.., 0) => (of_left, of_right),
        _ => {
            let mismatch = TensorError::dtypes(operation, (argument, of_right.name()), (by, of_left.name()));
            return of_left.promote(of_right).ok_or(mismatch);
        }
    };
    Ok(if higher.is_floating_point() || !lower.is_floating_point() { higher } else { lower })
}
