//! Activations in the epilogue of other kernels.

use super::shader::Specialization;
use super::unary::{GELU, GELU_TANH, RELU, SIGMOID, SILU, TANH};
use crate::error::TensorError;
use crate::tensor::{DType, Tensor};

/// The activation in the epilogue of [`Tensor::matmul_then`](crate::Tensor::matmul_then). Each equals the tensor's
/// operation of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0). For every dtype; the other activations are for f32 and f16.
    Relu,
    /// 1 / (1 + exp(−x)).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x / (1 + exp(−x)).
    Silu,
    /// x / 2 · (1 + erf(x / √2)).
    Gelu,
    /// The approximation of GELU by tanh.
    GeluTanh,
}

impl Activation {
    #[cfg(test)]
    pub(super) const ALL: [Self; 6] = [Self::Relu, Self::Sigmoid, Self::Tanh, Self::Silu, Self::Gelu, Self::GeluTanh];

    /// Applies the activation to each element, as an operation of its own.
    #[track_caller]
    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Relu => x.relu(),
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu(),
            Self::GeluTanh => x.gelu_tanh(),
        }
    }

    /// The operation on a dtype.
    pub(super) fn on(self, name: &'static str, dtype: DType) -> Result<Specialization, TensorError> {
        let row = match self {
            Self::Relu => &RELU,
            Self::Sigmoid => &SIGMOID,
            Self::Tanh => &TANH,
            Self::Silu => &SILU,
            Self::Gelu => &GELU,
            Self::GeluTanh => &GELU_TANH,
        };
        // Sigmoid and tanh of integers would be f32, but the result of an integer product is an integer.
        let typed = row.on(dtype).filter(|typed| typed.operands == dtype);
        let code = typed.and_then(|typed| typed.code);
        let code = code.ok_or_else(|| TensorError::not_defined(name, "input", dtype.name()))?;
        Ok(Specialization::applying(row.name, code.expression, code.functions))
    }
}
