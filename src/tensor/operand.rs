//! Operands of elementwise operations: tensors and numbers, and the dtype that two of them have in common.

use super::{DType, Element, Tensor};
use crate::error::TensorError;

/// An operand of an elementwise operation: a tensor, or a number.
///
/// Implemented by [`Tensor`], `f32`, `f64`, [`f16`](half::f16), `i32`, `i64`, `u32`, and references to them. A number does not
/// decide the precision: of a tensor of floating point and any number the result has the tensor's dtype, and of a tensor of
/// integers and an integer as well. A number of floating point and a tensor of integers give f32, as `torch.result_type`.
pub trait TensorOrScalar: sealed::TensorOrScalar {}

impl<T: sealed::TensorOrScalar> TensorOrScalar for T {}

/// What an operand is.
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

    /// The bits of the number that kernels over a dtype compute with. Real numbers are rounded to f32. Of u32, negative integers
    /// of 32 bits wrap, as in PyTorch.
    ///
    /// # Errors
    /// [`TensorError::Scalar`] for an integer beyond the dtype's range; [`TensorError::DType`] for a real number and
    /// integers, which [`result_type`] never pairs.
    pub(crate) fn bits(self, operation: &'static str, dtype: DType) -> Result<u32, TensorError> {
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
            (Self::Integer(value), _) => Err(TensorError::Scalar { operation, value, dtype: dtype.name() }),
            (Self::Single(_) | Self::Double(_), _) => {
                Err(TensorError::DType { operation, left: dtype.name(), right: DType::F32.name() })
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
    /// The smallest dtype that both convert to: of floating point and an integer the one of floating point, of f16 and f32 f32.
    /// None of i32 and u32, of which PyTorch promotes none either. Equals `torch.promote_types`.
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

/// The dtype of an operation's result. Of two tensors with dimensions, or two scalars, that of [`DType::promote`]. A tensor
/// without dimensions, if the other one has some, and a number, count only where they are of floating point and the other is of
/// integers. Equals `torch.result_type`.
///
/// # Errors
/// [`TensorError::DType`] for i32 and u32.
pub(crate) fn result_type(
    operation: &'static str,
    left: Operand<'_>,
    right: Operand<'_>,
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
            let mismatch = TensorError::DType { operation, left: of_left.name(), right: of_right.name() };
            return of_left.promote(of_right).ok_or(mismatch);
        }
    };
    Ok(if higher.is_floating_point() || !lower.is_floating_point() { higher } else { lower })
}
