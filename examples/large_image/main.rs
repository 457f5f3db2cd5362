//! Segments an image in one piece, without tiles, on a device with little memory: tensors are divided into blocks, and blocks that are not
//! needed soon are in host memory. The result is the one of overlapping tiles, except where two classes have the same score up to rounding.
//!
//! The image is a PNG file (`--image`), whose brightness is used, or generated. The U-Net of `examples/unet` is trained on small generated
//! images first. Writes the classes of all pixels as a PNG file, and a plot of the pool's memory by place over time.

mod memory;
#[path = "../unet/model.rs"]
#[allow(dead_code, reason = "the gradients of large images are not needed")]
mod model;
#[path = "../nn/mod.rs"]
mod nn;
mod picture;
#[path = "../unet/shapes.rs"]
#[allow(dead_code, reason = "the classes are not named")]
mod shapes;
#[cfg(test)]
mod tests;
#[path = "../unet/tiles.rs"]
#[allow(dead_code, reason = "only exact tiles are needed")]
mod tiles;

use clap::Parser;
use fastrand::Rng;
use memory::Watched;
use model::{UNIT, UNet};
use nn::training::Progress;
use nn::{Failure, Trainer};
use picture::Gray;
use shapes::{Overlap, Picture};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgpu_pool::{AdamW, Bytes, CrossEntropy, Pool, PoolOptions, Tensor};

const MIB: u64 = 1 << 20;
/// The blocks of the model, and its head.
const STAGES: usize = 6;
/// Two scores are tied if they differ by at most this part of the pixel's largest score. Images of other sizes are computed by other kernels,
/// which add up in another order: each of the model's eleven sums is rounded to 2⁻²⁴ of its magnitude a few times.
const TIE: f32 = 1e-5;
/// The most pixels with other classes that are examined, each in a tile of its own.
const MOST_EXAMINED: usize = 1000;
/// The standard deviation of the noise on generated images.
const NOISE: f32 = 0.1;
/// Images of a training step, and their sides.
const BATCH: usize = 8;
const SIDE: usize = 48;

#[derive(Clone, Debug, Parser)]
#[command(about = "An image segmented in one piece on a device with little memory")]
struct Options {
    /// A PNG file to segment, in place of a generated image; its sides are cut to multiples of 4
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The side of the generated image, a multiple of 4
    #[arg(long, default_value_t = 16_384)]
    size: usize,
    /// The pool's limit on device memory, in MiB
    #[arg(long, default_value_t = 512)]
    limit: u64,
    /// The largest block of a tensor, in MiB: a band of an image touches a block of each channel, and all of them should fit on the device
    #[arg(long, default_value_t = 8)]
    block: u64,
    /// The limit on host memory, in MiB
    #[arg(long, default_value_t = 96 << 10)]
    host: u64,
    /// Training steps
    #[arg(long, default_value_t = 600)]
    steps: usize,
    /// The side of a tile of the comparison, without its halo, a multiple of 4
    #[arg(long, default_value_t = 512)]
    tile: usize,
    /// The seed of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder for the classes and the plot
    #[arg(long, default_value = "target/plots")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match large_image(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn large_image(options: &Options) -> Result<ExitCode, Failure> {
    for (name, side) in [("size", options.size), ("tile", options.tile)] {
        if side == 0 || !side.is_multiple_of(UNIT) {
            return Err(format!("--{name} {side} is not a multiple of {UNIT}").into());
        }
    }
    let (image, classes) = match &options.image {
        Some(path) => (Gray::read(path)?.cut(UNIT)?, None),
        None => generated(options.size, options.seed + 2),
    };
    let pool = Pool::request_blocking(PoolOptions {
        limit: Some(options.limit * MIB),
        largest_block: Some(options.block * MIB),
        spill: Some(options.host * MIB),
        ..PoolOptions::default()
    })?;
    println!("{}, limited to {}", pool.memory().device().adapter_info().name, Bytes(options.limit * MIB));
    let mut model = UNet::new(&pool, options.seed << 32)?;
    train(&pool, &mut model, options)?;
    let Found { classes: whole, seconds, peak } = in_one_piece(&pool, &model, &image, options)?;
    let spilled = pool.spill_stats();
    println!(
        "{} × {} pixels in one piece: {seconds:.1} s, at most {} on the device and {} in host memory; {} moved out, {} in",
        image.width,
        image.height,
        Bytes(peak.device),
        Bytes(peak.host),
        Bytes(spilled.moved_out),
        Bytes(spilled.moved_in)
    );
    let path = options.output.join("large_image-classes.png");
    Gray::of_classes(&whole, &image).write(&path)?;
    println!("classes: {}", path.display());
    if let Some(classes) = classes {
        let mut overlap = Overlap::default();
        overlap.count(&whole, &classes);
        println!("intersection over union: {:.3}", overlap.of_shapes());
    }
    let begun = Instant::now();
    let progress = Progress::new("tiles", tiles::count([image.height, image.width], options.tile));
    let size = [image.height, image.width];
    let tiled = tiles::classes_exactly(&model, &pool, &image.light, size, options.tile, || progress.advance(""))?;
    drop(progress);
    let other = whole.iter().zip(&tiled).filter(|(one, other)| one != other).count();
    println!("{other} pixels have another class in tiles, which took {:.1} s", begun.elapsed().as_secs_f64());
    if other == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    if other > MOST_EXAMINED {
        return Ok(ExitCode::FAILURE);
    }
    let gaps = tiles::gaps(&model, &pool, &image.light, size, options.tile, [&whole, &tiled])?;
    let tied = gaps.iter().filter(|gap| **gap <= TIE).count();
    let most = gaps.iter().copied().fold(0.0, f32::max);
    println!(
        "in {tied} of them the two classes are tied: their scores differ by at most {most:.1e} of the largest one"
    );
    Ok(if tied == other { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Creates an image with noise, and the classes of its pixels.
fn generated(size: usize, seed: u64) -> (Gray, Option<Vec<u32>>) {
    let mut random = Rng::with_seed(seed);
    let Picture { mut light, classes, .. } = Picture::random(size, &mut random);
    for light in &mut light {
        // The sum of four uniform numbers: close to normal.
        let sum: f32 = (0..4).map(|_| random.f32()).sum();
        *light += (sum - 2.0) * 3.0_f32.sqrt() * NOISE;
    }
    (Gray { width: size, height: size, light }, Some(classes))
}

fn train(pool: &Pool, model: &mut UNet, options: &Options) -> Result<(), Failure> {
    let mut random = Rng::with_seed(options.seed);
    let mut trainer = Trainer::new(AdamW { learning_rate: 3e-3, ..AdamW::default() });
    let progress = Progress::new("training", options.steps);
    for step in 0..options.steps {
        let pictures: Vec<Picture> = (0..BATCH).map(|_| Picture::random(SIDE, &mut random)).collect();
        let light: Vec<f32> = pictures.iter().flat_map(|picture| &picture.light).copied().collect();
        let classes: Vec<u32> = pictures.iter().flat_map(|picture| &picture.classes).copied().collect();
        let images = Tensor::from_slice(pool, &light, [BATCH, 1, SIDE, SIDE])?;
        images.add_scaled_(&Tensor::randn(pool, images.shape(), step as u64)?, NOISE)?;
        let classes = Tensor::from_slice(pool, &classes, [BATCH, SIDE, SIDE])?;
        let (scores, kept) = model.forward(&images)?;
        let gradient = scores.cross_entropy_backward(&classes, CrossEntropy::default())?;
        model.backward(kept, &gradient)?;
        trainer.step(model.parameters())?;
        progress.advance("");
    }
    Ok(pool.synchronize_blocking()?)
}

/// The classes of an image, the time, and the most memory by place.
#[derive(Debug)]
struct Found {
    classes: Vec<u32>,
    seconds: f64,
    peak: memory::Places,
}

/// Segments the whole image at once, and plots the memory meanwhile.
fn in_one_piece(pool: &Pool, model: &UNet, image: &Gray, options: &Options) -> Result<Found, Failure> {
    let begun = Instant::now();
    let watched = Watched::start(pool);
    let progress = Progress::new("one piece", STAGES + 1);
    let x = Tensor::from_slice(pool, &image.light, [1, 1, image.height, image.width])?;
    let scores = model.infer_with(x, || progress.advance(""))?;
    let classes = scores.argmax(1)?;
    drop(scores);
    let classes = classes.read_blocking::<u32>()?;
    drop(progress);
    let (peak, curves) = watched.finish();
    std::fs::create_dir_all(&options.output)?;
    let path = options.output.join("large_image-memory.png");
    memory::plot(curves, &path)?;
    println!("plot: {}", path.display());
    Ok(Found { classes, seconds: begun.elapsed().as_secs_f64(), peak })
}
