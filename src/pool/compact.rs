//! Compaction: moving live blocks.
//!
//! A move is an ordinary command: kernels recorded earlier use the old location, kernels recorded later use the new
//! one, and no thread waits for the device. Planning, recording the copies and committing are one atomic step, with the
//! recorder and the heap locked. Everything that a copy may fail to allocate is created before the first copy, so that
//! no copy fails after another was recorded.

use super::growth::share_of;
use super::{GrowthGuard, Inner, Pool, State};
use crate::device::{Commands, Memory, Submit};
use crate::error::{Bytes, Count, DeviceError};
use crate::heap::compaction::{Gain, PackingBounds, Plan};
use crate::heap::{BlockId, Heap, Place, SegmentId, SubPool};
use crate::pool::messages::{Postponed, note};
use std::num::NonZeroU64;

/// The usual size limit of a segment into which blocks are packed, in bytes: the pool temporarily holds this much more
/// memory.
const PACKED_BYTES: u64 = 64 << 20;
/// In a large pool the limit is this fraction of the active bytes: 1/8.
const PACKED_DIVISOR: u64 = 8;
/// On demand, a segment is packed unless less than 1/64 of its bytes are inactive.
const DENSE: u32 = 64;
/// Before growth, a segment is packed unless less than 1/4 of its bytes are inactive, because every move delays a
/// request.
const DENSE_BEFORE_GROWTH: u32 = 4;

/// The result of [`Pool::compact`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The number of moved blocks.
    pub moves: usize,
    /// The number of moved bytes.
    pub bytes: u64,
}

impl Compacted {
    fn add(&mut self, plan: &Plan) {
        self.moves += plan.moves().len();
        self.bytes += plan.bytes();
    }
}

impl<M: Memory> Pool<M> {
    /// Moves live blocks out of the sparsest segments, so that [`Pool::trim`] can return these segments to the driver.
    ///
    /// Blocks move into holes of other segments. Blocks that fit no hole are packed into new segments of exactly their
    /// size, one segment at a time, and the emptied segments are released immediately. This step is skipped if the
    /// limit or the device does not permit a new segment, and in browsers, where the device could refuse the segment
    /// after blocks have moved. The contents of the blocks do not change, and pinned blocks do not move.
    ///
    /// Waits neither for the device nor for a thread that is submitting: the moves are submitted, and the emptied segments
    /// destroyed, on the submission thread. Where there is none (GL, browsers), the calling thread submits.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. Moves that were recorded before the error are complete.
    pub fn compact(&self) -> Result<Compacted, DeviceError> {
        self.compact_up_to(u64::MAX)
    }

    /// Moves at most `max_bytes` bytes of live blocks out of the sparsest segments, for a program that compacts a little in each
    /// frame. See [`Pool::compact`].
    ///
    /// # Errors
    /// As [`Pool::compact`].
    pub fn compact_up_to(&self, max_bytes: u64) -> Result<Compacted, DeviceError> {
        if let Some(dry) = self.dry() {
            return dry.compact_up_to(max_bytes);
        }
        // With nothing to move, no step below would return the error.
        self.inner.memory.check()?;
        let mut done = Compacted::default();
        for pool in SubPool::ALL {
            // A plan moves each block at most once; the next plan may move it again.
            while let Some((plan, ())) = self
                .inner
                .carry_out(|heap| heap.plan_evacuation(pool, u64::MAX, max_bytes - done.bytes), count_evacuation)?
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
const fn count_evacuation<M: Memory>(state: &mut State<M>) {
    state.remedies.evacuations += 1;
}

impl<M: Memory> Inner<M> {
    /// Creates a hole for a request by moving at most `budget` bytes, and allocates it.
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

    /// Creates a hole for a request by moving all blocks out of one range of one segment, and allocates it.
    pub(super) fn clear_window(&self, pool: SubPool, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| heap.plan_hole(pool, heap.block_size(requested), u64::MAX);
        let serve = |state: &mut State<M>| state.heap.allocate_from(pool, requested);
        Ok(self.carry_out(plan, serve)?.and_then(|(_, block)| block.ok()))
    }

    /// Creates a hole for a request by joining the free bytes of one segment, and allocates it.
    pub(super) fn gather(&self, pool: SubPool, requested: NonZeroU64) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| {
            let held = heap.stats().pool(pool);
            let bytes = heap.block_size(requested);
            if held.reserved - held.active < bytes { None } else { heap.plan_gathering(pool, bytes) }
        };
        let serve = |state: &mut State<M>| state.heap.allocate_from(pool, requested);
        Ok(self.carry_out(plan, serve)?.and_then(|(_, block)| block.ok()))
    }

    /// Creates a hole for a request by compacting segments with several holes until [`Inner::gather`] serves the request: blocks
    /// that fit no small hole may fit a large one. Each step leaves one segment fewer with several holes.
    pub(super) fn slide_and_gather(
        &self,
        pool: SubPool,
        requested: NonZeroU64,
    ) -> Result<Option<BlockId>, DeviceError> {
        let plan = |heap: &Heap| {
            let held = heap.stats().pool(pool);
            // Sliding joins holes and does not create free bytes.
            if held.reserved - held.active < heap.block_size(requested) { None } else { heap.plan_sliding(pool) }
        };
        while self.carry_out(plan, |_| ())?.is_some() {
            if let Some(block) = self.gather(pool, requested)? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Evacuates sparse segments of `bytes` bytes in total by moving at most `budget` bytes, so that releasing them
    /// compensates for a new segment. Returns whether a segment was evacuated.
    pub(super) fn evacuate(&self, pool: SubPool, bytes: u64, budget: u64) -> Result<bool, DeviceError> {
        if budget == 0 {
            return Ok(false);
        }
        let done = self.carry_out(|heap| heap.plan_evacuation(pool, bytes, budget), count_evacuation)?;
        Ok(done.is_some())
    }

    /// Packs blocks of sparse segments into a new segment and releases the emptied segments. Returns `None` if that
    /// gains nothing or if there is no room.
    fn pack(&self, pool: SubPool, budget: u64) -> Result<Option<Plan>, DeviceError> {
        let growing = self.lock_growth();
        let usual = PACKED_BYTES.max(self.state().heap.stats().pool(pool).active / PACKED_DIVISOR);
        let least = self.growth.minimum_segment;
        let bounds = PackingBounds { least, usual, most: u64::MAX, budget, dense: DENSE, goal: u64::MAX };
        let packed = self.pack_within(&growing, pool, bounds)?;
        drop(growing);
        if let Some(plan) = &packed {
            self.release_emptied(plan, Submit::WithoutWaiting)?;
        }
        Ok(packed)
    }

    /// Packs blocks of sparse segments into a new segment smaller than the `bytes` bytes by which the pool is about to
    /// grow, moving at most `budget` bytes. The emptied segments become idle.
    pub(super) fn pack_before_growth(
        &self,
        growing: &GrowthGuard<'_>,
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

    /// Packs blocks of sparse segments, of any density and size, into a new segment that the limit and the device
    /// permit, until `goal` bytes are gained. The emptied segments become idle. Returns whether blocks were packed.
    pub(super) fn pack_regardless_of_density(&self, pool: SubPool, goal: u64) -> Result<bool, DeviceError> {
        let growing = self.lock_growth();
        let (most, dense) = (u64::MAX, u32::MAX);
        let bounds = PackingBounds { least: 0, usual: most, most, budget: most, dense, goal };
        Ok(self.pack_within(&growing, pool, bounds)?.is_some())
    }

    /// Packs within `bounds`, the limit, and the device's memory. The caller holds the growth lock.
    fn pack_within(
        &self,
        _growing: &GrowthGuard<'_>,
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
        if !self.memory.can_block() {
            // The new segment might be refused after blocks have moved into it.
            return Ok(None);
        }
        let segment = match self.memory.create_segment(bytes) {
            Ok(segment) => segment,
            Err(DeviceError::Refused { .. }) => {
                self.state().remedies.refusals += 1;
                note!(Debug, "wgpu-pool: the device refused a segment of {} to pack", Bytes(bytes));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(into) = self.add(pool, bytes, segment, |_, id| id)? else { return Ok(None) };
        Ok(self.carry_out(|heap| heap.plan_packing(into, &bounds), count_evacuation)?.map(|(plan, ())| plan))
    }

    /// Releases the segments that a plan has emptied, and submits. Application callbacks may run inside, so the caller must
    /// hold no lock.
    pub(super) fn release_emptied(&self, plan: &Plan, when: Submit) -> Result<(), DeviceError> {
        if let Gain::Idle { segments, .. } = plan.gain() {
            self.destroy_idle(|state| state.release(segments));
            self.memory.submit(when)?;
        }
        Ok(())
    }

    /// Returns the number of bytes that may be moved now to avoid growth.
    pub(super) fn move_allowance(&self) -> u64 {
        let state = self.state();
        share_of(state.heap.lifetime_allocated(), self.compaction_share).saturating_sub(state.remedies.bytes_moved)
    }

    /// Plans, copies and commits in one step, then calls `then`, which uses the gain before any other thread. Returns
    /// `None` if there is no plan, or if the device refuses the bounce buffer that the copies need.
    fn carry_out<R>(
        &self,
        plan: impl FnOnce(&Heap) -> Option<Plan>,
        then: impl FnOnce(&mut State<M>) -> R,
    ) -> Result<Option<(Plan, R)>, DeviceError> {
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let mut state = self.state();
        if !state.spilled.is_empty() {
            // A plan could use a segment without device memory.
            return Ok(None);
        }
        let Some(plan) = plan(&state.heap) else { return Ok(None) };
        let is_unanswered = |id: SegmentId| state.unanswered.contains(&id);
        if plan.moves().iter().any(|one| is_unanswered(one.from_segment) || is_unanswered(one.to_segment)) {
            // A segment might be refused after blocks have moved into it.
            return Ok(None);
        }
        // No step after the bounce buffer may fail: a block that slides overwrites its old location.
        let within = plan.moves().iter().filter(|one| one.from_segment == one.to_segment);
        let largest = within.map(|one| one.size).max();
        match commands.prepare_bounce_buffer(largest.unwrap_or(0)) {
            Ok(()) if largest.is_none() || commands.has_accepted_bounce_buffer() => {}
            Ok(()) => return Ok(None),
            Err(DeviceError::Refused { bytes }) => {
                state.remedies.refusals += 1;
                drop(state);
                drop(commands);
                note!(Debug, "wgpu-pool: the device refused a bounce buffer of {}", Bytes(bytes));
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
        state.record_moves(&plan);
        state.remedies.compactions += 1;
        state.remedies.bytes_moved = state.remedies.bytes_moved.saturating_add(plan.bytes());
        let result = then(&mut state);
        drop(state);
        // Not submitted here, even if due: the caller may hold the growth lock, and callbacks run inside a submission.
        drop(commands);
        note!(Debug, "wgpu-pool: compaction: {} of {}", Count(plan.moves().len(), "move"), Bytes(plan.bytes()));
        note!(Trace, "wgpu-pool: {plan}");
        Ok(Some((plan, result)))
    }
}

impl<M: Memory> State<M> {
    fn record_moves(&mut self, plan: &Plan) {
        if self.attribution.history().is_none() {
            return;
        }
        for one in plan.moves() {
            let at = |segment, offset| Place { segment, offset, size: one.size, requested: 0 };
            let (from, to) = (at(one.from_segment, one.from_offset), at(one.to_segment, one.to_offset));
            self.attribution.moved(one.block, from, to);
        }
    }

    /// Releases those of the segments that are idle from the heap.
    fn release(&mut self, segments: &[SegmentId]) -> Vec<(SegmentId, u64)> {
        let idle: Vec<_> = self.heap.inactive_segments().filter(|(id, _)| segments.contains(id)).collect();
        for &(id, _) in &idle {
            self.heap.release_segment(id).expect("an idle segment may leave");
        }
        self.remedies.count_released(&idle);
        idle
    }
}
