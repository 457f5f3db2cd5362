//! Moving live blocks.
//!
//! A move is a command like any other: kernels recorded before it see the old place, those after it the new one, and nothing
//! waits. Planning, recording the copies and committing are one step, with the recorder and the heap held. What a copy can
//! lack is made ready before the first, so that none fails after another has begun.

use super::growth::share_of;
use super::{Inner, Pool, State};
use crate::device::{Commands, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::compaction::{Gain, PackingBounds, Plan};
use crate::heap::{BlockId, Heap, Place, SegmentId, SubPool};
use std::num::NonZeroU64;
use std::sync::{MutexGuard, PoisonError};

/// The most that blocks of several segments are packed into, in bytes: the pool holds so much more meanwhile.
const PACKED: u64 = 64 << 20;
/// In a large pool, the part of its active bytes that is.
const PACKED_PART: u64 = 8;
/// On demand, a segment is packed unless it is fuller than this: fewer than one byte in so many is inactive.
const DENSE: u32 = 64;
/// The same before the pool grows, when every move delays a request.
const DENSE_BEFORE_GROWTH: u32 = 4;

/// What [`Pool::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Blocks that were moved.
    pub moves: usize,
    /// Bytes that were moved.
    pub bytes: u64,
}

impl Compacted {
    fn add(&mut self, plan: &Plan) {
        self.moves += plan.moves().len();
        self.bytes += plan.bytes();
    }
}

impl<M: Memory> Pool<M> {
    /// Moves live blocks out of the sparsest segments into holes of others, so that [`Pool::trim`] can give those segments
    /// back. What finds no hole is packed into new segments of just its size, one at a time, and the segments that it leaves
    /// are given back at once; where the limit or the device has no room for a new one, this is left out. Moves at most
    /// `max_bytes` bytes; nothing waits. Contents survive to the bit, and pinned blocks stay.
    ///
    /// # Errors
    /// What the device found wrong; what was moved until then is whole.
    pub fn compact(&self, max_bytes: u64) -> Result<Compacted, DeviceError> {
        let mut done = Compacted::default();
        for pool in SubPool::ALL {
            // A plan doesn't move on what it has moved in; the next one may.
            while let Some((plan, ())) = self
                .inner
                .carry_out(|heap| heap.plan_evacuation(pool, u64::MAX, max_bytes - done.bytes), note_evacuation)?
            {
                done.add(&plan);
            }
            while let Some(plan) = self.inner.pack(pool, max_bytes - done.bytes)? {
                done.add(&plan);
            }
        }
        Ok(done)
    }
}

/// Counts a compaction that emptied segments.
const fn note_evacuation<M: Memory>(state: &mut State<M>) {
    state.remedies.evacuations += 1;
}

impl<M: Memory> Inner<M> {
    /// Makes a hole for a request by moving at most `budget` bytes, and hands it out.
    pub(super) fn compact_for(
        &self,
        pool: SubPool,
        requested: NonZeroU64,
        budget: u64,
    ) -> Result<Option<BlockId>, DeviceError> {
        if budget == 0 {
            return Ok(None);
        }
        let plan = |heap: &Heap| {
            let held = heap.stats().pool(pool);
            let bytes = heap.block_size(requested);
            if held.reserved - held.active < bytes { None } else { heap.plan_hole(pool, bytes, budget) }
        };
        let serve = |state: &mut State<M>| state.heap.allocate_from(pool, requested);
        Ok(self.carry_out(plan, serve)?.and_then(|(_, block)| block.ok()))
    }

    /// Makes a hole for a request by moving whatever is in the way out of one window of one segment, and hands it out.
    pub(super) fn clear_window(&self, pool: SubPool, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| heap.plan_hole(pool, heap.block_size(requested), u64::MAX);
        let serve = |state: &mut State<M>| state.heap.allocate_from(pool, requested);
        Ok(self.carry_out(plan, serve)?.and_then(|(_, block)| block.ok()))
    }

    /// Makes a hole for a request by joining the free bytes of one segment, and hands it out.
    pub(super) fn gather(&self, pool: SubPool, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| {
            let held = heap.stats().pool(pool);
            let bytes = heap.block_size(requested);
            if held.reserved - held.active < bytes { None } else { heap.plan_gathering(pool, bytes) }
        };
        let serve = |state: &mut State<M>| state.heap.allocate_from(pool, requested);
        Ok(self.carry_out(plan, serve)?.and_then(|(_, block)| block.ok()))
    }

    /// As [`Inner::gather`], and slides the blocks of segments with several holes together for it, one segment after the other:
    /// blocks that fit no small hole may fit a large one. Each slide leaves one segment fewer with several holes.
    pub(super) fn slide_and_gather(
        &self,
        pool: SubPool,
        requested: NonZeroU64,
    ) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| {
            let held = heap.stats().pool(pool);
            // Sliding joins holes; it makes no more of them.
            if held.reserved - held.active < heap.block_size(requested) { None } else { heap.plan_sliding(pool) }
        };
        while self.carry_out(plan, |_| ())?.is_some() {
            if let Some(block) = self.gather(pool, requested)? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Evacuates sparse segments of `bytes` bytes together by moving at most `budget` bytes, so that releasing them compensates for
    /// a new one. Whether a segment was evacuated.
    pub(super) fn evacuate(&self, pool: SubPool, bytes: u64, budget: u64) -> Result<bool, DeviceError> {
        if budget == 0 {
            return Ok(false);
        }
        let done = self.carry_out(|heap| heap.plan_evacuation(pool, bytes, budget), note_evacuation)?;
        Ok(done.is_some())
    }

    /// Packs blocks of sparse segments into a new one, and gives those back. None if that gains nothing, or if there is no room.
    fn pack(&self, pool: SubPool, budget: u64) -> Result<Option<Plan>, DeviceError> {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = PACKED.max(self.state().heap.stats().pool(pool).active / PACKED_PART);
        let least = self.growth.minimum_segment;
        let bounds = PackingBounds { least, usual, most: u64::MAX, budget, dense: DENSE, goal: u64::MAX };
        let packed = self.pack_within(&growing, pool, bounds)?;
        drop(growing);
        if let Some(plan) = &packed {
            self.give_back(plan)?;
        }
        Ok(packed)
    }

    /// Packs blocks of sparse segments into a new one of fewer bytes than the `bytes` that the pool is about to grow by, moving at
    /// most `budget` bytes. What they leave is idle.
    pub(super) fn pack_before_growth(
        &self,
        growing: &MutexGuard<'_, ()>,
        pool: SubPool,
        bytes: u64,
        budget: u64,
    ) -> Result<Option<Plan>, DeviceError> {
        if budget == 0 {
            return Ok(None);
        }
        let least = self.growth.minimum_segment;
        let (most, dense) = (bytes, DENSE_BEFORE_GROWTH);
        let bounds = PackingBounds { least, usual: bytes, most, budget, dense, goal: u64::MAX };
        self.pack_within(growing, pool, bounds)
    }

    /// Packs blocks of sparse segments, however dense and whatever their size, into a new one that the limit and the device have room
    /// for, until `goal` bytes are gained. What they leave is idle. Whether anything was packed.
    pub(super) fn pack_at_any_cost(&self, pool: SubPool, goal: u64) -> Result<bool, DeviceError> {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let (most, dense) = (u64::MAX, u32::MAX);
        let bounds = PackingBounds { least: 0, usual: most, most, budget: most, dense, goal };
        Ok(self.pack_within(&growing, pool, bounds)?.is_some())
    }

    /// Packs within `bounds` and what the limit and the device allow. The growth lock is held.
    fn pack_within(
        &self,
        _growing: &MutexGuard<'_, ()>,
        pool: SubPool,
        bounds: PackingBounds,
    ) -> Result<Option<Plan>, DeviceError> {
        let (bounds, bytes) = {
            let state = self.state();
            let most = bounds.most.min(state.room()).min(self.growth.maximum_segment);
            let bounds = PackingBounds { most, ..bounds };
            (bounds, state.heap.packing_bytes(pool, &bounds))
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let segment = match self.memory.create_segment(bytes) {
            Ok(segment) => segment,
            Err(DeviceError::Refused { .. }) => {
                self.state().remedies.refusals += 1;
                log::debug!("wgpu-pool: the device refused a segment of {} to pack", Bytes(bytes));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(into) = self.add(pool, bytes, segment, |_, id| id)? else { return Ok(None) };
        Ok(self.carry_out(|heap| heap.plan_packing(into, &bounds), note_evacuation)?.map(|(plan, ())| plan))
    }

    /// Gives back the segments that a plan has emptied. Callbacks may run inside, so no lock may be held.
    pub(super) fn give_back(&self, plan: &Plan) -> Result<(), DeviceError> {
        if let Gain::Idle { segments, .. } = plan.gain() {
            self.destroy_idle(|state| state.release(segments));
            self.memory.submit()?;
        }
        Ok(())
    }

    /// The bytes that may be moved now so that the pool need not grow.
    pub(super) fn move_allowance(&self) -> u64 {
        let state = self.state();
        share_of(state.heap.lifetime_allocated(), self.compaction_share).saturating_sub(state.remedies.bytes_moved)
    }

    /// Plans, copies and commits in one step, then lets `then` use the gain before any other thread. None if there is no plan, or if the
    /// device has no room for the bounce buffer that the plan's copies need.
    fn carry_out<R>(
        &self,
        plan: impl FnOnce(&Heap) -> Option<Plan>,
        then: impl FnOnce(&mut State<M>) -> R,
    ) -> Result<Option<(Plan, R)>, DeviceError> {
        let mut commands = self.memory.commands();
        let mut state = self.state();
        if !state.spilled.is_empty() {
            // A plan may name a segment without memory.
            return Ok(None);
        }
        let Some(plan) = plan(&state.heap) else { return Ok(None) };
        // After the bounce buffer nothing may fail: a block that slides overwrites the place that it leaves.
        let within = plan.moves().iter().filter(|one| one.from_segment == one.to_segment);
        match commands.prepare_bounce_buffer(within.map(|one| one.size).max().unwrap_or(0)) {
            Ok(()) => {}
            Err(DeviceError::Refused { bytes }) => {
                state.remedies.refusals += 1;
                log::debug!("wgpu-pool: the device refused a bounce buffer of {}", Bytes(bytes));
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        for one in plan.moves() {
            let from = state.location(one.from_segment, one.from_offset, one.size);
            let to = state.location(one.to_segment, one.to_offset, one.size);
            commands.copy(&from, &to)?;
        }
        self.scrub_vacated(&mut commands, &mut state, &plan)?;
        state.heap.commit(&plan).expect("the heap was locked since the plan was made");
        state.note_moves(&plan);
        state.remedies.compactions += 1;
        state.remedies.bytes_moved += plan.bytes();
        let result = then(&mut state);
        drop(state);
        // Not submitted, even if that is due: the growth lock may be held, and callbacks run inside a submission.
        drop(commands);
        log::debug!("wgpu-pool: compaction: {} moves of {}", plan.moves().len(), Bytes(plan.bytes()));
        log::trace!("wgpu-pool: {plan}");
        Ok(Some((plan, result)))
    }
}

impl<M: Memory> State<M> {
    fn note_moves(&mut self, plan: &Plan) {
        if self.attribution.history().is_none() {
            return;
        }
        for one in plan.moves() {
            let at = |segment, offset| Place { segment, offset, size: one.size, requested: 0 };
            let (from, to) = (at(one.from_segment, one.from_offset), at(one.to_segment, one.to_offset));
            self.attribution.moved(one.block, from, to);
        }
    }

    /// Takes those of the segments out of the heap that are idle.
    fn release(&mut self, segments: &[SegmentId]) -> Vec<(SegmentId, u64)> {
        let idle: Vec<_> = self.heap.inactive_segments().filter(|(id, _)| segments.contains(id)).collect();
        for &(id, _) in &idle {
            self.heap.release_segment(id).expect("an idle segment may leave");
        }
        self.remedies.count_released(&idle);
        idle
    }
}
