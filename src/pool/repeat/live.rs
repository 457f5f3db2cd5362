//! The blocks in the arena, for a run that does not follow its plan exactly.

use crate::heap::{BlockId, Heap, PlannedSegment};
use std::collections::BTreeMap;
use std::ops::Range;

/// The blocks of an arena by segment and offset in granules, with their ends.
///
/// Invariant: every active block of the arena is listed, and no two entries overlap. Entries of blocks that are not active any more are removed
/// when their bytes are needed.
#[derive(Debug, Default)]
pub(super) struct LiveBlocks(BTreeMap<(u32, u32), (u32, BlockId)>);

impl LiveBlocks {
    /// Lists the blocks of an arena. O(blocks of the heap).
    pub(super) fn of(heap: &Heap, arena: &[PlannedSegment]) -> Self {
        let mut blocks = BTreeMap::new();
        for (segment, &planned) in (0..).zip(arena) {
            for (block, offset, size) in heap.blocks_of_planned(planned) {
                blocks.insert((segment, offset), (offset + size, block));
            }
        }
        Self(blocks)
    }

    /// Returns whether a range of a segment has no active block. O(log blocks), and O(log blocks) for each entry that is removed.
    pub(super) fn is_free(&mut self, heap: &Heap, segment: u32, range: &Range<u32>) -> bool {
        while let Some((&(of, offset), &(end, block))) = self.0.range(..(segment, range.end)).next_back() {
            if of != segment || end <= range.start {
                return true;
            }
            if heap.is_active(block) {
                return false;
            }
            self.0.remove(&(of, offset));
        }
        true
    }

    /// Lists a block in a range that is free.
    pub(super) fn insert(&mut self, segment: u32, range: &Range<u32>, block: BlockId) {
        self.0.insert((segment, range.start), (range.end, block));
    }
}
