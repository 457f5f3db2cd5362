//! Carrying a plan out in the heap's books.

use super::super::Heap;
use super::super::blocks::{Block, Key, NONE};
use super::{Move, Plan};
use crate::error::HeapError;

impl Heap {
    /// Moves the blocks of a plan in the heap's books: from now on they resolve to their new places, and what they left is
    /// inactive. The bytes have to be copied before anything is written to either place.
    ///
    /// Cost: O(moves), and a walk over each segment that a block comes to.
    ///
    /// # Errors
    /// [`HeapError::StalePlan`] if the heap was changed since the plan was made; nothing is moved then.
    pub fn commit(&mut self, plan: &Plan) -> Result<(), HeapError> {
        if plan.version != self.version {
            return Err(HeapError::StalePlan { planned: plan.version, now: self.version });
        }
        for one in plan.moves() {
            if let Some(hole) = self.hole_to_slide_into(one) {
                self.slide(one.block.key, hole);
            } else {
                let place = self.carve(one);
                self.relocate(one.block.key, place);
            }
        }
        self.version += 1;
        Ok(())
    }

    /// The hole in front of a block, if the move is to where that begins: old and new place may overlap then.
    fn hole_to_slide_into(&self, one: &Move) -> Option<Key> {
        let hole = self.blocks.get(self.blocks[one.block.key].before)?;
        let slides =
            !hole.is_active() && one.from_segment == one.to_segment && self.bytes(hole.offset) == one.to_offset;
        slides.then(|| self.blocks[one.block.key].before)
    }

    /// Exchanges a block with the hole in front of it.
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

    /// Cuts the place that a move ends at out of the hole that it is in, which may have grown on both sides since it was
    /// planned: blocks beside it may have moved away. The place is in no list then.
    fn carve(&mut self, one: &Move) -> Key {
        let slot = self.segments.slot(one.to_segment).expect("a plan of this version names segments that are there");
        let pool = self.segments[slot].pool;
        let offset = u32::try_from(one.to_offset >> self.granule_bits).expect("a segment has fewer than 2^32 granules");
        let size = self.blocks[one.block.key].size;
        let around = |block: &Block| block.offset <= offset && offset - block.offset < block.size;
        let found = self.blocks_of(self.segments[slot].first).find(|(_, block)| around(block) && !block.is_active());
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

    /// Exchanges an active block with a free place of its size, which is in no list. The block's record, and so its id, stays
    /// the block's; the place's record takes its old place, and joins its neighbours there.
    fn relocate(&mut self, key: Key, place: Key) {
        let size = self.blocks[key].size;
        self.occupy(self.blocks[place].segment, size);
        let pool = self.vacate(self.blocks[key].segment, size);
        self.exchange(key, place);
        self.join_neighbours(place, pool);
    }

    /// Exchanges the places of two records of one size.
    fn exchange(&mut self, left: Key, right: Key) {
        let (at_left, at_right) = (self.blocks[left], self.blocks[right]);
        // Where the two are neighbours, each finds the other where it was itself.
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
