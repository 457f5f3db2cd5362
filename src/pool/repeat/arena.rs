//! The arena of a loop: planned segments of the heap.
//!
//! The arena counts as reserved memory like every segment. Between the runs it stays as long as the pool needs no other memory: a request
//! for which the pool would grow makes it an ordinary segment, and it is released where idle segments are: by a trim, by the release policy,
//! and when the limit or the device refuses memory. In a run it becomes an ordinary segment if memory is refused, or if the pool would grow
//! for a request that deviates from the plan and is larger than all blocks in the arena together. The next run plans the segment again if it
//! is idle, or uses the idle arena of another loop, or creates an arena.

use super::step_plan::StepPlan;
use crate::device::{Memory, Submit};
use crate::error::{DeviceError, RepeatError};
use crate::heap::{PlannedSegment, SegmentId, SubPool};
use crate::pool::messages::note;
use crate::pool::{Inner, State};

impl<M: Memory> State<M> {
    /// Removes all idle segments from the heap, with the arenas that no run uses.
    pub(in crate::pool) fn release_idle_segments(&mut self) -> Vec<(SegmentId, u64)> {
        self.let_go_of_arenas();
        self.heap.release_inactive()
    }

    /// Makes the arenas that no run uses idle segments, unless they have blocks.
    pub(in crate::pool) fn let_go_of_arenas(&mut self) {
        for id in self.heap.planned_segments() {
            if !self.steps.uses(id) {
                self.heap.let_go(id);
            }
        }
    }

    /// Makes all arenas ordinary segments, and returns them.
    pub(in crate::pool) fn give_up_arenas(&mut self) -> Vec<SegmentId> {
        let arenas = self.heap.planned_segments();
        for &id in &arenas {
            self.heap.unplan_segment(id);
        }
        arenas
    }

    /// Makes those arenas ordinary segments that no run needs while the pool would grow for `bytes` bytes, and returns them.
    pub(in crate::pool) fn give_up_unneeded_arenas(&mut self, bytes: u64) -> Vec<SegmentId> {
        let mut arenas = self.heap.planned_segments();
        arenas.retain(|&id| !self.steps.needs(&self.heap, id, bytes));
        for &id in &arenas {
            self.heap.unplan_segment(id);
        }
        arenas
    }

    /// Prepares an arena for a run if it has the sizes and no run uses it. Otherwise makes it of idle segments: the smallest arenas of other
    /// loops, or segments that are at most a sixteenth larger than necessary. Returns false if there are too few.
    fn reuse_segments(&mut self, number: usize, arena: &mut Vec<PlannedSegment>, needed: &[u64]) -> bool {
        let suits = |(planned, bytes): (&PlannedSegment, &u64)| {
            self.heap.is_planned(*planned)
                && !self.steps.uses(planned.id())
                && self.heap.segment_bytes(planned.id()).is_some_and(|size| size >= *bytes)
        };
        if arena.len() == needed.len() && arena.iter().zip(needed).all(suits) {
            self.prepare(number, arena);
            return true;
        }
        let of_loops = self.heap.planned_segments().into_iter().filter(|&id| !self.steps.uses(id));
        let of_loops = of_loops.filter_map(|id| Some((self.heap.segment_bytes(id)?, id, true)));
        let idle = self.heap.inactive_segments().filter(|&(id, _)| !self.steps.uses(id));
        let idle = idle.map(|(id, bytes)| (bytes, id, false));
        let mut segments: Vec<_> = of_loops.chain(idle).collect();
        segments.sort_unstable();
        let mut chosen: Vec<SegmentId> = Vec::new();
        for &bytes in needed {
            let fits = |&&(size, id, is_arena): &&(u64, SegmentId, bool)| {
                size >= bytes && (is_arena || size <= bytes + bytes / 16) && !chosen.contains(&id)
            };
            let Some(&(_, id, _)) = segments.iter().find(fits) else { return false };
            chosen.push(id);
        }
        *arena = chosen.into_iter().filter_map(|id| self.heap.plan_segment(id).ok()).collect();
        if arena.len() < needed.len() {
            return false;
        }
        self.prepare(number, arena);
        true
    }

    /// Keeps an arena until the run of the loop begins.
    fn prepare(&mut self, number: usize, arena: &[PlannedSegment]) {
        for &planned in arena {
            self.heap.hold(planned, true);
            self.steps.prepare(number, planned);
        }
    }
}

impl<M: Memory> Inner<M> {
    /// Returns the size of an arena in bytes.
    pub(super) fn arena_bytes(&self, arena: &[PlannedSegment]) -> u64 {
        let state = self.state();
        arena.iter().filter_map(|planned| state.heap.segment_bytes(planned.id())).sum()
    }

    /// Prepares the arena for a run of a loop: creates it if it does not exist or is too small for one of the plans. It stays until
    /// [`Inner::begin_run`], as in a run.
    ///
    /// # Errors
    /// Why there is none. The run is then not planned.
    pub(super) fn prepare_arena(
        &self,
        number: usize,
        arena: &mut Vec<PlannedSegment>,
        plans: impl Iterator<Item = impl AsRef<StepPlan>>,
    ) -> Result<bool, RepeatError> {
        let needed = sizes(plans, self.growth.granule);
        if self.state().reuse_segments(number, arena, &needed) {
            return Ok(false);
        }
        self.give_up(number, arena);
        let total: u64 = needed.iter().sum();
        // The segments that served the observed run are idle now. The arenas of other loops stay.
        let released = self.release_segments(|state| state.heap.release_inactive());
        let active = self.state().heap.held().active;
        // The memory should be freed before more is allocated.
        let prepared =
            released.and_then(|_| self.compact_down_to(active)).and_then(|_| self.memory.submit(Submit::Now));
        if let Err(error) = prepared {
            note!(Warn, "wgpu-pool: preparing the arena of a plan: {error}");
        }
        let room = self.refreshed_room();
        let limit = self.state().limit;
        if let Some(limit) = limit.filter(|_| room < total) {
            return Err(RepeatError::ArenaAboveLimit { arena: total, limit, room });
        }
        for bytes in needed {
            match self.create_planned(number, bytes) {
                Some(planned) => arena.push(planned),
                None => {
                    self.give_up(number, arena);
                    return Err(RepeatError::ArenaRefused { bytes });
                }
            }
        }
        Ok(true)
    }

    /// Makes the arena of a loop ordinary segments, unless a run of another loop uses it.
    pub(super) fn give_up(&self, number: usize, arena: &mut Vec<PlannedSegment>) {
        let mut state = self.state();
        state.steps.end_preparation(number);
        for planned in arena.drain(..) {
            if state.heap.is_planned(planned) && !state.steps.uses(planned.id()) {
                state.heap.unplan_segment(planned.id());
            }
        }
    }

    fn create_planned(&self, number: usize, bytes: u64) -> Option<PlannedSegment> {
        let growing = self.lock_growth();
        let segment = match self.memory.create_segment(bytes) {
            Ok(segment) => segment,
            Err(error) => {
                if matches!(error, DeviceError::Refused { .. }) {
                    self.state().remedies.refusals += 1;
                }
                note!(Debug, "wgpu-pool: no arena for a plan: {error}");
                return None;
            }
        };
        // In the same critical section, so that no other thread takes the new segment.
        let plan = |state: &mut State<M>, id: SegmentId| {
            let planned = state.heap.plan_segment(id).expect("the segment is new");
            state.prepare(number, &[planned]);
            planned
        };
        let added = self.add(SubPool::Large, bytes, segment, plan);
        drop(growing);
        added.ok().flatten()
    }
}

/// Returns the sizes of the segments of an arena for several plans, in bytes.
fn sizes(plans: impl Iterator<Item = impl AsRef<StepPlan>>, granule: u64) -> Vec<u64> {
    let mut sizes: Vec<u64> = Vec::new();
    for plan in plans {
        let segments = plan.as_ref().segments();
        sizes.resize(sizes.len().max(segments.len()), 0);
        for (size, &granules) in sizes.iter_mut().zip(segments) {
            *size = (*size).max(u64::from(granules) * granule);
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use crate::device::AccountingMemory;
    use crate::error::AllocateError;
    use crate::pool::{Pool, PoolOptions, RepeatOptions};

    /// The actions of other threads between the preparation of an arena and the begin of its run.
    #[test]
    fn a_prepared_arena_stays_until_its_run_begins() -> Result<(), Box<dyn std::error::Error>> {
        let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
        let [one, other] = [(); 2].map(|()| pool.repeat(RepeatOptions::default()));
        let step = || -> Result<(), AllocateError> {
            let (first, second) = (pool.allocate(3 << 20)?, pool.allocate(2 << 20)?);
            drop((first, second));
            Ok(())
        };
        for each in [&one, &other, &one, &other] {
            each.run(step)??;
        }
        for is_trimmed_before in [false, true] {
            if is_trimmed_before {
                // The arena is created again.
                pool.trim();
            }
            let mut progress = one.progress.lock().take().ok_or("a run")?;
            let mut arena = std::mem::take(&mut progress.arena);
            let plans: Vec<_> = progress.kinds.iter().map(|kind| kind.plan.clone()).collect();
            pool.inner.prepare_arena(one.number, &mut arena, plans.iter())?;
            let is_planned = || arena.iter().all(|&planned| pool.inner.state().heap.is_planned(planned));
            assert!(!arena.is_empty() && is_planned());
            pool.trim();
            pool.compact()?;
            other.run(step)??;
            // The pool grows.
            drop(pool.allocate(64 << 20)?);
            assert!(is_planned(), "trimmed before: {is_trimmed_before}");
            pool.inner.state().steps.end_preparation(one.number);
            pool.trim();
            assert!(!is_planned(), "nothing uses it");
            progress.arena = arena;
            *one.progress.lock() = Some(progress);
            one.run(step)??;
            assert_eq!(one.stats().last_deviation, None);
        }
        Ok(())
    }
}
