//! The full map of a heap, as data.

use super::Heap;
use super::address::{BlockId, SegmentId, SubPool};
use super::blocks::State;
use super::stats::Stats;

/// All segments and blocks of a heap at one moment. O(blocks) to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The unit of offsets and sizes, in bytes.
    pub granule: u64,
    /// The counters at the same moment.
    pub stats: Stats,
    /// The segments, in the order of their ids.
    pub segments: Vec<SegmentSnapshot>,
}

/// One segment with its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSnapshot {
    /// The segment.
    pub id: SegmentId,
    /// The pool it serves.
    pub pool: SubPool,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes of its active blocks.
    pub active: u64,
    /// Its blocks in the order of their offsets. They tile it.
    pub blocks: Vec<BlockSnapshot>,
}

/// One block. Offset and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSnapshot {
    /// Its first byte, from the segment's start.
    pub offset: u64,
    /// Its size.
    pub size: u64,
    /// The part of the size that was asked for; 0 if it is inactive.
    pub requested: u64,
    /// Whether and why it is in use.
    pub state: BlockState,
    /// Pins on it.
    pub pins: u32,
    /// Its id, if it is active.
    pub id: Option<BlockId>,
}

/// Whether a block is in use, and why. In files these are PyTorch's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BlockState {
    /// Handed out.
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
    /// Whether it is handed out.
    #[must_use]
    pub const fn is_allocated(self) -> bool {
        matches!(self, Self::Allocated)
    }

    /// Whether it is handed out, or freed and still pinned.
    #[must_use]
    pub const fn is_active(self) -> bool {
        !matches!(self, Self::Inactive)
    }
}

impl Heap {
    /// The full map: every segment, in the order of the ids, each with its blocks in the order of their offsets.
    ///
    /// Cost: O(blocks), and host memory for the answer.
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
