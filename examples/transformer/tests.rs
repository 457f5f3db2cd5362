//! Compares the model's gradients with finite differences, and decoding with a cache with the full forward pass.

use crate::limited;
use crate::model::{Sizes, Transformer};
use crate::nn::attention::Cache;
use crate::nn::{Trainer, differences, dry_runs};
use crate::text::Text;
use crate::{Options, TEXT, chosen, upload};
use clap::Parser;
use std::process::ExitCode;
use wgpu_pool::{AdamW, CrossEntropy, Pool, PoolOptions, Tensor, TensorError};

const SIZES: Sizes = Sizes { characters: 11, context: 9, width: 16, heads: 2, layers: 2 };
const NUMBERS: [u32; 14] = [1, 5, 2, 2, 10, 0, 7, 3, 9, 4, 4, 8, 6, 1];

fn pool() -> Option<Pool> {
    Pool::request_blocking(PoolOptions::default()).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

#[test]
fn the_gradient_of_every_parameter_matches_finite_differences() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let mut model = Transformer::new(&pool, SIZES, 3)?;
    // Larger than the initial values of a training, so that every path contributes.
    for parameter in model.parameters() {
        let noise = Tensor::randn(&pool, parameter.value.shape(), 9)?;
        parameter.value.add_scaled_(&noise, 0.2_f32)?;
    }
    let numbers = upload(&pool, &NUMBERS, 2)?;
    let targets = Tensor::from_slice(&pool, &[3_u32, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7], [14])?;
    let (scores, kept) = model.forward(&numbers)?;
    let gradient =
        scores.cross_entropy_backward(&targets, CrossEntropy::default())?.reshape([2, 7, SIZES.characters])?;
    model.backward(kept, &gradient)?;
    let learned: Vec<(Tensor, Tensor)> = model
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.value.clone(), parameter.gradient().expect("backward reaches all").clone()))
        .collect();
    assert_eq!(learned.len(), 2 + 2 * (4 + 4 + 4) + 4);
    let loss = || -> Result<f32, TensorError> {
        Ok(model.forward(&numbers)?.0.cross_entropy(&targets, CrossEntropy::default())?.read_blocking::<f32>()?[0])
    };
    for (place, (value, gradient)) in learned.iter().enumerate() {
        differences::check(&format!("parameter {place}"), value, gradient, 1e-2, 0.03, loss)?;
    }
    Ok(())
}

#[test]
fn decoding_with_a_cache_matches_the_full_forward_pass_at_every_position() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let mut model = Transformer::new(&pool, SIZES, 4)?;
    for parameter in model.parameters() {
        let noise = Tensor::randn(&pool, parameter.value.shape(), 9)?;
        parameter.value.add_scaled_(&noise, 0.3_f32)?;
    }
    let numbers = &NUMBERS[..SIZES.context];
    let whole = model.forward(&upload(&pool, numbers, 1)?)?.0.read_blocking::<f32>()?;
    let mut caches = [Cache::default(), Cache::default()];
    let mut scores = Vec::new();
    for part in [0..4, 4..5, 5..8, 8..9] {
        let new = upload(&pool, &numbers[part.clone()], 1)?;
        scores.extend(model.forward_cached(&new, part.start, &mut caches)?.read_blocking::<f32>()?);
    }
    for (one, other) in whole.iter().zip(&scores) {
        assert!((one - other).abs() < 1e-4, "{one} {other}");
    }
    assert_eq!(whole.len(), scores.len());
    Ok(())
}

#[test]
fn sampling_follows_the_probabilities() {
    let likely = [0.1, 0.0, 0.6, 0.3];
    assert_eq!([0.05, 0.1, 0.69, 0.71, 1.0].map(|place| chosen(&likely, place)), [0, 2, 2, 3, 3]);
}

#[test]
fn half_of_the_memory_gives_the_same_losses() -> Result<(), crate::Failure> {
    if pool().is_none() {
        return Ok(());
    }
    let text = Text::new(TEXT);
    let sizes = Sizes { characters: text.characters(), context: 32, width: 32, heads: 2, layers: 2 };
    let options = Options::parse_from(["transformer", "--steps", "8", "--batch", "4"]);
    assert_eq!(limited::compare(&text, sizes, &options, 50)?, ExitCode::SUCCESS);
    Ok(())
}

/// Creates a model and trains it for some steps.
fn train(pool: &Pool, steps: usize) -> Result<(), TensorError> {
    let mut model = Transformer::new(pool, SIZES, 3)?;
    let mut trainer = Trainer::new(AdamW::default());
    for step in 0..steps {
        let length = NUMBERS.len() - 2 * step;
        let numbers = upload(pool, &NUMBERS[..length], 2)?;
        let targets = Tensor::from_slice(pool, &NUMBERS[..length], [length])?;
        let (scores, kept) = model.forward(&numbers)?;
        let gradient = scores.cross_entropy_backward(&targets, CrossEntropy::default())?;
        model.backward(kept, &gradient.reshape([2, length / 2, SIZES.characters])?)?;
        trainer.step(model.parameters())?;
    }
    Ok(())
}

#[test]
fn a_dry_run_of_the_training_reaches_the_peaks_of_the_training() -> Result<(), Box<dyn std::error::Error>> {
    dry_runs::check(|pool| train(pool, 3))
}
