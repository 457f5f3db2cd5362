//! Layer norm along the last axis.

use super::parameter::Parameter;
use std::sync::LazyLock;
use wgpu_pool::{Fused, Pool, Tensor, TensorError, fuse};

const EPSILON: f32 = 1e-5;

static DEVIATION_SQUARED: LazyLock<Fused<2>> = LazyLock::new(|| fuse(|[x, mean]| (x - mean).square()));
static NORMALIZED: LazyLock<Fused<3>> =
    LazyLock::new(|| fuse(|[x, mean, variance]| (x - mean) * (variance + EPSILON).rsqrt()));
/// With n the normalized input and g the gradient by it: (g − mean(g) − n · mean(g · n)) / deviation.
static BY_INPUT: LazyLock<Fused<5>> = LazyLock::new(|| {
    fuse(|[by_normalized, normalized, mean, along, variance]| {
        (by_normalized - mean - normalized * along) * (variance + EPSILON).rsqrt()
    })
});

/// (x − mean) / deviation · weight + bias.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
}

impl LayerNorm {
    pub(crate) fn new(pool: &Pool, width: usize) -> Result<Self, TensorError> {
        Ok(Self { weight: Parameter::ones(pool, [width])?, bias: Parameter::zeros(pool, [width])? })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.layer_norm(Some(&self.weight.value), Some(&self.bias.value), EPSILON)
    }

    pub(crate) fn backward(&mut self, x: &Tensor, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let last = x.rank() - 1;
        let leading: Vec<usize> = (0..last).collect();
        let mean = x.mean_keepdim([last])?;
        let variance = DEVIATION_SQUARED.run([x, &mean])?.mean_keepdim([last])?;
        let normalized = NORMALIZED.run([x, &mean, &variance])?;
        self.weight.add_gradient(gradient.mul(&normalized)?.sum(&leading)?)?;
        self.bias.add_gradient(gradient.sum(&leading)?)?;
        let by_normalized = gradient.mul(&self.weight.value)?;
        let mean = by_normalized.mean_keepdim([last])?;
        let along = by_normalized.mul(&normalized)?.mean_keepdim([last])?;
        BY_INPUT.run([&by_normalized, &normalized, &mean, &along, &variance])
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}
