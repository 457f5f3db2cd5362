//! Counters of the measures against out-of-memory.

use crate::error::Gains;
use crate::heap::SegmentId;

/// Counters of the measures that were taken for requests that no hole could serve, and of compactions on demand. All
/// are zero for a pool that only ever reused its holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Remedies {
    /// Requests served by a hole that appeared later: finished work freed memory, or another thread freed blocks or
    /// created a segment.
    pub served_late: u64,
    /// Idle segments that were moved to the other sub-pool.
    pub adopted: u64,
    /// Compactions, by requests and on demand.
    pub compactions: u64,
    /// Compactions that emptied sparse segments. The others created a single hole.
    pub evacuations: u64,
    /// Bytes moved by compactions.
    pub bytes_moved: u64,
    /// Segments released by requests, by packing, and because they were no longer needed. Segments released by trims are
    /// not counted.
    pub segments_released: u64,
    /// Bytes of those segments.
    pub bytes_released: u64,
    /// Segments created by requests and packing.
    pub segments_created: u64,
    /// Segments that the device refused, including those that were then created with a smaller size.
    pub refusals: u64,
    /// Requests for which the limit left no room for a segment.
    pub limit_hits: u64,
    /// Waits for the device.
    pub waits: u64,
    /// Requests served from holes of the other sub-pool, at the limit or after the device refused a segment.
    pub cross_pool: u64,
    /// Segments that were replaced by a smaller segment through host memory.
    pub host_copies: u64,
    /// Blocks that requests have moved to host memory, with [`PoolOptions::spill`](crate::PoolOptions::spill).
    #[cfg_attr(feature = "serde", serde(default))]
    pub spilled: u64,
    /// Bytes of these blocks.
    #[cfg_attr(feature = "serde", serde(default))]
    pub bytes_spilled: u64,
    /// Calls of the pressure callback.
    pub callbacks: u64,
    /// Bytes by which those calls lowered the pool's allocated bytes.
    pub relieved: u64,
    /// Requests that ended in [`OutOfMemory`](crate::OutOfMemory).
    pub out_of_memory: u64,
}

impl Remedies {
    pub(super) fn count_released(&mut self, segments: &[(SegmentId, u64)]) {
        self.segments_released += segments.len() as u64;
        let bytes: u64 = segments.iter().map(|&(_, bytes)| bytes).sum();
        self.bytes_released = self.bytes_released.saturating_add(bytes);
    }

    /// Returns the differences from the counters `before`.
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
            spilled: self.spilled - before.spilled,
            spilled_bytes: self.bytes_spilled - before.bytes_spilled,
            waits: self.waits - before.waits,
            callbacks: self.callbacks - before.callbacks,
            relieved: self.relieved - before.relieved,
        }
    }
}
