//! How long each kernel takes, by the device's own clock.
//!
//! While this is on every dispatch is a pass of its own, with a timestamp at its start and one at its end: a little slower than
//! without, since neighbours no longer overlap.

use std::sync::Arc;

/// The most dispatches that have timestamps; wgpu bounds the queries of a set.
pub(super) const MOST_DISPATCHES: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;

/// Timestamps that are being written.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) queries: wgpu::QuerySet,
    /// What each dispatch that has timestamps runs.
    pub(super) kernels: Vec<Arc<str>>,
    /// Dispatches that found no timestamps left.
    pub(super) untimed: u64,
}

impl Timing {
    /// The timestamps of the next dispatch, if there are any left.
    pub(super) fn next(&mut self, kernel: &Arc<str>) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let number = u32::try_from(self.kernels.len()).unwrap_or(MOST_DISPATCHES);
        if number >= MOST_DISPATCHES {
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
