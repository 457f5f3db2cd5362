//! Trains a U-Net to segment circles, boxes and lines in noise, then processes an image that does not fit in the pool.
//!
//! The training ends when the intersection over union on unseen images is 0.90. The model then processes an image of
//! 4096×4096 pixels: as a whole, which exceeds the pool's limit, and in tiles with a halo, which fit.

#[path = "../common/mod.rs"]
mod common;
mod model;
#[path = "../nn/mod.rs"]
mod nn;
mod shapes;
#[cfg(test)]
mod tests;
#[allow(dead_code, reason = "scores of single pixels are not needed")]
mod tiles;

use clap::Parser;
use common::Report;
use fastrand::Rng;
use model::UNet;
use nn::training::{Course, Progress};
use nn::{Failure, Trainer};
use shapes::{CLASSES, NAMES, Overlap, Picture};
use std::path::PathBuf;
use std::process::ExitCode;
use wgpu_pool::{AdamW, AllocateError, Bytes, CrossEntropy, Pool, RepeatOptions, Tensor, TensorError};

/// The accuracy at which the training ends.
const WANTED: f32 = 0.90;
/// The standard deviation of the noise; shapes are 0.4 to 0.7 brighter than their surroundings.
const NOISE: f32 = 0.1;
/// The number of validation images.
const UNSEEN: usize = 32;
/// The number of steps between validations.
const BETWEEN: usize = 50;
const MIB: u64 = 1 << 20;

#[derive(Clone, Debug, Parser)]
#[command(about = "A U-Net on synthetic shapes, trained, and run over an image that doesn't fit")]
struct Options {
    /// Draw the pool's segments while the program runs
    #[arg(long)]
    watch: bool,
    /// The largest number of training steps
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Images per step
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// The side of an image, a multiple of 4
    #[arg(long, default_value_t = 48)]
    size: usize,
    /// The side of the large image, a multiple of 4
    #[arg(long, default_value_t = 4096)]
    image: usize,
    /// The side of a tile without its halo, a multiple of 4
    #[arg(long, default_value_t = 512)]
    tile: usize,
    /// The pool's limit for the large image, in MiB
    #[arg(long, default_value_t = 256)]
    limit: u64,
    /// Train without plans for the memory of the steps
    #[arg(long)]
    unplanned: bool,
    /// Print the execution time of each kernel in this training step
    #[arg(long, value_name = "STEP")]
    profile: Option<usize>,
    /// The seed of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder for the plots
    #[arg(long, default_value = "target/plots")]
    plots: PathBuf,
    /// A file for the viewer's page of the pool, between the passes of the second step
    #[cfg(feature = "report")]
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| unet(&options))
}

fn unet(options: &Options) -> Result<ExitCode, Failure> {
    for (name, side) in [("size", options.size), ("image", options.image), ("tile", options.tile)] {
        if side == 0 || !side.is_multiple_of(model::UNIT) {
            return Err(format!("--{name} {side} is not a multiple of {}", model::UNIT).into());
        }
    }
    if options.batch == 0 {
        return Err("--batch 0 has nothing to learn from".into());
    }
    let mut report = Report::open(options.watch)?;
    let before = report.warm_up()?;
    {
        let mut model = UNet::new(&report.pool, options.seed << 32)?;
        train(&mut report, &mut model, options)?;
        compare(&mut report, &model, options)?;
        tile(&mut report, &model, options)?;
    }
    report.pool.trim();
    report.pool.synchronize_blocking()?;
    report.pool.trim();
    let after = report.step("dropped and trimmed");
    report.claim_back(before, after);
    Ok(report.conclude())
}

/// Copies images to the device, with noise: (count, 1, size, size), and their classes, (count, size, size).
fn batch(pool: &Pool, pictures: &[Picture], seed: u64) -> Result<[Tensor; 2], TensorError> {
    let size = pictures.first().map_or(0, |picture| picture.size);
    let light: Vec<f32> = pictures.iter().flat_map(|picture| &picture.light).copied().collect();
    let classes: Vec<u32> = pictures.iter().flat_map(|picture| &picture.classes).copied().collect();
    let images = Tensor::from_slice(pool, &light, [pictures.len(), 1, size, size])?;
    images.add_scaled_(&Tensor::randn(pool, images.shape(), seed)?, NOISE)?;
    Ok([images, Tensor::from_slice(pool, &classes, [pictures.len(), size, size])?])
}

/// Trains on one batch, and returns the loss, a scalar. `between` is called after the forward pass.
fn learn(
    model: &mut UNet,
    trainer: &mut Trainer,
    [images, classes]: &[Tensor; 2],
    between: impl FnOnce() -> Result<(), Failure>,
) -> Result<Tensor, Failure> {
    let (scores, kept) = model.forward(images)?;
    between()?;
    let loss = scores.cross_entropy(classes, CrossEntropy::default())?;
    let gradient = scores.cross_entropy_backward(classes, CrossEntropy::default())?;
    drop(scores);
    model.backward(kept, &gradient)?;
    trainer.step(model.parameters())?;
    Ok(loss)
}

/// Trains until the accuracy on validation images is high enough.
fn train(report: &mut Report, model: &mut UNet, options: &Options) -> Result<(), Failure> {
    let pool = report.pool.clone();
    let mut random = Rng::with_seed(options.seed);
    let mut pictures =
        |count: usize| -> Vec<Picture> { (0..count).map(|_| Picture::random(options.size, &mut random)).collect() };
    let unseen = batch(&pool, &pictures(UNSEEN), u64::MAX)?;
    let trainer = || Trainer::new(AdamW { learning_rate: 3e-3, ..AdamW::default() });
    // The kernels of a step are compiled on all processors. The model of this step has no memory.
    let ahead = || -> Result<(), Failure> {
        let images = batch(&pool, &[Picture::random(options.size, &mut Rng::with_seed(options.seed))], 0)?;
        learn(&mut UNet::new(&pool, 0)?, &mut trainer(), &images, || Ok(())).map(drop)
    };
    let (ahead, warm_up) = pool.warm_up(ahead)?;
    ahead?;
    report.note(format!("{} kernels were compiled before the first step.", warm_up.kernels));
    let mut trainer = trainer();
    let mut course = Course::default();
    let mut overlap: Option<Overlap> = None;
    let found = |overlap: &Option<Overlap>| overlap.map_or(0.0, |overlap| overlap.of_shapes());
    let progress = Progress::new("training", options.steps);
    let mut reserved = Vec::new();
    let repeat = pool.repeat(RepeatOptions::default());
    let planned = !options.unplanned;
    while course.steps() < options.steps && found(&overlap) < WANTED {
        let step = course.steps();
        // The first steps are observed, and the later ones allocated by a plan.
        let mut training_step = || -> Result<Tensor, Failure> {
            let images = batch(&pool, &pictures(options.batch), step as u64)?;
            learn(model, &mut trainer, &images, || {
                #[cfg(feature = "report")]
                page(&pool, step, options)?;
                Ok(())
            })
        };
        let mut planned_step = || if planned { repeat.run(&mut training_step)? } else { training_step() };
        let loss = if options.profile == Some(step) {
            let (loss, profile) = pool.profile_blocking(planned_step)?;
            println!("{profile}");
            loss?
        } else {
            planned_step()?
        };
        course.look(&pool);
        report.watch.look(&pool);
        reserved.push(pool.stats().reserved.current);
        if (step + 1).is_multiple_of(BETWEEN) || step + 1 == options.steps {
            overlap = Some(validate(model, &unseen)?);
            course.validated(found(&overlap));
        }
        // Reading waits for the device, so not in every step.
        if step.is_multiple_of(10) {
            let loss = loss.read_blocking::<f32>()?[0];
            course.loss(loss);
            progress.advance(format!("loss {loss:.3}, overlap {:.3}", found(&overlap)));
        } else {
            progress.advance(format!("overlap {:.3}", found(&overlap)));
        }
    }
    drop(progress);
    report.step("trained");
    report.note(course.planned(&repeat.stats()));
    for path in course.write(&options.plots, "unet", "intersection over union")? {
        report.note(format!("Plot: {}", path.display()));
    }
    let Some(overlap) = overlap else { return Err("--steps 0 trains nothing".into()) };
    let classes: Vec<String> =
        (0..CLASSES).map(|class| format!("{} {:.3}", NAMES[class], overlap.of_class(class))).collect();
    report.claim(
        overlap.of_shapes() >= WANTED,
        format!(
            "after {} steps the overlap on {UNSEEN} unseen pictures is {:.3}, wanted {WANTED} ({})",
            course.steps(),
            overlap.of_shapes(),
            classes.join(", ")
        ),
    );
    let (third, last) = (reserved.get(BETWEEN + 1), reserved.last());
    report.claim(
        third.is_none_or(|third| last <= Some(third)),
        format!(
            "training doesn't grow: {} reserved after the first validation, {} at the end",
            Bytes(third.copied().unwrap_or(0)),
            Bytes(last.copied().unwrap_or(0))
        ),
    );
    Ok(())
}

/// Records the first two steps, and writes the viewer's page in the second.
#[cfg(feature = "report")]
fn page(pool: &Pool, step: usize, options: &Options) -> Result<(), Failure> {
    let Some(page) = &options.page else { return Ok(()) };
    match step {
        0 => pool.start_history(100_000),
        1 => {
            std::fs::write(page, pool.snapshot().to_html()).map_err(|error| format!("{}: {error}", page.display()))?;
            pool.stop_history();
        }
        _ => {}
    }
    Ok(())
}

/// The accuracy of the model on images with known classes.
fn validate(model: &UNet, [images, classes]: &[Tensor; 2]) -> Result<Overlap, TensorError> {
    let mut overlap = Overlap::default();
    let found = model.infer(images)?.argmax(1)?;
    overlap.count(&found.read_blocking::<u32>()?, &classes.read_blocking::<u32>()?);
    Ok(overlap)
}

/// Creates a large image on the host, with noise.
fn large(pool: &Pool, size: usize, seed: u64) -> Result<(Vec<f32>, Vec<u32>), TensorError> {
    let picture = Picture::random(size, &mut Rng::with_seed(seed));
    let classes = picture.classes.clone();
    let [image, _] = batch(pool, &[picture], seed)?;
    Ok((image.read_blocking::<f32>()?, classes))
}

/// Compares the results for an image that fits: as a whole and in tiles.
fn compare(report: &mut Report, model: &UNet, options: &Options) -> Result<(), Failure> {
    let pool = report.pool.clone();
    let size = (options.image / 8).next_multiple_of(model::UNIT);
    let core = (size / 4).next_multiple_of(model::UNIT);
    let (image, _) = large(&pool, size, options.seed + 1)?;
    let whole = model.infer(&Tensor::from_slice(&pool, &image, [1, 1, size, size])?)?.argmax(1)?;
    let whole = whole.read_blocking::<u32>()?;
    let stitched = tiles::classes_exactly(model, &pool, &image, [size; 2], core, || {})?;
    let other = whole.iter().zip(&stitched).filter(|(one, other)| one != other).count();
    report.claim(
        other == 0,
        format!(
            "of {size}×{size} pixels, {other} get another class in {} tiles than at once",
            tiles::count([size; 2], core)
        ),
    );
    Ok(())
}

/// Processes an image that exceeds the limit, tile by tile.
fn tile(report: &mut Report, model: &UNet, options: &Options) -> Result<(), Failure> {
    let pool = report.pool.clone();
    let size = options.image;
    let (image, classes) = large(&pool, size, options.seed + 2)?;
    pool.trim();
    let limit = options.limit * MIB;
    pool.set_limit(Some(limit));
    let whole = || model.infer(&Tensor::from_slice(&pool, &image, [1, 1, size, size])?);
    let refused = match whole() {
        Err(TensorError::Allocate(AllocateError::OutOfMemory(refusal))) => {
            report.note(format!("Whole, the image is refused:\n{refusal}"));
            true
        }
        Err(other) => return Err(other.into()),
        Ok(_) => false,
    };
    report.claim(refused, format!("an image of {size}×{size} pixels doesn't fit whole below {}", Bytes(limit)));
    pool.synchronize_blocking()?;
    pool.trim();
    pool.reset_peaks();
    let progress = Progress::new("tiles", tiles::count([size; 2], options.tile));
    let found = tiles::classes_exactly(model, &pool, &image, [size; 2], options.tile, || {
        progress.advance("");
        report.watch.look(&pool);
    })?;
    drop(progress);
    let mut overlap = Overlap::default();
    overlap.count(&found, &classes);
    let most = pool.stats().reserved.peak;
    report.step("gone over in tiles");
    pool.set_limit(None);
    report.claim(
        most <= limit,
        format!("{} tiles take {} at most, below {}", tiles::count([size; 2], options.tile), Bytes(most), Bytes(limit)),
    );
    report.claim(
        overlap.of_shapes() >= WANTED,
        format!("the overlap on the large image is {:.3}, wanted {WANTED}", overlap.of_shapes()),
    );
    Ok(())
}
