//! Trains a linear layer: once normally, and once with `trim` in every step, which only costs time.
//!
//! Linear(10, 1), mean squared error, gradient descent with a learning rate of 0.01, batches of 32 normal numbers, 10
//! epochs of 100 steps; the targets are a fixed linear map. Forward and backward passes run in the crate's kernels,
//! with hand-written gradients.
//!
//! Prints the pool's memory after each step of the program. Exits with 1 if the loss does not fall below 1e-3, or if
//! the pool's segments change after the first training step.

mod common;

use clap::Parser;
use common::Report;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wgpu_pool::{Bytes, Pool, Reduction, Tensor, TensorError};

const FEATURES: usize = 10;
const BATCH: usize = 32;
const EPOCHS: usize = 10;
const STEPS: usize = 100;
const LEARNING_RATE: f32 = 0.01;
const LOSS_WANTED: f32 = 1e-3;
const TIMED_RUNS: usize = 3;

/// The linear map to learn.
const TRUE_WEIGHTS: [f32; FEATURES] = [1.5, -2.0, 0.5, 3.0, -1.0, 0.25, -0.75, 2.0, 1.0, -3.0];
const TRUE_BIAS: f32 = 0.5;

#[derive(Debug, Parser)]
#[command(about = "Training a linear layer in a loop that must not grow")]
struct Options {
    /// Draw the pool's segments while the program runs
    #[arg(long)]
    watch: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| training_loop(&options))
}

fn training_loop(options: &Options) -> wgpu_pool::Result<ExitCode> {
    let mut report = Report::open(options.watch)?;
    let pool = report.pool.clone();
    let before = report.warm_up()?;
    // The first step compiles the kernels, which is excluded from both times.
    train(&mut report, Mode::FirstStepOnly)?;
    give_back(&pool)?;

    let mut plain = train(&mut report, Mode::AsItShouldBe)?;
    report.step("trained as it should be");
    give_back(&pool)?;
    report.step("trimmed");
    let mut trimming = train(&mut report, Mode::TrimInEveryStep)?;
    report.step("trained, trimming in every step");
    give_back(&pool)?;
    let after = report.step("trimmed");
    // The shortest of several alternating runs, because other programs may be running.
    for _ in 1..TIMED_RUNS {
        for (mode, run) in [(Mode::AsItShouldBe, &mut plain), (Mode::TrimInEveryStep, &mut trimming)] {
            run.time = run.time.min(train(&mut report, mode)?.time);
            give_back(&pool)?;
        }
    }

    println!("\nepoch  loss         loss with trim() in every step");
    for (epoch, (one, other)) in (1..).zip(plain.losses.iter().zip(&trimming.losses)) {
        println!("{epoch:>5}  {one:<11.4e}  {other:<11.4e}");
    }
    let ratio = trimming.time.as_secs_f64() / plain.time.as_secs_f64();
    println!("\n{} steps; the shortest of {TIMED_RUNS} runs each:", EPOCHS * STEPS);
    println!("{:>8.1} ms without trim()", plain.time.as_secs_f64() * 1e3);
    println!("{:>8.1} ms with trim() in every step: {ratio:.2} times", trimming.time.as_secs_f64() * 1e3);
    match trimming.segments_given_back {
        0 => println!("No trim released memory: the weights are in the pool's only segment."),
        count => println!("The trims released {count} segments, which the pool had to create again."),
    }

    for (name, run) in [("as it should be", &plain), ("trimming", &trimming)] {
        let last = run.losses.last().copied().unwrap_or(f32::NAN);
        report.claim(last < LOSS_WANTED, format!("the last loss is {last:.1e}, below {LOSS_WANTED:.0e} ({name})"));
    }
    let Segments { bytes, count } = plain.after_first_step;
    report.claim(
        plain.change.is_none(),
        plain.change.unwrap_or(format!(
            "after the first step reserved stays at {}, and the number of segments at {count}",
            Bytes(bytes)
        )),
    );
    report.claim(plain.losses == trimming.losses, "trimming changes no loss");
    report.claim_back(before, after);
    Ok(report.conclude())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    FirstStepOnly,
    AsItShouldBe,
    TrimInEveryStep,
}

/// The result of a run.
#[derive(Debug)]
struct Run {
    /// The mean loss of each epoch.
    losses: Vec<f32>,
    time: Duration,
    after_first_step: Segments,
    /// A description of the first step after which the segments differ from those after the first step.
    change: Option<String>,
    segments_given_back: usize,
}

/// A description of the pool's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Segments {
    bytes: u64,
    count: u64,
}

impl Segments {
    fn of(pool: &Pool) -> Self {
        let stats = pool.stats();
        Self { bytes: stats.reserved.current, count: stats.segments.current }
    }
}

fn train(report: &mut Report, mode: Mode) -> wgpu_pool::Result<Run> {
    let pool = report.pool.clone();
    let mut run = Run {
        losses: Vec::new(),
        time: Duration::ZERO,
        after_first_step: Segments::default(),
        change: None,
        segments_given_back: 0,
    };
    let model = Model::new(&pool)?;
    let truth = Model::truth(&pool)?;
    let epoch_loss = Tensor::full(&pool, [], 0.0_f32)?;
    let steps = if mode == Mode::FirstStepOnly { 1 } else { EPOCHS * STEPS };
    pool.synchronize_blocking()?;
    let start = Instant::now();
    for step in 0..steps {
        let inputs = Tensor::randn(&pool, [BATCH, FEATURES], step as u64)?;
        let loss = model.step(&inputs, &truth.forward(&inputs)?)?;
        epoch_loss.add_scaled_(&loss, 1.0 / STEPS as f32)?;
        drop((inputs, loss));
        if (step + 1) % STEPS == 0 {
            run.losses.extend(epoch_loss.read_blocking::<f32>()?);
            epoch_loss.fill_(0.0_f32)?;
        }
        if mode == Mode::TrimInEveryStep {
            run.segments_given_back += pool.trim().segments;
        }
        report.watch.look(&pool);
        let segments = Segments::of(&pool);
        if step == 0 {
            run.after_first_step = segments;
            if mode == Mode::FirstStepOnly {
                report.step("after a first step of training");
            }
        } else if segments != run.after_first_step && run.change.is_none() {
            let first = run.after_first_step;
            run.change = Some(format!(
                "after step {} there are {} in {} segments, after the first one {} in {}",
                step + 1,
                Bytes(segments.bytes),
                segments.count,
                Bytes(first.bytes),
                first.count
            ));
        }
    }
    pool.synchronize_blocking()?;
    run.time = start.elapsed();
    Ok(run)
}

/// Releases every idle segment to the driver, and waits until the driver has freed them.
fn give_back(pool: &Pool) -> wgpu_pool::Result<()> {
    pool.trim();
    pool.synchronize_blocking()?;
    pool.trim();
    Ok(())
}

/// A linear layer: outputs = inputs · weightsᵀ + bias.
#[derive(Debug)]
struct Model {
    /// Of shape (1, features).
    weights: Tensor,
    /// Of shape (1).
    bias: Tensor,
}

impl Model {
    fn new(pool: &Pool) -> Result<Self, TensorError> {
        Ok(Self { weights: Tensor::full(pool, [1, FEATURES], 0.0_f32)?, bias: Tensor::full(pool, [1], 0.0_f32)? })
    }

    /// The linear map to learn.
    fn truth(pool: &Pool) -> Result<Self, TensorError> {
        let weights = Tensor::from_slice(pool, &TRUE_WEIGHTS, [1, FEATURES])?;
        Ok(Self { weights, bias: Tensor::full(pool, [1], TRUE_BIAS)? })
    }

    /// (batch, features) gives (batch, 1).
    fn forward(&self, inputs: &Tensor) -> Result<Tensor, TensorError> {
        inputs.matmul(&self.weights.t()?)?.add(&self.bias)
    }

    /// One step of gradient descent; returns the loss before it, a scalar.
    fn step(&self, inputs: &Tensor, targets: &Tensor) -> Result<Tensor, TensorError> {
        let outputs = self.forward(inputs)?;
        let loss = outputs.mse_loss(targets, Reduction::Mean)?;
        let outputs_gradient = outputs.mse_loss_backward(targets, Reduction::Mean)?;
        // The rest is the chain rule.
        let weights_gradient = outputs_gradient.t()?.matmul(inputs)?;
        let bias_gradient = outputs_gradient.sum([0])?;
        self.weights.add_scaled_(&weights_gradient, -LEARNING_RATE)?;
        self.bias.add_scaled_(&bias_gradient, -LEARNING_RATE)?;
        Ok(loss)
    }
}
