//! The result of a dry run.

use super::log::Log;
use crate::error::{AllocateError, Holder, Site};
use crate::plan::Trace;

/// The largest value of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The value in bytes.
    pub bytes: u64,
    /// The call site of the request that reached the value. `None` if it was reached before the dry run, or by a call that requests
    /// nothing, such as [`Pool::compact`](crate::Pool::compact).
    pub site: Option<Site>,
}

/// A request that a dry run refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call site of the request.
    pub site: Site,
    /// The error that the request returned.
    pub error: AllocateError,
}

/// The memory that a program needs. Created by [`Pool::dry_run`](crate::Pool::dry_run).
///
/// `Display` writes the peaks and the holders at the peak as plain text, one line each, in a fixed order: suitable for snapshot tests.
#[derive(Clone, Debug)]
pub struct DryRun {
    requested: Peak,
    reserved: Peak,
    holders: Vec<Holder>,
    trace: Trace,
    limit: Option<u64>,
    refusal: Option<Refusal>,
}

impl DryRun {
    pub(super) fn of(log: &mut Log, path: impl Fn(u32) -> String, limit: Option<u64>) -> Self {
        let [requested, reserved] = log.peaks();
        let (holders, trace) = (log.holders(path), log.trace());
        Self { requested, reserved, holders, trace, limit, refusal: log.take_refusal() }
    }

    /// Returns the peak of requested bytes, which includes the blocks that existed before: what the program asks for.
    #[must_use]
    pub const fn requested_peak(&self) -> &Peak {
        &self.requested
    }

    /// Returns the peak of reserved bytes, the sum of all segments: what the pool takes from the device.
    #[must_use]
    pub const fn reserved_peak(&self) -> &Peak {
        &self.reserved
    }

    /// Returns the holders of memory at the peak of requested bytes, largest first: one holder for each call site, label and scope. Their bytes
    /// add up to the peak, except in a pool with spilling, where blocks in host memory are holders too.
    #[must_use]
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Returns all allocations and frees, to be [planned](Trace::plan). Begins with the blocks that existed before. Ids count up from 0.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the limit on reserved bytes at the end of the dry run, if one was set.
    #[must_use]
    pub const fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Returns whether the program fits: no request was refused.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.refusal.is_none()
    }

    /// Returns the first request that was refused, with the error that it returned: above the limit, or above the device's largest buffer.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}
