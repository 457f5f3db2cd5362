//! Trains a character-level transformer on this project's README, then generates text with a growing key-value cache.
//!
//! The sequence length differs in each step, so that hardly any two steps allocate the same sizes. This pattern makes
//! other allocators grow.
//!
//! With `--limit-percent 50` the program trains twice instead: on the whole device, and with half of the memory that the
//! training needs (`limited.rs`).

#[path = "../common/mod.rs"]
mod common;
mod limited;
mod model;
#[path = "../nn/mod.rs"]
mod nn;
#[cfg(test)]
mod tests;
mod text;
mod training;

use clap::Parser;
use common::Report;
use fastrand::Rng;
use model::{Sizes, Transformer};
use nn::Failure;
use nn::attention::Cache;
use nn::training::{Course, Progress};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use text::Text;
use training::Training;
use wgpu_pool::{Bytes, Pool, RepeatOptions, Tensor, TensorError};

/// The training text, which is part of the crate.
const TEXT: &str = include_str!("../../README.md");
/// The mean loss, in nats per character, at which the training ends; a uniform guess has 4.4.
const WANTED: f32 = 1.5;
/// The number of steps whose losses are read together and averaged.
const BETWEEN: usize = 20;
/// The number of characters in the prompt.
const PROMPT: &str = "A tensor is a ";

#[derive(Clone, Debug, Parser)]
#[command(about = "A character-level transformer, trained, and decoding with a growing cache")]
struct Options {
    /// Draw the pool's segments while the program runs
    #[arg(long)]
    watch: bool,
    /// The largest number of training steps
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Sequences per step
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// The longest sequence
    #[arg(long, default_value_t = 128)]
    context: usize,
    /// The width of the model, a multiple of 4, the number of heads
    #[arg(long, default_value_t = 96)]
    width: usize,
    /// Trains twice, the second time within so many percent of the memory that the first training needed, and compares the losses
    #[arg(long)]
    limit_percent: Option<u64>,
    /// Train without plans for the memory of the steps
    #[arg(long)]
    unplanned: bool,
    /// The seed of all random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder for the plots
    #[arg(long, default_value = "target/plots")]
    plots: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| transformer(&options))
}

fn transformer(options: &Options) -> Result<ExitCode, Failure> {
    let text = Text::new(TEXT);
    let shortest = PROMPT.len();
    if options.context <= shortest || options.context >= text.length() {
        return Err(format!("--context {} is not within {shortest} and {}", options.context, text.length()).into());
    }
    let sizes =
        Sizes { characters: text.characters(), context: options.context, width: options.width, heads: 4, layers: 4 };
    if sizes.width == 0 || !sizes.width.is_multiple_of(sizes.heads) {
        return Err(format!("--width {} is not a multiple of {}", sizes.width, sizes.heads).into());
    }
    if options.batch == 0 {
        return Err("--batch 0 has nothing to learn from".into());
    }
    if let Some(percent) = options.limit_percent {
        return limited::compare(&text, sizes, options, percent);
    }
    let mut report = Report::open(options.watch)?;
    let before = report.warm_up()?;
    {
        // The kernels of a step are compiled on all processors. The model of this step has no memory.
        let pool = &report.pool;
        let (ahead, warm_up) = pool.warm_up(|| Training::new(pool, &text, sizes, options)?.step().map(drop))?;
        ahead?;
        report.note(format!("{} kernels were compiled before the first step.", warm_up.kernels));
        let mut training = Training::new(&report.pool, &text, sizes, options)?;
        train(&mut report, &mut training, options)?;
        decode(&mut report, &training.model, &text, options)?;
    }
    report.pool.trim();
    report.pool.synchronize_blocking()?;
    report.pool.trim();
    let after = report.step("dropped and trimmed");
    report.claim_back(before, after);
    Ok(report.conclude())
}

/// Copies tokens to the device: (count, length).
fn upload(pool: &Pool, numbers: &[u32], count: usize) -> Result<Tensor, TensorError> {
    Tensor::from_slice(pool, numbers, [count, numbers.len() / count])
}

/// Trains until the mean loss of some steps is low enough.
fn train(report: &mut Report, training: &mut Training<'_>, options: &Options) -> Result<(), Failure> {
    let pool = report.pool.clone();
    let mut course = Course::default();
    let (mut mean, mut lengths) = (f32::INFINITY, Vec::new());
    let total = Tensor::full(&pool, [], 0.0_f32)?;
    let progress = Progress::new("training", options.steps);
    // By then every length, or a similar one, has occurred.
    let (mut settled, warm) = (0, options.steps.min(200));
    // Each length has a plan of its own.
    let kinds = RepeatOptions { kinds: options.context, planning_time: Duration::from_millis(10) };
    let repeat = pool.repeat(kinds);
    while course.steps() < options.steps && mean > WANTED {
        let (length, loss) = if options.unplanned { training.step()? } else { repeat.run(|| training.step())?? };
        lengths.push(length);
        total.add_scaled_(&loss, 1.0 / BETWEEN as f32)?;
        drop(loss);
        course.look(&pool);
        report.watch.look(&pool);
        if course.steps() == warm {
            settled = pool.stats().reserved.current;
        }
        if course.steps().is_multiple_of(BETWEEN) {
            mean = total.read_blocking::<f32>()?[0];
            total.fill_(0.0_f32)?;
            course.loss(mean);
        }
        progress.advance(format!("loss {mean:.3}"));
    }
    drop(progress);
    drop(total);
    report.step("trained");
    report.note(course.planned(&repeat.stats()));
    for path in course.write(&options.plots, "transformer", "")? {
        report.note(format!("Plot: {}", path.display()));
    }
    let steps = course.steps();
    report.claim(mean <= WANTED, format!("after {steps} steps the mean loss is {mean:.3}, wanted {WANTED}"));
    lengths.sort_unstable();
    lengths.dedup();
    let now = pool.stats().reserved.current;
    report.claim(
        steps <= warm || now <= settled + settled / 10,
        format!(
            "{} different lengths don't make the pool grow: {} reserved after {warm} steps, {} after {steps}",
            lengths.len(),
            Bytes(settled),
            Bytes(now)
        ),
    );
    Ok(())
}

/// Generates text after a prompt until the context is full, one character at a time, and compares the last scores with
/// those of a full forward pass.
fn decode(report: &mut Report, model: &Transformer, text: &Text, options: &Options) -> Result<(), Failure> {
    let pool = report.pool.clone();
    let mut random = Rng::with_seed(options.seed);
    let mut caches: Vec<Cache> = (0..model.sizes.layers).map(|_| Cache::default()).collect();
    let mut course = Course::default();
    let mut written = text.numbers(PROMPT);
    let mut new = written.clone();
    let scores = loop {
        let numbers = upload(&pool, &new, 1)?;
        let scores = model.forward_cached(&numbers, written.len() - new.len(), &mut caches)?;
        course.look(&pool);
        report.watch.look(&pool);
        let last = scores.narrow(0, scores.shape()[0] - 1, 1)?;
        if written.len() == options.context {
            break last.read_blocking::<f32>()?;
        }
        let likely = last.mul(1.0 / TEMPERATURE)?.softmax(1)?.read_blocking::<f32>()?;
        new = vec![chosen(&likely, random.f32())];
        written.extend(&new);
    };
    drop(caches);
    report.step("decoded");
    println!("\n{}\n", text.decode(&written));
    for path in course.write(&options.plots, "transformer-decoding", "")? {
        report.note(format!("Plot: {}", path.display()));
    }
    let (whole, _) = model.forward(&upload(&pool, &written, 1)?)?;
    let whole = whole.narrow(0, written.len() - 1, 1)?.read_blocking::<f32>()?;
    let apart = whole.iter().zip(&scores).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    let most = whole.iter().map(|score| score.abs()).fold(0.0, f32::max);
    report.claim(
        apart <= 1e-4 * most,
        format!(
            "with the cache the scores after {} characters are those of all at once within {:.1e} of {most:.1}",
            written.len(),
            apart
        ),
    );
    Ok(())
}

/// The sampling temperature: below 1, likely characters become more likely.
const TEMPERATURE: f32 = 0.5;

/// Samples a character from the cumulative probabilities.
fn chosen(likely: &[f32], place: f32) -> u32 {
    let mut sum = 0.0;
    let found = likely.iter().position(|share| {
        sum += share;
        sum > place
    });
    u32::try_from(found.unwrap_or(likely.len() - 1)).unwrap_or_default()
}
