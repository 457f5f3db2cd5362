//! Elementwise operations on two tensors, and on a tensor and a scalar.

use super::elementwise::Elementwise;
use super::launch::{check_kinds, check_pools, is_in_place};
use super::shader::{
    ADD_SCALED, AS_IT_IS, BINARY, BINARY_SCALAR, DIVIDED, INTEGER, MODULO, NUMBER, Operation, POWER, UPPER_PRODUCT,
};
use crate::error::TensorError;
use crate::tensor::{DType, Element, Operand, Tensor, TensorOrScalar, result_type};
use std::borrow::Cow;

pub(super) const ADD: Operation = Operation::new("add", "x + y");
pub(super) const SUB: Operation = Operation::new("sub", "x - y");
pub(super) const MUL: Operation = Operation::new("mul", "x * y");
pub(super) const DIV: Operation = Operation::calling("div", "divided(x, y)", &[DIVIDED]);

/// With the operands exchanged, for a number on the left.
pub(super) const RSUB: Operation = Operation::new("rsub", "y - x");
pub(super) const RDIV: Operation = Operation::calling("rdiv", "divided(y, x)", &[DIVIDED]);

// By the order of their bits: drivers' own `max` and `min` may drop a NaN.
pub(super) const MAXIMUM: Operation = Operation::calling("maximum", "larger(x, y)", &[NUMBER]);
pub(super) const MINIMUM: Operation = Operation::calling("minimum", "smaller(x, y)", &[NUMBER]);
const MAXIMUM_OF_INTEGERS: Operation = Operation::new("maximum", "max(x, y)");
const MINIMUM_OF_INTEGERS: Operation = Operation::new("minimum", "min(x, y)");

// By integers of 31 bits: f32 has too few for the exponent of a large result.
pub(super) const POW: Operation = Operation::calling("pow", "power(x, y)", &[NUMBER, UPPER_PRODUCT, POWER]);

// By the bits of the operands: the quotient of a division is rounded, so that its integer part may be another one.
const LONG_DIVISION: &[&str] = &[NUMBER, DIVIDED, MODULO];
const DIVISION_STEPS: u64 = 36;
pub(super) const DIV_FLOOR: Operation =
    Operation::calling("div_floor", "quotient_floored(x, y)", LONG_DIVISION).looping(DIVISION_STEPS);
pub(super) const DIV_TRUNC: Operation =
    Operation::calling("div_trunc", "quotient_truncated(x, y)", LONG_DIVISION).looping(DIVISION_STEPS);
pub(super) const REMAINDER: Operation =
    Operation::calling("remainder", "remainder(x, y)", LONG_DIVISION).looping(DIVISION_STEPS);
pub(super) const RREMAINDER: Operation =
    Operation::calling("rremainder", "remainder(y, x)", LONG_DIVISION).looping(DIVISION_STEPS);
pub(super) const FMOD: Operation = Operation::calling("fmod", "modulo(x, y)", LONG_DIVISION).looping(DIVISION_STEPS);

/// Every operation there is.
#[cfg(test)]
pub(super) const ALL: [Operation; 14] =
    [ADD, SUB, MUL, DIV, RSUB, RDIV, MAXIMUM, MINIMUM, POW, DIV_FLOOR, DIV_TRUNC, REMAINDER, RREMAINDER, FMOD];

/// An operation on integers, by functions of `lib/integer.wgsl`.
const fn of_integers(operation: Operation, expression: &'static str) -> Operation {
    Operation::calling(operation.name, expression, &[INTEGER])
}

/// The operation as it is done on a dtype, if it is defined for it. A quotient of integers is one of their values in f32.
pub(super) fn defined(operation: Operation, dtype: DType) -> Option<Operation> {
    let is_signed = match dtype {
        DType::F32 | DType::F16 => return Some(operation),
        DType::I32 => true,
        DType::U32 => false,
    };
    let of = |signed, unsigned| Some(of_integers(operation, if is_signed { signed } else { unsigned }));
    match operation {
        DIV | RDIV => None,
        MAXIMUM => Some(MAXIMUM_OF_INTEGERS),
        MINIMUM => Some(MINIMUM_OF_INTEGERS),
        POW => of("power_of_signed(x, y)", "power_of_unsigned(x, y)").map(|pow| pow.looping(33)),
        DIV_FLOOR => of("signed_floored(x, y)", "unsigned_quotient(x, y)"),
        DIV_TRUNC => of("signed_truncated(x, y)", "unsigned_quotient(x, y)"),
        REMAINDER => of("signed_remainder(x, y)", "unsigned_remainder(x, y)"),
        RREMAINDER => of("signed_remainder(y, x)", "unsigned_remainder(y, x)"),
        FMOD => of("signed_modulo(x, y)", "unsigned_remainder(x, y)"),
        _ => Some(operation),
    }
}

/// The dtype of the operation's result on two operands of a dtype, as in PyTorch, and the operation on that dtype.
///
/// # Errors
/// [`TensorError::NotDefined`].
pub(super) fn promoted(operation: Operation, dtype: DType) -> Result<(DType, Operation), TensorError> {
    let dtype = match (operation, dtype) {
        (DIV | RDIV, DType::I32 | DType::U32) => DType::F32,
        (_, dtype) => dtype,
    };
    let undefined = TensorError::NotDefined { operation: operation.name, dtype: dtype.name() };
    defined(operation, dtype).ok_or(undefined).map(|operation| (dtype, operation))
}

impl Tensor {
    #[track_caller]
    pub(super) fn binary(&self, operation: Operation, other: Operand<'_>) -> Result<Self, TensorError> {
        let name = operation.name;
        if let Operand::Tensor(other) = other {
            check_pools(name, self, other)?;
        }
        let (dtype, operation) = promoted(operation, result_type(name, Operand::Tensor(self), other)?)?;
        match other {
            Operand::Tensor(other) => {
                let shape = self.layout().broadcast_shape(name, other.layout())?;
                self.as_dtype(dtype)?.of_two(operation, &*other.as_dtype(dtype)?, &shape)
            }
            Operand::Scalar(number) => {
                let bits = number.bits(name, dtype)?;
                self.as_dtype(dtype)?.with_number(operation, bits)
            }
        }
    }

    /// An operation on two tensors of one dtype, broadcast to a shape.
    #[track_caller]
    fn of_two(&self, operation: Operation, other: &Self, shape: &[usize]) -> Result<Self, TensorError> {
        let output = self.new_empty(shape, self.dtype())?;
        let run = Elementwise {
            name: operation.name,
            shader: &BINARY,
            operation,
            output: &output,
            left: Some((self, self.layout().expand(operation.name, shape)?)),
            right: Some((other, other.layout().expand(operation.name, shape)?)),
            shared: self.storage().is_same(other.storage()),
            scalar: 0,
        };
        run.run()?;
        Ok(output)
    }

    #[track_caller]
    fn with_number(&self, operation: Operation, bits: u32) -> Result<Self, TensorError> {
        let output = self.new_empty(self.shape(), self.dtype())?;
        let run = Elementwise {
            name: operation.name,
            shader: &BINARY_SCALAR,
            operation,
            output: &output,
            left: Some((self, *self.layout())),
            right: None,
            shared: false,
            scalar: bits,
        };
        run.run()?;
        Ok(output)
    }

    /// The elements in another dtype; without a copy, nor another handle, if they have it.
    #[track_caller]
    pub(super) fn as_dtype(&self, dtype: DType) -> Result<Cow<'_, Self>, TensorError> {
        Ok(if dtype == self.dtype() { Cow::Borrowed(self) } else { Cow::Owned(self.to(dtype)?) })
    }

    /// Adds `alpha` times `other`, broadcast to the shape of this tensor, in place: the step of gradient descent. Equals
    /// `torch.Tensor.add_(other, alpha=alpha)`.
    ///
    /// # Errors
    /// [`TensorError::Pools`], [`TensorError::DType`], [`TensorError::Shape`]; [`TensorError::Overlap`] if `other` shares
    /// elements with it other than each with itself, or if its own elements share places.
    pub fn add_scaled_<T: Element>(&self, other: &Self, alpha: T) -> Result<(), TensorError> {
        let name = "add_scaled_";
        check_kinds(name, self, other)?;
        self.check_scalar(name, T::DTYPE)?;
        self.check_writable(name)?;
        let layout = other.layout().expand(name, self.shape())?;
        let run = Elementwise {
            name,
            shader: &ADD_SCALED,
            operation: AS_IT_IS,
            output: self,
            left: Some((other, layout)),
            right: None,
            shared: is_in_place(name, (self.storage(), self.layout()), (other.storage(), &layout))?,
            scalar: alpha.bits(),
        };
        run.run()
    }

    pub(super) fn check_scalar(&self, operation: &'static str, scalar: DType) -> Result<(), TensorError> {
        // Of a number that f16 lacks, nothing is lost: it is computed with in f32.
        if scalar == self.dtype() || scalar == self.dtype().number() {
            return Ok(());
        }
        Err(TensorError::DType { operation, left: self.dtype().name(), right: scalar.name() })
    }
}

macro_rules! binary_operations {
    ($($function:ident, $operation:ident, $formula:literal, $accuracy:literal, $dtypes:literal, $equals:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element, for a tensor or a number y. Shapes broadcast to each other. For ", $dtypes)]
                #[doc = concat!(". Equals `", $equals, "`.")]
                ///
                /// Of different dtypes the operands are converted first, as by `torch.result_type`: of f16 and f32 f16 becomes f32,
                /// of an integer and floating point the integer. A number takes the tensor's dtype, unless the
                /// tensor is of integers and the number is not: the result is then f32.
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                /// A unit in the last place (ULP) is that of the result, however small; a subnormal operand or result may be taken for 0.
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::Pools`], [`TensorError::DType`] of i32 and u32,
                /// [`TensorError::Scalar`] of an integer beyond the dtype's range, [`TensorError::NotDefined`]; as
                /// [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self, other: impl TensorOrScalar) -> Result<Self, TensorError> {
                    self.binary($operation, other.operand())
                }
            )*
        }
    };
}

binary_operations! {
    add, ADD, "x + y", "within 1 ULP", "every dtype", "torch.add";
    sub, SUB, "x - y", "within 1 ULP", "every dtype", "torch.sub";
    mul, MUL, "x * y", "within 1 ULP", "every dtype", "torch.mul";
    div, DIV, "x / y", "within 2.5 ULP", "every dtype; of two integers in f32", "torch.div";
    maximum, MAXIMUM, "The larger of x and y, NaN if either is", "exact", "every dtype", "torch.maximum";
    pow, POW, "x to the y; special values as IEEE 754's `pow`. A power of integers wraps, and of a negative exponent is the integer part: 0, except of 1 and -1 (PyTorch refuses a negative number as exponent)", "within 3 ULP", "every dtype", "torch.pow";
    div_floor, DIV_FLOOR, "x / y rounded down, from the exact quotient: Python's `x // y`. Of integers, x / 0 is x, and of i32 the least integer / -1 is itself, on every driver (PyTorch refuses or leaves it undefined). Of floating point, x / 0 is as by [`Tensor::div`], and NaN of an infinite x otherwise",
        "exact below 2^24, and within 2.5 ULP above", "every dtype", "torch.floor_divide`, `torch.div(rounding_mode=\"floor\")";
    div_trunc, DIV_TRUNC, "x / y rounded toward zero. Of integers, x / 0 is x, and of i32 the least integer / -1 is itself, on every driver. Of floating point, it is the integer part of the quotient rounded to the dtype",
        "exact below 2^24, and within 2.5 ULP above", "every dtype", "torch.div(rounding_mode=\"trunc\")";
    remainder, REMAINDER, "x - y times [`div_floor`](Tensor::div_floor): the remainder with the sign of y, Python's `x % y`. Of integers, the remainder of a division by 0 is 0, on every driver; of floating point it is NaN, as that of an infinite x",
        "exact where x and y have the same sign, and within 1 ULP otherwise", "every dtype", "torch.remainder";
    fmod, FMOD, "x - y times [`div_trunc`](Tensor::div_trunc): the remainder with the sign of x, C's `fmod` and Rust's `%`. Of integers, the remainder of a division by 0 is 0, on every driver; of floating point it is NaN, as that of an infinite x",
        "exact", "every dtype", "torch.fmod";
    minimum, MINIMUM, "The smaller of x and y, NaN if either is", "exact", "every dtype", "torch.minimum";
}
