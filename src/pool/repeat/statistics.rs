//! The statistics of a loop: its runs, plans, deviations and refusals.

use crate::error::{Bytes, Count, RepeatError, Site};
use std::fmt;

/// The counts of the runs of a [`Repeat`](super::Repeat). Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepeatStats {
    /// The number of runs.
    pub runs: u64,
    /// Runs whose requests were all placed at their planned locations.
    pub agreeing: u64,
    /// Runs that differed from every plan in at least one request.
    pub deviating: u64,
    /// Runs whose requests and frees were recorded to make a plan.
    pub observed: u64,
    /// The number of plans that were made.
    pub plans: u64,
    /// The number of plans that exist now: kinds of steps.
    pub kinds: usize,
    /// Requests that were placed in the arena.
    pub planned_requests: u64,
    /// Requests of planned runs that the heap placed: blocks that outlive the run, and deviations.
    pub heap_requests: u64,
    /// The size of the arena.
    pub arena: u64,
    /// The largest peak of the planned blocks of a kind: a lower bound of the arena's size.
    pub lower_bound: u64,
    /// The number of times that the arena was created.
    pub arenas_created: u64,
    /// The first request of the last deviating run that differed from the plan.
    pub last_deviation: Option<Deviation>,
    /// The reason why the last run had no arena although a plan exists.
    pub refusal: Option<RepeatError>,
}

/// In one paragraph: the runs, the plans, the requests of planned runs and the arena; then the last deviation and the last refusal, each in
/// a line.
impl fmt::Display for RepeatStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, agreeing, deviating, observed, plans, kinds, planned_requests, heap_requests, .. } = self;
        let Self { arena, lower_bound, arenas_created, last_deviation, refusal, .. } = self;
        write!(f, "{}: {agreeing} as planned, {deviating} deviating, {observed} observed; ", Count(*runs, "run"))?;
        write!(f, "{} made, {} now; ", Count(*plans, "plan"), Count(*kinds, "kind"))?;
        write!(f, "{} in the arena, {heap_requests} in the heap; ", Count(*planned_requests, "request"))?;
        write!(
            f,
            "arena {}, lower bound {}, created {}",
            Bytes(*arena),
            Bytes(*lower_bound),
            Count(*arenas_created, "time")
        )?;
        if let Some(deviation) = last_deviation {
            write!(f, "\nlast deviation: {deviation}")?;
        }
        if let Some(refusal) = refusal {
            write!(f, "\nno arena in the last run: {refusal}")?;
        }
        Ok(())
    }
}

/// A request that differs from the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The number of the request in the plan, from 0.
    pub request: usize,
    /// The kind of the difference.
    pub cause: DeviationCause,
    /// The bytes of the planned request. `None` behind the last planned request.
    pub planned_bytes: Option<u64>,
    /// The call site of the planned request.
    pub planned_site: Option<Site>,
    /// The requested bytes. `None` if there was no request.
    pub bytes: Option<u64>,
    /// The call site of the request.
    pub site: Option<Site>,
}

/// A difference of a run from its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviationCause {
    /// The request has another size, or is not planned at all.
    Size,
    /// A block that the plan frees before this request is still in use.
    InUse,
    /// The run ended before this request.
    Missing,
    /// The pool needed the memory of the arena for another request, or it was trimmed during the run.
    ArenaReleased,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, cause, planned_bytes, planned_site, bytes, site } = self;
        write!(f, "request {request}: ")?;
        match (bytes, site) {
            (Some(bytes), Some(site)) => write!(f, "{} at {site}", Bytes(*bytes))?,
            _ => f.write_str("none")?,
        }
        match (planned_bytes, planned_site) {
            (Some(bytes), Some(site)) => write!(f, ", planned {} at {site}", Bytes(*bytes))?,
            _ => f.write_str(", none planned")?,
        }
        f.write_str(match cause {
            DeviationCause::Size => "",
            DeviationCause::InUse => ", its location is still in use",
            DeviationCause::Missing => ", the step ended before it",
            DeviationCause::ArenaReleased => ", the arena was released",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Deviation, DeviationCause, RepeatStats};

    #[test]
    fn statistics_are_one_line_and_a_line_for_the_last_deviation() {
        let stats = RepeatStats {
            runs: 6,
            agreeing: 4,
            deviating: 1,
            observed: 2,
            plans: 1,
            kinds: 1,
            planned_requests: 20,
            heap_requests: 3,
            arena: 350 << 10,
            lower_bound: 350 << 10,
            arenas_created: 1,
            ..RepeatStats::default()
        };
        let line = "6 runs: 4 as planned, 1 deviating, 2 observed; 1 plan made, 1 kind now; 20 requests in the arena, 3 in the heap; \
                    arena 350.0 KiB, lower bound 350.0 KiB, created 1 time";
        assert_eq!(stats.to_string(), line);
        let deviation = Deviation {
            request: 2,
            cause: DeviationCause::Missing,
            planned_bytes: None,
            planned_site: None,
            bytes: None,
            site: None,
        };
        let deviated = RepeatStats { last_deviation: Some(deviation), ..stats };
        let wanted = format!("{line}\nlast deviation: request 2: none, none planned, the step ended before it");
        assert_eq!(deviated.to_string(), wanted);
    }
}
