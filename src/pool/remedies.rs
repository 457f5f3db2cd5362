//! How often each rung of the ladder was taken.

use crate::error::Gains;
use crate::heap::SegmentId;

/// How often each rung above the first was taken, by requests that no hole could serve and by compactions on demand. None of
/// them has happened to a pool that only ever reused its holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Remedies {
    /// Requests served by a hole that appeared while they climbed: finished work came in, or another thread freed or grew.
    pub served_late: u64,
    /// Idle segments that changed over to the other pool.
    pub adopted: u64,
    /// Compactions, by the ladder and on demand.
    pub compactions: u64,
    /// Those compactions that emptied sparse segments, rather than made one hole.
    pub evacuations: u64,
    /// Bytes that compactions moved.
    pub bytes_moved: u64,
    /// Segments that the ladder and packing gave back. Those that a trim takes are not counted.
    pub segments_released: u64,
    /// Bytes of those segments.
    pub bytes_released: u64,
    /// Segments that the ladder and packing created.
    pub segments_created: u64,
    /// Segments that the device refused; one that is then created smaller counts here as well.
    pub refusals: u64,
    /// Times that the limit left no room for a segment.
    pub limit_hits: u64,
    /// Waits for the device.
    pub waits: u64,
    /// Requests served from holes of the other sub-pool, at the limit or when the device refused.
    pub cross_pool: u64,
    /// Segments that were replaced by a smaller one through host memory.
    pub host_copies: u64,
    /// Calls of the pressure callback.
    pub callbacks: u64,
    /// Bytes by which the pool's allocated bytes fell in those calls.
    pub relieved: u64,
    /// Requests that ended in [`OutOfMemory`](crate::OutOfMemory).
    pub out_of_memory: u64,
}

impl Remedies {
    pub(super) fn count_released(&mut self, segments: &[(SegmentId, u64)]) {
        self.segments_released += segments.len() as u64;
        self.bytes_released += segments.iter().map(|&(_, bytes)| bytes).sum::<u64>();
    }

    /// What was gained since these counters stood at `before`.
    pub(super) fn gains_since(&self, before: &Self) -> Gains {
        Gains {
            adopted: self.adopted - before.adopted,
            compactions: self.compactions - before.compactions,
            moved: self.bytes_moved - before.bytes_moved,
            released: self.segments_released - before.segments_released,
            released_bytes: self.bytes_released - before.bytes_released,
            created: self.segments_created - before.segments_created,
            refusals: self.refusals - before.refusals,
            host_copies: self.host_copies - before.host_copies,
            waits: self.waits - before.waits,
            callbacks: self.callbacks - before.callbacks,
            relieved: self.relieved - before.relieved,
        }
    }
}
