//! The records of all segments, and the list of those that are wholly inactive.

use super::address::{SegmentId, SubPool};
use super::blocks::{Key, NONE};
use slab::Slab;
use std::collections::BTreeMap;

/// The record of one segment. Sizes are in granules.
///
/// Law: `active` is the sum of its active blocks' sizes; it is in the idle list iff that is 0.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its number.
    pub(super) id: SegmentId,
    /// The pool it serves.
    pub(super) pool: SubPool,
    /// Its size.
    pub(super) size: u32,
    /// Sum of its active blocks.
    pub(super) active: u32,
    /// The block at its start.
    pub(super) first: Key,
    /// The segment that fell idle before this one.
    pub(super) older: u32,
    /// The segment that fell idle after this one.
    pub(super) younger: u32,
}

/// All segments.
///
/// Law: the idle list runs from the segment that fell idle first to the one that did last.
#[derive(Debug)]
pub(super) struct Segments {
    slots: Slab<Segment>,
    by_number: BTreeMap<SegmentId, u32>,
    next_number: u64,
    oldest_idle: u32,
    youngest_idle: u32,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { slots: Slab::new(), by_number: BTreeMap::new(), next_number: 0, oldest_idle: NONE, youngest_idle: NONE }
    }

    /// Makes the record of a wholly inactive segment whose one block is yet to come.
    ///
    /// # Panics
    /// At 2³² − 1 segments.
    pub(super) fn insert(&mut self, pool: SubPool, size: u32) -> u32 {
        let id = SegmentId(self.next_number);
        self.next_number += 1;
        let segment = Segment { id, pool, size, active: 0, first: NONE, older: NONE, younger: NONE };
        let slot = u32::try_from(self.slots.insert(segment)).expect("fewer than 2^32 segments fit the host's memory");
        self.by_number.insert(id, slot);
        self.push_idle(slot);
        slot
    }

    /// Takes an idle segment out.
    pub(super) fn remove(&mut self, slot: u32) -> Segment {
        self.unlink_idle(slot);
        self.take(slot)
    }

    /// Takes a segment out that is not in the idle list.
    pub(super) fn take(&mut self, slot: u32) -> Segment {
        let segment = self.slots.remove(slot as usize);
        self.by_number.remove(&segment.id);
        segment
    }

    /// The slot of a segment.
    pub(super) fn slot(&self, id: SegmentId) -> Option<u32> {
        self.by_number.get(&id).copied()
    }

    /// The record in a slot, if there is one.
    pub(super) fn get(&self, slot: u32) -> Option<&Segment> {
        self.slots.get(slot as usize)
    }

    /// Number of segments.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Numbers and slots, in the order of the numbers.
    pub(super) fn by_number(&self) -> impl Iterator<Item = (SegmentId, u32)> {
        self.by_number.iter().map(|(&id, &slot)| (id, slot))
    }

    /// The idle segments' slots, that which fell idle first at the front.
    pub(super) fn idle(&self) -> impl Iterator<Item = u32> {
        let present = |slot| self.get(slot).map(|_| slot);
        std::iter::successors(present(self.oldest_idle), move |&slot| present(self.get(slot)?.younger))
    }

    /// The youngest of the idle segments, or [`NONE`].
    pub(super) const fn youngest_idle(&self) -> u32 {
        self.youngest_idle
    }

    /// Notes that the segment has no active block any more.
    #[inline]
    pub(super) fn push_idle(&mut self, slot: u32) {
        let older = std::mem::replace(&mut self.youngest_idle, slot);
        self[slot].older = older;
        self[slot].younger = NONE;
        if older == NONE {
            self.oldest_idle = slot;
        } else {
            self[older].younger = slot;
        }
    }

    /// Notes that the segment has an active block, or leaves.
    #[inline]
    pub(super) fn unlink_idle(&mut self, slot: u32) {
        let Segment { older, younger, .. } = self[slot];
        if older == NONE {
            self.oldest_idle = younger;
        } else {
            self[older].younger = younger;
        }
        if younger == NONE {
            self.youngest_idle = older;
        } else {
            self[younger].older = older;
        }
    }
}

impl std::ops::Index<u32> for Segments {
    type Output = Segment;

    #[inline]
    fn index(&self, slot: u32) -> &Segment {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<u32> for Segments {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Segment {
        &mut self.slots[slot as usize]
    }
}
