//! Trainable parameters, and the optimizer.

use wgpu_pool::{AdamW, AdamWParameter, DType, Pool, Tensor, TensorError};

/// Seeds for the initialization of parameters, each different.
#[derive(Clone, Debug)]
pub(crate) struct Seeds(pub(crate) u64);

impl Seeds {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// A trainable parameter, its gradient, and the moments of AdamW.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) value: Tensor,
    gradient: Option<Tensor>,
    mean: Tensor,
    mean_square: Tensor,
}

impl Parameter {
    pub(crate) fn new(value: Tensor) -> Result<Self, TensorError> {
        let zeros = || Tensor::zeros(&value.pool(), value.shape(), DType::F32);
        let (mean, mean_square) = (zeros()?, zeros()?);
        value.set_label("parameter");
        mean.set_label("AdamW's mean");
        mean_square.set_label("AdamW's mean square");
        Ok(Self { gradient: None, mean, mean_square, value })
    }

    /// Initializes with normal random numbers of this standard deviation.
    pub(crate) fn normal(
        pool: &Pool,
        shape: impl AsRef<[usize]>,
        deviation: f32,
        seed: u64,
    ) -> Result<Self, TensorError> {
        let value = Tensor::randn(pool, shape, seed)?;
        value.mul_(deviation)?;
        Self::new(value)
    }

    pub(crate) fn zeros(pool: &Pool, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Self::new(Tensor::zeros(pool, shape, DType::F32)?)
    }

    pub(crate) fn ones(pool: &Pool, shape: impl AsRef<[usize]>) -> Result<Self, TensorError> {
        Self::new(Tensor::full(pool, shape, 1.0_f32)?)
    }

    /// Adds to the gradient of this step. The tensor is consumed, because it may become the gradient itself.
    pub(crate) fn add_gradient(&mut self, gradient: Tensor) -> Result<(), TensorError> {
        match &self.gradient {
            Some(sum) => sum.add_(&gradient),
            None => {
                self.gradient = Some(gradient);
                Ok(())
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn gradient(&self) -> Option<&Tensor> {
        self.gradient.as_ref()
    }
}

/// AdamW for all parameters of a model.
#[derive(Debug)]
pub(crate) struct Trainer {
    pub(crate) optimizer: AdamW,
    steps: u32,
}

impl Trainer {
    pub(crate) fn new(optimizer: AdamW) -> Self {
        Self { optimizer, steps: 0 }
    }

    /// Updates each parameter that has a gradient, and drops the gradients.
    pub(crate) fn step(&mut self, mut parameters: Vec<&mut Parameter>) -> Result<(), TensorError> {
        self.steps += 1;
        let gradients: Vec<_> = parameters.iter_mut().map(|parameter| parameter.gradient.take()).collect();
        let learned: Vec<_> = parameters
            .iter()
            .zip(&gradients)
            .filter_map(|(Parameter { value, mean, mean_square, .. }, gradient)| {
                Some(AdamWParameter { value, gradient: gradient.as_ref()?, mean, mean_square })
            })
            .collect();
        self.optimizer.step(self.steps, &learned)
    }
}
