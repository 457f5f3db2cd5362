//! Comparisons, and choices by them.

use super::fuse::{Fused, fuse};
use crate::error::TensorError;
use crate::tensor::{Element, Tensor};
use std::sync::LazyLock;

macro_rules! comparisons {
    ($($function:ident, $with_scalar:ident, $kernel:ident, $sign:literal, $equals:literal;)*) => {
        $(static $kernel: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[x, y]| x.$function(y)));)*

        impl Tensor {
            $(
                #[doc = concat!("1 where x ", $sign, " y and 0 elsewhere, as u32, element by element, the shapes broadcast to each")]
                #[doc = concat!("other. For every dtype. There is no bool dtype. NaN equals nothing, and is neither less nor greater. Equals `", $equals, "`.")]
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::Pools`]; as [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self, other: &Self) -> Result<Self, TensorError> {
                    $kernel.run_as(stringify!($function), [self, other])
                }

                #[doc = concat!("1 where x ", $sign, " a scalar of the tensor's dtype and 0 elsewhere, as u32. Equals `", $equals, "`.")]
                ///
                /// # Errors
                /// [`TensorError::DType`]; as [`Tensor::empty`].
                #[track_caller]
                pub fn $with_scalar<T: Element>(&self, scalar: T) -> Result<Self, TensorError> {
                    fuse(|[x]| x.$function(scalar)).run_as(stringify!($function), [self])
                }
            )*
        }
    };
}

comparisons! {
    eq, eq_scalar, EQ, "=", "torch.eq";
    ne, ne_scalar, NE, "≠", "torch.ne";
    lt, lt_scalar, LT, "<", "torch.lt";
    le, le_scalar, LE, "≤", "torch.le";
    gt, gt_scalar, GT, ">", "torch.gt";
    ge, ge_scalar, GE, "≥", "torch.ge";
}

static WHERE: LazyLock<Fused<3>> = LazyLock::new(|| fuse(|[condition, this, other]| condition.select(this, other)));

impl Tensor {
    /// The elements of `this` where those of the condition are not 0, and of `other` elsewhere, the shapes broadcast to each
    /// other. NaN is not 0, and -0 is. The condition is of any dtype, the others of one. Equals `torch.where(condition, this, other)`.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::Pools`]; as [`Tensor::empty`].
    #[track_caller]
    pub fn where_cond(&self, this: &Self, other: &Self) -> Result<Self, TensorError> {
        WHERE.run_as("where_cond", [self, this, other])
    }
}
