//! The ladder of remedies for a request that no hole can serve.
//!
//! Each rung costs more than the one before:
//! 1. an idle segment of the other sub-pool;
//! 2. a hole made by moving few blocks;
//! 3. a new segment, compensated for by evacuating and releasing others (`compensate.rs`);
//! 4. the arenas of repeated steps (`repeat`) become ordinary segments, and rungs 1 to 3 are repeated;
//! 5. in a pool with spilling: blocks move to host memory (`residence`);
//! 6. at the limit, or when the device refuses: release all idle segments, wait for the device, and repeat rungs 1 to 3;
//! 7. a hole of either sub-pool, or a hole made by moving all blocks out of a range of a segment;
//! 8. segments are emptied and replaced by smaller segments until there is room (`make_room.rs`), at last through host
//!    memory (`host_copy.rs`);
//! 9. in a pool with spilling: more blocks move to host memory, and the ladder is repeated;
//! 10. the application's pressure callback (`pressure.rs`), repeated while the callback frees memory;
//! 11. an error with the numbers.
//!
//! Only the rungs from 6 on wait until the device has finished, and rung 5 where the device cannot copy to host memory by command. Rung 3
//! submits after it has released segments, which waits for a thread that submits, and for a device that is more than 32 batches behind. A
//! rung that cannot allocate its own memory (a bounce buffer, a readback buffer) is skipped.

use super::compensate::Compensation;
use super::create::{NoGrowth, Wanted};
use super::growth::{Demand, Moved};
use super::make_room::Room;
use super::residence::Effort;
use super::storage::Handle;
use super::{Content, Inner, Pool, Remedies, State, Storage};
use crate::device::{CacheLevel, Memory};
use crate::error::{AllocateError, Bytes, DeviceError, OutOfMemory};
use crate::heap::{BlockId, SegmentId, Shortfall, SubPool};
use crate::pool::messages::note;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::panic::Location;
use std::sync::Arc;

/// The choice of the size of a new segment for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizing {
    /// By the growth policy.
    Planned,
    /// Exactly the size of the request, because the device refused a larger segment after its creation.
    Exact,
}

/// The next step of a pool that has to grow for a request.
enum Step {
    /// The request is served: another thread has freed or created a hole.
    Served(BlockId),
    /// A segment of `bytes` bytes has to be created. `None` if the limit leaves no room.
    Create { bytes: Option<u64>, shortfall: Shortfall },
}

impl<M: Memory> Pool<M> {
    /// Allocates a block of at least `bytes` bytes, whose content is stale. Zero bytes are valid and take no memory.
    ///
    /// If a hole is large enough, this takes constant time and makes no call to the device. Otherwise the pool grows. Growing
    /// waits for the device only if the request would fail otherwise; where it releases segments first, it also waits for a thread that
    /// submits, and for the device while that is more than 32 batches behind.
    ///
    /// # When a request is served
    /// With compaction enabled ([`PoolOptions::compaction_share`](crate::PoolOptions::compaction_share) above 0), a request
    /// of at most the largest segment is served whenever
    ///
    /// > active + pinned + request ≤ limit,
    ///
    /// each rounded to the granule (`limit` down, the others up), where *active* is the sum of the blocks in segments
    /// without a pinned block, and *pinned* the size of the segments with a pinned block. This holds for every arrangement
    /// of the blocks: the overhead beyond the rounding, [`Pool::LIMIT_OVERHEAD`], is zero. The same holds without a limit, or
    /// below the limit, for a device with room for `limit` bytes of segments, including the driver's overhead for each
    /// segment. [`Pool::largest_request`] solves the inequality for the request.
    ///
    /// As the last resort, the pool waits for the device and copies blocks through host memory, one segment at a time. If the
    /// host has no memory for the copy either, the request is refused. In a browser no thread can wait, so blocks move on the
    /// device only, and a request can be refused because the free bytes are fragmented.
    ///
    /// If other programs take the device's memory during such a copy, the blocks stay in host memory. Using these blocks
    /// returns [`DeviceError::Refused`] until the device has room again; every use and every request tries again.
    ///
    /// The pool's reserved bytes never exceed the limit, with any number of threads, unless the limit is lowered below the
    /// reserved bytes; these then only fall.
    ///
    /// # Errors
    /// [`AllocateError::OutOfMemory`] at the limit or when the device refuses, [`AllocateError::TooLarge`] above the
    /// device's largest buffer, [`AllocateError::Device`] when the device fails. No block is lost by an error.
    #[track_caller]
    pub fn allocate(&self, bytes: u64) -> Result<Storage<M>, AllocateError> {
        allocate(&self.inner, bytes, &Content::BYTES, Location::caller(), Sizing::Planned)
    }

    /// Allocates a block of `bytes` bytes for a tensor, whose dtype and shape are in the block's record. See [`Pool::allocate`].
    #[cfg(feature = "tensor")]
    #[track_caller]
    pub(crate) fn allocate_as(&self, bytes: u64, content: &Content) -> Result<Storage<M>, AllocateError> {
        allocate(&self.inner, bytes, content, Location::caller(), Sizing::Planned)
    }
}

impl<M: Memory> Storage<M> {
    /// A block of the same pool, as [`Pool::allocate_as`].
    #[cfg(feature = "tensor")]
    #[track_caller]
    pub(crate) fn allocate_in_same_pool(&self, bytes: u64, content: &Content) -> Result<Self, AllocateError> {
        allocate(self.inner(), bytes, content, Location::caller(), Sizing::Planned)
    }
}

/// Allocates a block for the call site `site`.
#[inline]
pub(super) fn allocate<M: Memory>(
    inner: &Arc<Inner<M>>,
    bytes: u64,
    content: &Content,
    site: &'static Location<'static>,
    sizing: Sizing,
) -> Result<Storage<M>, AllocateError> {
    let Some(requested) = NonZeroU64::new(bytes) else {
        return Ok(Storage::new(Handle::new(inner, None), None, 0));
    };
    let shadow = if inner.dry_runs.none() { None } else { inner.shadow() };
    if let Some(shadow) = shadow {
        return shadow.allocate(inner, bytes, content, site, sizing);
    }
    inner.memory.check()?;
    let limit = inner.growth.maximum_segment;
    if bytes > limit {
        return Err(AllocateError::TooLarge { requested: bytes, limit });
    }
    let mut state = inner.state();
    if !state.unanswered.is_empty() {
        drop(state);
        inner.settle();
        state = inner.state();
    }
    let planned = state.allocate_in_step(requested, site);
    let block = if let Some(block) = planned {
        block
    } else if let Ok(block) = state.heap.allocate(requested) {
        block
    } else {
        drop(state);
        let block = Pool::of(inner).climb(requested, site, sizing)?;
        state = inner.state();
        block
    };
    let State { attribution, heap, spilling, steps, .. } = &mut *state;
    if steps.observes() {
        steps.allocated(block, requested, site);
    }
    attribution.allocated(heap, block, bytes, site, content);
    if let Some(spilling) = spilling {
        spilling.allocated(block);
    }
    let kept = inner.kept_handle();
    let recycled = if kept.is_some() { None } else { state.references.pop() };
    drop(state);
    let handle = kept.unwrap_or_else(|| Handle::new(inner, recycled));
    Ok(Storage::new(handle, Some(block), bytes))
}

impl<M: Memory> Inner<M> {
    /// Runs the rungs of the ladder before the pressure callback. `claim` is the claim of the command for which a block
    /// returns from host memory.
    pub(super) fn climb(
        &self,
        requested: NonZeroU64,
        sizing: Sizing,
        before: &Remedies,
        claim: Option<u64>,
    ) -> Result<BlockId, AllocateError> {
        let mut effort = Effort::new(claim);
        loop {
            self.begin_climb(&mut effort);
            match self.climb_once(requested, sizing, before, &effort) {
                Err(AllocateError::OutOfMemory(_)) if self.may_climb_again(requested, &mut effort) => {}
                Err(error) => {
                    // The loss of the device may have been noticed meanwhile, by another thread.
                    self.memory.check()?;
                    return Err(error);
                }
                served => return served,
            }
        }
    }

    fn climb_once(
        &self,
        requested: NonZeroU64,
        sizing: Sizing,
        before: &Remedies,
        effort: &Effort,
    ) -> Result<BlockId, AllocateError> {
        let explain = |error| AllocateError::from(self.memory.explain(error));
        // The callbacks of finished work run first, because they may free a block that serves the request.
        self.memory.poll();
        if !self.state().spilled.is_empty() {
            // Segments of live blocks get device memory before the request does.
            self.restore_all().map_err(explain)?;
        }
        let refusal = match self.grow(requested, sizing) {
            Ok(block) => return Ok(block),
            Err(NoGrowth::Failed(error)) => return Err(explain(error)),
            Err(refusal @ (NoGrowth::Limit | NoGrowth::Refused(_))) => refusal,
        };
        let refusal = match self.grow_without_arenas(requested, sizing) {
            None => refusal,
            Some(Ok(block)) => return Ok(block),
            Some(Err(NoGrowth::Failed(error))) => return Err(explain(error)),
            Some(Err(refusal)) => refusal,
        };
        let is_refused = matches!(refusal, NoGrowth::Refused(_));
        if let Some(block) = self.make_space(requested, is_refused, effort).map_err(explain)? {
            return Ok(block);
        }
        // The next rung would be an error, so waiting is allowed: released segments count as free when the device has
        // finished with them. No lock is held, because application callbacks run during the wait and may free or allocate.
        let wait = self.release_idle().map_err(explain)? || self.reclaim() > 0;
        if wait || is_refused {
            self.count_wait();
            note!(Debug, "wgpu-pool: waiting for the device, for a request of {}", Bytes(requested.get()));
            self.memory.drop_caches(CacheLevel::Buffers);
            self.memory.wait_blocking()?;
            self.reclaim();
        }
        let mut refused = match self.grow(requested, sizing) {
            Ok(block) => return Ok(block),
            Err(NoGrowth::Failed(error)) => return Err(explain(error)),
            Err(NoGrowth::Limit) => None,
            Err(NoGrowth::Refused(bytes)) => Some(bytes),
        };
        if let Some(block) = self.any_hole(requested) {
            return Ok(block);
        }
        if self.compaction_share > 0.0 {
            if let Some(block) = self.move_within_segments(requested).map_err(explain)? {
                return Ok(block);
            }
            match self.make_room(requested).map_err(explain)? {
                Room::Served(block) => return Ok(block),
                Room::None(last) => refused = last,
            }
            for pool in SubPool::ALL {
                if let Some(block) = self.slide_and_gather(pool, requested).map_err(explain)? {
                    return Ok(block);
                }
            }
        }
        if !self.memory.can_block() {
            let pending = self.reclaim();
            let state = self.state();
            let fits = |limit: u64| {
                limit.saturating_sub(state.heap.stats().reserved.current) >= state.heap.block_size(requested)
            };
            if pending > 0 && state.limit.is_some_and(fits) {
                return Err(AllocateError::Unfinished { requested: requested.get(), pending });
            }
        }
        let error = self.out_of_memory(&self.state(), requested.get(), refused, before);
        Err(AllocateError::OutOfMemory(Box::new(error)))
    }

    /// Returns the error of a request whose segment the device has refused after its creation.
    pub(super) fn refused_by_device(&self, requested: NonZeroU64, before: &Remedies) -> AllocateError {
        let state = self.state();
        let refused = Some(state.heap.block_size(requested));
        AllocateError::OutOfMemory(Box::new(self.out_of_memory(&state, requested.get(), refused, before)))
    }

    /// Counts a wait for the device, on a memory that can wait.
    pub(super) fn count_wait(&self) {
        self.state().remedies.waits += u64::from(self.memory.can_block());
    }

    /// Adds the bytes that the driver has freed to the report of the next trim. Returns the destroyed bytes that the driver
    /// has not freed yet.
    pub(super) fn reclaim(&self) -> u64 {
        let reclaimed = self.memory.reclaim();
        self.state().count_freed(reclaimed.freed);
        reclaimed.pending
    }

    /// Creates a hole by moving all blocks out of a range of one segment, of either sub-pool, and allocates the hole.
    pub(super) fn move_within_segments(&self, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        let rungs = [Self::clear_window, Self::gather];
        for rung in rungs {
            for pool in SubPool::ALL {
                if let Some(block) = rung(self, pool, requested)? {
                    return Ok(Some(block));
                }
            }
        }
        Ok(None)
    }

    /// Turns the arenas of repeated steps into ordinary segments, and then serves the request as [`Inner::grow`]. `None` if
    /// there is no arena.
    fn grow_without_arenas(&self, requested: NonZeroU64, sizing: Sizing) -> Option<Result<BlockId, NoGrowth>> {
        let arenas = self.state().give_up_arenas();
        for id in &arenas {
            note!(Debug, "wgpu-pool: segment {id} is no longer the arena of a plan, because memory is scarce");
        }
        (!arenas.is_empty()).then(|| self.grow(requested, sizing))
    }

    /// Serves a request without waiting: from an idle segment of the other sub-pool, by moving few blocks, or from a new
    /// segment.
    fn grow(&self, requested: NonZeroU64, sizing: Sizing) -> Result<BlockId, NoGrowth> {
        let mut compensation = Compensation::default();
        // Decided once: the hole from which the block has grown may be released before the next plan.
        let mut additional = None;
        loop {
            let growing = self.lock_growth();
            let (bytes, shortfall) = match self.plan_growth(requested, sizing, &mut additional) {
                Step::Served(block) => return Ok(block),
                Step::Create { bytes, shortfall } => (bytes, shortfall),
            };
            let is_futile = bytes.is_none() && self.state().is_compaction_futile(requested);
            let allowance = if is_futile { 0 } else { self.move_allowance() };
            if let Some(block) = self.compact_for(shortfall.pool, requested, allowance).map_err(NoGrowth::Failed)? {
                return Ok(block);
            }
            let Some(bytes) = bytes else {
                drop(growing);
                self.state().remedies.limit_hits += 1;
                note!(Debug, "wgpu-pool: the limit leaves no room for a request of {}", Bytes(requested.get()));
                return Err(NoGrowth::Limit);
            };
            compensation.skips_packing = additional.is_some_and(|bytes| bytes > 0);
            // If the lock was released, another thread may have grown the pool, so the growth is planned again.
            let held = self.compensate(growing, shortfall.pool, bytes, &mut compensation).map_err(NoGrowth::Failed)?;
            let Some(growing) = held else { continue };
            let wanted = Wanted { pool: shortfall.pool, bytes, least: shortfall.bytes };
            // No room is left if another thread now uses a segment that was idle when the size was planned.
            if let Some(block) = self.create_for(&growing, wanted, requested)? {
                return Ok(block);
            }
        }
    }

    /// Serves the request from a hole that exists now, or returns the segment to create. `additional` is set by the first
    /// plan for a request.
    fn plan_growth(&self, requested: NonZeroU64, sizing: Sizing, additional: &mut Option<u64>) -> Step {
        self.refreshed_room();
        let mut state = self.state();
        let reserved = state.heap.stats().reserved.current;
        state.heap.set_small_limit(self.growth.small_limit_of(reserved));
        // Another thread may have grown the pool meanwhile.
        let shortfall = match state.heap.allocate(requested) {
            Ok(block) => {
                state.remedies.served_late += 1;
                drop(state);
                note!(Debug, "wgpu-pool: another thread freed memory for a request of {}", Bytes(requested.get()));
                return Step::Served(block);
            }
            Err(shortfall) => shortfall,
        };
        if shortfall.pool == SubPool::Large {
            let arenas = state.give_up_unneeded_arenas(shortfall.bytes);
            if !arenas.is_empty() {
                let served = state.heap.allocate(requested);
                drop(state);
                for id in arenas {
                    note!(
                        Debug,
                        "wgpu-pool: segment {id} is no longer the arena of a plan, because the pool would grow"
                    );
                }
                if let Ok(block) = served {
                    return Step::Served(block);
                }
                state = self.state();
            }
        }
        let hole = state.heap.largest_hole();
        let additional = *additional.get_or_insert_with(|| state.append_loops.additional_bytes(shortfall.bytes, hole));
        let demand = Demand { additional, ..state.demand(&shortfall, self.compaction_share) };
        let created = match sizing {
            Sizing::Planned => self.growth.segment_bytes(&demand),
            Sizing::Exact => (demand.room.unwrap_or(u64::MAX) >= shortfall.bytes).then_some(shortfall.bytes),
        };
        // A small block that lives long must not keep a segment that is much larger than a new segment would be.
        let most =
            if shortfall.pool == SubPool::Small { created.map_or(u64::MAX, |bytes| 2 * bytes) } else { u64::MAX };
        if let Some(idle) = state.smallest_idle(shortfall.bytes..=most) {
            state.heap.adopt(idle, shortfall.pool).expect("an idle segment may change pools");
            state.remedies.adopted += 1;
            let block = state.heap.allocate(requested).expect("the adopted segment is large enough");
            drop(state);
            note!(Debug, "wgpu-pool: segment {idle} adopted by the {:?} pool", shortfall.pool);
            return Step::Served(block);
        }
        Step::Create { bytes: created, shortfall }
    }

    fn out_of_memory(&self, state: &State<M>, requested: u64, refused: Option<u64>, before: &Remedies) -> OutOfMemory {
        let mut holders = state.holders();
        holders.truncate(Self::LISTED);
        let now = state.heap.stats();
        let by_moving = if refused.is_some() { None } else { self.largest_in_room(state) };
        OutOfMemory {
            requested,
            rounded: requested.next_multiple_of(self.growth.granule),
            limit: state.limit,
            refused,
            allocated: now.allocated.current,
            active: now.active.current,
            pinned: now.pinned.current,
            pinned_segments: state.heap.pinned_segments().reserved,
            reserved: now.reserved.current,
            largest_hole: state.heap.largest_hole(),
            holes: state.heap.holes(),
            largest_request: by_moving.unwrap_or(0).max(state.heap.largest_hole()),
            moves: self.compaction_share > 0.0,
            host: now.spilled.current,
            host_limit: state.spill_stats().limit,
            gains: state.remedies.gains_since(before),
            holders,
        }
    }

    /// Returns the largest request that the limit has room for, without regard to holes. `None` without a limit.
    fn largest_in_room(&self, state: &State<M>) -> Option<u64> {
        let limit = state.limit?;
        let kept = if self.compaction_share > 0.0 {
            let pinned = state.heap.pinned_segments();
            state.heap.stats().active.current - pinned.active + pinned.reserved
        } else {
            // Idle segments are released.
            let idle: u64 = state.heap.inactive_segments().map(|(_, bytes)| bytes).sum();
            state.heap.stats().reserved.current - idle
        };
        let room = limit.saturating_sub(kept).min(self.growth.maximum_segment);
        Some(room / self.growth.granule * self.growth.granule)
    }
}

impl<M: Memory> Pool<M> {
    /// Bytes of a limit that blocks cannot use because of fragmentation, in addition to the rounding to the granule: zero.
    /// See [`Pool::allocate`].
    pub const LIMIT_OVERHEAD: u64 = 0;

    /// Returns the largest request in bytes that the limit has room for now, or the size of the largest hole if that is
    /// larger. `None` without a limit. The device may still refuse such a request, and another thread may take the room.
    /// Next to pinned blocks a larger request may be served, if other blocks can move out of their segments; in a pool with
    /// spilling, if other blocks can move to host memory. O(1) while no block is pinned, otherwise O(blocks).
    #[must_use]
    pub fn largest_request(&self) -> Option<u64> {
        if let Some(dry) = self.dry() {
            return dry.largest_request();
        }
        let state = self.inner.state();
        Some(self.inner.largest_in_room(&state)?.max(state.heap.largest_hole()))
    }
}

impl<M: Memory> State<M> {
    /// Returns the demand that the next segment has to meet. Idle segments are not counted, because they are released to
    /// compensate for the new segment.
    fn demand(&self, shortfall: &Shortfall, share: f64) -> Demand {
        let idle: u64 = self.heap.inactive_segments().map(|(_, bytes)| bytes).sum();
        let reserved = self.heap.stats().reserved.current - idle;
        let room = self.limit.map(|_| self.room_above(reserved));
        self.demand_of(shortfall.pool, shortfall.bytes, room, share)
    }

    /// Returns the demand of a request of `lacking` bytes, within `room`.
    pub(super) fn demand_of(&self, pool: SubPool, lacking: u64, room: Option<u64>, share: f64) -> Demand {
        let idle = |of: Option<SubPool>| -> u64 {
            let segments = self.heap.inactive_segments();
            segments.filter(|&(id, _)| of.is_none() || self.heap.pool_of(id) == of).map(|(_, bytes)| bytes).sum()
        };
        let stats = self.heap.stats();
        let (moved, allocated) = (self.remedies.bytes_moved, self.heap.lifetime_allocated());
        let moved = Moved { moved, allocated, reserved: stats.reserved.current, share };
        let reserved = stats.reserved.current - idle(None);
        let reserved_in_pool = stats.pool(pool).reserved - idle(Some(pool));
        Demand { pool, lacking, reserved, reserved_in_pool, allocated, room, slack: moved.is_much(), additional: 0 }
    }

    /// Returns the smallest idle segment whose size is in the range. The segment is in the other sub-pool: an idle segment of
    /// the request's sub-pool would have served the request.
    fn smallest_idle(&self, sizes: RangeInclusive<u64>) -> Option<SegmentId> {
        let idle = self.heap.inactive_segments().filter(|(_, bytes)| sizes.contains(bytes));
        idle.min_by_key(|&(_, bytes)| bytes).map(|(id, _)| id)
    }
}
