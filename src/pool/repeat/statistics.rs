//! The statistics of a loop: its runs, plans, deviations and refusals.

use crate::error::{Bytes, RepeatError, Site};
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
