//! A convolution that preserves the image size.

use super::parameter::{Parameter, Seeds};
use wgpu_pool::{Activation, Conv2d, Padding, Pool, Tensor, TensorError};

/// (n, inputs, h, w) gives (n, outputs, h, w): a square kernel of odd size with zero padding.
#[derive(Debug)]
pub(crate) struct Convolution {
    /// Shape (outputs, inputs, size, size).
    weight: Parameter,
    /// Shape (outputs).
    bias: Parameter,
    options: Conv2d,
}

impl Convolution {
    /// He initialization (He et al. 2015): the standard deviation is √(2 / fan-in), for ReLU.
    pub(crate) fn new(
        pool: &Pool,
        [inputs, outputs]: [usize; 2],
        size: usize,
        seeds: &mut Seeds,
    ) -> Result<Self, TensorError> {
        let deviation = (2.0 / (inputs * size * size) as f32).sqrt();
        let weight = Parameter::normal(pool, [outputs, inputs, size, size], deviation, seeds.next())?;
        let options = Conv2d { padding: Padding::all(size / 2), ..Conv2d::default() };
        Ok(Self { weight, bias: Parameter::zeros(pool, [outputs])?, options })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv2d(&self.weight.value, Some(&self.bias.value), self.options)
    }

    /// `forward` and ReLU, in one kernel.
    pub(crate) fn forward_relu(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv2d_then(&self.weight.value, Some(&self.bias.value), self.options, Some(Activation::Relu))
    }

    /// The gradients of the parameters only, for a first layer, whose input needs no gradient.
    pub(crate) fn backward_parameters(&mut self, x: &Tensor, gradient: &Tensor) -> Result<(), TensorError> {
        let by_weight = gradient.conv2d_backward_weight(x, self.weight.value.shape(), self.options)?;
        self.weight.add_gradient(by_weight)?;
        self.bias.add_gradient(gradient.sum([0, 2, 3])?)
    }

    pub(crate) fn backward(&mut self, x: &Tensor, gradient: &Tensor) -> Result<Tensor, TensorError> {
        self.backward_parameters(x, gradient)?;
        gradient.conv2d_backward_input(x.shape(), &self.weight.value, self.options)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}
