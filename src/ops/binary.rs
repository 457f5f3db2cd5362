//! The rows of elementwise operations on two operands, on tensors and numbers, in place, and in expressions.

use super::elementwise::{Code, Elementwise, IN_REAL, OUTPUT, OnIntegers, Operation, Single, computed};
use super::fuse::{Expression, Operand as ExpressionOperand};
use super::launch::check_pools;
use super::shader::{DIVIDED, INTEGER, MODULO, NUMBER, POWER, UPPER_PRODUCT};
use crate::error::{Argument, ShapeRequirement, TensorError};
use crate::tensor::{DType, Element, Number, Operand, Tensor, TensorOrScalar, result_type};
use std::borrow::Cow;

/// The same formula on every dtype.
const fn same(expression: &'static str) -> (Code, [OnIntegers; 2]) {
    let code = Code::new(expression);
    (code, computed(code, code))
}

/// Compares the bits, because drivers' `max` and `min` may drop a NaN.
const fn extreme(expression: &'static str, of_integers: &'static str) -> (Code, [OnIntegers; 2]) {
    (Code::calling(expression, &[NUMBER]), computed(Code::new(of_integers), Code::new(of_integers)))
}

/// Computed from the bits of the operands: the quotient of a division is rounded, which can change its integer part.
const fn division(expression: &'static str, signed: &'static str, unsigned: &'static str) -> (Code, [OnIntegers; 2]) {
    let real = Code::calling(expression, &[NUMBER, DIVIDED, MODULO]).looping(36);
    (real, computed(Code::calling(signed, &[INTEGER]), Code::calling(unsigned, &[INTEGER])))
}

/// Computed with 31-bit integers, because f32 has too few bits for the exponent of a large result.
const POWERS: (Code, [OnIntegers; 2]) = (
    Code::calling("power(x, y)", &[NUMBER, UPPER_PRODUCT, POWER]),
    computed(
        Code::calling("power_of_signed(x, y)", &[INTEGER]).looping(33),
        Code::calling("power_of_unsigned(x, y)", &[INTEGER]).looping(33),
    ),
);

pub(super) static ADD_SCALED: Operation = {
    let (real, integers) = same("x + z * y");
    Operation::new("add_scaled", 3, real, integers)
};

impl Tensor {
    #[track_caller]
    pub(super) fn binary(&self, operation: &'static Operation, other: Operand<'_>) -> Result<Self, TensorError> {
        self.binary_ordered(operation.name, operation, (Argument::operand(1), other), false)
    }

    /// Runs an operation with an argument of the operation `name`, whose errors name the argument.
    #[track_caller]
    pub(super) fn binary_as(
        &self,
        name: &'static str,
        operation: &'static Operation,
        (argument, other): (&'static str, Operand<'_>),
    ) -> Result<Self, TensorError> {
        if let Operand::Tensor(other) = other {
            self.layout().broadcast(name, argument, other.layout())?;
        }
        self.binary_ordered(name, operation, (argument.into(), other), false)
    }

    /// Runs the operation with a number on the left.
    #[track_caller]
    pub(super) fn binary_reversed(
        &self,
        operation: &'static Operation,
        left: Operand<'_>,
    ) -> Result<Self, TensorError> {
        self.binary_ordered(operation.name, operation, (Argument::operand(0), left), true)
    }

    #[track_caller]
    fn binary_ordered(
        &self,
        name: &'static str,
        operation: &'static Operation,
        (argument, other): (Argument, Operand<'_>),
        is_reversed: bool,
    ) -> Result<Self, TensorError> {
        let own_argument = Argument::operand(usize::from(is_reversed));
        if let Operand::Tensor(other) = other {
            check_pools(name, (own_argument, self), (argument, other))?;
        }
        let dtype = result_type(name, (own_argument, Operand::Tensor(self)), (argument, other))?;
        let typed = operation.defined_on(name, own_argument, dtype)?;
        let single = Single { is_reversed, ..Single::of(operation, typed) };
        let own = self.as_dtype(dtype)?;
        match other {
            Operand::Tensor(other) => {
                let other = other.as_dtype(dtype)?;
                Elementwise::single(name, single, &[&own, &other], &[]).run(typed.dtype())
            }
            Operand::Scalar(number) => {
                let number = number.bits(name, argument, typed.operands)?;
                Elementwise::single(name, single, &[&own], &[number]).run(typed.dtype())
            }
        }
    }

    #[track_caller]
    fn binary_in_place(
        &self,
        name: &'static str,
        operation: &'static Operation,
        other: Operand<'_>,
    ) -> Result<(), TensorError> {
        match other {
            Operand::Tensor(other) => self.run_in_place(name, operation, Some(other), None),
            Operand::Scalar(number) => self.run_in_place(name, operation, None, Some(number)),
        }
    }

    /// Runs an operation on this tensor, then another tensor if there is one, then a number if there is one, and writes the
    /// result to this tensor. `name` is that of the operation in place, for errors.
    #[track_caller]
    fn run_in_place(
        &self,
        name: &'static str,
        operation: &'static Operation,
        other: Option<&Self>,
        number: Option<Number>,
    ) -> Result<(), TensorError> {
        if let Some(other) = other {
            check_pools(name, (OUTPUT, self), (Argument::operand(1), other))?;
        }
        let dtype = match (other, number) {
            (Some(other), _) => self.result_type_in_place(name, Operand::Tensor(other))?,
            (None, Some(number)) => self.result_type_in_place(name, Operand::Scalar(number))?,
            (None, None) => self.dtype(),
        };
        let typed = operation.defined_on(name, OUTPUT, dtype)?;
        let argument = if other.is_some() { "alpha".into() } else { Argument::operand(1) };
        let number = match number {
            Some(number) => Some(number.bits(name, argument, typed.operands)?),
            None => None,
        };
        let own = self.as_dtype(dtype)?;
        let other = match other {
            Some(other) => Some(other.as_dtype(dtype)?),
            None => None,
        };
        let tensors = [&*own, other.as_deref().unwrap_or(&*own)];
        let tensors = &tensors[..1 + usize::from(other.is_some())];
        let run = Elementwise::single(name, Single::of(operation, typed), tensors, number.as_slice());
        if dtype == self.dtype() {
            return run.run_into(typed.dtype(), self);
        }
        self.check_writable(name, OUTPUT)?;
        self.write_converted(name, &run.run(typed.dtype())?)
    }

    /// Returns the dtype in which an operation that writes to this tensor is computed: the promoted dtype of both operands.
    ///
    /// # Errors
    /// [`TensorError::DType`] of i32 and u32, and if the promoted dtype is floating point and this tensor's is not.
    fn result_type_in_place(&self, name: &'static str, other: Operand<'_>) -> Result<DType, TensorError> {
        let own = self.dtype();
        let dtype = result_type(name, (OUTPUT, Operand::Tensor(self)), (Argument::operand(1), other))?;
        if dtype.is_floating_point() && !own.is_floating_point() {
            return Err(TensorError::dtypes(name, ("result", dtype.name()), (OUTPUT, own.name())));
        }
        Ok(dtype)
    }

    /// Converts the elements of a result to this tensor's dtype, and writes them to this tensor.
    #[track_caller]
    fn write_converted(&self, name: &'static str, result: &Self) -> Result<(), TensorError> {
        if result.shape() != self.shape() {
            let required = ShapeRequirement::BroadcastTo { shape: self.shape().to_vec() };
            return Err(TensorError::shape(name, Argument::operand(1), result.shape(), required));
        }
        self.copy_(result)
    }

    /// Returns the elements in another dtype: the tensor itself if it has the dtype, otherwise a converted tensor.
    #[track_caller]
    pub(super) fn as_dtype(&self, dtype: DType) -> Result<Cow<'_, Self>, TensorError> {
        Ok(if dtype == self.dtype() { Cow::Borrowed(self) } else { Cow::Owned(self.to(dtype)?) })
    }

    /// Adds `alpha` times `other`, broadcast to the shape of this tensor, in place: the update of gradient descent. Equals
    /// `torch.Tensor.add_(other, alpha=alpha)`.
    ///
    /// Operands of different dtypes are promoted as by [`Tensor::add_`], and the sum is converted to the dtype of this tensor.
    /// `alpha` takes the promoted dtype.
    ///
    /// # Errors
    /// [`TensorError::DType`] if this tensor has an integer dtype and `other` or `alpha` is floating point, or for i32
    /// and u32; [`TensorError::Scalar`] for an integer `alpha` beyond the dtype's range; [`TensorError::Pools`],
    /// [`TensorError::Shape`]; [`TensorError::Overlap`] if the tensors share elements at different indices, or if
    /// elements of this tensor overlap each other.
    #[track_caller]
    pub fn add_scaled_<T: Element>(&self, other: &Self, alpha: T) -> Result<(), TensorError> {
        self.run_in_place("add_scaled_", &ADD_SCALED, Some(other), Some(Number::of(alpha)))
    }
}

macro_rules! binary_operations {
    (
        $($function:ident, $in_place:ident, $row:ident, $formulas:expr, $formula:literal, $accuracy:literal, $dtypes:literal, $equals:literal;)*
    ) => {
        $(pub(super) static $row: Operation = {
            let (real, integers) = $formulas;
            Operation::new(stringify!($function), 2, real, integers)
        };)*

        /// Every row.
        #[cfg(test)]
        pub(super) static ALL: &[&Operation] = &[$(&$row),*];

        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element, for a tensor or a number y. Shapes broadcast to each other. For ", $dtypes)]
                #[doc = concat!(". Equals `", $equals, "`.")]
                ///
                /// Operands of different dtypes are promoted first, as by `torch.result_type`: f16 to f32, and integers to a
                /// floating-point dtype. A number takes the tensor's dtype, unless the tensor has an integer dtype and the number
                /// is floating point: the result is then f32.
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                /// A unit in the last place (ULP) is that of the result, also for small results. Subnormal operands and
                /// results may be treated as 0.
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::Pools`], [`TensorError::DType`] of i32 and u32,
                /// [`TensorError::Scalar`] of an integer beyond the dtype's range, [`TensorError::NotDefined`]; as
                /// [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self, other: impl TensorOrScalar) -> Result<Self, TensorError> {
                    self.binary(&$row, other.operand())
                }

                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place: another tensor is broadcast to the shape of this one, and the result converted to its dtype. Equals `torch.Tensor.", stringify!($in_place), "`.")]
                ///
                /// # Errors
                /// [`TensorError::Shape`], [`TensorError::Pools`], [`TensorError::NotDefined`],
                /// [`TensorError::Scalar`]; [`TensorError::DType`] if this tensor has an integer dtype and the other
                /// operand or the result is floating point, or for i32 and u32; [`TensorError::Overlap`] if the tensors
                /// share elements at different indices, or if elements of this tensor overlap each other.
                #[track_caller]
                pub fn $in_place(&self, other: impl TensorOrScalar) -> Result<(), TensorError> {
                    self.binary_in_place(stringify!($in_place), &$row, other.operand())
                }
            )*
        }

        #[expect(clippy::should_implement_trait, reason = "an expression has the operators as well")]
        impl<'a> Expression<'a> {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`](crate::Tensor::", stringify!($function), ").")]
                #[must_use]
                pub fn $function(self, other: impl ExpressionOperand<'a>) -> Self {
                    self.apply_to(&$row, other)
                }
            )*
        }
    };
}

binary_operations! {
    add, add_, ADD, same("x + y"),
        "x + y", "within 1 ULP", "every dtype", "torch.add";
    sub, sub_, SUB, same("x - y"),
        "x - y", "within 1 ULP", "every dtype", "torch.sub";
    mul, mul_, MUL, same("x * y"),
        "x * y", "within 1 ULP", "every dtype", "torch.mul";
    div, div_, DIV, (Code::calling("divided(x, y)", &[DIVIDED]), IN_REAL),
        "x / y", "within 2.5 ULP", "every dtype; of two integers in f32", "torch.div";
    maximum, maximum_, MAXIMUM, extreme("larger(x, y)", "max(x, y)"),
        "The larger of x and y, NaN if either is", "exact", "every dtype", "torch.maximum";
    pow, pow_, POW, POWERS,
        "x to the y; special values as IEEE 754's `pow`. A power of integers wraps, and of a negative exponent is the integer part: 0, except of 1 and -1 (PyTorch refuses a negative number as exponent)", "within 3 ULP", "every dtype", "torch.pow";
    div_floor, div_floor_, DIV_FLOOR, division("quotient_floored(x, y)", "signed_floored(x, y)", "unsigned_quotient(x, y)"),
        "x / y rounded down, from the exact quotient: Python's `x // y`. Of integers, x / 0 is x, and of i32 the least integer / -1 is itself, on every driver (PyTorch refuses or leaves it undefined). Of floating point, x / 0 is as by [`Tensor::div`], and NaN of an infinite x otherwise",
        "exact below 2^24, and within 2.5 ULP above", "every dtype", "torch.floor_divide`, `torch.div(rounding_mode=\"floor\")";
    div_trunc, div_trunc_, DIV_TRUNC, division("quotient_truncated(x, y)", "signed_truncated(x, y)", "unsigned_quotient(x, y)"),
        "x / y rounded toward zero. Of integers, x / 0 is x, and of i32 the least integer / -1 is itself, on every driver. Of floating point, it is the integer part of the quotient rounded to the dtype",
        "exact below 2^24, and within 2.5 ULP above", "every dtype", "torch.div(rounding_mode=\"trunc\")";
    remainder, remainder_, REMAINDER, division("remainder(x, y)", "signed_remainder(x, y)", "unsigned_remainder(x, y)"),
        "x - y times [`div_floor`](Tensor::div_floor): the remainder with the sign of y, Python's `x % y`. Of integers, the remainder of a division by 0 is 0, on every driver; of floating point it is NaN, as that of an infinite x",
        "exact where x and y have the same sign, and within 1 ULP otherwise", "every dtype", "torch.remainder";
    fmod, fmod_, FMOD, division("modulo(x, y)", "signed_modulo(x, y)", "unsigned_remainder(x, y)"),
        "x - y times [`div_trunc`](Tensor::div_trunc): the remainder with the sign of x, C's `fmod` and Rust's `%`. Of integers, the remainder of a division by 0 is 0, on every driver; of floating point it is NaN, as that of an infinite x",
        "exact", "every dtype", "torch.fmod";
    minimum, minimum_, MINIMUM, extreme("smaller(x, y)", "min(x, y)"),
        "The smaller of x and y, NaN if either is", "exact", "every dtype", "torch.minimum";
}
