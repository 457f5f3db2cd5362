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

/// A request or a command that a dry run refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call site of the request. `None` for a command, and for a call that moves a tensor between device and host.
    pub site: Option<Site>,
    /// The error that the request returned. For a command whose tensors do not fit on the device together,
    /// [`AllocateError::Device`] with [`DeviceError::WorkingSet`](crate::DeviceError::WorkingSet).
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

    /// Returns the peak of requested bytes, which includes the blocks that existed before: what the program asks for. In a pool with
    /// spilling it also includes the blocks in host memory, which [`Stats::requested`](crate::Stats::requested) does not.
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

    /// Returns whether the program fits: no request was refused, and the tensors of each command fit on the device together.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.refusal.is_none()
    }

    /// Returns the first request that was refused, with the error that it returned: above the limit, or above the device's largest buffer. In
    /// a pool with spilling also a command whose tensors do not fit together, unless the crate divides it, or a tensor for which the limit on
    /// host bytes has no room.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}
