//! The rows of elementwise operations on one operand, on tensors, in place, and in expressions.

use super::elementwise::{
    Code, Elementwise, IDENTITY, IN_REAL, OUTPUT, OnIntegers, Operation, Single, UNDEFINED, computed,
};
use super::fuse::Expression;
use super::shader::{ERROR_FUNCTION, EXPONENTIAL, LOGARITHM, NUMBER, SINE, UPPER_PRODUCT};
use crate::error::{Argument, TensorError};
use crate::tensor::Tensor;

const fn real(expression: &'static str) -> Code {
    Code::new(expression)
}

/// A formula that needs the exponential or logistic function or the hyperbolic tangent.
const fn exponential(expression: &'static str) -> Code {
    Code::calling(expression, &[NUMBER, EXPONENTIAL])
}

const fn sine(expression: &'static str) -> Code {
    Code::calling(expression, &[UPPER_PRODUCT, SINE])
}

impl Tensor {
    #[track_caller]
    fn unary(&self, operation: &'static Operation) -> Result<Self, TensorError> {
        let typed = operation.defined_on(operation.name, Argument::operand(0), self.dtype())?;
        if typed.code.is_none() {
            return self.copied();
        }
        Elementwise::single(operation.name, Single::of(operation, typed), &[self], &[]).run(typed.dtype())
    }

    /// Under the name of the operation in place, which is that of errors.
    fn unary_in_place(&self, name: &'static str, operation: &'static Operation) -> Result<(), TensorError> {
        let typed = operation.defined_on(name, OUTPUT, self.dtype())?;
        Elementwise::single(name, Single::of(operation, typed), &[self], &[]).run_into(typed.dtype(), self)
    }
}

macro_rules! unary_operations {
    (
        $($function:ident, $in_place:ident, $row:ident, $code:expr, $integers:expr, $formula:literal, $accuracy:literal, $dtypes:literal, $equals:literal;)*
    ) => {
        $(pub(super) static $row: Operation = Operation::new(stringify!($function), 1, $code, $integers);)*

        /// Every row.
        #[cfg(test)]
        pub(super) static ALL: &[&Operation] = &[$(&$row),*];

        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element. For ", $dtypes, ". Equals `", $equals, "`.")]
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                /// A unit in the last place (ULP) is that of the result, also for small results. Subnormal operands and
                /// results may be treated as 0. f16 is computed in f32 and rounded once. NaN gives NaN.
                ///
                /// # Errors
                /// [`TensorError::NotDefined`] for another dtype; as [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self) -> Result<Self, TensorError> {
                    self.unary(&$row)
                }

                #[doc = concat!("As [`Tensor::", stringify!($function), "`], in place. Equals `torch.Tensor.", stringify!($in_place), "`.")]
                ///
                /// # Errors
                /// [`TensorError::NotDefined`]; [`TensorError::DType`] for an integer tensor whose result is f32;
                /// [`TensorError::Overlap`] if elements of the tensor overlap each other.
                #[track_caller]
                pub fn $in_place(&self) -> Result<(), TensorError> {
                    self.unary_in_place(stringify!($in_place), &$row)
                }
            )*
        }

        #[expect(clippy::should_implement_trait, reason = "an expression has `neg` as the operator as well")]
        impl Expression<'_> {
            $(
                #[doc = concat!("As [`Tensor::", stringify!($function), "`](crate::Tensor::", stringify!($function), ").")]
                #[must_use]
                pub fn $function(self) -> Self {
                    self.apply(&$row)
                }
            )*
        }
    };
}

unary_operations! {
    neg, neg_, NEG, real("-x"), [OnIntegers::Computed(real("-x")), OnIntegers::Undefined],
        "-x", "exact", "f32, f16 and i32", "torch.neg";
    // On GL, wgpu computes abs of a u32 as abs of an i32.
    abs, abs_, ABS, real("abs(x)"), computed(real("abs(x)"), real("x")),
        "|x|", "exact", "every dtype", "torch.abs";
    exp, exp_, EXP, exponential("exponential(x)"), IN_REAL,
        "e to the x", "within 4 + 2 |x| ULP", "every dtype; of integers in f32", "torch.exp";
    log, log_, LOG, Code::calling("logarithm(x)", &[LOGARITHM]), IN_REAL,
        "The natural logarithm of x",
        "within 3 ULP, next to 1 as well", "every dtype; of integers in f32", "torch.log";
    sqrt, sqrt_, SQRT, real("sqrt(x)"), IN_REAL,
        "The square root of x", "within 5 ULP", "every dtype; of integers in f32", "torch.sqrt";
    sin, sin_, SIN, sine("sine(x)"), IN_REAL,
        "The sine of x in radians",
        "within 4 ULP for every finite x", "every dtype; of integers in f32", "torch.sin";
    cos, cos_, COS, sine("cosine(x)"), IN_REAL,
        "The cosine of x in radians",
        "within 4 ULP for every finite x", "every dtype; of integers in f32", "torch.cos";
    tanh, tanh_, TANH, exponential("hyperbolic_tangent(x)"), IN_REAL,
        "The hyperbolic tangent of x", "within 8 ULP", "every dtype; of integers in f32", "torch.tanh";
    sigmoid, sigmoid_, SIGMOID, exponential("logistic(x)"), IN_REAL,
        "1 / (1 + e to the -x)", "within 8 + 2 |x| ULP", "every dtype; of integers in f32", "torch.sigmoid";
    // Compares bits, those above -0 up to minus infinity: drivers replace a comparison by `max`, which may return the other
    // operand for NaN.
    relu, relu_, RELU, real("select(x, Real(0.0), (bitcast<Bits>(x) > Bits(0x80000000u)) & (bitcast<Bits>(x) <= Bits(0xff800000u)))"),
        computed(real("max(x, Signed(0))"), real("x")),
        "x where it is above 0, and 0 where not", "exact", "every dtype", "torch.relu";
    rsqrt, rsqrt_, RSQRT, real("inverseSqrt(x)"), IN_REAL,
        "1 / the square root of x", "within 2 ULP", "every dtype; of integers in f32", "torch.rsqrt";
    reciprocal, reciprocal_, RECIPROCAL, real("1.0 / x"), IN_REAL,
        "1 / x", "within 2.5 ULP", "every dtype; of integers in f32", "torch.reciprocal";
    floor, floor_, FLOOR, real("floor(x)"), IDENTITY,
        "The largest whole number that is at most x", "exact", "every dtype; integers are copied", "torch.floor";
    ceil, ceil_, CEIL, real("ceil(x)"), IDENTITY,
        "The smallest whole number that is at least x", "exact", "every dtype; integers are copied", "torch.ceil";
    round, round_, ROUND, real("round(x)"), IDENTITY,
        "x rounded to the nearest integer, ties to even", "exact", "every dtype; integers are copied", "torch.round";
    silu, silu_, SILU, exponential("x * logistic(x)"), UNDEFINED,
        "x / (1 + e to the -x)", "within 9 + 2 |x| ULP, or 1e-36 where that is more", "f32 and f16", "torch.nn.functional.silu";
    gelu, gelu_, GELU, Code::calling("0.5 * x * (1.0 + error_function(x * 0.70710678118))", &[ERROR_FUNCTION]), UNDEFINED,
        "x / 2 · (1 + erf(x / √2)), with erf by Abramowitz and Stegun's formula 7.1.26",
        "within 1e-6 |x|", "f32 and f16", "torch.nn.functional.gelu";
    // (1 + tanh(u)) / 2 is the logistic function of 2 u, whose computation has no cancellation.
    gelu_tanh, gelu_tanh_, GELU_TANH, exponential("x * logistic(1.5957691216 * (x + 0.044715 * x * x * x))"), UNDEFINED,
        "x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³)))", "within 1e-6 |x|", "f32 and f16",
        "torch.nn.functional.gelu(approximate=\"tanh\")";
    square, square_, SQUARE, real("x * x"), computed(real("x * x"), real("x * x")),
        "x times x", "within 1 ULP", "every dtype", "torch.square";
}
