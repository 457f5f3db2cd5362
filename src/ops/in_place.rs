//! Operations on elements that write their result where their first operand is, one generated kernel each.

use super::fuse::{Fused, fuse};
use crate::error::TensorError;
use crate::tensor::{Element, Tensor};
use std::ops::Neg;
use std::sync::LazyLock;

macro_rules! unary_in_place {
    ($($name:ident, $function:ident;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place. Equals `torch.Tensor.", stringify!($name), "`.")]
                ///
                /// # Errors
                /// [`TensorError::NotDefined`]; [`TensorError::Overlap`] if its own elements share places.
                pub fn $name(&self) -> Result<(), TensorError> {
                    static FUSED: LazyLock<Fused<1>> = LazyLock::new(|| fuse(|[x]| x.$function()));
                    FUSED.run_into_as(stringify!($name), [self], self)
                }
            )*
        }
    };
}

unary_in_place! {
    neg_, neg; abs_, abs; exp_, exp; log_, log; sqrt_, sqrt; rsqrt_, rsqrt; reciprocal_, reciprocal; square_, square;
    sin_, sin; cos_, cos; tanh_, tanh; sigmoid_, sigmoid; relu_, relu; silu_, silu; gelu_, gelu; gelu_tanh_, gelu_tanh;
    floor_, floor; ceil_, ceil; round_, round;
}

macro_rules! binary_in_place {
    ($($name:ident, $with_scalar:ident, $function:ident, $scalar_function:ident, |$x:ident, $y:ident| $expression:expr;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place; the other is broadcast to this one's shape. Equals `torch.Tensor.", stringify!($name), "`.")]
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::Pools`], [`TensorError::NotDefined`];
                /// [`TensorError::Overlap`] if the other shares elements with it other than each with itself, or if its own
                /// elements share places.
                pub fn $name(&self, other: &Self) -> Result<(), TensorError> {
                    static FUSED: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[$x, $y]| $expression));
                    FUSED.run_into_as(stringify!($name), [self, other], self)
                }

                #[doc = concat!("As [`Tensor::", stringify!($scalar_function), "`], in place. Equals `torch.Tensor.", stringify!($name), "` of a number.")]
                ///
                /// # Errors
                /// [`TensorError::DType`], [`TensorError::NotDefined`]; [`TensorError::Overlap`] if its own elements share places.
                pub fn $with_scalar<T: Element>(&self, scalar: T) -> Result<(), TensorError> {
                    let name = stringify!($with_scalar);
                    self.check_scalar(name, T::DTYPE)?;
                    fuse(|[$x]| { let $y = scalar; $expression }).run_into_as(name, [self], self)
                }
            )*
        }
    };
}

// `add_` has a factor, and a kernel of its own.
impl Tensor {
    /// As [`Tensor::add_scalar`], in place. Equals `torch.Tensor.add_` of a number.
    ///
    /// # Errors
    /// [`TensorError::DType`]; [`TensorError::Overlap`] if its own elements share places.
    pub fn add_scalar_<T: Element>(&self, scalar: T) -> Result<(), TensorError> {
        self.check_scalar("add_scalar_", T::DTYPE)?;
        fuse(|[x]| x + scalar).run_into_as("add_scalar_", [self], self)
    }
}

binary_in_place! {
    sub_, sub_scalar_, sub, sub_scalar, |x, y| x - y;
    mul_, mul_scalar_, mul, mul_scalar, |x, y| x * y;
    div_, div_scalar_, div, div_scalar, |x, y| x / y;
    pow_, pow_scalar_, pow, pow_scalar, |x, y| x.pow(y);
    maximum_, maximum_scalar_, maximum, maximum_scalar, |x, y| x.maximum(y);
    minimum_, minimum_scalar_, minimum, minimum_scalar, |x, y| x.minimum(y);
}
