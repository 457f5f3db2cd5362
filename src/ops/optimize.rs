//! Steps of optimizers, each one kernel for a tensor: what is kept between steps is read and written once.

use super::launch::{WORKGROUP, check_kinds, grid, index, launch, with_gpu};
use super::shader::{ADAMW, SGD, Shader, Variant};
use crate::error::TensorError;
use crate::tensor::Tensor;
use bytemuck::{Pod, Zeroable};

/// Gradient descent with momentum, as `torch.optim.SGD` without dampening.
///
/// g = gradient + weight_decay · x; v = momentum · v + g; x −= learning_rate · v, or in Nesterov's form −= learning_rate · (g +
/// momentum · v).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The length of a step.
    pub learning_rate: f32,
    /// What is kept of the velocity.
    pub momentum: f32,
    /// The factor of the penalty on large numbers.
    pub weight_decay: f32,
    /// Whether the step looks ahead.
    pub nesterov: bool,
}

impl Default for Sgd {
    /// PyTorch's: steps of 0.001, and nothing else.
    fn default() -> Self {
        Self { learning_rate: 1e-3, momentum: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// What [`Sgd`] needs of one parameter: tensors of one shape, all f32 or all f16, contiguous, that share no memory.
#[derive(Clone, Copy, Debug)]
pub struct SgdParameter<'a> {
    /// What is learned, changed in place.
    pub x: &'a Tensor,
    /// The gradient.
    pub gradient: &'a Tensor,
    /// The velocity, changed in place; zeros before the first step.
    pub velocity: &'a Tensor,
}

/// Adam with weight decay apart from the gradient, as `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The length of a step.
    pub learning_rate: f32,
    /// What is kept of the mean, and of the mean of squares.
    pub betas: [f32; 2],
    /// What keeps a division by nearly nothing in bounds.
    pub epsilon: f32,
    /// The factor of the penalty on large numbers.
    pub weight_decay: f32,
}

impl Default for AdamW {
    /// PyTorch's.
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// What [`AdamW`] needs of one parameter: tensors of one shape, all f32 or all f16, contiguous, that share no memory.
#[derive(Clone, Copy, Debug)]
pub struct AdamWParameter<'a> {
    /// What is learned, changed in place.
    pub x: &'a Tensor,
    /// The gradient.
    pub gradient: &'a Tensor,
    /// The mean of the gradients, changed in place; zeros before the first step.
    pub mean: &'a Tensor,
    /// The mean of their squares, changed in place; zeros before the first step.
    pub mean_square: &'a Tensor,
}

/// The parameters of `sgd.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct SgdParams {
    count: u32,
    offsets: [u32; 3],
    rate: f32,
    momentum: f32,
    decay: f32,
    nesterov: f32,
}

/// The parameters of `adamw.wgsl`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct AdamWParams {
    count: u32,
    offsets: [u32; 4],
    rate: f32,
    kept: f32,
    beta1: f32,
    beta2: f32,
    second_scale: f32,
    epsilon: f32,
}

const _: () = assert!(size_of::<SgdParams>() == 32 && size_of::<AdamWParams>() == 44);

impl Sgd {
    /// Takes a step with each parameter: one dispatch for each, all of one kernel.
    ///
    /// # Errors
    /// [`TensorError::Shape`], [`TensorError::DType`], [`TensorError::NotDefined`] of integers, [`TensorError::NotContiguous`],
    /// [`TensorError::Overlap`], [`TensorError::Pools`]. All parameters are checked before the first is changed.
    pub fn step(&self, parameters: &[SgdParameter<'_>]) -> Result<(), TensorError> {
        let tensors = |one: &SgdParameter<'_>| [one.x.clone(), one.velocity.clone(), one.gradient.clone()];
        let all: Vec<[Tensor; 3]> = parameters.iter().map(tensors).collect();
        for tensors in &all {
            check("sgd", tensors)?;
        }
        for tensors in &all {
            let (count, offsets) = places("sgd", tensors)?;
            let params = SgdParams {
                count,
                offsets,
                rate: self.learning_rate,
                momentum: self.momentum,
                decay: self.weight_decay,
                nesterov: f32::from(u8::from(self.nesterov)),
            };
            run(&SGD, tensors, count, bytemuck::bytes_of(&params))?;
        }
        Ok(())
    }
}

impl AdamW {
    /// Takes the `number`-th step, counted from 1, with each parameter: one dispatch for each, all of one kernel.
    ///
    /// # Errors
    /// As [`Sgd::step`].
    pub fn step(&self, number: u32, parameters: &[AdamWParameter<'_>]) -> Result<(), TensorError> {
        let tensors =
            |one: &AdamWParameter<'_>| [one.x.clone(), one.mean.clone(), one.mean_square.clone(), one.gradient.clone()];
        let all: Vec<[Tensor; 4]> = parameters.iter().map(tensors).collect();
        for tensors in &all {
            check("adamw", tensors)?;
        }
        // In float64: near 1 the powers of a first step lose all their digits.
        let unbiased = self.betas.map(|beta| 1.0 - f64::from(beta).powf(f64::from(number.max(1))));
        #[expect(clippy::cast_possible_truncation, reason = "the kernel takes f32")]
        let [rate, second_scale] =
            [f64::from(self.learning_rate) / unbiased[0], 1.0 / unbiased[1].sqrt()].map(|factor| factor as f32);
        for tensors in &all {
            let (count, offsets) = places("adamw", tensors)?;
            let params = AdamWParams {
                count,
                offsets,
                rate,
                kept: 1.0 - self.learning_rate * self.weight_decay,
                beta1: self.betas[0],
                beta2: self.betas[1],
                second_scale,
                epsilon: self.epsilon,
            };
            run(&ADAMW, tensors, count, bytemuck::bytes_of(&params))?;
        }
        Ok(())
    }
}

/// Tensors that one kernel may take together.
fn check(name: &'static str, tensors: &[Tensor]) -> Result<(), TensorError> {
    let Some((first, others)) = tensors.split_first() else { return Ok(()) };
    for tensor in tensors {
        if !tensor.dtype().is_floating_point() {
            return Err(TensorError::NotDefined { operation: name, dtype: tensor.dtype().name() });
        }
        if !tensor.is_contiguous() {
            let (shape, strides) = (tensor.shape().to_vec(), tensor.strides().to_vec());
            return Err(TensorError::NotContiguous { operation: name, shape, strides });
        }
    }
    for other in others {
        check_kinds(name, first, other)?;
        if other.shape() != first.shape() {
            let (left, right) = (first.shape().to_vec(), other.shape().to_vec());
            return Err(TensorError::Shape { operation: name, left, right });
        }
    }
    for (place, tensor) in tensors.iter().enumerate() {
        if tensors[..place].iter().any(|other| other.storage().is_same(tensor.storage())) {
            return Err(TensorError::Overlap { operation: name, other: "another tensor of the step" });
        }
    }
    Ok(())
}

fn places<const N: usize>(name: &'static str, tensors: &[Tensor; N]) -> Result<(u32, [u32; N]), TensorError> {
    let mut offsets = [0; N];
    for (offset, tensor) in offsets.iter_mut().zip(tensors) {
        *offset = index(name, tensor.layout().offset)?;
    }
    Ok((index(name, tensors[0].elements())?, offsets))
}

fn run(shader: &Shader, tensors: &[Tensor], count: u32, parameters: &[u8]) -> Result<(), TensorError> {
    if count == 0 {
        return Ok(());
    }
    let program = with_gpu(&tensors[0], |gpu| shader.program(gpu, Variant::plain(tensors[0].dtype())))?;
    let storages: Vec<_> = tensors.iter().map(Tensor::storage).collect();
    launch(&program, &storages, parameters, grid(count.div_ceil(WORKGROUP)))?;
    Ok(())
}
