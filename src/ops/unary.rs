//! Elementwise operations on one tensor.

use super::elementwise::Elementwise;
use super::shader::{Operation, UNARY};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

pub(super) const NEG: Operation = Operation::new("neg", "-x");
pub(super) const ABS: Operation = Operation::new("abs", "abs(x)");
// On GL, wgpu takes abs of a u32 by way of i32.
const ABS_OF_UNSIGNED: Operation = Operation::new("abs", "x");
pub(super) const EXP: Operation = Operation::new("exp", "exp(x)");
pub(super) const LOG: Operation = Operation::new("log", "log(x)");
pub(super) const SQRT: Operation = Operation::new("sqrt", "sqrt(x)");
pub(super) const SIN: Operation = Operation::new("sin", "sin(x)");
pub(super) const COS: Operation = Operation::new("cos", "cos(x)");
// Beyond 15 the result is 1 to the last bit, and some drivers' own overflows on the way there.
pub(super) const TANH: Operation = Operation::new("tanh", "tanh(clamp(x, Value(-15.0), Value(15.0)))");
pub(super) const SIGMOID: Operation = Operation::new("sigmoid", "1.0 / (1.0 + exp(-x))");
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
pub(super) const SILU: Operation = Operation::new("silu", "x / (1.0 + exp(-x))");
// The argument of tanh is clamped as TANH's is.
pub(super) const GELU_TANH: Operation = Operation::new(
    "gelu_tanh",
    "0.5 * x * (1.0 + tanh(clamp(0.7978845608 * (x + 0.044715 * x * x * x), Value(-15.0), Value(15.0))))",
);
/// The error function by Abramowitz and Stegun's formula 7.1.26, within 1.5e-7.
pub(super) const GELU: Operation = Operation {
    name: "gelu",
    expression: "0.5 * x * (1.0 + error_function(x * 0.70710678118))",
    lines: &[[
        "fn apply(x: Value) -> Value {",
        "fn error_function(x: Value) -> Value {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - series * exp(-x * x));
}

fn apply(x: Value) -> Value {",
    ]],
};

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

impl Tensor {
    #[track_caller]
    fn unary(&self, operation: Operation) -> Result<Self, TensorError> {
        let (name, dtype) = (operation.name, self.dtype());
        let operation = on(operation, dtype).ok_or(TensorError::NotDefined { operation: name, dtype: dtype.name() })?;
        let output = self.beside(self.shape(), self.dtype())?;
        let run = Elementwise {
            name,
            shader: &UNARY,
            operation,
            output: &output,
            left: Some((self, *self.layout())),
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
                /// In f16 it is that, rounded once.
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
    exp, EXP, "e to the x", "within 4 + 2 |x| ULP", "f32 and f16", "torch.exp";
    log, LOG, "The natural logarithm of x",
        "within 4 ULP, or 2⁻²¹ where that is more", "f32 and f16", "torch.log";
    sqrt, SQRT, "The square root of x", "within 5 ULP", "f32 and f16", "torch.sqrt";
    sin, SIN, "The sine of x in radians",
        "within 2⁻¹¹ for x from -π to π; beyond that it is the driver's", "f32 and f16", "torch.sin";
    cos, COS, "The cosine of x in radians",
        "within 2⁻¹¹ for x from -π to π; beyond that it is the driver's", "f32 and f16", "torch.cos";
    tanh, TANH, "The hyperbolic tangent of x", "within 1e-5", "f32 and f16", "torch.tanh";
    sigmoid, SIGMOID, "1 / (1 + e to the -x)", "within 7 + 2 |x| ULP", "f32 and f16", "torch.sigmoid";
    relu, RELU, "x where it is above 0, and 0 elsewhere", "exact", "every dtype", "torch.relu";
    rsqrt, RSQRT, "1 / the square root of x", "within 2 ULP", "f32 and f16", "torch.rsqrt";
    reciprocal, RECIPROCAL, "1 / x", "within 2.5 ULP", "f32 and f16", "torch.reciprocal";
    floor, FLOOR, "The largest whole number that is at most x", "exact", "f32 and f16", "torch.floor";
    ceil, CEIL, "The smallest whole number that is at least x", "exact", "f32 and f16", "torch.ceil";
    round, ROUND, "The whole number next to x, the even one of two", "exact", "f32 and f16", "torch.round";
    silu, SILU, "x / (1 + e to the -x)", "within 7 + 2 |x| ULP", "f32 and f16", "torch.nn.functional.silu";
    gelu, GELU, "x / 2 · (1 + erf(x / √2)), with erf by Abramowitz and Stegun's formula 7.1.26",
        "within 1e-6 |x|", "f32 and f16", "torch.nn.functional.gelu";
    gelu_tanh, GELU_TANH, "x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³)))", "within 1e-5 |x|", "f32 and f16",
        "torch.nn.functional.gelu(approximate=\"tanh\")";
    square, SQUARE, "x times x", "within 1 ULP", "every dtype", "torch.square";
}
