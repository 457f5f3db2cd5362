//! Execution times of kernels, measured with the device's clock.
//!
//! While timing is on, each dispatch is a separate pass with a timestamp at its start and at its end. This is slightly
//! slower, because consecutive dispatches no longer overlap.

use super::super::super::context::InContext;
use super::super::verdict::Verdict;
use std::sync::Arc;

/// The largest number of timed dispatches; wgpu limits the size of a query set.
pub(crate) const MAX_DISPATCHES: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;

/// The timestamps of a running profile.
#[derive(Debug)]
pub(in super::super) struct Timing {
    pub(crate) queries: InContext<wgpu::QuerySet>,
    /// Whether the device has accepted the queries.
    pub(in super::super) verdict: Verdict,
    /// The kernel of each timed dispatch.
    pub(crate) kernels: Vec<Arc<str>>,
    /// The number of dispatches after the query set was full, or after the device has refused it.
    pub(crate) untimed: u64,
}

impl Timing {
    /// Returns the timestamp writes of the next dispatch, or `None` if the query set is full or refused.
    pub(crate) fn next(&mut self, kernel: &Arc<str>) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let number = u32::try_from(self.kernels.len()).unwrap_or(MAX_DISPATCHES);
        if number >= MAX_DISPATCHES || self.verdict.refusal().is_some() {
            self.untimed += 1;
            return None;
        }
        self.kernels.push(Arc::clone(kernel));
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(2 * number),
            end_of_pass_write_index: Some(2 * number + 1),
        })
    }
}
