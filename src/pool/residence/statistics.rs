//! Counters of spilling.

use super::super::{Inner, Pool, State};
use crate::device::Memory;

/// The totals of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) moved_out: u64,
    pub(super) moved_in: u64,
    pub(super) blocks_out: u64,
    pub(super) blocks_in: u64,
    pub(super) stalls: u64,
}

/// The use of host memory by a pool with [`PoolOptions::spill`](crate::PoolOptions::spill). Sizes are in bytes. All values
/// are 0 in a pool without spilling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct SpillStats {
    /// The limit on host bytes. `None` if spilling is off.
    pub limit: Option<u64>,
    /// Bytes of the blocks in host memory, after rounding.
    pub host: u64,
    /// The number of blocks in host memory.
    pub host_blocks: u64,
    /// Bytes of the blocks that are being read back. They are still on the device.
    pub in_transit: u64,
    /// Bytes of host buffers that no block uses. [`Pool::trim`](crate::Pool::trim) frees the buffers without a block; others exceed
    /// their blocks by a quarter at most.
    pub idle: u64,
    /// Bytes of the blocks that stay on the device, by [`Storage::keep_on_device`](crate::Storage::keep_on_device).
    pub kept: u64,
    /// Bytes that have moved to host memory so far.
    pub moved_out: u64,
    /// Bytes that have returned to the device so far.
    pub moved_in: u64,
    /// Blocks that have moved to host memory so far.
    pub blocks_out: u64,
    /// Blocks that have returned to the device so far.
    pub blocks_in: u64,
    /// Commands that could be recorded only after a block had returned to the device.
    pub stalls: u64,
    /// The period of the program in uses of blocks, if the pool has found that it repeats itself.
    pub period: Option<u64>,
}

impl<M: Memory> State<M> {
    pub(in crate::pool) fn spill_stats(&self) -> SpillStats {
        let Some(spilling) = &self.spilling else { return SpillStats::default() };
        let stats = self.heap.stats();
        let super::statistics::Counts { moved_out, moved_in, blocks_out, blocks_in, stalls } = spilling.counts;
        let kept = spilling.kept.iter().filter_map(|&block| self.heap.allocated_place(block));
        SpillStats {
            limit: Some(spilling.limit),
            host: stats.spilled.current,
            host_blocks: stats.spilled_blocks.current,
            in_transit: spilling.transit.iter().map(|transit| transit.size).sum(),
            idle: spilling.host.idle_bytes().saturating_add(spilling.host.excess()),
            kept: kept.map(|place| place.size).sum(),
            moved_out,
            moved_in,
            blocks_out,
            blocks_in,
            stalls,
            period: spilling.order.period(),
        }
    }
}

impl<M: Memory> Pool<M> {
    /// Returns the use of host memory by spilling: bytes in each place, bytes moved in each direction, and stalls. O(blocks
    /// that are kept on the device).
    #[must_use]
    pub fn spill_stats(&self) -> SpillStats {
        if let Some(dry) = self.dry() {
            return dry.spill_stats();
        }
        self.inner.state().spill_stats()
    }
}

impl<M: Memory> Inner<M> {
    /// Returns whether blocks may move to host memory.
    pub(in crate::pool) fn spills(&self) -> bool {
        self.state().spilling.is_some()
    }
}
