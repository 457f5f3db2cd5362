//! Elementwise operations on one tensor.

use super::elementwise::Elementwise;
use super::shader::{ERROR_FUNCTION, EXPONENTIAL, LOGARITHM, NUMBER, Operation, SINE, UNARY, UPPER_PRODUCT};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

pub(super) const NEG: Operation = Operation::new("neg", "-x");
pub(super) const ABS: Operation = Operation::new("abs", "abs(x)");
// On GL, wgpu takes abs of a u32 by way of i32.
const ABS_OF_UNSIGNED: Operation = Operation::new("abs", "x");
pub(super) const EXP: Operation = Operation::new("exp", "exp(x)");
pub(super) const LOG: Operation = Operation::calling("log", "logarithm(x)", &[LOGARITHM]);
pub(super) const SQRT: Operation = Operation::new("sqrt", "sqrt(x)");
pub(super) const SIN: Operation = Operation::calling("sin", "sine(x)", &[UPPER_PRODUCT, SINE]);
pub(super) const COS: Operation = Operation::calling("cos", "cosine(x)", &[UPPER_PRODUCT, SINE]);
pub(super) const TANH: Operation = Operation::calling("tanh", "hyperbolic_tangent(x)", &[NUMBER, EXPONENTIAL]);
pub(super) const SIGMOID: Operation = Operation::calling("sigmoid", "logistic(x)", &[NUMBER, EXPONENTIAL]);
// By its bits, from above -0 to minus infinity: drivers make a `max` of a comparison, and that may drop a NaN.
pub(super) const RELU: Operation = Operation::new(
    "relu",
    "select(x, Value(0.0), (bitcast<Bits>(x) > Bits(0x80000000u)) & (bitcast<Bits>(x) <= Bits(0xff800000u)))",
);
const RELU_OF_INTEGERS: Operation = Operation::new("relu", "max(x, Value(0))");
pub(super) const SQUARE: Operation = Operation::new("square", "x * x");

pub(super) const RSQRT: Operation = Operation::new("rsqrt", "inverseSqrt(x)");
pub(super) const RECIPROCAL: Operation = Operation::new("reciprocal", "1.0 / x");
pub(super) const FLOOR: Operation = Operation::new("floor", "floor(x)");
pub(super) const CEIL: Operation = Operation::new("ceil", "ceil(x)");
pub(super) const ROUND: Operation = Operation::new("round", "round(x)");
pub(super) const SILU: Operation = Operation::calling("silu", "x * logistic(x)", &[NUMBER, EXPONENTIAL]);
// (1 + tanh(u)) / 2 is the logistic function of 2 u, which loses nothing to cancellation.
pub(super) const GELU_TANH: Operation =
    Operation::calling("gelu_tanh", "x * logistic(1.5957691216 * (x + 0.044715 * x * x * x))", &[NUMBER, EXPONENTIAL]);
pub(super) const GELU: Operation =
    Operation::calling("gelu", "0.5 * x * (1.0 + error_function(x * 0.70710678118))", &[ERROR_FUNCTION]);

/// Every operation there is.
#[cfg(test)]
pub(super) const ALL: [Operation; 19] = [
    NEG, ABS, EXP, LOG, SQRT, SIN, COS, TANH, SIGMOID, RELU, SQUARE, RSQRT, RECIPROCAL, FLOOR, CEIL, ROUND, SILU,
    GELU_TANH, GELU,
];

/// The operation as it is done on a dtype, if it is defined for it.
pub(super) fn on(operation: Operation, dtype: DType) -> Option<Operation> {
    match (operation, dtype) {
        (_, DType::F32 | DType::F16) | (SQUARE, _) | (NEG | ABS, DType::I32) => Some(operation),
        (ABS, DType::U32) => Some(ABS_OF_UNSIGNED),
        (RELU, DType::I32 | DType::U32) => Some(RELU_OF_INTEGERS),
        _ => None,
    }
}

/// Whether the operation gives f32 of integers, as PyTorch's.
fn gives_real(operation: Operation) -> bool {
    matches!(operation, EXP | LOG | SQRT | SIN | COS | TANH | SIGMOID | RSQRT | RECIPROCAL)
}

/// The dtype of the operation's result, as in PyTorch, and the operation on that dtype; none where the result is the operand.
///
/// # Errors
/// [`TensorError::NotDefined`].
pub(super) fn promoted(operation: Operation, dtype: DType) -> Result<(DType, Option<Operation>), TensorError> {
    let dtype = match operation {
        FLOOR | CEIL | ROUND if !dtype.is_floating_point() => return Ok((dtype, None)),
        operation if gives_real(operation) && !dtype.is_floating_point() => DType::F32,
        _ => dtype,
    };
    let undefined = TensorError::NotDefined { operation: operation.name, dtype: dtype.name() };
    on(operation, dtype).ok_or(undefined).map(|operation| (dtype, Some(operation)))
}

impl Tensor {
    #[track_caller]
    fn unary(&self, operation: Operation) -> Result<Self, TensorError> {
        let name = operation.name;
        let (dtype, Some(operation)) = promoted(operation, self.dtype())? else { return self.copied() };
        let own = self.as_dtype(dtype)?;
        let output = self.new_empty(self.shape(), dtype)?;
        let run = Elementwise {
            name,
            shader: &UNARY,
            operation,
            output: &output,
            left: Some((&own, *own.layout())),
            right: None,
            shared: false,
            scalar: 0,
        };
        run.run()?;
        Ok(output)
    }
}

macro_rules! unary_operations {
    ($($function:ident, $operation:ident, $formula:literal, $accuracy:literal, $dtypes:literal, $equals:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element. For ", $dtypes, ". Equals `", $equals, "`.")]
                ///
                #[doc = concat!("Accuracy in f32, on every driver: ", $accuracy, ".")]
                /// A unit in the last place (ULP) is that of the result, however small; a subnormal operand or result may be taken for
                /// 0. In f16 the result is that, rounded once. NaN gives NaN.
                ///
                /// # Errors
                /// [`TensorError::NotDefined`] for another dtype; as [`Tensor::empty`].
                #[track_caller]
                pub fn $function(&self) -> Result<Self, TensorError> {
                    self.unary($operation)
                }
            )*
        }
    };
}

unary_operations! {
    neg, NEG, "-x", "exact", "f32, f16 and i32", "torch.neg";
    abs, ABS, "|x|", "exact", "every dtype", "torch.abs";
    exp, EXP, "e to the x", "within 4 + 2 |x| ULP", "every dtype; of integers in f32", "torch.exp";
    log, LOG, "The natural logarithm of x",
        "within 3 ULP, next to 1 as well", "every dtype; of integers in f32", "torch.log";
    sqrt, SQRT, "The square root of x", "within 5 ULP", "every dtype; of integers in f32", "torch.sqrt";
    sin, SIN, "The sine of x in radians",
        "within 4 ULP for every finite x", "every dtype; of integers in f32", "torch.sin";
    cos, COS, "The cosine of x in radians",
        "within 4 ULP for every finite x", "every dtype; of integers in f32", "torch.cos";
    tanh, TANH, "The hyperbolic tangent of x", "within 8 ULP", "every dtype; of integers in f32", "torch.tanh";
    sigmoid, SIGMOID, "1 / (1 + e to the -x)", "within 8 + 2 |x| ULP", "every dtype; of integers in f32", "torch.sigmoid";
    relu, RELU, "x where it is above 0, and 0 where not", "exact", "every dtype", "torch.relu";
    rsqrt, RSQRT, "1 / the square root of x", "within 2 ULP", "every dtype; of integers in f32", "torch.rsqrt";
    reciprocal, RECIPROCAL, "1 / x", "within 2.5 ULP", "every dtype; of integers in f32", "torch.reciprocal";
    floor, FLOOR, "The largest whole number that is at most x", "exact", "every dtype; integers are copied", "torch.floor";
    ceil, CEIL, "The smallest whole number that is at least x", "exact", "every dtype; integers are copied", "torch.ceil";
    round, ROUND, "x rounded to the nearest integer, ties to even", "exact", "every dtype; integers are copied", "torch.round";
    silu, SILU, "x / (1 + e to the -x)", "within 9 + 2 |x| ULP, or 1e-36 where that is more", "f32 and f16", "torch.nn.functional.silu";
    gelu, GELU, "x / 2 · (1 + erf(x / √2)), with erf by Abramowitz and Stegun's formula 7.1.26",
        "within 1e-6 |x|", "f32 and f16", "torch.nn.functional.gelu";
    gelu_tanh, GELU_TANH, "x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³)))", "within 1e-6 |x|", "f32 and f16",
        "torch.nn.functional.gelu(approximate=\"tanh\")";
    square, SQUARE, "x times x", "within 1 ULP", "every dtype", "torch.square";
}
