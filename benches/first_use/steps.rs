//! A training step of the U-Net and of the transformer.

use super::nn::{Parameter, Trainer};
use super::transformer::{self, Transformer};
use super::unet::UNet;
use super::{Times, Way};
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use wgpu_pool::{AdamW, CrossEntropy, DType, Pool, PoolOptions, Tensor, TensorError};

pub(super) const NAMES: [&str; 2] = ["unet", "transformer"];

/// A model that trains.
pub(super) trait Model {
    /// Trains on a batch, and returns the loss, a scalar.
    fn step(&mut self, pool: &Pool) -> Result<Tensor, TensorError>;
}

type Create = fn(&Pool) -> Result<Box<dyn Model>, TensorError>;

/// Returns the function that creates the model of a program.
pub(super) fn find(name: &str) -> Option<Create> {
    match name {
        "unet" => Some(|pool| Ok(Box::new(Training { model: UNet::new(pool, 1)?, trainer: trainer() }))),
        "transformer" => {
            Some(|pool| Ok(Box::new(Training { model: Transformer::new(pool, SIZES, 1)?, trainer: trainer() })))
        }
        _ => None,
    }
}

/// The sizes of the example.
const SIZES: transformer::Sizes = transformer::Sizes { characters: 64, context: 128, width: 128, layers: 4, heads: 4 };

struct Training<M> {
    model: M,
    trainer: Trainer,
}

fn trainer() -> Trainer {
    Trainer::new(AdamW::default())
}

/// The loss of scores, and the gradient by the scores.
fn loss(scores: &Tensor, classes: &Tensor) -> Result<[Tensor; 2], TensorError> {
    let options = CrossEntropy::default();
    Ok([scores.cross_entropy(classes, options)?, scores.cross_entropy_backward(classes, options)?])
}

fn update(trainer: &mut Trainer, parameters: Vec<&mut Parameter>) -> Result<(), TensorError> {
    trainer.step(parameters)
}

impl Model for Training<UNet> {
    fn step(&mut self, pool: &Pool) -> Result<Tensor, TensorError> {
        let images = Tensor::randn(pool, [8, 1, 48, 48], 7)?;
        let classes = Tensor::zeros(pool, [8, 48, 48], DType::U32)?;
        let (scores, kept) = self.model.forward(&images)?;
        let [loss, gradient] = loss(&scores, &classes)?;
        self.model.backward(kept, &gradient)?;
        update(&mut self.trainer, self.model.parameters())?;
        Ok(loss)
    }
}

impl Model for Training<Transformer> {
    fn step(&mut self, pool: &Pool) -> Result<Tensor, TensorError> {
        let [batch, length] = [8, 96];
        let numbers = Tensor::zeros(pool, [batch, length], DType::U32)?;
        let (scores, kept) = self.model.forward(&numbers)?;
        let [loss, gradient] = loss(&scores, &numbers.reshape([batch * length])?)?;
        self.model.backward(kept, &gradient.reshape([batch, length, SIZES.characters])?)?;
        update(&mut self.trainer, self.model.parameters())?;
        Ok(loss)
    }
}

/// Runs two steps, and returns the times up to the first result, and of both steps.
pub(super) fn run(create: Create, way: Way, file: Option<&Path>) -> Result<Times, Box<dyn Error>> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    let file = file.filter(|_| way == Way::Cached);
    let cache = file.map(|file| load(&pool, file));
    pool.memory().set_pipeline_cache(cache.clone())?;
    let start = Instant::now();
    let warm_up = match way {
        Way::Plain => None,
        Way::WarmUp | Way::Cached => {
            pool.warm_up(|| create(&pool)?.step(&pool).map(drop))?.0?;
            Some(milliseconds(start))
        }
    };
    let mut model = create(&pool)?;
    let mut step = || -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        model.step(&pool)?.item_blocking::<f32>()?;
        Ok(milliseconds(start))
    };
    let first_step = step()?;
    let times = pool.memory().startup();
    let next = step()?;
    if let (Some(file), Some(data)) = (file, cache.and_then(|cache| cache.get_data())) {
        std::fs::write(file, data)?;
    }
    let [adapter, device, shaders, pipelines, first] =
        [times.adapter, times.device, times.shaders, times.pipelines, times.first_result.unwrap_or_default()]
            .map(|time| time.as_secs_f64() * 1e3);
    let kernels = f64::from(u32::try_from(times.kernels)?);
    let (step, next) = (Some(first_step), Some(next));
    Ok(Times { adapter, device, kernels, shaders, pipelines, warm_up, first, step, next })
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

#[expect(unsafe_code, reason = "wgpu does not check the data; an earlier process of this program wrote it")]
fn load(pool: &Pool, file: &Path) -> wgpu::PipelineCache {
    let data = std::fs::read(file).ok();
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
    unsafe { pool.memory().device().create_pipeline_cache(&descriptor) }
}
