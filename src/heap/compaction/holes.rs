//! The holes that a plan may fill, on paper.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::{Block, Key, State};
use super::Move;
use std::collections::{BTreeSet, HashSet};

/// A hole: size first, so that the smallest that fits is the first at or above a size; then age and place, so that of equals
/// the one in the oldest segment is taken. In granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hole {
    size: u32,
    segment: u32,
    offset: u32,
}

/// A copy of one pool's holes, that moves are tried on.
#[derive(Clone, Debug)]
pub(super) struct Holes(BTreeSet<Hole>);

impl Holes {
    /// All holes of a pool, except those in `excluded` segments.
    pub(super) fn of(heap: &Heap, pool: SubPool, excluded: &HashSet<u32>) -> Self {
        let mut holes = BTreeSet::new();
        for (_, slot) in heap.segments.by_number() {
            let segment = &heap.segments[slot];
            // An idle segment is worth more whole.
            if segment.pool != pool || segment.active == 0 || excluded.contains(&slot) {
                continue;
            }
            for (_, block) in heap.blocks_of(segment.first) {
                if let Block { state: State::Inactive { .. }, size, segment, offset, .. } = *block {
                    holes.insert(Hole { size, segment, offset });
                }
            }
        }
        Self(holes)
    }

    /// Bytes of them, in granules.
    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|hole| u64::from(hole.size)).sum()
    }

    /// Takes out the holes of a segment from one offset up to another.
    pub(super) fn exclude(&mut self, blocks: impl Iterator<Item = Block>) {
        for Block { size, segment, offset, .. } in blocks {
            self.0.remove(&Hole { size, segment, offset });
        }
    }

    /// Takes out all holes of a segment.
    pub(super) fn exclude_segment(&mut self, slot: u32) {
        self.0.retain(|hole| hole.segment != slot);
    }

    /// Finds a place for each of the blocks, the largest first, each in the tightest hole. None if one finds no place.
    pub(super) fn fill(&mut self, heap: &Heap, mut keys: Vec<Key>) -> Option<Vec<Move>> {
        keys.sort_unstable_by_key(|&key| std::cmp::Reverse(heap.blocks[key].size));
        keys.into_iter().map(|key| self.fill_one(heap, key)).collect()
    }

    fn fill_one(&mut self, heap: &Heap, key: Key) -> Option<Move> {
        let block = &heap.blocks[key];
        let hole = *self.0.range(Hole { size: block.size, segment: 0, offset: 0 }..).next()?;
        self.0.remove(&hole);
        if hole.size > block.size {
            let rest = Hole { size: hole.size - block.size, offset: hole.offset + block.size, ..hole };
            self.0.insert(rest);
        }
        Some(Move {
            block: heap.id_of(key),
            size: heap.bytes(block.size),
            from_segment: heap.segments[block.segment].id,
            from_offset: heap.bytes(block.offset),
            to_segment: heap.segments[hole.segment].id,
            to_offset: heap.bytes(hole.offset),
        })
    }
}

impl Block {
    /// Whether it may be moved, or has nothing to move.
    pub(super) const fn gives_way(&self) -> bool {
        match self.state {
            State::Inactive { .. } => true,
            State::Active { pins, .. } => pins == 0,
            State::Vacant { .. } => false,
        }
    }

    pub(super) const fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }
}
