//! Committing a plan: updates the heap's data structures.

use super::super::Heap;
use super::super::blocks::{Block, Key, NONE};
use super::{Move, Plan};
use crate::error::HeapError;

impl Heap {
    /// Commits the moves of a plan: the blocks resolve to their new locations from now on, and their old locations are
    /// inactive. The bytes must be copied before anything is written to either location.
    ///
    /// Cost: O(moves), and a walk over the target segment of each move, which begins at the target of the move before
    /// if that lies before it: moves that fill a segment from its start walk over each of its blocks once.
    ///
    /// # Errors
    /// [`HeapError::StalePlan`] if the heap was changed since the plan was made; the heap is then unchanged.
    pub fn commit(&mut self, plan: &Plan) -> Result<(), HeapError> {
        if plan.version != self.version {
            return Err(HeapError::StalePlan { planned: plan.version, now: self.version });
        }
        let mut last = None;
        for moved in plan.moves() {
            if let Some(hole) = self.hole_to_slide_into(moved) {
                self.slide(moved.block.key, hole);
            } else {
                let place = self.cut_out(moved, last);
                self.relocate(moved.block.key, place);
            }
            last = Some(moved.block.key);
        }
        self.version += 1;
        Ok(())
    }

    /// Returns the hole directly before a block, if the move is to the start of that hole: old and new location may
    /// then overlap.
    fn hole_to_slide_into(&self, moved: &Move) -> Option<Key> {
        let hole = self.blocks.get(self.blocks[moved.block.key].before)?;
        let slides =
            !hole.is_active() && moved.from_segment == moved.to_segment && self.bytes(hole.offset) == moved.to_offset;
        slides.then(|| self.blocks[moved.block.key].before)
    }

    /// Exchanges a block with the hole before it.
    fn slide(&mut self, key: Key, hole: Key) {
        let slot = self.blocks[key].segment;
        let pool = self.segments[slot].pool;
        self.lists[pool.index()].remove(&mut self.blocks, hole);
        let (front, next) = (self.blocks[hole].before, self.blocks[key].after);
        let offset = self.blocks[hole].offset;
        let size = self.blocks[key].size;
        (self.blocks[key].offset, self.blocks[key].before, self.blocks[key].after) = (offset, front, hole);
        (self.blocks[hole].offset, self.blocks[hole].before, self.blocks[hole].after) = (offset + size, key, next);
        if front == NONE {
            self.segments[slot].first = key;
        } else {
            self.blocks[front].after = key;
        }
        if next != NONE {
            self.blocks[next].before = hole;
        }
        self.join_neighbours(hole, pool);
    }

    /// Cuts the target of a move out of the hole that contains it. The hole may have grown on both sides since
    /// planning, because adjacent blocks may have moved away. The returned block is in no list. `last` is the block
    /// that was moved before.
    fn cut_out(&mut self, moved: &Move, last: Option<Key>) -> Key {
        let slot = self.segments.slot(moved.to_segment).expect("a plan of this version names segments that are there");
        let pool = self.segments[slot].pool;
        let offset =
            u32::try_from(moved.to_offset >> self.granule_bits).expect("a segment has fewer than 2^32 granules");
        let size = self.blocks[moved.block.key].size;
        let around = |block: &Block| block.offset <= offset && offset - block.offset < block.size;
        let is_before = |&key: &Key| self.blocks[key].segment == slot && self.blocks[key].offset < offset;
        let start = last.filter(is_before).unwrap_or(self.segments[slot].first);
        let found = self.blocks_of(start).find(|(_, block)| around(block) && !block.is_active());
        let mut key = found.expect("a plan of this version names holes that are there").0;
        self.lists[pool.index()].remove(&mut self.blocks, key);
        let front = offset - self.blocks[key].offset;
        if front > 0 {
            self.split(key, front, pool);
            self.lists[pool.index()].insert(&mut self.blocks, key);
            key = self.blocks[key].after;
            self.lists[pool.index()].remove(&mut self.blocks, key);
        }
        if self.blocks[key].size > size {
            self.split(key, size, pool);
        }
        key
    }

    /// Exchanges an active block with a free block of the same size that is in no list. The active block keeps its
    /// record and its id; the free block's record takes the old location and coalesces there.
    fn relocate(&mut self, key: Key, place: Key) {
        let size = self.blocks[key].size;
        self.occupy(self.blocks[place].segment, size);
        let pool = self.vacate(self.blocks[key].segment, size);
        self.exchange(key, place);
        self.join_neighbours(place, pool);
    }

    /// Exchanges the locations of two records of the same size.
    fn exchange(&mut self, left: Key, right: Key) {
        let (at_left, at_right) = (self.blocks[left], self.blocks[right]);
        // If the two are neighbours, each must refer to the other at its new location.
        let or_other = |neighbour: Key, own: Key, other: Key| if neighbour == own { other } else { neighbour };
        self.place(left, &at_right, |neighbour| or_other(neighbour, left, right));
        self.place(right, &at_left, |neighbour| or_other(neighbour, right, left));
    }

    fn place(&mut self, key: Key, at: &Block, neighbour: impl Fn(Key) -> Key) {
        let (before, after) = (neighbour(at.before), neighbour(at.after));
        let block = &mut self.blocks[key];
        (block.offset, block.segment, block.before, block.after) = (at.offset, at.segment, before, after);
        if before == NONE {
            self.segments[at.segment].first = key;
        } else {
            self.blocks[before].after = key;
        }
        if after != NONE {
            self.blocks[after].before = key;
        }
    }
}
