//! Planned segments: their blocks are at the offsets of a plan that the owner made, instead of in holes.
//!
//! A planned segment has no inactive blocks, so no request and no compaction uses its free bytes: only
//! [`Heap::allocate_at`] does, in constant time and without a search. Everything else applies to its blocks as to others:
//! they are freed, pinned, detached and counted, and an idle planned segment is released or adopted as any idle segment.
//! [`Heap::unplan_segment`] makes it an ordinary segment: the ranges between its blocks become holes.

use super::Heap;
use super::address::{BlockId, SegmentId};
use super::blocks::{Block, Key, NONE, State};
use super::view::BlockView;
use crate::error::HeapError;
use std::num::NonZeroU64;

/// A planned segment. Becomes stale when the segment is released, or ordinary again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannedSegment {
    id: SegmentId,
    slot: u32,
}

impl PlannedSegment {
    pub(crate) const fn id(self) -> SegmentId {
        self.id
    }
}

impl Heap {
    /// Makes an idle segment a planned segment, and holds it. No effect on a planned segment, except to hold it.
    ///
    /// # Errors
    /// [`HeapError::UnknownSegment`], or [`HeapError::SegmentInUse`] if it has an active block.
    pub(crate) fn plan_segment(&mut self, id: SegmentId) -> Result<PlannedSegment, HeapError> {
        let slot = self.idle_slot(id)?;
        let planned = PlannedSegment { id, slot };
        if !self.segments[slot].planned {
            self.version += 1;
            let first = std::mem::replace(&mut self.segments[slot].first, NONE);
            let pool = self.segments[slot].pool;
            self.lists[pool.index()].remove(&mut self.blocks, first);
            self.blocks.remove(first);
            self.segments[slot].planned = true;
        }
        self.hold(planned, true);
        Ok(planned)
    }

    /// Begins or ends the hold on a planned segment: while it is held, it does not count as idle, so it stays when it has no
    /// block. Returns whether the segment is still planned.
    pub(crate) fn hold(&mut self, planned: PlannedSegment, held: bool) -> bool {
        if !self.is_planned(planned) {
            return false;
        }
        let segment = &mut self.segments[planned.slot];
        let was_held = std::mem::replace(&mut segment.held, held);
        if segment.active == 0 && was_held != held {
            if held {
                self.segments.unlink_idle(planned.slot);
            } else {
                self.segments.push_idle(planned.slot);
            }
        }
        true
    }

    /// Returns whether the segment is still planned.
    #[inline]
    pub(crate) fn is_planned(&self, planned: PlannedSegment) -> bool {
        self.segments.get(planned.slot).is_some_and(|segment| segment.planned && segment.id == planned.id)
    }

    /// Allocates a block at an offset of a planned segment, in granules. The caller has made sure that no active block
    /// overlaps with it. `None` if the segment is not planned any more. O(1).
    ///
    /// # Panics
    /// If the block ends behind the segment.
    #[inline]
    pub(crate) fn allocate_at(
        &mut self,
        planned: PlannedSegment,
        offset: u32,
        requested: NonZeroU64,
    ) -> Option<BlockId> {
        let segment = self.segments.get(planned.slot)?;
        if !segment.planned || segment.id != planned.id {
            return None;
        }
        let bytes = self.block_size(requested);
        let size = u32::try_from(bytes >> self.granule_bits).ok()?;
        assert!(u64::from(offset) + u64::from(size) <= u64::from(segment.size), "a plan fits its segments");
        let pool = segment.pool;
        self.occupy(planned.slot, size);
        self.version += 1;
        #[expect(clippy::cast_possible_truncation, reason = "rounding adds less than one granule, at most 4096 bytes")]
        let slack = (bytes - requested.get()) as u16;
        let state = State::Active { pins: 0, slack, freed: false };
        let key = self.blocks.insert(Block {
            offset,
            size,
            before: NONE,
            after: NONE,
            segment: planned.slot,
            generation: 0,
            state,
        });
        let id = self.id_of(key);
        self.tallies.count_allocated(requested.get(), bytes, pool);
        Some(id)
    }

    /// Makes a planned segment an ordinary segment: the ranges between its blocks become inactive blocks. No effect on another
    /// segment. O(blocks of the heap).
    pub(crate) fn unplan_segment(&mut self, id: SegmentId) {
        let Some(slot) = self.segments.slot(id).filter(|&slot| self.segments[slot].planned) else { return };
        self.hold(PlannedSegment { id, slot }, false);
        self.version += 1;
        let blocks = self.planned_blocks(slot);
        let segment = &mut self.segments[slot];
        (segment.planned, segment.first) = (false, NONE);
        let (size, pool) = (segment.size, segment.pool);
        let mut holes = Vec::new();
        let (mut end, mut before) = (0, NONE);
        for key in blocks {
            let offset = self.blocks[key].offset;
            if offset > end {
                before = self.append_block_after(slot, before, end, offset - end);
                holes.push(before);
            }
            self.link_after(slot, before, key);
            (end, before) = (offset + self.blocks[key].size, key);
        }
        if end < size {
            holes.push(self.append_block_after(slot, before, end, size - end));
        }
        // Only now, because the list of a hole depends on whether it has neighbours.
        for hole in holes {
            self.lists[pool.index()].insert(&mut self.blocks, hole);
        }
    }

    /// Returns the planned segments, in the order of their ids. O(segments).
    pub(crate) fn planned_segments(&self) -> Vec<SegmentId> {
        self.segments.by_number().filter(|&(_, slot)| self.segments[slot].planned).map(|(id, _)| id).collect()
    }

    /// Returns the bytes of the active blocks of a planned segment; 0 for a segment that is not planned any more.
    pub(crate) fn active_of_planned(&self, planned: PlannedSegment) -> u64 {
        if self.is_planned(planned) { self.bytes(self.segments[planned.slot].active) } else { 0 }
    }

    /// Ends the hold on a planned segment.
    pub(crate) fn let_go(&mut self, id: SegmentId) {
        if let Some(slot) = self.segments.slot(id) {
            self.hold(PlannedSegment { id, slot }, false);
        }
    }

    /// Returns the slots of the ordinary segments of a sub-pool, in the order of their ids.
    pub(super) fn segments_of(&self, pool: super::SubPool) -> impl Iterator<Item = u32> {
        let segments = self.segments.by_number().map(|(_, slot)| slot);
        segments.filter(move |&slot| self.segments[slot].pool == pool && !self.segments[slot].planned)
    }

    /// Returns the active blocks of a planned segment as ids, offsets and sizes in granules, in the order of the offsets. O(blocks of the
    /// heap).
    pub(crate) fn blocks_of_planned(&self, planned: PlannedSegment) -> Vec<(BlockId, u32, u32)> {
        let keys = if self.is_planned(planned) { self.planned_blocks(planned.slot) } else { Vec::new() };
        keys.into_iter().map(|key| (self.id_of(key), self.blocks[key].offset, self.blocks[key].size)).collect()
    }

    /// Returns the slots of the active blocks of a planned segment, in the order of the offsets.
    pub(super) fn planned_blocks(&self, slot: u32) -> Vec<Key> {
        let is_inside = |&key: &Key| {
            let block = &self.blocks[key];
            block.segment == slot && matches!(block.state, State::Active { .. })
        };
        let mut keys: Vec<Key> = self.blocks.keys().filter(is_inside).collect();
        keys.sort_unstable_by_key(|&key| self.blocks[key].offset);
        keys
    }

    /// Returns the blocks of a planned segment, and the ranges between them as inactive blocks.
    pub(super) fn planned_views(&self, slot: u32) -> Vec<BlockView> {
        let mut views = Vec::new();
        let mut end = 0;
        let gap = |from: u32, to: u32| {
            let (offset, size) = (self.bytes(from), self.bytes(to - from));
            (to > from).then_some(BlockView::inactive(offset, size))
        };
        for key in self.planned_blocks(slot) {
            let block = &self.blocks[key];
            views.extend(gap(end, block.offset));
            views.push(self.view(key, block));
            end = block.offset + block.size;
        }
        views.extend(gap(end, self.segments[slot].size));
        views
    }

    /// Adds an unlisted inactive block behind the block `before`, the last one of a segment so far.
    fn append_block_after(&mut self, slot: u32, before: Key, offset: u32, size: u32) -> Key {
        let state = State::UNLISTED;
        let block = Block { offset, size, before: NONE, after: NONE, segment: slot, generation: 0, state };
        let key = self.blocks.insert(block);
        self.link_after(slot, before, key);
        key
    }

    /// Makes a block the last one of a segment, behind `before`.
    fn link_after(&mut self, slot: u32, before: Key, key: Key) {
        self.blocks[key].before = before;
        self.blocks[key].after = NONE;
        if before == NONE {
            self.segments[slot].first = key;
        } else {
            self.blocks[before].after = key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{HeapOptions, SubPool};

    const GRANULE: u64 = 64;

    fn request(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).expect("not zero")
    }

    fn heap() -> (Heap, PlannedSegment) {
        let mut heap = Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("a valid granule");
        let id = heap.add_segment(SubPool::Large, 16 * GRANULE).expect("a multiple of the granule");
        let planned = heap.plan_segment(id).expect("idle");
        heap.check().expect("sound");
        (heap, planned)
    }

    #[test]
    fn blocks_are_at_the_offsets_of_the_caller_and_no_request_uses_the_rest() -> Result<(), HeapError> {
        let (mut heap, planned) = heap();
        let first = heap.allocate_at(planned, 8, request(100)).expect("planned");
        let second = heap.allocate_at(planned, 2, request(64)).expect("planned");
        heap.check().expect("sound");
        let place = heap.allocated_place(first).expect("allocated");
        assert_eq!((place.offset, place.size, place.requested), (8 * GRANULE, 128, 100));
        assert_eq!((heap.stats().active.current, heap.holes(), heap.largest_hole()), (192, 0, 0));
        assert!(heap.allocate(request(1)).is_err());
        let views: Vec<_> = heap.segments().flat_map(|segment| segment.blocks().collect::<Vec<_>>()).collect();
        let sizes: Vec<_> = views.iter().map(|view| (view.offset / GRANULE, view.size / GRANULE)).collect();
        assert_eq!(sizes, [(0, 2), (2, 1), (3, 5), (8, 2), (10, 6)]);
        heap.free(first)?;
        heap.check().expect("sound");
        assert_eq!(heap.allocated_place(first), None);
        heap.free(second)?;
        heap.check().expect("sound");
        // Held, so neither idle nor released.
        assert_eq!(heap.release_inactive().len(), 0);
        assert!(heap.hold(planned, false));
        heap.check().expect("sound");
        assert_eq!(heap.release_inactive().len(), 1);
        assert!(!heap.is_planned(planned) && heap.allocate_at(planned, 0, request(1)).is_none());
        Ok(())
    }

    #[test]
    fn an_ordinary_segment_again_has_holes_between_its_blocks() -> Result<(), HeapError> {
        for held in [true, false] {
            let (mut heap, planned) = heap();
            let at = [0, 3, 4, 15].map(|offset| heap.allocate_at(planned, offset, request(50)).expect("planned"));
            heap.pin(at[3])?;
            heap.free(at[3])?;
            heap.hold(planned, held);
            heap.unplan_segment(planned.id());
            heap.check().expect("sound");
            assert_eq!((heap.holes(), heap.largest_hole()), (2, 10 * GRANULE));
            assert!(!heap.is_planned(planned));
            let other = heap.allocate(request(10 * GRANULE)).expect("the larger hole");
            heap.unpin(at[3])?;
            for id in [at[1], at[0], other, at[2]] {
                heap.free(id)?;
                heap.check().expect("sound");
            }
            assert_eq!(heap.release_inactive().len(), 1);
        }
        Ok(())
    }

    #[test]
    fn an_idle_planned_segment_is_adopted_and_an_empty_one_becomes_one_hole() -> Result<(), HeapError> {
        let (mut heap, planned) = heap();
        heap.hold(planned, false);
        heap.adopt(planned.id(), SubPool::Small)?;
        heap.check().expect("sound");
        assert_eq!((heap.holes(), heap.largest_hole_in(SubPool::Small)), (1, 16 * GRANULE));
        let (mut heap, planned) = self::heap();
        heap.unplan_segment(planned.id());
        heap.unplan_segment(planned.id());
        heap.check().expect("sound");
        assert_eq!(heap.largest_hole(), 16 * GRANULE);
        Ok(())
    }

    #[test]
    fn a_planned_block_can_leave_for_host_memory_and_return_to_an_ordinary_segment() -> Result<(), HeapError> {
        let (mut heap, planned) = heap();
        let id = heap.allocate_at(planned, 5, request(64)).expect("planned");
        heap.detach(id)?;
        heap.check().expect("sound");
        assert!(heap.blocks_of_planned(planned).is_empty());
        heap.add_segment(SubPool::Large, 16 * GRANULE)?;
        let target = heap.allocate(request(64)).expect("there is room");
        heap.attach(id, target)?;
        heap.check().expect("sound");
        heap.free(id)?;
        heap.check().expect("sound");
        Ok(())
    }

    #[test]
    fn pinned_blocks_of_planned_segments_count_and_repacking_uses_the_blocks() -> Result<(), HeapError> {
        let (mut heap, planned) = heap();
        let id = heap.allocate_at(planned, 5, request(64)).expect("planned");
        heap.pin(id)?;
        assert_eq!(heap.active_blocks_of(planned.id()), [(id, 5 * GRANULE, GRANULE)]);
        let pinned = heap.pinned_segments();
        assert_eq!((pinned.reserved, pinned.active), (16 * GRANULE, GRANULE));
        assert_eq!(heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX), None);
        assert!(heap.repackable_segments().is_empty());
        heap.unpin(id)?;
        let repacked = heap.repack_segment(planned.id(), u64::MAX).expect("one block");
        assert_eq!((repacked.released, repacked.moves.len()), (16 * GRANULE, 1));
        heap.check().expect("sound");
        Ok(())
    }
}
