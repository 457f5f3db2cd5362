//! Replays a trace as a repeated step, and measures its plan.

use crate::fault::ReplayError;
use crate::progress::Progress;
use crate::replay::{WARM_REPLAYS, quotient, replay};
use crate::stamp::Witness;
use crate::trace::Trace;
use serde::Serialize;
use std::time::Duration;
use wgpu_pool::{Memory, Pool, Repeat, RepeatOptions};

/// The number of replays of a trace.
pub(crate) const REPLAYS: usize = 2 + 3 * WARM_REPLAYS;

/// The figures of a trace as a repeated step. Sizes are in bytes, times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Planned {
    /// The size of the arena, and the peak of the blocks in it.
    pub(crate) arena: u64,
    pub(crate) lower_bound: u64,
    /// The peak of the reserved bytes after the first planned run, and divided by the peak of the requested bytes.
    pub(crate) peak_reserved: u64,
    pub(crate) ratio: f64,
    /// Segments created and bytes moved after the first planned run.
    pub(crate) segments_created: u64,
    pub(crate) bytes_moved: u64,
    /// Runs that followed the plan, of all but the first.
    pub(crate) agreeing: u64,
    /// The time of the search for the plan.
    pub(crate) planning_ms: f64,
    /// Medians of runs in turns, in one warm pool: not observed, observed, planned.
    pub(crate) ns_per_event_unobserved: f64,
    pub(crate) ns_per_event_observed: f64,
    pub(crate) ns_per_event_planned: f64,
}

/// Replays a trace in a pool that `open` creates.
pub(crate) fn measure<M: Memory>(
    trace: &Trace,
    open: impl Fn() -> wgpu_pool::Result<Pool<M>>,
    witness: &mut impl Witness<M>,
    progress: &Progress,
) -> Result<Planned, ReplayError> {
    let pool = open().map_err(ReplayError::Pool)?;
    let options = RepeatOptions { planning_time: Duration::from_secs(1), ..RepeatOptions::default() };
    let step = pool.repeat(options.clone());
    let once = |witness: &mut _| replay(trace, &pool, witness, progress, |_| Ok(()), |_| ());
    let start = std::time::Instant::now();
    let observed = run(&step, || once(witness))?;
    let planning = start.elapsed().saturating_sub(observed);
    run(&step, || once(witness))?;
    pool.reset_peaks();
    let before = pool.remedies();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..WARM_REPLAYS {
        times[2].push(run(&step, || once(witness))?);
    }
    let (stats, after) = (pool.stats(), pool.remedies());
    let counts = step.stats();
    drop(step);
    for _ in 0..WARM_REPLAYS {
        times[0].push(once(witness)?);
        // No time for a plan, which is not used.
        let observed = pool.repeat(RepeatOptions { planning_time: Duration::ZERO, ..options.clone() });
        times[1].push(run(&observed, || once(witness))?);
    }
    pool.check()?;
    let [unobserved, observed, planned] = times.map(|times| median(times, trace.events.len()));
    Ok(Planned {
        arena: counts.arena,
        lower_bound: counts.lower_bound,
        peak_reserved: stats.reserved.peak,
        ratio: quotient(stats.reserved.peak as f64, stats.requested.peak as f64, 1.0),
        segments_created: after.segments_created - before.segments_created,
        bytes_moved: after.bytes_moved - before.bytes_moved,
        agreeing: counts.agreeing,
        planning_ms: planning.as_secs_f64() * 1e3,
        ns_per_event_unobserved: unobserved,
        ns_per_event_observed: observed,
        ns_per_event_planned: planned,
    })
}

fn run<M: Memory, T>(step: &Repeat<M>, once: impl FnOnce() -> Result<T, ReplayError>) -> Result<T, ReplayError> {
    step.run(once).map_err(|error| ReplayError::Pool(error.into()))?
}

/// Returns the median time of an event in nanoseconds.
fn median(mut times: Vec<Duration>, events: usize) -> f64 {
    times.sort_unstable();
    quotient(times[times.len() / 2].as_secs_f64() * 1e9, events as f64, 0.0)
}
