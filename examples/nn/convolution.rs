//! A convolution that preserves the image size.

use super::parameter::{Parameter, Seeds};
use wgpu_pool::{Pool, Tensor, TensorError, Window};

/// (n, inputs, h, w) gives (n, outputs, h, w): a square kernel of odd size with zero padding.
#[derive(Debug)]
pub(crate) struct Convolution {
    /// Of shape (outputs, inputs, size, size).
    weight: Parameter,
    /// Of shape (outputs).
    bias: Parameter,
    window: Window,
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
        let window = Window { kernel: [size; 2], stride: [1; 2], padding: [size / 2; 2] };
        Ok(Self { weight, bias: Parameter::zeros(pool, [outputs])?, window })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv2d(&self.weight.value, Some(&self.bias.value), self.window)
    }

    /// The gradients of the parameters only, for a first layer, whose input needs no gradient.
    pub(crate) fn backward_parameters(&mut self, x: &Tensor, gradient: &Tensor) -> Result<(), TensorError> {
        let weight = self.weight.value.shape();
        let weight = [weight[0], weight[1], weight[2], weight[3]];
        self.weight.add_gradient(gradient.conv2d_weight(x, weight, self.window)?)?;
        self.bias.add_gradient(gradient.sum([0, 2, 3])?)
    }

    pub(crate) fn backward(&mut self, x: &Tensor, gradient: &Tensor) -> Result<Tensor, TensorError> {
        self.backward_parameters(x, gradient)?;
        let input = x.shape();
        gradient.conv2d_input([input[0], input[1], input[2], input[3]], &self.weight.value, self.window)
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.weight, &mut self.bias]
    }
}
