//! A run of a step: which location each request gets.

use super::live::LiveBlocks;
use super::log::{Log, Request};
use super::snapshot::{LoopView, Loops};
use super::statistics::{Deviation, DeviationCause};
use super::step_plan::{Slot, StepPlan};
use crate::error::Site;
use crate::heap::{BlockId, Heap, PlannedSegment, SegmentId};
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;

/// The distance from its place in the plan within which a request is searched for first.
const WINDOW: usize = 32;

type CallSite = &'static Location<'static>;

/// The runs in progress in a pool: at most one of each thread.
#[derive(Debug, Default)]
pub(in crate::pool) struct Steps {
    runs: Vec<Run>,
    /// The segments of arenas that are prepared for a run that has not begun yet, each with the number of its loop. They stay as if the run
    /// had begun.
    prepared: Vec<(usize, PlannedSegment)>,
    /// The number of runs that are observed.
    observed: usize,
    /// The loops of the pool, for snapshots.
    pub(super) loops: Loops,
}

/// A run in progress.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The key of the thread.
    pub(super) thread: usize,
    /// The plans of the loop, the expected one first. Empty for a run that is only observed.
    pub(super) plans: Vec<Arc<StepPlan>>,
    /// The number of the plan that the run follows.
    pub(super) plan: usize,
    pub(super) arena: Vec<PlannedSegment>,
    /// The number of the next request in the plan.
    cursor: usize,
    /// The place where the plan may go on, and that of `cursor` when it was found: behind the slot of the last request, which was beyond the
    /// window. The run goes on there if its next request has the size that is planned there.
    distant: Option<(usize, usize)>,
    /// The blocks of the plan's slots that this run has used.
    placed: Vec<BlockId>,
    /// Whether the last request was not one of those that the plan leaves to the heap.
    deviates: bool,
    /// `None` while every request so far was placed by the plan in its order, in an arena that was empty before.
    live: Option<LiveBlocks>,
    pub(super) log: Option<Log>,
    pub(super) counts: Counts,
}

/// The progress of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) planned: u64,
    pub(super) by_heap: u64,
    pub(super) deviation: Option<Deviation>,
    /// Whether blocks of an earlier run were in the arena at the start.
    pub(super) leftover: bool,
}

impl Steps {
    #[inline]
    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns whether a thread is in a run.
    pub(super) fn contains(&self, thread: usize) -> bool {
        self.runs.iter().any(|run| run.thread == thread)
    }

    /// Returns the loops of the pool.
    pub(in crate::pool) fn loops(&self) -> impl Iterator<Item = &LoopView> {
        self.loops.iter().map(|(_, one)| &one.view)
    }

    /// Keeps a segment of an arena until the run of the loop begins.
    pub(super) fn prepare(&mut self, number: usize, planned: PlannedSegment) {
        self.prepared.push((number, planned));
    }

    /// Ends what [`Steps::prepare`] began.
    pub(super) fn end_preparation(&mut self, number: usize) {
        self.prepared.retain(|&(of, _)| of != number);
    }

    /// Returns whether a run is observed.
    #[inline]
    pub(in crate::pool) fn observes(&self) -> bool {
        self.observed > 0
    }

    fn begin(&mut self, run: Run) {
        self.observed += usize::from(run.log.is_some());
        self.runs.push(run);
    }

    pub(super) fn end(&mut self, thread: usize) -> Option<Run> {
        let index = self.runs.iter().position(|run| run.thread == thread)?;
        let run = self.runs.swap_remove(index);
        self.observed -= usize::from(run.log.is_some());
        Some(run)
    }

    /// Returns whether a run uses a segment, or is about to.
    pub(super) fn uses(&self, segment: SegmentId) -> bool {
        self.is_prepared(segment) || self.runs.iter().any(|run| run.arena.iter().any(|planned| planned.id() == segment))
    }

    fn is_prepared(&self, segment: SegmentId) -> bool {
        self.prepared.iter().any(|(_, planned)| planned.id() == segment)
    }

    /// Returns whether an arena has to stay although the pool would grow for `bytes` bytes: a run uses it, and the bytes are not for a
    /// request of this run that deviates from the plan and is larger than all blocks in the arena.
    pub(super) fn needs(&self, heap: &Heap, segment: SegmentId, bytes: u64) -> bool {
        if self.is_prepared(segment) {
            return true;
        }
        let thread = thread();
        let uses = |run: &&Run| run.arena.iter().any(|planned| planned.id() == segment);
        let placed = |run: &Run| run.arena.iter().map(|&planned| heap.active_of_planned(planned)).sum::<u64>();
        self.runs.iter().find(uses).is_some_and(|run| run.thread != thread || !run.deviates || placed(run) >= bytes)
    }

    /// Allocates the block of a request by the plan of the calling thread's run. `None` if the heap has to place the block.
    #[inline]
    pub(in crate::pool) fn allocate(
        &mut self,
        heap: &mut Heap,
        requested: NonZeroU64,
        site: CallSite,
    ) -> Option<BlockId> {
        let thread = thread();
        let run = self.runs.iter_mut().find(|run| run.thread == thread)?;
        run.allocate(heap, requested, site)
    }

    /// Notes a block that the calling thread has allocated.
    #[inline]
    pub(in crate::pool) fn allocated(&mut self, block: BlockId, requested: NonZeroU64, site: CallSite) {
        let thread = thread();
        let Some(run) = self.runs.iter_mut().find(|run| run.thread == thread) else { return };
        if let Some(log) = &mut run.log {
            log.allocated(block, requested.get(), site);
        }
    }

    /// Notes that a block is not active any more.
    #[inline]
    pub(in crate::pool) fn freed(&mut self, block: BlockId) {
        for run in &mut self.runs {
            if let Some(log) = &mut run.log {
                log.freed(block);
            }
        }
    }
}

impl Run {
    pub(super) fn new(thread: usize, log: Option<Log>) -> Self {
        Self { thread, log, ..Self::default() }
    }

    /// Sets the plans of the loop, the expected one first.
    pub(super) fn expect(&mut self, plans: Vec<Arc<StepPlan>>) {
        self.placed = Vec::with_capacity(plans.first().map_or(0, |plan| plan.len()));
        self.plans = plans;
    }

    /// Returns the plan that the run followed from its first request to its last, although locations may have been in use.
    pub(super) fn followed(&self) -> Option<&Arc<StepPlan>> {
        let plan = self.plans.get(self.plan).filter(|plan| plan.len() == self.cursor)?;
        let cause = self.counts.deviation.as_ref().map(|deviation| deviation.cause);
        matches!(cause, None | Some(DeviationCause::InUse | DeviationCause::ArenaReleased)).then_some(plan)
    }

    /// Returns whether every request was placed at the offset of a plan.
    pub(super) fn has_agreed(&self) -> bool {
        self.counts.deviation.is_none() && self.followed().is_some()
    }

    /// Notes the end of a run that made fewer requests than planned, unless another plan ends there.
    pub(super) fn finish(&mut self) {
        let other = match self.plans.get(self.plan) {
            Some(current) if self.counts.deviation.is_none() && current.len() != self.cursor => {
                self.plans.iter().position(|plan| plan.len() == self.cursor && plan.begins(current))
            }
            _ => None,
        };
        if let Some(other) = other {
            self.plan = other;
        }
        let planned = self.plans.get(self.plan).and_then(|plan| plan.request(self.cursor)).copied();
        if let Some(planned) = planned {
            self.deviate(self.cursor, DeviationCause::Missing, Some(&planned), None);
        }
    }

    fn allocate(&mut self, heap: &mut Heap, requested: NonZeroU64, site: CallSite) -> Option<BlockId> {
        self.deviates = true;
        let index = match self.plans.get(self.plan)?.slot(self.cursor) {
            Some(slot) if slot.bytes == requested.get() => {
                self.cursor += 1;
                self.cursor - 1
            }
            _ => match self.search(heap, requested, site) {
                Some(found) => found,
                None => {
                    self.counts.by_heap += 1;
                    return None;
                }
            },
        };
        let block = self.place(heap, index, requested, site);
        match block {
            Some(_) => self.counts.planned += 1,
            None => self.counts.by_heap += 1,
        }
        block
    }

    /// Allocates the block at a slot, if the slot is inside the arena and none of its bytes are in use.
    #[inline]
    fn place(&mut self, heap: &mut Heap, index: usize, requested: NonZeroU64, site: CallSite) -> Option<BlockId> {
        let plan = &self.plans[self.plan];
        let slot = *plan.slot(index)?;
        if slot.segment == Slot::OUTSIDE {
            self.deviates = false;
            return None;
        }
        // None after the arena was given up: the blocks of the slots before this one are unknown then.
        let planned = *self.arena.get(slot.segment as usize)?;
        let is_free = match &mut self.live {
            // All slots before this one were used by this run, in their order.
            None => plan.earlier(&slot).iter().all(|&before| !heap.is_active(self.placed[before as usize])),
            Some(live) => live.is_free(heap, slot.segment, &slot.range()),
        };
        if !is_free {
            let request = plan.request(index).copied();
            self.deviate(index, DeviationCause::InUse, request.as_ref(), Some((requested.get(), site)));
            self.follow_inexactly(heap);
            return None;
        }
        let Some(block) = heap.allocate_at(planned, slot.offset, requested) else {
            // The pool needed the memory of the arena.
            let request = plan.request(index).copied();
            self.deviate(index, DeviationCause::ArenaReleased, request.as_ref(), Some((requested.get(), site)));
            // From now on the heap places all blocks, and the run still compares them with the plan.
            self.arena.clear();
            return None;
        };
        match &mut self.live {
            None => {
                if self.placed.len() == index {
                    self.placed.push(block);
                } else {
                    self.note_placed(index, block);
                }
            }
            Some(live) => live.insert(slot.segment, &slot.range(), block),
        }
        Some(block)
    }

    /// Notes a block behind a slot that the run did not use.
    #[cold]
    fn note_placed(&mut self, index: usize, block: BlockId) {
        if self.placed.len() <= index {
            self.placed.resize(index + 1, block);
        }
        self.placed[index] = block;
    }

    /// Finds the planned request that a request with another size than the next one may be.
    #[cold]
    fn search(&mut self, heap: &Heap, requested: NonZeroU64, site: CallSite) -> Option<usize> {
        let agrees = self.counts.deviation.is_none();
        if let Some(other) = agrees.then(|| self.other_plan(requested.get())).flatten() {
            self.plan = other;
            if self.cursor > 0 {
                // The blocks so far are where the other plan has them.
                self.follow_inexactly(heap);
            }
            self.cursor += 1;
            return Some(self.cursor - 1);
        }
        let plan = &self.plans[self.plan];
        let size = granules(heap, requested);
        let planned = plan.request(self.cursor).copied();
        let is_same = |index: &usize| plan.slot(*index).is_some_and(|slot| slot.size == size);
        if is_same(&self.cursor) {
            // Other bytes, but a block of the same size.
            self.cursor += 1;
            return Some(self.cursor - 1);
        }
        let expected = self.cursor;
        let is_near = |index: &usize| index.abs_diff(expected) <= WINDOW;
        let goes_on = |(place, from): (usize, usize)| (from == expected && is_same(&place)).then_some(place);
        let ahead = plan.next_of_size(size, expected);
        let behind = plan.last_of_size(size, expected);
        let found = match (self.distant.take().and_then(goes_on), ahead.filter(is_near)) {
            (Some(next), _) | (None, Some(next)) => {
                self.cursor = next + 1;
                Some(next)
            }
            // The place in the plan stays.
            (None, None) => behind.filter(is_near).or_else(|| {
                self.distant = ahead.map(|ahead| (ahead + 1, expected));
                // A wrong guess at a block that the plan leaves to the heap would count as no deviation.
                ahead.or(behind).filter(|&found| plan.slot(found).is_some_and(|slot| slot.segment != Slot::OUTSIDE))
            }),
        };
        self.deviate(expected, DeviationCause::Size, planned.as_ref(), Some((requested.get(), site)));
        self.follow_inexactly(heap);
        found
    }

    /// Returns another plan that has the same sizes so far and continues with `bytes`.
    fn other_plan(&self, bytes: u64) -> Option<usize> {
        let current = &self.plans[self.plan];
        (0..self.plans.len())
            .find(|&other| other != self.plan && self.plans[other].continues(current, self.cursor, bytes))
    }

    /// From now on, compares with all blocks in the arena before a slot is used.
    fn follow_inexactly(&mut self, heap: &Heap) {
        if self.live.is_none() {
            self.live = Some(LiveBlocks::of(heap, &self.arena));
        }
    }

    /// Notes a request that differs from the plan, if it is the first one.
    #[cold]
    fn deviate(
        &mut self,
        index: usize,
        cause: DeviationCause,
        planned: Option<&Request>,
        made: Option<(u64, CallSite)>,
    ) {
        self.counts.deviation.get_or_insert_with(|| Deviation {
            request: index,
            cause,
            planned_site: planned.map(|request| Site::from(request.site)),
            planned_bytes: planned.map(|request| request.bytes),
            bytes: made.map(|(bytes, _)| bytes),
            site: made.map(|(_, site)| site.into()),
        });
    }
}

/// The size of a block in granules.
#[inline]
fn granules(heap: &Heap, requested: NonZeroU64) -> u32 {
    let size = heap.block_size(requested) / heap.granule();
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Returns a number that identifies the calling thread while it exists.
#[inline]
pub(super) fn thread() -> usize {
    thread_local! {
        static KEY: u8 = const { 0 };
    }
    // Without a destructor, the variable exists as long as the thread.
    KEY.with(|key| std::ptr::from_ref(key).addr())
}

impl<M: crate::device::Memory> crate::pool::Inner<M> {
    /// Begins a run of a loop. If the pool needed the memory of a prepared arena meanwhile, the run finds that as if it had happened later.
    pub(super) fn begin_run(&self, number: usize, mut run: Run) {
        let mut state = self.state();
        // In one step, so that the arena stays.
        state.steps.end_preparation(number);
        run.counts.leftover = run.arena.iter().any(|&planned| state.heap.active_of_planned(planned) > 0);
        if run.counts.leftover {
            run.follow_inexactly(&state.heap);
        }
        state.steps.begin(run);
        self.begin_to_defer(&state);
    }
}

impl<M: crate::device::Memory> crate::pool::State<M> {
    /// Allocates the block of a request by the plan of the calling thread's step, if it is in one. `None` if the heap has to place the block.
    #[inline]
    pub(in crate::pool) fn allocate_in_step(&mut self, requested: NonZeroU64, site: CallSite) -> Option<BlockId> {
        if self.steps.is_empty() { None } else { self.steps.allocate(&mut self.heap, requested, site) }
    }

    /// Notes in the observed steps that a block was freed, unless a pin keeps it active.
    #[inline]
    pub(in crate::pool) fn note_end_in_steps(&mut self, block: BlockId) {
        if self.steps.observes() && !self.heap.is_active(block) {
            self.steps.freed(block);
        }
    }
}
