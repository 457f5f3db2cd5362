//! Allocation, free and pins of blocks.

use super::address::{BlockId, Place, Shortfall};
use super::blocks::{Block, Key, NONE, State};
use super::{Heap, SubPool};
use crate::error::HeapError;
use std::num::NonZeroU64;

impl Heap {
    /// Allocates a block of at least `requested` bytes.
    ///
    /// Cost: O(1), and no host memory if the heap has held as many blocks before. Before a shortfall is returned, one
    /// free list is searched completely.
    ///
    /// # Errors
    /// The [`Shortfall`]: the sub-pool without a sufficient inactive block, and the size. The heap is then unchanged.
    #[inline]
    pub fn allocate(&mut self, requested: NonZeroU64) -> Result<BlockId, Shortfall> {
        self.allocate_from(self.pool_for(requested), requested)
    }

    /// Allocates a block of at least `requested` bytes from the holes of `pool`, regardless of the request's own
    /// sub-pool. A last resort, because small blocks may then keep large segments.
    ///
    /// Cost: as [`Heap::allocate`].
    ///
    /// # Errors
    /// As [`Heap::allocate`].
    #[inline]
    pub fn allocate_from(&mut self, pool: SubPool, requested: NonZeroU64) -> Result<BlockId, Shortfall> {
        let bytes = self.block_size(requested);
        let shortfall = Shortfall { pool, bytes };
        let size = u32::try_from(bytes >> self.granule_bits).map_err(|_| shortfall)?;
        let hole = self.lists[pool.index()].find(size).ok_or(shortfall)?;
        self.version += 1;
        #[expect(clippy::cast_possible_truncation, reason = "rounding adds less than one granule, at most 4096 bytes")]
        let slack = (bytes - requested.get()) as u16;
        let state = State::Active { pins: 0, slack, freed: false };
        let key = if self.blocks[hole].size == size {
            self.lists[pool.index()].remove(&mut self.blocks, hole);
            self.blocks[hole].state = state;
            hole
        } else {
            self.cut_front(hole, size, state, pool)
        };
        let Block { generation, segment, .. } = self.blocks[key];
        let id = BlockId { key, generation };
        self.occupy(segment, size);

        self.tallies.count_allocated(requested.get(), bytes, pool);
        Ok(id)
    }

    /// Frees a block, which may be detached. The block coalesces with inactive neighbours on both sides, and its id
    /// becomes stale. A pinned block stays active, but not allocated, until its last [`unpin`](Heap::unpin).
    ///
    /// Cost: O(1).
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if the block is neither active nor detached, [`HeapError::FreedBlock`] if it was freed
    /// and is still pinned.
    #[expect(clippy::inline_always, reason = "a call costs 1.5 ns of about 40 for each free, measured by `replay`")]
    #[inline(always)]
    pub fn free(&mut self, id: BlockId) -> Result<(), HeapError> {
        let Some(block) = self.blocks.active_mut(id) else { return self.free_detached(id) };
        let State::Active { pins, slack, freed } = &mut block.state else { return Err(stale(id)) };
        if *freed {
            return Err(HeapError::FreedBlock { key: id.key, generation: id.generation, pins: *pins });
        }
        *freed = true;
        self.version += 1;
        let (pins, slack) = (*pins, *slack);
        let bytes = u64::from(block.size) << self.granule_bits;
        self.tallies.requested.subtract(bytes - u64::from(slack));
        self.tallies.allocated.subtract(bytes);
        self.tallies.blocks.subtract(1);
        if pins == 0 {
            self.deactivate(id.key);
        }
        Ok(())
    }

    /// Pins a block: until each pin is removed, the block is not moved, and if it is freed it is not reused.
    ///
    /// Cost: O(1).
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if the block is not active; [`HeapError::FreedBlock`] if it was freed, because a freed
    /// block cannot be pinned again; [`HeapError::TooManyPins`] above 2³² − 1 pins.
    pub fn pin(&mut self, id: BlockId) -> Result<(), HeapError> {
        let BlockId { key, generation } = id;
        let block = self.blocks.active_mut(id).ok_or_else(|| stale(id))?;
        let State::Active { pins, freed, .. } = &mut block.state else { return Err(stale(id)) };
        if *freed {
            return Err(HeapError::FreedBlock { key, generation, pins: *pins });
        }
        *pins = pins.checked_add(1).ok_or(HeapError::TooManyPins { key, generation, pins: *pins })?;
        self.version += 1;
        if *pins == 1 {
            self.segments[block.segment].pinned += 1;
            self.tallies.pinned.add(u64::from(block.size) << self.granule_bits);
        }
        Ok(())
    }

    /// Removes one pin. If it was the last pin of a freed block, the block becomes inactive and its id stale.
    ///
    /// Cost: O(1).
    ///
    /// # Errors
    /// [`HeapError::StaleBlock`] if the block is not active, [`HeapError::NotPinned`] if it has no pin.
    pub fn unpin(&mut self, id: BlockId) -> Result<(), HeapError> {
        let BlockId { key, generation } = id;
        let block = self.blocks.active_mut(id).ok_or_else(|| stale(id))?;
        let State::Active { pins, freed, .. } = &mut block.state else { return Err(stale(id)) };
        *pins = pins.checked_sub(1).ok_or(HeapError::NotPinned { key, generation })?;
        let (left, freed) = (*pins, *freed);
        self.version += 1;
        if left == 0 {
            self.segments[block.segment].pinned -= 1;
            self.tallies.pinned.subtract(u64::from(block.size) << self.granule_bits);
            if freed {
                self.deactivate(key);
            }
        }
        Ok(())
    }

    /// Returns the current location of an allocated block. `None` for any other block, including a block that was freed
    /// and is still pinned. O(1).
    ///
    /// Use this for operations of the block's owner (contents, handles, label), and [`Heap::active_place`] for
    /// operations of a pin.
    #[inline]
    #[must_use]
    pub fn allocated_place(&self, id: BlockId) -> Option<Place> {
        let block = self.blocks.active(id)?;
        if matches!(block.state, State::Active { freed: false, .. }) { self.place_of(block) } else { None }
    }

    /// Returns the current location of an active block: allocated, or freed and still pinned. `None` once its bytes can
    /// be reused. O(1).
    #[inline]
    #[must_use]
    pub fn active_place(&self, id: BlockId) -> Option<Place> {
        self.place_of(self.blocks.active(id)?)
    }

    /// Returns whether the block is active: allocated, or freed and still pinned. O(1).
    #[inline]
    pub(crate) fn is_active(&self, id: BlockId) -> bool {
        self.blocks.active(id).is_some()
    }

    /// Returns the number of pins of an active block; 0 for any other block. O(1).
    #[must_use]
    pub fn pins(&self, id: BlockId) -> u32 {
        match self.blocks.active(id).map(|block| block.state) {
            Some(State::Active { pins, .. }) => pins,
            _ => 0,
        }
    }

    #[inline]
    fn place_of(&self, block: &Block) -> Option<Place> {
        let State::Active { slack, .. } = block.state else { return None };
        let size = self.bytes(block.size);
        Some(Place {
            segment: self.segments[block.segment].id,
            offset: self.bytes(block.offset),
            size,
            requested: size - u64::from(slack),
        })
    }

    /// Cuts a block that is in no list to `size` granules; the remainder becomes an inactive block after it.
    pub(super) fn split(&mut self, key: Key, size: u32, pool: SubPool) {
        let block = &mut self.blocks[key];
        let rest = Block {
            offset: block.offset + size,
            size: block.size - size,
            before: key,
            state: State::UNLISTED,
            ..*block
        };
        block.size = size;
        let rest_key = self.blocks.insert(rest);
        self.blocks[key].after = rest_key;
        if rest.after != NONE {
            self.blocks[rest.after].before = rest_key;
        }
        self.lists[pool.index()].insert(&mut self.blocks, rest_key);
    }

    /// Makes an active block inactive: its id becomes stale, and it coalesces with inactive neighbours.
    #[inline]
    fn deactivate(&mut self, key: Key) {
        let block = &mut self.blocks[key];
        block.generation = block.generation.wrapping_add(1);
        let (size, segment) = (block.size, block.segment);
        let is_planned = self.segments[segment].planned;
        let pool = self.vacate(segment, size);
        let bytes = self.bytes(size);
        self.tallies.active.subtract(bytes);
        self.tallies.active_blocks.subtract(1);
        self.tallies.pools[pool.index()].active -= bytes;
        if is_planned {
            self.blocks.remove(key);
        } else {
            self.join_neighbours(key, pool);
        }
    }

    /// Makes a block of the first `size` granules of a larger hole. The hole keeps its record and the remaining
    /// granules.
    #[inline]
    fn cut_front(&mut self, hole: Key, size: u32, state: State, pool: SubPool) -> Key {
        let Block { offset, before, segment, .. } = self.blocks[hole];
        let front = self.blocks.insert(Block { offset, size, before, after: hole, segment, generation: 0, state });
        if before == NONE {
            self.segments[segment].first = front;
        } else {
            self.blocks[before].after = front;
        }
        self.lists[pool.index()].change(&mut self.blocks, hole, |block| {
            block.offset += size;
            block.size -= size;
            block.before = front;
        });
        front
    }

    /// Inserts a block that has become inactive into a free list, or merges it with inactive neighbours.
    #[inline]
    pub(super) fn join_neighbours(&mut self, key: Key, pool: SubPool) {
        let Block { offset, size, before, after, segment, .. } = self.blocks[key];
        let lists = &mut self.lists[pool.index()];
        let is_hole = |key: Key| key != NONE && matches!(self.blocks[key].state, State::Inactive { .. });
        match (is_hole(before), is_hole(after)) {
            (false, false) => lists.insert(&mut self.blocks, key),
            (true, false) => {
                lists.change(&mut self.blocks, before, |block| {
                    block.size += size;
                    block.after = after;
                });
                if after != NONE {
                    self.blocks[after].before = before;
                }
                self.blocks.remove(key);
            }
            (false, true) => {
                lists.change(&mut self.blocks, after, |block| {
                    block.offset = offset;
                    block.size += size;
                    block.before = before;
                });
                if before == NONE {
                    self.segments[segment].first = after;
                } else {
                    self.blocks[before].after = after;
                }
                self.blocks.remove(key);
            }
            (true, true) => {
                let Block { size: behind, after: next, .. } = self.blocks[after];
                lists.remove(&mut self.blocks, after);
                lists.change(&mut self.blocks, before, |block| {
                    block.size += size + behind;
                    block.after = next;
                });
                if next != NONE {
                    self.blocks[next].before = before;
                }
                self.blocks.remove(after);
                self.blocks.remove(key);
            }
        }
    }

    /// Counts `size` granules of a segment as active.
    #[inline]
    pub(super) fn occupy(&mut self, slot: u32, size: u32) {
        let segment = &mut self.segments[slot];
        let idle = segment.active == 0;
        segment.active += size;
        let rest = segment.size - size;
        if idle {
            if !segment.held {
                self.segments.unlink_idle(slot);
            }
            self.tallies.inactive_split.add(self.bytes(rest));
        } else {
            self.tallies.inactive_split.subtract(self.bytes(size));
        }
    }

    /// Counts `size` granules of a segment as inactive, and returns the segment's sub-pool.
    #[inline]
    pub(super) fn vacate(&mut self, slot: u32, size: u32) -> SubPool {
        let segment = &mut self.segments[slot];
        segment.active -= size;
        let pool = segment.pool;
        let rest = segment.size - size;
        if segment.active == 0 {
            if !segment.held {
                self.segments.push_idle(slot);
            }
            self.tallies.inactive_split.subtract(self.bytes(rest));
        } else {
            self.tallies.inactive_split.add(self.bytes(size));
        }
        pool
    }
}

const fn stale(id: BlockId) -> HeapError {
    HeapError::StaleBlock { key: id.key, generation: id.generation }
}
