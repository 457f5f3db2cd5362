//! Replays a trace in a pool, and measures memory use and time.

use crate::fault::ReplayError;
use crate::plan::{self, Planned};
use crate::progress::Progress;
use crate::stamp::Witness;
use crate::trace::{Event, Trace};
use serde::Serialize;
use std::time::{Duration, Instant};
use wgpu_pool::{Memory, Pool, Stats, Storage};

/// The number of replays in the same pool after the first; their median is the warm time.
pub(crate) const WARM_REPLAYS: usize = 7;

/// The number of replays of a trace: the cold replay, the warm replays, and the trimmed replay.
pub(crate) const REPLAYS: usize = 1 + WARM_REPLAYS + 1;

/// The largest number of events between two measurements of the time and of the driver's bytes.
const STRETCH: usize = 1 << 14;
/// The number of parts of a trace, if each then has at least [`LEAST_STRETCH`] events.
const STRETCHES: usize = 256;
const LEAST_STRETCH: usize = 64;

/// The figures of a trace. Sizes are in bytes, times in nanoseconds; every number is finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Allocations and frees.
    pub(crate) events: usize,
    /// The peak of the requested bytes.
    pub(crate) peak_requested: u64,
    /// The peak of the reserved bytes in the first replay.
    pub(crate) peak_reserved: u64,
    /// Peak reserved over peak requested; 1 if no bytes were requested.
    pub(crate) ratio: f64,
    /// The peak of the driver's bytes in the first replay. On memory `none` computed by a model, in which segments up to 4 MiB
    /// share blocks of 4 MiB. On `wgpu` queried 256 times, including all other buffers of the device. Null if the backend does
    /// not report them.
    pub(crate) driver_peak: Option<u64>,
    /// Segments that the first replay created and released.
    pub(crate) segments_created: u64,
    pub(crate) segments_released: u64,
    /// Compactions in the first replay, and the bytes that they moved.
    pub(crate) compactions: u64,
    pub(crate) bytes_moved: u64,
    /// Bytes of all blocks that the first replay allocated.
    pub(crate) bytes_allocated: u64,
    /// Bytes moved over bytes allocated; 0 if no bytes were allocated.
    pub(crate) moved_ratio: f64,
    /// Reserved over requested bytes directly after trimming, each summed over the points; 1 if no bytes were requested.
    pub(crate) trim_residue: f64,
    pub(crate) ns_per_event_cold: f64,
    pub(crate) ns_per_event_warm: f64,
    /// The trace as a repeated step, with `--plan on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<Planned>,
}

/// The trimming of the last replay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trims {
    /// The number of points.
    pub(crate) points: u32,
    /// Whether the pool is compacted first.
    pub(crate) compact: bool,
}

/// Replays a trace in pools that `open` creates: several times in one pool, in another one as a repeated step if `plans`, and once in another,
/// which is trimmed.
pub(crate) fn measure<M: Memory>(
    trace: &Trace,
    (trims, plans): (Trims, bool),
    open: impl Fn() -> wgpu_pool::Result<Pool<M>>,
    driver: impl Fn(&M) -> Option<u64>,
    witness: &mut impl Witness<M>,
    progress: &Progress,
) -> Result<Figures, ReplayError> {
    let pool = open().map_err(ReplayError::Pool)?;
    let mut driver_peak = None;
    let look = |pool: &Pool<M>| driver_peak = driver_peak.max(driver(pool.memory()));
    let cold = replay(trace, &pool, witness, progress, |_| Ok(()), look)?;
    let (stats, remedies) = (pool.stats(), pool.remedies());
    check(trace, &pool, &stats)?;
    let mut warm = Vec::with_capacity(WARM_REPLAYS);
    for _ in 0..WARM_REPLAYS {
        warm.push(replay(trace, &pool, witness, progress, |_| Ok(()), |_| ())?);
    }
    check(trace, &pool, &pool.stats())?;
    drop(pool);
    let planned = if plans { Some(plan::measure(trace, &open, witness, progress)?) } else { None };
    let trim_residue = residue(trace, trims, &open().map_err(ReplayError::Pool)?, witness, progress)?;

    warm.sort();
    let per_event = |time: Duration| quotient(time.as_nanos() as f64, trace.events.len() as f64, 0.0);
    let bytes_allocated = stats.allocated.allocated;
    Ok(Figures {
        events: trace.events.len(),
        peak_requested: stats.requested.peak,
        peak_reserved: stats.reserved.peak,
        driver_peak,
        ratio: quotient(stats.reserved.peak as f64, stats.requested.peak as f64, 1.0),
        segments_created: stats.segments.allocated,
        segments_released: stats.segments.freed,
        compactions: remedies.compactions,
        bytes_moved: remedies.bytes_moved,
        bytes_allocated,
        moved_ratio: quotient(remedies.bytes_moved as f64, bytes_allocated as f64, 0.0),
        trim_residue,
        ns_per_event_cold: per_event(cold),
        ns_per_event_warm: per_event(warm[WARM_REPLAYS / 2]),
        planned,
    })
}

pub(crate) fn quotient(dividend: f64, divisor: f64, of_zero: f64) -> f64 {
    if divisor == 0.0 { of_zero } else { dividend / divisor }
}

/// Replays the events once, then drops the live blocks. Calls `after` after each event, and `look` at the start and after
/// each part. Returns the time of the events, without `look`.
pub(crate) fn replay<M: Memory>(
    trace: &Trace,
    pool: &Pool<M>,
    witness: &mut impl Witness<M>,
    progress: &Progress,
    mut after: impl FnMut(usize) -> Result<(), ReplayError>,
    mut look: impl FnMut(&Pool<M>),
) -> Result<Duration, ReplayError> {
    let mut live: Vec<Option<Storage<M>>> = Vec::new();
    live.resize_with(trace.slots as usize, || None);
    witness.begin(pool, trace.slots);
    let mut time = Duration::ZERO;
    let mut number = 0;
    let watched = progress.is_watched();
    look(pool);
    for stretch in trace.events.chunks((trace.events.len() / STRETCHES).clamp(LEAST_STRETCH, STRETCH)) {
        let start = Instant::now();
        for &event in stretch {
            number += 1;
            match event {
                Event::Allocate { slot, bytes } => {
                    let storage =
                        pool.allocate(bytes).map_err(|error| ReplayError::Allocate { line: number, error })?;
                    witness.allocated(slot, &storage)?;
                    live[slot as usize] = Some(storage);
                }
                Event::Free { slot } => {
                    if let Some(storage) = live[slot as usize].take() {
                        witness.freed(slot, &storage)?;
                    }
                }
            }
            after(number)?;
            if watched {
                progress.look(pool);
            }
        }
        time += start.elapsed();
        look(pool);
        progress.advance(stretch.len());
    }
    for (slot, storage) in (0..).zip(&mut live) {
        if let Some(storage) = storage.take() {
            witness.freed(slot, &storage)?;
        }
    }
    witness.end()?;
    Ok(time)
}

/// Compares the pool with the sums of the trace, and checks the invariants of its heap.
fn check<M: Memory>(trace: &Trace, pool: &Pool<M>, stats: &Stats) -> Result<(), ReplayError> {
    let (counted, asked) = (stats.requested.peak, trace.peak_requested);
    if counted != asked {
        return Err(ReplayError::Miscounted { counted, asked });
    }
    let left = stats.allocated.current;
    if left > 0 {
        return Err(ReplayError::Leak { left });
    }
    Ok(pool.check()?)
}

/// Replays the trace once more, trims at points that divide the trace into equal parts, and sums the reserved and the
/// requested bytes directly after each.
fn residue<M: Memory>(
    trace: &Trace,
    trims: Trims,
    pool: &Pool<M>,
    witness: &mut impl Witness<M>,
    progress: &Progress,
) -> Result<f64, ReplayError> {
    let mut points = points(trace.events.len(), trims.points);
    let mut next = points.next();
    let (mut reserved, mut requested) = (0.0, 0.0);
    let trim = |number: usize| {
        if next != Some(number) {
            return Ok(());
        }
        while next == Some(number) {
            next = points.next();
        }
        if trims.compact {
            pool.compact()?;
        }
        pool.trim();
        let stats = pool.stats();
        if stats.requested.current > 0 {
            reserved += stats.reserved.current as f64;
            requested += stats.requested.current as f64;
        }
        Ok(())
    };
    replay(trace, pool, witness, progress, trim, |_| ())?;
    Ok(quotient(reserved, requested, 1.0))
}

/// Returns the events after which to trim: `count` points that divide the trace into `count + 1` nearly equal parts. A trace
/// with fewer events repeats points; no point is before the first event.
fn points(events: usize, count: u32) -> impl Iterator<Item = usize> {
    let parts = u128::from(count) + 1;
    let after = move |point| {
        usize::try_from(events as u128 * point / parts).expect("a part of the trace is no longer than the trace")
    };
    (1..parts).map(after).filter(|&number| number > 0)
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
