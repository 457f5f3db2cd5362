//! Comparisons, and selection by a condition.

use super::elementwise::{Code, Operation};
use super::fuse::{Constant, Expression, Fused, Operand as ExpressionOperand, fuse};
use super::launch::check_pools;
use super::shader::NUMBER;
use crate::error::TensorError;
use crate::tensor::{Number, Operand, Tensor, TensorOrScalar, result_type};
use std::sync::LazyLock;

macro_rules! comparisons {
    ($($function:ident, $row:ident, $real:literal, $integer:literal, $sign:literal, $equals:literal;)*) => {
        $(
            // Floating-point operands are compared by their bits, since drivers may assume that no value is NaN.
            static $row: Operation =
                Operation::comparison(stringify!($function), Code::calling($real, &[NUMBER]), Code::new($integer));
        )*

        /// Every row.
        #[cfg(test)]
        pub(super) static ALL: &[&Operation] = &[$(&$row),*];

        impl Tensor {
            $(
                #[doc = concat!("1 where x ", $sign, " y and 0 where not, as u32, element by element, for a tensor or a number y. Shapes broadcast to each")]
                #[doc = concat!("other. For every dtype; operands of different dtypes are converted as by [`Tensor::add`]. There is no bool dtype. NaN equals nothing, and is neither less nor greater. Equals `", $equals, "`.")]
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::DType`] of i32 and u32, [`TensorError::Scalar`],
                /// [`TensorError::Pools`]; as [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self, other: impl TensorOrScalar) -> Result<Self, TensorError> {
                    self.binary(&$row, other.operand())
                }
            )*
        }

        impl<'a> Expression<'a> {
            $(
                #[doc = concat!("Whether it is ", $sign, " the other; as [`Tensor::", stringify!($function), "`](crate::Tensor::", stringify!($function), ").")]
                #[must_use]
                pub fn $function(self, other: impl ExpressionOperand<'a>) -> Self {
                    self.apply_to(&$row, other)
                }
            )*
        }
    };
}

comparisons! {
    eq, EQ, "is_equal(x, y)", "x == y", "=", "torch.eq";
    ne, NE, "!is_equal(x, y)", "x != y", "≠", "torch.ne";
    lt, LT, "is_less(x, y)", "x < y", "<", "torch.lt";
    le, LE, "is_at_most(x, y)", "x <= y", "≤", "torch.le";
    gt, GT, "is_less(y, x)", "x > y", ">", "torch.gt";
    ge, GE, "is_at_most(y, x)", "x >= y", "≥", "torch.ge";
}

static WHERE: LazyLock<Fused<3>> = LazyLock::new(|| fuse(|[condition, this, other]| condition.select(this, other)));

impl Tensor {
    /// Selects, for each element of the condition, the element of `this` where the condition is not 0 and the element
    /// of `other` where it is 0. `this` and `other` are tensors or numbers; shapes broadcast. NaN is not 0, and −0 is
    /// 0. The condition has any dtype; `this` and `other` are promoted as by [`Tensor::add`]. Two numbers give f32, or
    /// i32 if both are integers. Equals `torch.where(condition, this, other)`.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`] of i32 and u32, [`TensorError::Scalar`], [`TensorError::Pools`]; as
    /// [`Tensor::empty`].
    #[track_caller]
    pub fn where_cond(&self, this: impl TensorOrScalar, other: impl TensorOrScalar) -> Result<Self, TensorError> {
        let name = "where_cond";
        let (this, other) = (this.operand(), other.operand());
        let mut broadcast = *self.layout();
        for (argument, operand) in [("this", this), ("other", other)] {
            if let Operand::Tensor(tensor) = operand {
                check_pools(name, ("condition", self), (argument, tensor))?;
                broadcast = broadcast.broadcast(name, argument, tensor.layout())?;
            }
        }
        let dtype = result_type(name, ("this", this), ("other", other))?;
        let constant = |argument: &'static str, number: Number| -> Result<Constant, TensorError> {
            Ok(Constant { bits: number.bits(name, argument, dtype)?, dtype: dtype.number() })
        };
        match (this, other) {
            (Operand::Tensor(this), Operand::Tensor(other)) => {
                WHERE.run_as(name, [self, &*this.as_dtype(dtype)?, &*other.as_dtype(dtype)?])
            }
            (Operand::Tensor(this), Operand::Scalar(other)) => {
                let other = constant("other", other)?;
                fuse(|[condition, this]| condition.select(this, other)).run_as(name, [self, &*this.as_dtype(dtype)?])
            }
            (Operand::Scalar(this), Operand::Tensor(other)) => {
                let this = constant("this", this)?;
                fuse(|[condition, other]| condition.select(this, other)).run_as(name, [self, &*other.as_dtype(dtype)?])
            }
            (Operand::Scalar(this), Operand::Scalar(other)) => {
                let (this, other) = (constant("this", this)?, constant("other", other)?);
                fuse(|[condition]| condition.select(this, other)).run_as(name, [self])
            }
        }
    }
}
