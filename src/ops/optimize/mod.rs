//! Steps of optimizers. Each step is one kernel over all parameters, which reads and writes the optimizer state once.

mod list;

use super::shader::{ADAMW, SGD};
use crate::error::TensorError;
use crate::tensor::Tensor;
use list::List;

/// Gradient descent with momentum, as `torch.optim.SGD` without dampening.
///
/// With x for the value of a parameter and v for its velocity: g = gradient + weight_decay · x; v = momentum · v + g;
/// x −= learning_rate · v, or in Nesterov's form −= learning_rate · (g + momentum · v).
///
/// # Examples
/// A step for two parameters. The velocities start as zeros and belong to the program:
///
/// ```no_run
/// use wgpu_pool::{DType, Pool, PoolOptions, Sgd, SgdParameter, Tensor};
///
/// let pool = Pool::request_blocking(PoolOptions::default())?;
/// let [weight, bias] = [Tensor::ones(&pool, [10, 4], DType::F32)?, Tensor::ones(&pool, [4], DType::F32)?];
/// let [of_weight, of_bias] = [weight.zeros_like()?, bias.zeros_like()?];
/// let [by_weight, by_bias] = [weight.ones_like()?, bias.ones_like()?];
/// let sgd = Sgd { learning_rate: 0.1, momentum: 0.9, ..Sgd::default() };
/// sgd.step(&[
///     SgdParameter { value: &weight, gradient: &by_weight, velocity: &of_weight },
///     SgdParameter { value: &bias, gradient: &by_bias, velocity: &of_bias },
/// ])?;
/// assert_eq!(bias.read_blocking::<f32>()?, [0.9; 4]);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub learning_rate: f32,
    /// The factor of the velocity of the previous step.
    pub momentum: f32,
    /// Weight decay: the factor of the parameter that is added to its gradient.
    pub weight_decay: f32,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
}

impl Default for Sgd {
    /// PyTorch's defaults: a learning rate of 0.001, no momentum, no weight decay.
    fn default() -> Self {
        Self { learning_rate: 1e-3, momentum: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// A parameter and its state for [`Sgd`]: contiguous tensors of one shape, all f32 or all f16, that share no memory.
#[derive(Clone, Copy, Debug)]
pub struct SgdParameter<'a> {
    /// The elements of the parameter, changed in place.
    pub value: &'a Tensor,
    /// The gradient.
    pub gradient: &'a Tensor,
    /// The velocity, changed in place; zeros before the first step.
    pub velocity: &'a Tensor,
}

/// Adam with decoupled weight decay, as `torch.optim.AdamW`.
///
/// # Examples
/// The first step for a parameter. The running means, PyTorch's `exp_avg` and `exp_avg_sq`, start as zeros and belong to the program:
///
/// ```no_run
/// use wgpu_pool::{AdamW, AdamWParameter, DType, Pool, PoolOptions, Tensor};
///
/// let pool = Pool::request_blocking(PoolOptions::default())?;
/// let weight = Tensor::ones(&pool, [4], DType::F32)?;
/// let (mean, mean_square) = (weight.zeros_like()?, weight.zeros_like()?);
/// let adam = AdamW { learning_rate: 0.1, weight_decay: 0.0, ..AdamW::default() };
/// for number in 1..=3 {
///     let gradient = weight.mul(2.0_f32)?; // of the sum of squares
///     adam.step(number, &[AdamWParameter { value: &weight, gradient: &gradient, mean: &mean, mean_square: &mean_square }])?;
/// }
/// assert!(weight.amax(..)?.item_blocking::<f32>()? < 0.8);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub learning_rate: f32,
    /// Decay rates of the running mean of the gradients and of the running mean of their squares.
    pub betas: [f32; 2],
    /// Added to the denominator for numerical stability.
    pub epsilon: f32,
    /// Weight decay, decoupled: the factor of the parameter that is subtracted, times the learning rate.
    pub weight_decay: f32,
}

impl Default for AdamW {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// A parameter and its state for [`AdamW`]: contiguous tensors of one shape, all f32 or all f16, that share no memory.
#[derive(Clone, Copy, Debug)]
pub struct AdamWParameter<'a> {
    /// The elements of the parameter, changed in place.
    pub value: &'a Tensor,
    /// The gradient.
    pub gradient: &'a Tensor,
    /// The running mean of the gradients, changed in place; zeros before the first step.
    pub mean: &'a Tensor,
    /// The running mean of their squares, changed in place; zeros before the first step.
    pub mean_square: &'a Tensor,
}

impl Sgd {
    /// Updates each parameter. One dispatch updates up to 14 parameters in up to four segments; more parameters or
    /// segments take more dispatches. Equals `torch.optim.SGD.step`.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::NotDefined`] of integers, [`TensorError::NotContiguous`],
    /// [`TensorError::Overlap`], [`TensorError::Pools`]. All parameters are checked before the first is changed.
    pub fn step(&self, parameters: &[SgdParameter<'_>]) -> Result<(), TensorError> {
        let fields = ["value", "velocity", "gradient"];
        let entries: Vec<_> = parameters.iter().map(|one| [one.value, one.velocity, one.gradient]).collect();
        let nesterov = f32::from(u8::from(self.nesterov));
        let numbers = [self.learning_rate, self.momentum, self.weight_decay, nesterov];
        List { name: "Sgd::step", shaders: &SGD, fields, entries: &entries, numbers: &numbers }.run()
    }
}

impl AdamW {
    /// Updates each parameter in the `number`-th step, counted from 1, as [`Sgd::step`]; one dispatch updates up to 11
    /// parameters. Equals `torch.optim.AdamW.step`.
    ///
    /// # Errors
    /// [`TensorError::Zero`] for the number 0; as [`Sgd::step`].
    pub fn step(&self, number: u32, parameters: &[AdamWParameter<'_>]) -> Result<(), TensorError> {
        let name = "AdamW::step";
        if number == 0 {
            return Err(TensorError::Zero { operation: name, argument: "number of the step" });
        }
        let fields = ["value", "mean", "mean_square", "gradient"];
        let entries: Vec<_> =
            parameters.iter().map(|one| [one.value, one.mean, one.mean_square, one.gradient]).collect();
        // In float64: in the first steps, 1 − β^step has no correct digits in f32 if β is near 1.
        let unbiased = self.betas.map(|beta| 1.0 - f64::from(beta).powf(f64::from(number)));
        #[expect(clippy::cast_possible_truncation, reason = "the kernel takes f32")]
        let [rate, second_scale] =
            [f64::from(self.learning_rate) / unbiased[0], 1.0 / unbiased[1].sqrt()].map(|factor| factor as f32);
        let kept = 1.0 - self.learning_rate * self.weight_decay;
        let numbers = [rate, kept, self.betas[0], self.betas[1], second_scale, self.epsilon];
        List { name, shaders: &ADAMW, fields, entries: &entries, numbers: &numbers }.run()
    }
}
