//! Operations on elements that write their result where their first operand is, one generated kernel each.

use super::fuse::{Constant, Fused, fuse};
use super::launch::check_pools;
use crate::error::TensorError;
use crate::tensor::{DType, Operand, Tensor, TensorOrScalar, result_type};
use std::borrow::Cow;
use std::ops::Neg;
use std::sync::LazyLock;

macro_rules! unary_in_place {
    ($($name:ident, $function:ident;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place. Equals `torch.Tensor.", stringify!($name), "`.")]
                ///
                /// # Errors
                /// [`TensorError::NotDefined`]; [`TensorError::DType`] for a tensor of integers whose result is of f32;
                /// [`TensorError::Overlap`] if its own elements share places.
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

/// The second operand of an operation in place.
enum Other<'a> {
    /// A tensor of the dtype that is written.
    Tensor(Cow<'a, Tensor>),
    /// The bits of a number.
    Number(Constant),
    /// The operands have to be computed with in this dtype, and the result converted.
    Wider(DType),
}

impl Tensor {
    /// What the second operand is to an operation that writes to this tensor.
    fn other_in_place<'a>(&self, name: &'static str, other: Operand<'a>) -> Result<Other<'a>, TensorError> {
        let own = self.dtype();
        let dtype = result_type(name, Operand::Tensor(self), other)?;
        if dtype.is_floating_point() && !own.is_floating_point() {
            return Err(TensorError::DType { operation: name, left: own.name(), right: dtype.name() });
        }
        Ok(match other {
            Operand::Scalar(number) => Other::Number(Constant { bits: number.bits(name, own)?, dtype: own.number() }),
            Operand::Tensor(_) if dtype != own => Other::Wider(dtype),
            Operand::Tensor(other) => Other::Tensor(other.as_dtype(own)?),
        })
    }

    /// Writes a result of another dtype to its own places.
    fn write_converted(&self, name: &'static str, result: &Self) -> Result<(), TensorError> {
        self.check_writable(name)?;
        if result.shape() != self.shape() {
            let (left, right) = (self.shape().to_vec(), result.shape().to_vec());
            return Err(TensorError::Shape { operation: name, left, right });
        }
        self.copy_(result)
    }
}

macro_rules! binary_in_place {
    ($($name:ident, $function:ident, |$x:ident, $y:ident| $expression:expr;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place: another tensor is broadcast to the shape of this one, and the result converted to its dtype. Equals `torch.Tensor.", stringify!($name), "`.")]
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::Pools`], [`TensorError::NotDefined`], [`TensorError::Scalar`];
                /// [`TensorError::DType`] if this tensor is of integers and the other operand or the result is not, or of i32 and
                /// u32;
                /// [`TensorError::Overlap`] if the other tensor shares elements with it other than each with itself, or if its own
                /// elements share places.
                pub fn $name(&self, other: impl TensorOrScalar) -> Result<(), TensorError> {
                    static FUSED: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[$x, $y]| $expression));
                    let (name, other) = (stringify!($name), other.operand());
                    if let Operand::Tensor(other) = other {
                        check_pools(name, self, other)?;
                    }
                    match self.other_in_place(name, other)? {
                        Other::Tensor(other) => FUSED.run_into_as(name, [self, &other], self),
                        Other::Number($y) => fuse(|[$x]| $expression).run_into_as(name, [self], self),
                        Other::Wider(dtype) => {
                            let wide = self.to(dtype)?;
                            let result = match other {
                                Operand::Tensor(other) => wide.$function(other),
                                Operand::Scalar(_) => wide.copied(),
                            };
                            self.write_converted(name, &result?)
                        }
                    }
                }
            )*
        }
    };
}

binary_in_place! {
    add_, add, |x, y| x + y;
    sub_, sub, |x, y| x - y;
    mul_, mul, |x, y| x * y;
    div_, div, |x, y| x / y;
    pow_, pow, |x, y| x.pow(y);
    maximum_, maximum, |x, y| x.maximum(y);
    minimum_, minimum, |x, y| x.minimum(y);
    div_floor_, div_floor, |x, y| x.div_floor(y);
    div_trunc_, div_trunc, |x, y| x.div_trunc(y);
    remainder_, remainder, |x, y| x.remainder(y);
    fmod_, fmod, |x, y| x.fmod(y);
}
