//! Activations between linear layers, and their derivatives: one fused kernel each.

use std::sync::LazyLock;
use wgpu_pool::{Fused, Tensor, TensorError, fuse};

static RELU_BACKWARD: LazyLock<Fused<2>> =
    LazyLock::new(|| fuse(|[x, gradient]| x.gt(0.0_f32).select(gradient, 0.0_f32)));

/// The gradient of x · (1 + tanh u) / 2 with u = √(2 / π) · (x + 0.044715 x³), by the product rule.
static GELU_BACKWARD: LazyLock<Fused<2>> = LazyLock::new(|| {
    fuse(|[x, gradient]| {
        let factor = (2.0 / std::f32::consts::PI).sqrt();
        let bent = ((x + x * x * x * 0.044_715) * factor).tanh();
        let slope = (1.0_f32 + x * x * (3.0 * 0.044_715)) * factor;
        gradient * 0.5 * (1.0_f32 + bent + x * (1.0_f32 - bent * bent) * slope)
    })
});

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    /// GELU in the tanh approximation.
    Gelu,
}

impl Activation {
    pub(crate) fn forward(self, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_tanh(),
        }
    }

    /// `x` is the input of `forward`; for ReLU the output works, too.
    pub(crate) fn backward(self, x: &Tensor, gradient: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Relu => RELU_BACKWARD.run([x, gradient]),
            Self::Gelu => GELU_BACKWARD.run([x, gradient]),
        }
    }
}
