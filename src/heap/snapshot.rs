//! The full map of a heap, as data.

use super::Heap;
use super::address::{BlockId, SegmentId, SubPool};
use super::blocks::State;
use super::stats::Stats;

/// All segments and blocks of a heap at one point in time. Taking a snapshot costs O(blocks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The unit of offsets and sizes, in bytes.
    pub granule: u64,
    /// The counters at the same time.
    pub stats: Stats,
    /// The segments, in the order of their ids.
    pub segments: Vec<SegmentSnapshot>,
}

/// A segment with its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSnapshot {
    /// The segment.
    pub id: SegmentId,
    /// The segment's sub-pool.
    pub pool: SubPool,
    /// The size in bytes.
    pub bytes: u64,
    /// Bytes of the active blocks.
    pub active: u64,
    /// The blocks in the order of their offsets. They tile the segment.
    pub blocks: Vec<BlockSnapshot>,
}

/// A block. Offset and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSnapshot {
    /// The first byte, relative to the segment's start.
    pub offset: u64,
    /// The size.
    pub size: u64,
    /// The requested bytes; 0 for an inactive block.
    pub requested: u64,
    /// Whether the block is allocated, freed but pinned, or inactive.
    pub state: BlockState,
    /// The number of pins.
    pub pins: u32,
    /// The id, if the block is active.
    pub id: Option<BlockId>,
}

/// The state of a block. Snapshot files use PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BlockState {
    /// Allocated.
    #[cfg_attr(feature = "serde", serde(rename = "active_allocated"))]
    Allocated,
    /// Freed, and still active because it is pinned.
    #[cfg_attr(feature = "serde", serde(rename = "active_pending_free"))]
    PendingFree,
    /// Cached and free.
    #[cfg_attr(feature = "serde", serde(rename = "inactive"))]
    Inactive,
}

impl BlockState {
    /// Returns whether the block is allocated.
    #[must_use]
    pub const fn is_allocated(self) -> bool {
        matches!(self, Self::Allocated)
    }

    /// Returns whether the block is allocated, or freed and still pinned.
    #[must_use]
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Inactive)
    }
}

impl Heap {
    /// Returns the full map: every segment, in the order of the ids, each with its blocks in the order of their
    /// offsets.
    ///
    /// Cost: O(blocks), and host memory for the result.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let segments = self.segments.by_number().map(|(id, slot)| self.segment_snapshot(id, slot)).collect();
        Snapshot { granule: self.granule(), stats: self.stats(), segments }
    }

    fn segment_snapshot(&self, id: SegmentId, slot: u32) -> SegmentSnapshot {
        let segment = &self.segments[slot];
        let blocks = self
            .blocks_of(segment.first)
            .map(|(key, block)| {
                let size = self.bytes(block.size);
                let (state, requested, pins, id) = match block.state {
                    State::Active { pins, slack, freed } => (
                        if freed { BlockState::PendingFree } else { BlockState::Allocated },
                        size - u64::from(slack),
                        pins,
                        Some(BlockId { key, generation: block.generation }),
                    ),
                    State::Inactive { .. } | State::Vacant { .. } => (BlockState::Inactive, 0, 0, None),
                };
                BlockSnapshot { offset: self.bytes(block.offset), size, requested, state, pins, id }
            })
            .collect();
        SegmentSnapshot {
            id,
            pool: segment.pool,
            bytes: self.bytes(segment.size),
            active: self.bytes(segment.active),
            blocks,
        }
    }
}
