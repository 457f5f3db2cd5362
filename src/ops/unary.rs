//! Elementwise operations on one tensor.

use super::elementwise::Elementwise;
use super::shader::{Operation, UNARY};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

const NEG: Operation = Operation { name: "neg", expression: "-x" };
const ABS: Operation = Operation { name: "abs", expression: "abs(x)" };
const EXP: Operation = Operation { name: "exp", expression: "exp(x)" };
const LOG: Operation = Operation { name: "log", expression: "log(x)" };
const SQRT: Operation = Operation { name: "sqrt", expression: "sqrt(x)" };
const SIN: Operation = Operation { name: "sin", expression: "sin(x)" };
const COS: Operation = Operation { name: "cos", expression: "cos(x)" };
// Beyond 15 the result is 1 to the last bit, and some drivers' own overflows on the way there.
const TANH: Operation = Operation { name: "tanh", expression: "tanh(clamp(x, -15.0, 15.0))" };
const SIGMOID: Operation = Operation { name: "sigmoid", expression: "1.0 / (1.0 + exp(-x))" };
// A comparison lets NaN through, where `max` may drop it.
const RELU: Operation = Operation { name: "relu", expression: "select(x, Element(0), x < Element(0))" };
const SQUARE: Operation = Operation { name: "square", expression: "x * x" };

/// Every operation there is.
#[cfg(test)]
pub(super) const ALL: [Operation; 11] = [NEG, ABS, EXP, LOG, SQRT, SIN, COS, TANH, SIGMOID, RELU, SQUARE];

/// Whether an operation is defined for a dtype of integers.
pub(super) fn takes_integers(operation: Operation, dtype: DType) -> bool {
    match dtype {
        DType::U32 => [ABS, RELU, SQUARE].contains(&operation),
        _ => [NEG, ABS, RELU, SQUARE].contains(&operation),
    }
}

impl Tensor {
    fn unary(&self, operation: Operation) -> Result<Self, TensorError> {
        if self.dtype() != DType::F32 && !takes_integers(operation, self.dtype()) {
            return Err(TensorError::NotDefined { operation: operation.name, dtype: self.dtype().name() });
        }
        let output = Self::empty(&self.pool(), self.shape(), self.dtype())?;
        let run = Elementwise {
            name: operation.name,
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
    ($($function:ident, $operation:ident, $formula:literal, $dtypes:literal, $equals:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!($formula, ", element by element. For ", $dtypes, ". Equals `", $equals, "`.")]
                ///
                /// # Errors
                /// [`TensorError::NotDefined`] for another dtype; as [`Tensor::empty`].
                pub fn $function(&self) -> Result<Self, TensorError> {
                    self.unary($operation)
                }
            )*
        }
    };
}

unary_operations! {
    neg, NEG, "-x", "f32 and i32", "torch.neg";
    abs, ABS, "|x|", "every dtype", "torch.abs";
    exp, EXP, "e to the x", "f32", "torch.exp";
    log, LOG, "The natural logarithm of x", "f32", "torch.log";
    sqrt, SQRT, "The square root of x", "f32", "torch.sqrt";
    sin, SIN, "The sine of x in radians", "f32", "torch.sin";
    cos, COS, "The cosine of x in radians", "f32", "torch.cos";
    tanh, TANH, "The hyperbolic tangent of x", "f32", "torch.tanh";
    sigmoid, SIGMOID, "1 / (1 + e to the -x)", "f32", "torch.sigmoid";
    relu, RELU, "x where it is above 0, and 0 elsewhere", "every dtype", "torch.relu";
    square, SQUARE, "x times x", "every dtype", "torch.square";
}
