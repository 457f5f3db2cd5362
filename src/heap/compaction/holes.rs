//! The holes that a plan may fill, with undo.

use super::super::Heap;
use super::super::address::{SegmentId, SubPool};
use super::super::blocks::{Block, Key, State};
use super::super::segments::Segment;
use super::Move;
use std::collections::BTreeSet;

/// A hole, in granules. Ordered by size, so that the first hole at or above a size is the smallest that fits; then by
/// segment and offset, so that the oldest segment is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hole {
    size: u32,
    segment: u32,
    offset: u32,
}

/// A hole that was filled or excluded, and its remainder.
#[derive(Clone, Copy, Debug)]
struct Taken {
    hole: Hole,
    rest: Option<Hole>,
}

/// The holes of one sub-pool for a tentative plan. Every step can be undone.
#[derive(Debug)]
pub(super) struct Holes {
    holes: BTreeSet<Hole>,
    sum: u64,
    taken: Vec<Taken>,
}

/// A point to which the steps can be undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl Holes {
    /// Returns all holes of a sub-pool, except whole segments.
    pub(super) fn of(heap: &Heap, pool: SubPool) -> Self {
        let mut holes = BTreeSet::new();
        let segments = heap.segments_of(pool).map(|slot| &heap.segments[slot]);
        // An idle segment is more useful as a whole.
        for segment in segments.filter(|segment| segment.active > 0) {
            let blocks = heap.blocks_of(segment.first).map(|(_, block)| block);
            holes.extend(blocks.filter(|block| !block.is_active()).map(Hole::of));
        }
        let sum = holes.iter().map(|hole| u64::from(hole.size)).sum();
        Self { holes, sum, taken: Vec::new() }
    }

    /// The sum of the holes in granules.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether the holes of the other segments may hold the active blocks of a segment, of which none was filled or
    /// excluded: their sum and the largest of them suffice. The blocks may still not fit.
    pub(super) fn may_hold(&self, segment: &Segment, slot: u32, largest: u32) -> bool {
        let others = self.sum - u64::from(segment.size - segment.active);
        let mut descending = self.holes.iter().rev();
        others >= u64::from(segment.active)
            && descending.find(|hole| hole.segment != slot).is_some_and(|hole| hole.size >= largest)
    }

    /// Returns the current point for [`Holes::undo_to`].
    pub(super) const fn mark(&self) -> Mark {
        Mark(self.taken.len())
    }

    /// Undoes all steps since a point.
    pub(super) fn undo_to(&mut self, mark: Mark) {
        for Taken { hole, rest } in self.taken.drain(mark.0..).rev() {
            if let Some(rest) = rest {
                self.holes.remove(&rest);
                self.sum -= u64::from(rest.size);
            }
            self.holes.insert(hole);
            self.sum += u64::from(hole.size);
        }
    }

    /// Excludes the holes among the blocks.
    pub(super) fn exclude<'a>(&mut self, blocks: impl Iterator<Item = &'a Block>) {
        for hole in blocks.filter(|block| !block.is_active()).map(Hole::of) {
            if self.holes.contains(&hole) {
                self.take(hole, 0);
            }
        }
    }

    /// Places each of the blocks, the largest first, in the tightest hole that fits. Returns `None` if a block fits no
    /// hole; the earlier blocks then stay placed until the steps are undone.
    pub(super) fn fill(&mut self, heap: &Heap, mut keys: Vec<Key>) -> Option<Vec<Move>> {
        keys.sort_unstable_by_key(|&key| std::cmp::Reverse(heap.blocks[key].size));
        keys.into_iter().map(|key| self.fill_one(heap, key)).collect()
    }

    /// Places a block in the tightest hole that fits.
    pub(super) fn fill_one(&mut self, heap: &Heap, key: Key) -> Option<Move> {
        let size = heap.blocks[key].size;
        let hole = *self.holes.range(Hole { size, segment: 0, offset: 0 }..).next()?;
        self.take(hole, size);
        Some(heap.move_of(key, heap.segments[hole.segment].id, heap.bytes(hole.offset)))
    }

    /// Removes a hole, or its first `size` granules.
    fn take(&mut self, hole: Hole, size: u32) {
        let rest =
            (0 < size && size < hole.size).then(|| Hole { size: hole.size - size, offset: hole.offset + size, ..hole });
        self.holes.remove(&hole);
        self.sum -= u64::from(hole.size);
        if let Some(rest) = rest {
            self.holes.insert(rest);
            self.sum += u64::from(rest.size);
        }
        self.taken.push(Taken { hole, rest });
    }
}

impl Hole {
    const fn of(block: &Block) -> Self {
        let Block { size, segment, offset, .. } = *block;
        Self { size, segment, offset }
    }
}

impl Heap {
    /// Returns the move of a block to a location.
    pub(super) fn move_of(&self, key: Key, to_segment: SegmentId, to_offset: u64) -> Move {
        let block = &self.blocks[key];
        Move {
            block: self.id_of(key),
            size: self.bytes(block.size),
            from_segment: self.segments[block.segment].id,
            from_offset: self.bytes(block.offset),
            to_segment,
            to_offset,
        }
    }
}

impl Block {
    /// Returns whether the block is inactive or can be moved.
    pub(in crate::heap) const fn is_movable_or_inactive(&self) -> bool {
        match self.state {
            State::Inactive { .. } => true,
            State::Active { pins, .. } => pins == 0,
            State::Vacant { .. } | State::Detached { .. } => false,
        }
    }

    pub(super) const fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }
}
