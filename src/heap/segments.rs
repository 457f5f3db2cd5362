//! The records of all segments, and the list of idle segments.

use super::address::{SegmentId, SubPool};
use super::blocks::{Key, NONE};
use slab::Slab;
use std::collections::BTreeMap;

/// The record of a segment. Sizes are in granules.
///
/// Invariant: `active` is the sum of the active blocks' sizes; the segment is in the idle list iff this is 0 and the segment is not
/// held.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// The segment's id.
    pub(super) id: SegmentId,
    /// The segment's sub-pool.
    pub(super) pool: SubPool,
    /// The size.
    pub(super) size: u32,
    /// The sum of the active blocks.
    pub(super) active: u32,
    /// The number of pinned blocks.
    pub(super) pinned: u32,
    /// The block at the segment's start. [`NONE`] in a planned segment, whose blocks are not linked.
    pub(super) first: Key,
    /// Whether the blocks are at the offsets of a plan (`planned.rs`).
    pub(super) planned: bool,
    /// Whether a planned segment stays although it has no active block.
    pub(super) held: bool,
    /// The segment that became idle before this one.
    pub(super) older: u32,
    /// The segment that became idle after this one.
    pub(super) younger: u32,
}

/// All segments.
///
/// Invariant: the idle list is ordered by the time at which the segments became idle.
#[derive(Clone, Debug)]
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

    /// Creates the record of an idle segment; the caller adds its block.
    ///
    /// # Panics
    /// At 2³² − 1 segments.
    pub(super) fn insert(&mut self, pool: SubPool, size: u32) -> u32 {
        let id = SegmentId(self.next_number);
        self.next_number += 1;
        let (planned, held) = (false, false);
        let segment =
            Segment { id, pool, size, active: 0, pinned: 0, first: NONE, planned, held, older: NONE, younger: NONE };
        let slot = u32::try_from(self.slots.insert(segment)).expect("fewer than 2^32 segments fit the host's memory");
        self.by_number.insert(id, slot);
        self.push_idle(slot);
        slot
    }

    /// Removes an idle segment.
    pub(super) fn remove(&mut self, slot: u32) -> Segment {
        self.unlink_idle(slot);
        self.take(slot)
    }

    /// Removes a segment that is not in the idle list.
    pub(super) fn take(&mut self, slot: u32) -> Segment {
        let segment = self.slots.remove(slot as usize);
        self.by_number.remove(&segment.id);
        segment
    }

    /// Returns the slot of a segment.
    pub(super) fn slot(&self, id: SegmentId) -> Option<u32> {
        self.by_number.get(&id).copied()
    }

    /// Returns the record in a slot, if there is one.
    pub(super) fn get(&self, slot: u32) -> Option<&Segment> {
        self.slots.get(slot as usize)
    }

    /// The number of segments.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns ids and slots, in the order of the ids.
    pub(super) fn by_number(&self) -> impl Iterator<Item = (SegmentId, u32)> {
        self.by_number.iter().map(|(&id, &slot)| (id, slot))
    }

    /// Returns the slots of the idle segments, longest idle first.
    pub(super) fn idle(&self) -> impl Iterator<Item = u32> {
        let present = |slot| self.get(slot).map(|_| slot);
        std::iter::successors(present(self.oldest_idle), move |&slot| present(self.get(slot)?.younger))
    }

    /// The segment that became idle last, or [`NONE`].
    pub(super) const fn youngest_idle(&self) -> u32 {
        self.youngest_idle
    }

    /// Notes that the segment has become idle.
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

    /// Notes that the segment has an active block, or is removed.
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
