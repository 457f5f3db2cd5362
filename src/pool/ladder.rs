//! The ladder of remedies for a request that no hole can serve.
//!
//! Each rung costs more than the one before: reuse a hole; take an idle segment of the other pool; move a few blocks away
//! so that a hole appears; give idle segments back and create one that fits; at the limit, or when the device refuses, wait
//! for the device to finish with what was given back and try once more; take any hole of either pool, or move whatever is in
//! the way; call the program's pressure callback (`pressure.rs`), and again as long as it frees something; say what there is in
//! an error. Only a rung after which nothing but the callback and the error are left waits.

use super::growth::{Demand, Moved};
use super::make_up::MadeUp;
use super::{Content, Inner, Pool, Remedies, State, Storage};
use crate::device::Memory;
use crate::error::{AllocateError, Bytes, DeviceError, OutOfMemory};
use crate::heap::{BlockId, SegmentId, Shortfall, SubPool};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::panic::Location;
use std::sync::{Arc, PoisonError};

/// Why no segment was made.
enum NoGrowth {
    /// The limit leaves no room.
    Limit,
    /// The device refused this many bytes.
    Refused(u64),
    Failed(DeviceError),
}

/// What a growing pool does next.
enum Step {
    /// There was a hole after all.
    Served(BlockId),
    /// A segment of so many bytes, or none where the limit leaves no room.
    Create { bytes: Option<u64>, shortfall: Shortfall },
}

impl<M: Memory> Pool<M> {
    /// Hands out a block of at least `bytes` bytes, whose content is stale. Zero bytes are valid and take no memory.
    ///
    /// When a hole is large enough this takes constant time and calls nothing of the device. Otherwise the pool grows, which
    /// doesn't wait for the device either, unless the alternative would be an error.
    ///
    /// # Errors
    /// [`AllocateError::OutOfMemory`] at the limit or when the device refuses, [`AllocateError::TooLarge`] above the
    /// device's largest buffer, [`AllocateError::Device`] when the device fails. Nothing is changed by an error.
    #[track_caller]
    pub fn allocate(&self, bytes: u64) -> Result<Storage<M>, AllocateError> {
        allocate(&self.inner, bytes, &Content::BYTES)
    }

    /// As [`Pool::allocate`], and says what the block is for.
    #[track_caller]
    pub(crate) fn allocate_as(&self, bytes: u64, content: &Content) -> Result<Storage<M>, AllocateError> {
        allocate(&self.inner, bytes, content)
    }
}

impl<M: Memory> Storage<M> {
    /// A block of the same pool, as [`Pool::allocate_as`].
    #[track_caller]
    pub(crate) fn allocate_beside(&self, bytes: u64, content: &Content) -> Result<Self, AllocateError> {
        allocate(self.inner(), bytes, content)
    }
}

#[inline]
#[track_caller]
fn allocate<M: Memory>(inner: &Arc<Inner<M>>, bytes: u64, content: &Content) -> Result<Storage<M>, AllocateError> {
    let site = Location::caller();
    let Some(requested) = NonZeroU64::new(bytes) else {
        return Ok(Storage::new(inner, None, None, 0));
    };
    let limit = inner.growth.maximum_segment;
    if bytes > limit {
        return Err(AllocateError::TooLarge { requested: bytes, limit });
    }
    let mut state = inner.state();
    let block = if let Ok(block) = state.heap.allocate(requested) {
        block
    } else {
        drop(state);
        let block = Pool::of(inner).climb(requested, site)?;
        state = inner.state();
        block
    };
    let State { attribution, heap, .. } = &mut *state;
    attribution.allocated(heap, block, bytes, site, content);
    let recycled = state.references.pop();
    drop(state);
    Ok(Storage::new(inner, recycled, Some(block), bytes))
}

impl<M: Memory> Inner<M> {
    /// Every rung above the first, up to the callback.
    pub(super) fn climb(&self, requested: NonZeroU64, before: &Remedies) -> Result<BlockId, AllocateError> {
        // Finished work first: its callbacks may free what serves the request.
        self.memory.poll();
        let refusal = match self.grow(requested) {
            Ok(block) => return Ok(block),
            Err(NoGrowth::Failed(error)) => return Err(self.memory.explain(error).into()),
            Err(refusal @ (NoGrowth::Limit | NoGrowth::Refused(_))) => refusal,
        };
        // The next rung would be an error, so waiting is allowed: what was given back counts once the device is done with
        // it. No lock is held, since callbacks run meanwhile and may free or allocate.
        let release = |state: &mut State<M>| {
            let segments = state.heap.release_inactive();
            state.remedies.count_released(&segments);
            segments
        };
        let wait = self.destroy_idle(release) > 0 || self.reclaim() > 0;
        if wait || matches!(refusal, NoGrowth::Refused(_)) {
            self.state().remedies.waits += 1;
            log::debug!("wgpu-pool: waiting for the device, for a request of {}", Bytes(requested.get()));
            self.memory.drop_caches();
            self.memory.wait()?;
            self.reclaim();
        }
        let refused = match self.grow(requested) {
            Ok(block) => return Ok(block),
            Err(NoGrowth::Failed(error)) => return Err(self.memory.explain(error).into()),
            Err(NoGrowth::Limit) => None,
            Err(NoGrowth::Refused(bytes)) => Some(bytes),
        };
        if let Some(block) = self.last_resort(requested)? {
            return Ok(block);
        }
        let error = self.out_of_memory(&self.state(), requested.get(), refused, before);
        Err(AllocateError::OutOfMemory(Box::new(error)))
    }

    /// Takes note of what the driver has back, for the next trim to report. Returns the bytes that it hasn't.
    fn reclaim(&self) -> u64 {
        let reclaimed = self.memory.reclaim();
        self.state().unreported += reclaimed.freed;
        reclaimed.pending
    }

    /// Any hole of either pool, and if there is none, one made by moving whatever is in the way.
    fn last_resort(&self, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        for pool in SubPool::ALL {
            let mut state = self.state();
            if let Ok(block) = state.heap.allocate_from(pool, requested) {
                let strays = pool != state.heap.pool_for(requested);
                let remedies = &mut state.remedies;
                *(if strays { &mut remedies.strayed } else { &mut remedies.served_late }) += 1;
                log::debug!("wgpu-pool: a hole of the {pool:?} pool for a request of {}", Bytes(requested.get()));
                return Ok(Some(block));
            }
        }
        if self.compaction_share > 0.0 {
            for pool in SubPool::ALL {
                if let Some(block) = self.compact_at_any_cost(pool, requested)? {
                    return Ok(Some(block));
                }
            }
        }
        Ok(None)
    }

    /// Makes room without waiting: by an idle segment of the other pool, or by a new one.
    fn grow(&self, requested: NonZeroU64) -> Result<BlockId, NoGrowth> {
        let mut made_up = MadeUp::default();
        // Decided once: by the next plan, the hole that the block has outgrown may be gone.
        let mut additional = None;
        let (growing, bytes, shortfall) = loop {
            let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
            let (bytes, shortfall) = match self.plan_growth(requested, &mut additional) {
                Step::Served(block) => return Ok(block),
                Step::Create { bytes, shortfall } => (bytes, shortfall),
            };
            let allowance = self.move_allowance();
            if let Some(block) = self.compact_for(shortfall.pool, requested, allowance).map_err(NoGrowth::Failed)? {
                return Ok(block);
            }
            let Some(bytes) = bytes else {
                self.state().remedies.limit_hits += 1;
                log::debug!("wgpu-pool: the limit leaves no room for a request of {}", Bytes(requested.get()));
                return Err(NoGrowth::Limit);
            };
            made_up.packs_nothing = additional.is_some_and(|bytes| bytes > 0);
            // If the lock is not held any more, another thread may have grown the pool: the plan is made anew.
            let held = self.make_up(growing, shortfall.pool, bytes, &mut made_up).map_err(NoGrowth::Failed)?;
            if let Some(growing) = held {
                break (growing, bytes, shortfall);
            }
        };
        let (segment, bytes) = self.create(bytes, shortfall.bytes)?;
        let mut state = self.state();
        let id = state.add(shortfall.pool, bytes, segment).map_err(NoGrowth::Failed)?;
        let reserved = state.heap.stats().reserved.current;
        // Within one hold of the lock, so that no other thread takes what this one has made.
        let block = state.heap.allocate(requested).expect("the new segment is large enough");
        drop(state);
        drop(growing);
        let sizes = [bytes, requested.get(), reserved].map(Bytes);
        log::debug!("wgpu-pool: segment {id} of {} for a request of {}, reserved {}", sizes[0], sizes[1], sizes[2]);
        Ok(block)
    }

    /// Serves the request after all, or says what to create. `additional` is set by the first plan for a request.
    fn plan_growth(&self, requested: NonZeroU64, additional: &mut Option<u64>) -> Step {
        let mut state = self.state();
        // Another thread may have grown the pool meanwhile.
        let shortfall = match state.heap.allocate(requested) {
            Ok(block) => {
                state.remedies.served_late += 1;
                log::debug!("wgpu-pool: a hole came in for a request of {}", Bytes(requested.get()));
                return Step::Served(block);
            }
            Err(shortfall) => shortfall,
        };
        let hole = state.heap.largest_hole();
        let additional = *additional.get_or_insert_with(|| state.append_loops.additional_bytes(shortfall.bytes, hole));
        let demand = Demand { additional, ..state.demand(&shortfall, self.compaction_share) };
        let created = self.growth.segment_bytes(&demand);
        // A few small bytes that live long must not hold a segment much larger than the one they would get.
        let most =
            if shortfall.pool == SubPool::Small { created.map_or(u64::MAX, |bytes| 2 * bytes) } else { u64::MAX };
        if let Some(idle) = state.smallest_idle(shortfall.bytes..=most) {
            state.heap.adopt(idle, shortfall.pool).expect("an idle segment may change pools");
            state.remedies.adopted += 1;
            log::debug!("wgpu-pool: segment {idle} adopted by the {:?} pool", shortfall.pool);
            return Step::Served(state.heap.allocate(requested).expect("the adopted segment is large enough"));
        }
        Step::Create { bytes: created, shortfall }
    }

    /// Creates a segment of `bytes` bytes, or of the least that serves if the device refuses so much.
    fn create(&self, bytes: u64, least: u64) -> Result<(M::Segment, u64), NoGrowth> {
        for bytes in [bytes, least] {
            match self.memory.create_segment(bytes) {
                Ok(segment) => return Ok((segment, bytes)),
                Err(DeviceError::Refused { .. }) => {
                    self.state().remedies.refusals += 1;
                    log::debug!("wgpu-pool: the device refused a segment of {}", Bytes(bytes));
                }
                Err(error) => return Err(NoGrowth::Failed(error)),
            }
        }
        Err(NoGrowth::Refused(least))
    }

    fn out_of_memory(&self, state: &State<M>, requested: u64, refused: Option<u64>, before: &Remedies) -> OutOfMemory {
        let mut holders = state.holders();
        holders.truncate(Self::LISTED);
        let now = state.heap.stats();
        let granule = self.growth.granule;
        let room = state.limit.unwrap_or(u64::MAX).saturating_sub(now.reserved.current);
        let by_growth = if refused.is_some() { 0 } else { room.min(self.growth.maximum_segment) / granule * granule };
        OutOfMemory {
            requested,
            rounded: requested.next_multiple_of(granule),
            limit: state.limit,
            refused,
            allocated: now.allocated.current,
            pinned: now.pinned.current,
            reserved: now.reserved.current,
            largest_hole: state.heap.largest_hole(),
            holes: state.heap.holes(),
            largest_request: by_growth.max(state.heap.largest_hole()),
            moves: self.compaction_share > 0.0,
            gains: state.remedies.gains_since(before),
            holders,
        }
    }
}

impl<M: Memory> State<M> {
    /// What the next segment is for. Idle segments count as gone, since they leave as far as they make up for it.
    fn demand(&self, shortfall: &Shortfall, share: f64) -> Demand {
        let idle = |of: Option<SubPool>| -> u64 {
            let segments = self.heap.inactive_segments();
            segments.filter(|&(id, _)| of.is_none() || self.heap.pool_of(id) == of).map(|(_, bytes)| bytes).sum()
        };
        let stats = self.heap.stats();
        let reserved = stats.reserved.current - idle(None);
        let (moved, allocated) = (self.remedies.bytes_moved, stats.allocated.allocated);
        let moved = Moved { moved, allocated, reserved: stats.reserved.current, share };
        Demand {
            pool: shortfall.pool,
            lacking: shortfall.bytes,
            reserved_in_pool: stats.pool(shortfall.pool).reserved - idle(Some(shortfall.pool)),
            room: self.limit.map(|limit| limit.saturating_sub(reserved)),
            slack: moved.is_much(),
            additional: 0,
        }
    }

    /// The smallest idle segment of a size in the range. It is of the other pool, or its pool would have served the request.
    fn smallest_idle(&self, sizes: RangeInclusive<u64>) -> Option<SegmentId> {
        let idle = self.heap.inactive_segments().filter(|(_, bytes)| sizes.contains(bytes));
        idle.min_by_key(|&(_, bytes)| bytes).map(|(id, _)| id)
    }
}
