//! Compares the model's gradients with finite differences, and tiles with the whole image.

use crate::model::{SIGHT, UNet};
use crate::nn::{Trainer, differences, dry_runs};
use crate::shapes::{CLASSES, Picture};
use crate::{batch, tiles};
use fastrand::Rng;
use wgpu_pool::{AdamW, CrossEntropy, Pool, PoolOptions, Tensor, TensorError};

fn pool() -> Option<Pool> {
    Pool::request_blocking(PoolOptions::default()).inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

#[test]
fn the_gradient_of_every_parameter_matches_finite_differences() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let mut model = UNet::new(&pool, 7)?;
    let [images, classes] = batch(&pool, &[Picture::random(16, &mut Rng::with_seed(1))], 1)?;
    let loss =
        |model: &UNet| model.infer(&images)?.cross_entropy(&classes, CrossEntropy::default())?.read_blocking::<f32>();
    let (scores, kept) = model.forward(&images)?;
    assert_eq!(scores.shape(), [1, CLASSES, 16, 16]);
    model.backward(kept, &scores.cross_entropy_backward(&classes, CrossEntropy::default())?)?;
    let learned: Vec<(Tensor, Tensor)> = model
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.value.clone(), parameter.gradient().expect("backward reaches all").clone()))
        .collect();
    for (place, (value, gradient)) in learned.iter().enumerate() {
        // ReLU has a kink at 0: a finite difference across it is wrong.
        differences::check(&format!("parameter {place}"), value, gradient, 2e-3, 0.08, || Ok(loss(&model)?[0]))?;
    }
    Ok(())
}

#[test]
fn tiles_with_a_halo_match_the_whole_image_and_tiles_without_do_not() -> Result<(), TensorError> {
    let Some(pool) = pool() else { return Ok(()) };
    let model = UNet::new(&pool, 5)?;
    let (size, core) = (192, 48);
    let (image, _) = crate::large(&pool, size, 9)?;
    let whole = Tensor::from_slice(&pool, &image, [1, 1, size, size])?;
    let whole = model.infer(&whole)?.argmax(1)?.read_blocking::<u32>()?;
    assert_eq!(tiles::classes_exactly(&model, &pool, &image, [size; 2], core, || {})?, whole);
    assert_ne!(tiles::classes(&model, &pool, &image, [size; 2], core, SIGHT / 8, || {})?, whole);
    Ok(())
}

/// Creates a model and trains it for some steps.
fn train(pool: &Pool, steps: u64) -> Result<(), TensorError> {
    let mut model = UNet::new(pool, 3)?;
    let mut trainer = Trainer::new(AdamW::default());
    for step in 0..steps {
        let [images, classes] = batch(pool, &[Picture::random(32, &mut Rng::with_seed(step))], step)?;
        let (scores, kept) = model.forward(&images)?;
        let gradient = scores.cross_entropy_backward(&classes, CrossEntropy::default())?;
        model.backward(kept, &gradient)?;
        trainer.step(model.parameters())?;
    }
    Ok(())
}

#[test]
fn a_dry_run_of_the_training_reaches_the_peaks_of_the_training() -> Result<(), Box<dyn std::error::Error>> {
    dry_runs::check(|pool| train(pool, 3))
}
