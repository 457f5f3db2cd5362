//! The same training twice: with as much memory as it needs, and with less, where the pool moves tensors to host
//! memory and back. The losses must be equal in every bit.

use crate::Options;
use crate::common::Report;
use crate::model::Sizes;
use crate::nn::Failure;
use crate::nn::training::Progress;
use crate::text::Text;
use crate::training::Training;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wgpu_pool::{Bytes, Pool, PoolOptions, SpillStats, Tensor};

/// Steps before the time is taken: kernels are compiled, and the order of uses is learned.
const WARM_UP: usize = 5;

/// The result of one training.
struct Run {
    losses: Vec<f32>,
    /// The time of the steps after the first [`WARM_UP`].
    time: Duration,
    /// The most bytes in tensors, and of the device, at any time.
    allocated: u64,
    reserved: u64,
    spilled: SpillStats,
}

/// Trains with all memory, then within `percent` percent of what the first training needed.
pub(crate) fn compare(text: &Text, sizes: Sizes, options: &Options, percent: u64) -> Result<ExitCode, Failure> {
    if !(1..=100).contains(&percent) {
        return Err(format!("--limit-percent {percent} is not within 1 and 100").into());
    }
    if options.steps <= WARM_UP {
        return Err(
            format!("--steps {} leaves none after the first {WARM_UP}, which are not timed", options.steps).into()
        );
    }
    let mut report = Report::open(options.watch)?;
    let whole = train(&report.pool, text, sizes, options)?;
    report.step("trained on the whole device");
    let limit = whole.allocated * percent / 100;
    report.pool =
        Pool::request_blocking(PoolOptions { limit: Some(limit), spill: Some(u64::MAX), ..PoolOptions::default() })?;
    let limited = train(&report.pool, text, sizes, options)?;
    report.step("trained within the limit");

    let timed = (options.steps - WARM_UP) as f64;
    let milliseconds = |run: &Run| run.time.as_secs_f64() * 1e3 / timed;
    let SpillStats { moved_out, moved_in, .. } = limited.spilled;
    report.note(format!(
        "A step takes {:.2} ms on the whole device and {:.2} ms within the limit, {:.2} times as long; {} moved out and {} in.",
        milliseconds(&whole),
        milliseconds(&limited),
        milliseconds(&limited) / milliseconds(&whole),
        Bytes(moved_out),
        Bytes(moved_in),
    ));
    report.claim(
        limited.reserved <= limit,
        format!(
            "the training needs {}; limited to {}, the pool takes at most {}",
            Bytes(whole.allocated),
            Bytes(limit),
            Bytes(limited.reserved)
        ),
    );
    let differing =
        whole.losses.iter().zip(&limited.losses).filter(|(one, other)| one.to_bits() != other.to_bits()).count();
    let last = whole.losses.last().copied().unwrap_or(f32::NAN);
    report.claim(
        differing == 0 && last.is_finite(),
        format!("{differing} of {} losses differ in any bit; the last is {last}", whole.losses.len()),
    );
    Ok(report.conclude())
}

fn train(pool: &Pool, text: &Text, sizes: Sizes, options: &Options) -> Result<Run, Failure> {
    let mut training = Training::new(pool, text, sizes, options)?;
    let mut losses = Vec::with_capacity(options.steps);
    let progress = Progress::new("training", options.steps);
    let mut start = Instant::now();
    for step in 0..options.steps {
        if step == WARM_UP {
            pool.synchronize_blocking()?;
            start = Instant::now();
        }
        losses.push(training.step()?.1);
        progress.advance("");
    }
    pool.synchronize_blocking()?;
    let time = start.elapsed();
    drop(progress);
    let losses = losses.iter().map(Tensor::item_blocking::<f32>).collect::<Result<_, _>>()?;
    let stats = pool.stats();
    Ok(Run {
        losses,
        time,
        allocated: stats.allocated.peak,
        reserved: stats.reserved.peak,
        spilled: pool.spill_stats(),
    })
}
