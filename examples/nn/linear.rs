//! A linear map of the last axis.

use super::parameter::{Parameter, Seeds};
use wgpu_pool::{Pool, Tensor, TensorError};

/// y = x · weightᵀ + bias: (…, inputs) gives (…, outputs).
#[derive(Debug)]
pub(crate) struct Linear {
    /// Shape (outputs, inputs).
    weight: Parameter,
    /// Shape (outputs).
    bias: Parameter,
}

impl Linear {
    pub(crate) fn new(
        pool: &Pool,
        [inputs, outputs]: [usize; 2],
        deviation: f32,
        seeds: &mut Seeds,
    ) -> Result<Self, TensorError> {
        let weight = Parameter::normal(pool, [outputs, inputs], deviation, seeds.next())?;
        Ok(Self { weight, bias: Parameter::zeros(pool, [outputs])? })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.linear(&self.weight.value, Some(&self.bias.value))
    }

    pub(crate) fn backward(&mut self, x: &Tensor, gradient: &Tensor) -> Result<Tensor, TensorError> {
        let [outputs, inputs] = [0, 1].map(|axis| self.weight.value.shape()[axis]);
        let rows = x.elements() / inputs;
        let (flat_x, flat) = (x.reshape([rows, inputs])?, gradient.reshape([rows, outputs])?);
        self.weight.add_gradient(flat.t()?.matmul(&flat_x)?)?;
        self.bias.add_gradient(flat.sum([0])?)?;
        flat.matmul(&self.weight.value)?.reshape(x.shape())
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}
