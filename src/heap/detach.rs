//! Detached blocks: allocated blocks without a location.
//!
//! The pool detaches a block when its bytes have moved to host memory, and attaches it again when they return. A
//! detached block keeps its id, and is in no segment: no plan, no segment view and no release includes it. It counts
//! neither as allocated nor as active; [`Stats::spilled`](super::Stats::spilled) counts it instead.

use super::Heap;
use super::address::{BlockId, Place};
use super::blocks::{Block, NONE, State};
use crate::error::HeapError;
use std::num::NonZeroU64;

/// A detached block. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The block's size: a multiple of the granule.
    pub size: u64,
    /// The requested bytes.
    pub requested: NonZeroU64,
}

impl Heap {
    /// Removes an allocated block from its segment, and returns its previous location, which becomes inactive and
    /// coalesces. The id stays valid until [`Heap::free`].
    ///
    /// Cost: O(1).
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if the block is not active, which includes a detached block; [`HeapError::FreedBlock`]
    /// if it was freed; [`HeapError::PinnedBlock`] if it is pinned; [`HeapError::TotalBytes`] if all segments and detached
    /// blocks would exceed 2⁶⁴ − 1 bytes. The heap is then unchanged.
    pub fn detach(&mut self, id: BlockId) -> Result<Place, HeapError> {
        let BlockId { key, generation } = id;
        let stale = HeapError::StaleBlock { key, generation };
        let place = self.active_place(id).ok_or(stale)?;
        let old = self.blocks[key];
        let State::Active { pins, slack, freed } = old.state else { return Err(stale) };
        if freed {
            return Err(HeapError::FreedBlock { key, generation, pins });
        }
        if pins > 0 {
            return Err(HeapError::PinnedBlock { key, generation, pins });
        }
        self.check_total(place.size)?;
        self.version += 1;
        let hole = if self.segments[old.segment].planned {
            None
        } else {
            let hole = self.blocks.insert(Block { state: State::UNLISTED, ..old });
            self.relink(hole);
            Some(hole)
        };
        let state = State::Detached { slack };
        self.blocks[key] = Block { offset: 0, before: NONE, after: NONE, segment: NONE, state, ..old };
        let pool = self.vacate(old.segment, old.size);
        let tallies = &mut self.tallies;
        tallies.requested.subtract(place.requested);
        tallies.allocated.subtract(place.size);
        tallies.active.subtract(place.size);
        tallies.blocks.subtract(1);
        tallies.active_blocks.subtract(1);
        tallies.pools[pool.index()].active -= place.size;
        tallies.spilled.add(place.size);
        tallies.spilled_requested.add(place.requested);
        tallies.spilled_blocks.add(1);
        if let Some(hole) = hole {
            self.join_neighbours(hole, pool);
        }
        Ok(place)
    }

    /// Gives a detached block the location of `target`, a block of the same size, and removes `target`, whose id becomes
    /// stale. To attach a block, allocate its [requested bytes](Detached::requested) first.
    ///
    /// Cost: O(1).
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if `id` is not detached or `target` is not active, [`HeapError::FreedBlock`] or
    /// [`HeapError::PinnedBlock`] if `target` was freed or is pinned, [`HeapError::AttachedSize`] if the sizes differ. The
    /// heap is then unchanged.
    pub fn attach(&mut self, id: BlockId, target: BlockId) -> Result<Place, HeapError> {
        let detached = self.detached(id).ok_or(HeapError::StaleBlock { key: id.key, generation: id.generation })?;
        let BlockId { key, generation } = target;
        let stale = HeapError::StaleBlock { key, generation };
        let place = self.active_place(target).ok_or(stale)?;
        let new = self.blocks[key];
        let State::Active { pins, freed, .. } = new.state else { return Err(stale) };
        if freed {
            return Err(HeapError::FreedBlock { key, generation, pins });
        }
        if pins > 0 {
            return Err(HeapError::PinnedBlock { key, generation, pins });
        }
        if place.size != detached.size {
            return Err(HeapError::AttachedSize { size: detached.size, target: place.size });
        }
        self.version += 1;
        let old = self.blocks[id.key];
        let State::Detached { slack } = old.state else { return Err(stale) };
        self.blocks[id.key] =
            Block { generation: old.generation, state: State::Active { pins: 0, slack, freed: false }, ..new };
        self.relink(id.key);
        self.blocks[key].generation = generation.wrapping_add(1);
        self.blocks.remove(key);
        let tallies = &mut self.tallies;
        // The target was counted when it was allocated, usually with the same requested bytes.
        if place.requested != detached.requested.get() {
            tallies.requested.subtract(place.requested);
            tallies.requested.add(detached.requested.get());
        }
        tallies.spilled.subtract(detached.size);
        tallies.spilled_requested.subtract(detached.requested.get());
        tallies.spilled_blocks.subtract(1);
        Ok(Place { requested: detached.requested.get(), ..place })
    }

    /// Returns the sizes of a detached block; `None` for any other block. O(1).
    #[must_use]
    pub fn detached(&self, id: BlockId) -> Option<Detached> {
        let block = self.blocks.get(id.key)?;
        let State::Detached { slack } = block.state else { return None };
        if block.generation != id.generation {
            return None;
        }
        let size = self.bytes(block.size);
        Some(Detached { size, requested: NonZeroU64::new(size - u64::from(slack))? })
    }

    /// Returns the bytes of the hole that a block on the device would leave with the holes next to it. 0 in a planned segment, and
    /// for a block that is not active. O(1).
    pub(crate) fn hole_without(&self, id: BlockId) -> u64 {
        let Some(block) = self.blocks.active(id).filter(|block| !self.segments[block.segment].planned) else {
            return 0;
        };
        let inactive = |key: super::blocks::Key| match self.blocks.get(key) {
            Some(Block { state: State::Inactive { .. }, size, .. }) => self.bytes(*size),
            _ => 0,
        };
        self.bytes(block.size) + inactive(block.before) + inactive(block.after)
    }

    /// Returns the detached blocks in the order of their slots.
    ///
    /// Cost: O(the largest number of blocks so far).
    pub fn detached_blocks(&self) -> impl Iterator<Item = (BlockId, Detached)> {
        self.blocks.keys().filter_map(|key| {
            let id = self.id_of(key);
            Some((id, self.detached(id)?))
        })
    }

    /// Frees a detached block. Its id becomes stale.
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if the block is not detached.
    #[cold]
    pub(super) fn free_detached(&mut self, id: BlockId) -> Result<(), HeapError> {
        let BlockId { key, generation } = id;
        let detached = self.detached(id).ok_or(HeapError::StaleBlock { key, generation })?;
        self.version += 1;
        self.blocks[key].generation = generation.wrapping_add(1);
        self.blocks.remove(key);
        self.tallies.spilled.subtract(detached.size);
        self.tallies.spilled_requested.subtract(detached.requested.get());
        self.tallies.spilled_blocks.subtract(1);
        Ok(())
    }

    /// Makes the neighbours of a block, or its segment, refer to its record.
    fn relink(&mut self, key: u32) {
        let Block { before, after, segment, .. } = self.blocks[key];
        if before == NONE {
            self.segments[segment].first = key;
        } else {
            self.blocks[before].after = key;
        }
        if after != NONE {
            self.blocks[after].before = key;
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

    fn heap() -> Heap {
        let mut heap = Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("a valid granule");
        heap.add_segment(SubPool::Large, 1 << 12).expect("a multiple of the granule");
        heap
    }

    #[test]
    fn a_detached_block_keeps_its_id_and_leaves_a_hole() -> Result<(), HeapError> {
        let mut heap = heap();
        let [first, middle, last] = [100, 200, 300].map(|bytes| heap.allocate(request(bytes)).expect("there is room"));
        let before = heap.stats();
        let place = heap.detach(middle)?;
        heap.check().expect("sound");
        assert_eq!((place.offset, place.size, place.requested), (128, 256, 200));
        assert_eq!(heap.allocated_place(middle), None);
        assert_eq!(heap.detached(middle), Some(Detached { size: 256, requested: request(200) }));
        let stats = heap.stats();
        assert_eq!(
            (stats.spilled.current, stats.spilled_requested.current, stats.spilled_blocks.current),
            (256, 200, 1)
        );
        assert_eq!(stats.allocated.current, before.allocated.current - 256);
        assert_eq!(stats.requested.current, before.requested.current - 200);
        assert_eq!(stats.reserved, before.reserved);

        // Another block of the same size may be at the old location meanwhile.
        let other = heap.allocate(request(256)).expect("the hole");
        assert_eq!(heap.allocated_place(other).map(|place| place.offset), Some(128));
        let target = heap.allocate(request(200)).expect("there is room");
        let place = heap.attach(middle, target)?;
        heap.check().expect("sound");
        assert_eq!(heap.allocated_place(middle), Some(place));
        assert_eq!((heap.allocated_place(target), heap.stats().spilled.current), (None, 0));
        for id in [first, middle, last, other] {
            heap.free(id)?;
            heap.check().expect("sound");
        }
        assert_eq!(heap.release_inactive().len(), 1);
        Ok(())
    }

    #[test]
    fn a_detached_block_can_be_freed_and_its_slot_is_reused_with_another_id() -> Result<(), HeapError> {
        let mut heap = heap();
        let id = heap.allocate(request(4096)).expect("the whole segment");
        heap.detach(id)?;
        assert_eq!(heap.release_inactive().len(), 1);
        assert_eq!(heap.detached_blocks().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
        heap.free(id)?;
        heap.check().expect("sound");
        let stale = HeapError::StaleBlock { key: id.key, generation: id.generation };
        assert_eq!((heap.free(id), heap.detached(id), heap.detach(id)), (Err(stale), None, Err(stale)));
        heap.add_segment(SubPool::Large, 1 << 12)?;
        let next = heap.allocate(request(1)).expect("there is room");
        assert_ne!(next, id);
        assert_eq!(heap.stats().spilled.freed, 4096);
        Ok(())
    }

    #[test]
    fn blocks_that_must_stay_are_not_detached_and_wrong_targets_are_refused() -> Result<(), HeapError> {
        let mut heap = heap();
        let [pinned, block, target] = [64, 64, 128].map(|bytes| heap.allocate(request(bytes)).expect("there is room"));
        heap.pin(pinned)?;
        let BlockId { key, generation } = pinned;
        assert_eq!(heap.detach(pinned), Err(HeapError::PinnedBlock { key, generation, pins: 1 }));
        heap.free(pinned)?;
        assert_eq!(heap.detach(pinned), Err(HeapError::FreedBlock { key, generation, pins: 1 }));
        heap.detach(block)?;
        let version = heap.version();
        assert_eq!(heap.attach(block, target), Err(HeapError::AttachedSize { size: 64, target: 128 }));
        assert_eq!(heap.attach(block, pinned), Err(HeapError::FreedBlock { key, generation, pins: 1 }));
        let stale = HeapError::StaleBlock { key: block.key, generation: block.generation };
        assert_eq!((heap.attach(target, target), heap.pin(block)).1, Err(stale));
        assert_eq!((heap.version(), heap.check()), (version, Ok(())));
        Ok(())
    }
}
