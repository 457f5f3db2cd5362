//! The segments and blocks of a heap, for reports and tests.

use super::Heap;
use super::address::{BlockId, SegmentId, SubPool};
use super::blocks::{Block, Key, State};
use std::fmt;

/// A segment of a heap, and its blocks. Sizes are in bytes.
#[derive(Clone, Copy)]
pub struct SegmentView<'a> {
    /// The segment.
    pub id: SegmentId,
    /// The segment's sub-pool.
    pub pool: SubPool,
    /// The size.
    pub bytes: u64,
    /// Bytes of the active blocks.
    pub active: u64,
    heap: &'a Heap,
    first: Key,
    /// The slot of a planned segment.
    planned: Option<u32>,
}

/// A block. Offset and sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockView {
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

impl BlockView {
    pub(super) const fn inactive(offset: u64, size: u64) -> Self {
        Self { offset, size, requested: 0, state: BlockState::Inactive, pins: 0, id: None }
    }
}

impl<'a> SegmentView<'a> {
    /// Returns whether the blocks are at the offsets of the plan of a repeated step, and no other request uses the segment.
    #[must_use]
    pub const fn is_planned(&self) -> bool {
        self.planned.is_some()
    }

    /// Returns the blocks in the order of their offsets. They tile the segment.
    pub fn blocks(&self) -> impl Iterator<Item = BlockView> + use<'a> {
        let heap = self.heap;
        let planned = self.planned.map_or_else(Vec::new, |slot| heap.planned_views(slot));
        heap.blocks_of(self.first).map(|(key, block)| heap.view(key, block)).chain(planned)
    }
}

/// As the fields and the list of blocks.
impl fmt::Debug for SegmentView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, pool, bytes, active, heap: _, first: _, planned: _ } = self;
        f.debug_struct("SegmentView")
            .field("id", id)
            .field("pool", pool)
            .field("bytes", bytes)
            .field("active", active)
            .field("blocks", &self.blocks().collect::<Vec<_>>())
            .finish()
    }
}

impl Heap {
    /// Returns the segments, in the order of their ids.
    ///
    /// Cost: O(segments); the blocks of all of them O(blocks).
    pub fn segments(&self) -> impl Iterator<Item = SegmentView<'_>> {
        self.segments.by_number().map(|(id, slot)| {
            let segment = &self.segments[slot];
            SegmentView {
                id,
                pool: segment.pool,
                bytes: self.bytes(segment.size),
                active: self.bytes(segment.active),
                heap: self,
                first: segment.first,
                planned: segment.planned.then_some(slot),
            }
        })
    }

    pub(super) fn view(&self, key: Key, block: &Block) -> BlockView {
        let size = self.bytes(block.size);
        let (state, requested, pins, id) = match block.state {
            State::Active { pins, slack, freed } => (
                if freed { BlockState::PendingFree } else { BlockState::Allocated },
                size - u64::from(slack),
                pins,
                Some(BlockId { key, generation: block.generation }),
            ),
            State::Inactive { .. } | State::Vacant { .. } | State::Detached { .. } => {
                (BlockState::Inactive, 0, 0, None)
            }
        };
        BlockView { offset: self.bytes(block.offset), size, requested, state, pins, id }
    }
}
