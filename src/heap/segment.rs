//! Adding, adopting and releasing segments.

use super::Heap;
use super::address::{SegmentId, SubPool};
use super::blocks::{Block, NONE, State};
use crate::error::HeapError;

impl Heap {
    /// Adds a segment of `bytes` bytes for `pool`, as one inactive block.
    ///
    /// # Errors
    /// [`HeapError::SegmentSize`] unless `bytes` is a positive multiple of the granule, [`HeapError::SegmentTooLarge`] above
    /// [`Heap::largest_segment`], [`HeapError::TotalBytes`] if all segments and detached blocks would exceed 2⁶⁴ − 1 bytes.
    pub fn add_segment(&mut self, pool: SubPool, bytes: u64) -> Result<SegmentId, HeapError> {
        if bytes == 0 || !bytes.is_multiple_of(self.granule()) {
            return Err(HeapError::SegmentSize { bytes, granule: self.granule() });
        }
        let size = u32::try_from(bytes >> self.granule_bits)
            .map_err(|_| HeapError::SegmentTooLarge { bytes, limit: self.largest_segment() })?;
        self.check_total(bytes)?;
        self.version += 1;
        let slot = self.segments.insert(pool, size);
        let state = State::UNLISTED;
        let block = Block { offset: 0, size, before: NONE, after: NONE, segment: slot, generation: 0, state };
        let key = self.blocks.insert(block);
        self.segments[slot].first = key;
        self.lists[pool.index()].insert(&mut self.blocks, key);
        self.tallies.reserved.add(bytes);
        self.tallies.segments.add(1);
        self.tallies.pools[pool.index()].reserved += bytes;
        Ok(self.segments[slot].id)
    }

    /// Returns the idle segments with their sizes in bytes, longest idle first.
    ///
    /// Cost: O(1) per segment.
    pub fn inactive_segments(&self) -> impl Iterator<Item = (SegmentId, u64)> {
        self.segments.idle().map(|slot| (self.segments[slot].id, self.bytes(self.segments[slot].size)))
    }

    /// Returns the sub-pool of a segment, or `None` if it is not in the heap.
    #[must_use]
    pub fn pool_of(&self, id: SegmentId) -> Option<SubPool> {
        self.segments.slot(id).map(|slot| self.segments[slot].pool)
    }

    /// Returns the size of a segment in bytes, or `None` if it is not in the heap.
    #[must_use]
    pub fn segment_bytes(&self, id: SegmentId) -> Option<u64> {
        self.segments.slot(id).map(|slot| self.bytes(self.segments[slot].size))
    }

    /// Removes all idle segments from the heap. Returns their ids and sizes in bytes, longest idle first.
    ///
    /// Cost: O(log segments) per removed segment.
    #[must_use = "the memory behind the segments is still there"]
    pub fn release_inactive(&mut self) -> Vec<(SegmentId, u64)> {
        let idle: Vec<u32> = self.segments.idle().collect();
        idle.into_iter().map(|slot| self.remove_segment(slot)).collect()
    }

    /// Removes an idle segment from the heap. Returns its size in bytes.
    ///
    /// Cost: O(log segments).
    ///
    /// # Errors
    /// [`HeapError::UnknownSegment`], or [`HeapError::SegmentInUse`] if it has an active block.
    pub fn release_segment(&mut self, id: SegmentId) -> Result<u64, HeapError> {
        let slot = self.idle_slot(id)?;
        Ok(self.remove_segment(slot).1)
    }

    /// Moves an idle segment to the sub-pool `pool`, without changing its idle time. No effect if it already belongs to
    /// that sub-pool.
    ///
    /// Cost: O(log segments).
    ///
    /// # Errors
    /// [`HeapError::UnknownSegment`], or [`HeapError::SegmentInUse`] if it has an active block.
    pub fn adopt(&mut self, id: SegmentId, pool: SubPool) -> Result<(), HeapError> {
        let slot = self.idle_slot(id)?;
        self.unplan_segment(id);
        let segment = &mut self.segments[slot];
        let (key, size) = (segment.first, segment.size);
        self.version += 1;
        let previous = std::mem::replace(&mut segment.pool, pool);
        self.lists[previous.index()].remove(&mut self.blocks, key);
        self.lists[pool.index()].insert(&mut self.blocks, key);
        let bytes = self.bytes(size);
        self.tallies.pools[previous.index()].reserved -= bytes;
        self.tallies.pools[pool.index()].reserved += bytes;
        Ok(())
    }

    /// Checks that the bytes of all segments and detached blocks can still be counted with `bytes` more bytes. No other sum of sizes is
    /// larger than this one.
    pub(super) const fn check_total(&self, bytes: u64) -> Result<(), HeapError> {
        let total = self.total_bytes();
        match total.checked_add(bytes) {
            Some(_) => Ok(()),
            None => Err(HeapError::TotalBytes { bytes, total }),
        }
    }

    /// Returns whether a block of `bytes` bytes may be detached: whether the bytes of all segments and detached blocks can be counted.
    pub(crate) const fn may_detach(&self, bytes: u64) -> bool {
        self.check_total(bytes).is_ok()
    }

    /// Returns the bytes of all segments and detached blocks. Every increase was checked.
    const fn total_bytes(&self) -> u64 {
        self.tallies.reserved.current + self.tallies.spilled.current
    }

    /// Returns the slot of a segment that must be idle.
    pub(super) fn idle_slot(&self, id: SegmentId) -> Result<u32, HeapError> {
        let slot = self.segments.slot(id).ok_or(HeapError::UnknownSegment { segment: id.number() })?;
        match self.segments[slot].active {
            0 => Ok(slot),
            active => Err(HeapError::SegmentInUse { segment: id.number(), active: self.bytes(active) }),
        }
    }

    /// Removes an idle segment and its single block; a planned segment has none.
    fn remove_segment(&mut self, slot: u32) -> (SegmentId, u64) {
        self.version += 1;
        let segment = self.segments.remove(slot);
        if !segment.planned {
            self.lists[segment.pool.index()].remove(&mut self.blocks, segment.first);
            self.blocks.remove(segment.first);
        }
        let bytes = self.bytes(segment.size);
        self.tallies.reserved.subtract(bytes);
        self.tallies.segments.subtract(1);
        self.tallies.pools[segment.pool.index()].reserved -= bytes;
        (segment.id, bytes)
    }
}
