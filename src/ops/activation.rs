//! Activations that other kernels end with.

use super::shader::Specialization;
use super::unary::{GELU, GELU_TANH, RELU, SIGMOID, SILU, TANH};
use crate::error::TensorError;
use crate::tensor::DType;

/// What is done with each element at the end of [`Tensor::matmul_then`](crate::Tensor::matmul_then); each as the tensor's
/// operation of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// For every dtype; the others are for f32 and f16.
    Relu,
    /// 1 / (1 + e to the -x).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x / (1 + e to the -x).
    Silu,
    /// x / 2 · (1 + erf(x / √2)).
    Gelu,
    /// The same by way of tanh.
    GeluTanh,
}

impl Activation {
    #[cfg(test)]
    pub(super) const ALL: [Self; 6] = [Self::Relu, Self::Sigmoid, Self::Tanh, Self::Silu, Self::Gelu, Self::GeluTanh];

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
        // Sigmoid and tanh of integers are of f32, which a product of integers doesn't have.
        let typed = row.on(dtype).filter(|typed| typed.operands == dtype);
        let code = typed.and_then(|typed| typed.code);
        let code = code.ok_or(TensorError::NotDefined { operation: name, dtype: dtype.name() })?;
        Ok(Specialization::applying(row.name, code.expression, code.functions))
    }
}
