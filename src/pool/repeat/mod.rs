//! Steps that repeat: the first run is observed, and from then on its requests are placed by a plan.
//!
//! # How it works
//! [`Repeat::run`] registers a [`Run`](run::Run) for the calling thread in the state of the pool. While it is there, a request of this thread
//! asks the run before the heap. The first run is observed: its [`Log`](log::Log) has the size and the lifetime of each block. From them
//! [`StepPlan`] assigns a location in the arena to each block that ends within the run (`crate::plan`).
//!
//! A later run compares each request with the next one of the plan. If the sizes are equal, the block is allocated at its planned location: no
//! search and no growth. The plan lists blocks that had these bytes before in the same run; the run checks that these are free. Nothing else is
//! compared as long as the run has followed its plan in its order. After a deviation it compares with all blocks in the arena (`live.rs`), so
//! a location in use is never assigned twice, whatever the program does.
//!
//! # Planned blocks are blocks
//! The arena consists of [planned segments](crate::heap) of the heap. A planned block has a [`BlockId`](crate::heap::BlockId) as every other, so
//! attribution, scopes, history, snapshots, pins, weak handles, scrubbing, spilling and the limit need no rule of their own.
//!
//! # Locks
//! The runs are part of the state behind the heap's lock. The plans of a loop have a lock of their own, which is held for a moment: a run
//! takes the plans out of it, and another thread that drops them ([`Pool::clear_caches`]) meanwhile leaves that to the end of the run.

mod arena;
mod deferred;
mod forget;
mod live;
mod log;
mod run;
mod snapshot;
mod statistics;
mod step_plan;

pub use snapshot::{PlanSnapshot, PlannedRequest};
pub use statistics::{Deviation, DeviationCause, RepeatStats};

pub(super) use deferred::DeferredFrees;
pub(super) use run::Steps;

use super::{Inner, Pool};
use crate::device::lock::{Lock, rank};
use crate::device::{Gpu, Memory};
use crate::error::{Bytes, Count, RepeatError};
use crate::heap::PlannedSegment;
use crate::pool::messages::note;
use log::{Log, Request};
use run::Run;
use snapshot::{Loop, LoopView, PlanUse};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use step_plan::StepPlan;

/// The largest number of runs, as a power of two, for which a loop that follows none of its plans is not planned again.
const LONGEST_PAUSE: u32 = 10;
/// The number of plans that are made at once although no run has followed the ones before.
const FUTILE: u32 = 3;

/// The options of a [`Repeat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatOptions {
    /// The time for which a plan is searched after an observed run. 100 ms by default. The first greedy pass always completes, and the search
    /// ends earlier if the plan is optimal.
    pub planning_time: Duration,
    /// The largest number of plans: kinds of steps, such as one for each length of a sequence. 8 by default. The plan that was not used for
    /// the longest time makes room for a new one.
    pub kinds: usize,
}

impl Default for RepeatOptions {
    fn default() -> Self {
        Self { planning_time: Duration::from_millis(100), kinds: 8 }
    }
}

/// A loop whose steps repeat themselves, created by [`Pool::repeat`].
pub struct Repeat<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    progress: Arc<SharedProgress>,
    /// The counts at the end of the last run.
    stats: Lock<RepeatStats>,
    /// The number of the loop in the pool.
    number: usize,
}

/// The plans of a loop. `None` during a run, which has them.
type SharedProgress = Lock<Option<Progress>, rank::Plans>;

/// The plans of a loop, and what is decided between its runs.
#[derive(Debug)]
struct Progress {
    options: RepeatOptions,
    kinds: Vec<Kind>,
    arena: Vec<PlannedSegment>,
    /// The number of runs that are still observed.
    observed: u32,
    /// The kind of the last run.
    last: Option<usize>,
    /// Whether the last run left blocks in the arena.
    has_leftover: bool,
    /// The number of plans since a run has agreed with one.
    futile: u32,
    /// The number of runs before another plan is made.
    pause: u32,
    /// The number of runs before the arena is tried again.
    arena_pause: u32,
    refusals: u32,
}

/// A kind of step.
#[derive(Debug)]
struct Kind {
    plan: Arc<StepPlan>,
    /// The number of the last run that followed the plan.
    used: u64,
    /// The plan that the run after it followed.
    next: Option<Arc<StepPlan>>,
}

impl<M: Memory> Pool<M> {
    /// Creates a loop whose steps repeat themselves, such as a training step: [`Repeat::run`] observes the first step, and allocates
    /// those after it by a plan. Equals recording the step and replaying its allocations, as CUDA graphs do, but the program runs as
    /// usual.
    ///
    /// Each loop has its own plans and its own arena. Dropping the loop gives the arena to the pool.
    ///
    /// # Examples
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions, RepeatOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let weights = pool.allocate(1 << 20)?;
    /// let step = pool.repeat(RepeatOptions::default());
    /// for _ in 0..10 {
    ///     step.run(|| {
    ///         let activations = pool.allocate(3 << 20)?;
    ///         let gradient = pool.allocate(weights.bytes())?;
    ///         drop(activations);
    ///         let update = pool.allocate(2 << 20)?;
    ///         # drop(gradient);
    ///         # drop(update);
    ///         Ok::<(), wgpu_pool::Error>(())
    ///     })??;
    /// }
    /// let stats = step.stats();
    /// assert_eq!((stats.runs, stats.agreeing, stats.plans), (10, 9, 1));
    /// assert_eq!(stats.arena, 4 << 20, "the peak of the step");
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn repeat(&self, options: RepeatOptions) -> Repeat<M> {
        let progress = Progress::new(options);
        let view = progress.view(&RepeatStats::default());
        let progress = Arc::new(SharedProgress::new(Some(progress)));
        let one = Loop { view, progress: Arc::downgrade(&progress), forgets: false };
        let number = self.inner.state().steps.loops.insert(one);
        Repeat { inner: Arc::clone(&self.inner), progress, stats: Lock::default(), number }
    }
}

impl<M: Memory> Repeat<M> {
    /// Calls `step` and returns its result. The requests that this thread makes on the pool meanwhile are those of the step.
    ///
    /// # Runs
    /// The first run is *observed*: the pool serves it as usual and notes each request and each free. Then the blocks that end within the step
    /// are planned: each gets a location in one *arena*, which is created before the next run. Blocks that outlive the step are left to the
    /// heap, and blocks from before the step stay where they are.
    ///
    /// A *planned* run allocates each block at its location: without a search, without moving other blocks, and without new segments.
    ///
    /// # Deviations
    /// A step may differ from its plan. A request with another size, in another order or beyond the plan goes to the heap, and so does one
    /// whose location is still in use; the other requests keep their locations. After a run that deviated, the next one is observed
    /// again, and a plan is made if it deviates as well. Steps of varying length become kinds of step with a plan each, which share the
    /// arena ([`RepeatOptions::kinds`]). A loop that never repeats itself is planned more and more rarely. [`Repeat::stats`] shows it.
    ///
    /// The heap refuses no request that it would serve without the plan: when memory is scarce, the arena becomes an ordinary segment.
    ///
    /// # What is part of a step
    /// Requests of the calling thread. Those of other threads go to the heap. Frees count on every thread. In a dry run the step runs
    /// unplanned, and is no run of the loop.
    ///
    /// # Cost
    /// A planned request costs less than one of the heap; `cargo run --release --example replay -- --plan on` measures it. Before the
    /// first planned run, and after a change, planning takes up to [`RepeatOptions::planning_time`] on the calling thread, and creating
    /// the arena may release idle segments and move blocks within
    /// [`PoolOptions::compaction_share`](crate::PoolOptions::compaction_share). For the arena the call waits as an allocation that
    /// creates a segment does: for the driver, for a thread that is submitting, and for the device while it is more than 32 batches
    /// behind.
    ///
    /// If `step` panics, the run ends and the panic unwinds to the caller; no block is lost.
    ///
    /// # Errors
    /// [`RepeatError::Nested`] in a step of this pool on this thread, also in a dry run, [`RepeatError::Running`] while another thread runs
    /// this loop; `step` is not called.
    pub fn run<T>(&self, step: impl FnOnce() -> T) -> Result<T, RepeatError> {
        let thread = run::thread();
        if self.inner.state().steps.contains(thread) {
            return Err(RepeatError::Nested);
        }
        if let Some(shadow) = self.inner.shadow() {
            let _stepping = shadow.begin_step().ok_or(RepeatError::Nested)?;
            return Ok(step());
        }
        let progress = self.progress.lock().take().ok_or(RepeatError::Running)?;
        let running = Running::start(self, progress, thread);
        let output = step();
        running.finish();
        Ok(output)
    }

    /// Returns the counts of all runs so far. Does not include a run in progress.
    #[must_use]
    pub fn stats(&self) -> RepeatStats {
        self.stats.lock().clone()
    }
}

/// A run in progress. Ends when dropped, also during a panic.
struct Running<'a, M: Memory> {
    repeat: &'a Repeat<M>,
    progress: Progress,
    thread: usize,
    refusal: Option<RepeatError>,
    /// Whether the end of the run may be planned: not after a panic.
    completed: bool,
}

impl<'a, M: Memory> Running<'a, M> {
    fn start(repeat: &'a Repeat<M>, progress: Progress, thread: usize) -> Self {
        let (inner, number) = (&*repeat.inner, repeat.number);
        let mut running = Self { repeat, progress, thread, refusal: None, completed: false };
        let progress = &mut running.progress;
        let mut stats = repeat.stats();
        let refusal = progress.prepare(inner, number, &mut stats);
        *repeat.stats.lock() = stats;
        let mut run = Run::new(thread, (progress.observed > 0).then(Log::default));
        if !progress.arena.is_empty() || progress.needs_no_arena() {
            run.arena.clone_from(&progress.arena);
            run.expect(progress.expected());
        }
        inner.begin_run(number, run);
        running.refusal = refusal;
        running
    }

    fn finish(mut self) {
        self.completed = true;
    }
}

impl<M: Memory> Drop for Running<'_, M> {
    fn drop(&mut self) {
        self.repeat.inner.end_to_defer();
        let (inner, number) = (&*self.repeat.inner, self.repeat.number);
        let ended = {
            let mut state = inner.state();
            // Of a run that has not begun, after a panic.
            state.steps.end_preparation(number);
            state.steps.end(self.thread)
        };
        if let Some(run) = ended {
            self.conclude(run);
        }
        let mut progress = std::mem::replace(&mut self.progress, Progress::new(RepeatOptions::default()));
        let mut shared = self.repeat.progress.lock();
        inner.forget_on_request(number, &self.repeat.progress, &mut progress);
        self.repeat.stats.lock().kinds = progress.kinds.len();
        *shared = Some(progress);
    }
}

impl<M: Memory> Running<'_, M> {
    fn conclude(&mut self, mut run: Run) {
        let (inner, number) = (&*self.repeat.inner, self.repeat.number);
        if self.completed {
            run.finish();
        }
        let log = run.log.take().filter(|_| self.completed).map(Log::into_requests);
        let mut stats = self.repeat.stats();
        stats.refusal = self.refusal.take();
        self.progress.conclude((inner, number), &run, log, &mut stats);
        // The run has references to its plans.
        drop(run);
        let view = self.progress.view(&stats);
        *self.repeat.stats.lock() = stats;
        if let Some(one) = inner.state().steps.loops.get_mut(number) {
            one.view = view;
        }
    }
}

impl Progress {
    /// Prepares the arena. Returns why there is none.
    fn prepare<M: Memory>(&mut self, inner: &Inner<M>, number: usize, stats: &mut RepeatStats) -> Option<RepeatError> {
        if self.kinds.is_empty() {
            return None;
        }
        if self.arena_pause > 0 {
            self.arena_pause -= 1;
            return stats.refusal.clone();
        }
        match inner.prepare_arena(number, &mut self.arena, self.kinds.iter().map(|kind| &kind.plan)) {
            Ok(is_new) => {
                stats.arenas_created += u64::from(is_new);
                stats.arena = inner.arena_bytes(&self.arena);
                None
            }
            Err(error) => {
                note!(Debug, "wgpu-pool: {error}");
                self.refusals = (self.refusals + 1).min(LONGEST_PAUSE);
                self.arena_pause = (1 << self.refusals) - 1;
                stats.arena = 0;
                Some(error)
            }
        }
    }

    /// Returns whether no plan has a block in the arena.
    fn needs_no_arena(&self) -> bool {
        self.kinds.iter().all(|kind| kind.plan.segments().is_empty())
    }

    /// Returns the plans, first the one that is expected next: that which followed the last one before.
    fn expected(&self) -> Vec<Arc<StepPlan>> {
        let expected = self.last.and_then(|last| self.kinds[last].next.as_ref());
        let rank = |kind: &&Kind| {
            let is_expected = expected.is_some_and(|plan| Arc::ptr_eq(plan, &kind.plan));
            (is_expected, kind.used)
        };
        let mut kinds: Vec<&Kind> = self.kinds.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(rank(kind)));
        kinds.into_iter().map(|kind| Arc::clone(&kind.plan)).collect()
    }

    /// Decides after a run what the next one does. `log` contains the requests of an observed run that was completed.
    fn conclude<M: Memory>(
        &mut self,
        (inner, number): (&Inner<M>, usize),
        run: &Run,
        log: Option<Vec<Request>>,
        stats: &mut RepeatStats,
    ) {
        stats.runs += 1;
        stats.planned_requests += run.counts.planned;
        stats.heap_requests += run.counts.by_heap;
        stats.observed += u64::from(log.is_some());
        self.discard_leftover(inner, number, run);
        match run.followed() {
            Some(plan) => self.follow(plan, stats.runs),
            None => self.last = None,
        }
        if run.has_agreed() {
            stats.agreeing += 1;
            (self.futile, self.pause) = (0, 0);
            self.observed = self.observed.saturating_sub(1);
            return;
        }
        let was_planned = !run.plans.is_empty() || run.counts.deviation.is_some();
        if was_planned {
            stats.deviating += 1;
            stats.last_deviation.clone_from(&run.counts.deviation);
        }
        if let Some(requests) = log {
            self.observed = self.observed.saturating_sub(1);
            self.learn(requests, inner, stats);
        } else if was_planned && self.pause == 0 {
            // The same kind of step may come after several of other kinds.
            self.observed = u32::try_from(self.options.kinds.max(1).saturating_mul(2)).unwrap_or(u32::MAX);
        }
        self.pause = self.pause.saturating_sub(1);
    }

    /// Returns what a snapshot shows.
    fn view(&self, stats: &RepeatStats) -> LoopView {
        LoopView {
            arena: self.arena.iter().map(|planned| planned.id()).collect(),
            plan: self.kinds.iter().max_by_key(|kind| kind.used).map(|kind| Arc::clone(&kind.plan)),
            runs: stats.runs,
            agreeing: stats.agreeing,
            deviating: stats.deviating,
            usage: PlanUse {
                plans: self.kinds.len() as u64,
                most: self.options.kinds.max(1) as u64,
                bytes: self.kinds.iter().map(|kind| kind.plan.host_bytes()).sum(),
                made: stats.plans,
            },
        }
    }

    fn new(options: RepeatOptions) -> Self {
        Self {
            options,
            kinds: Vec::new(),
            arena: Vec::new(),
            observed: 1,
            last: None,
            has_leftover: false,
            futile: 0,
            pause: 0,
            arena_pause: 0,
            refusals: 0,
        }
    }

    /// Notes that a run followed a plan.
    fn follow(&mut self, plan: &Arc<StepPlan>, run: u64) {
        let Some(now) = self.kinds.iter().position(|kind| Arc::ptr_eq(&kind.plan, plan)) else { return };
        self.kinds[now].used = run;
        if let Some(last) = self.last.replace(now) {
            self.kinds[last].next = Some(Arc::clone(plan));
        }
    }

    /// Gives up an arena in which blocks of two runs in turn were left: it would never be empty again.
    fn discard_leftover<M: Memory>(&mut self, inner: &Inner<M>, number: usize, run: &Run) {
        if run.counts.leftover && self.has_leftover {
            inner.give_up(number, &mut self.arena);
        }
        self.has_leftover = run.counts.leftover;
    }

    /// Makes a plan of an observed run, unless it exists.
    fn learn<M: Memory>(&mut self, requests: Vec<Request>, inner: &Inner<M>, stats: &mut RepeatStats) {
        if self.kinds.iter().any(|kind| kind.plan.is_of(&requests)) {
            return;
        }
        let granule = inner.growth.granule;
        let largest = inner.growth.maximum_segment / granule;
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        let same_sizes = self.kinds.iter().position(|kind| kind.plan.has_sizes_of(&requests));
        let Some(plan) = StepPlan::new(requests, granule, largest, self.options.planning_time) else { return };
        let (peak, bytes) = (plan.peak() * granule, plan.segments().iter().map(|&size| u64::from(size)).sum::<u64>());
        note!(
            Debug,
            "wgpu-pool: planned {} in {} for a peak of {}",
            Count(plan.len(), "request"),
            Bytes(bytes * granule),
            Bytes(peak)
        );
        let kind = Kind { plan: Arc::new(plan), used: stats.runs, next: None };
        match same_sizes {
            Some(same) => self.kinds[same] = kind,
            None => {
                while self.kinds.len() >= self.options.kinds.max(1) {
                    let oldest = (0..self.kinds.len()).min_by_key(|&number| self.kinds[number].used).unwrap_or(0);
                    self.kinds.remove(oldest);
                }
                self.kinds.push(kind);
            }
        }
        // The numbers of the kinds have changed.
        self.last = None;
        stats.plans += 1;
        stats.lower_bound = self.kinds.iter().map(|kind| kind.plan.peak() * granule).max().unwrap_or(0);
        self.futile = (self.futile + 1).min(LONGEST_PAUSE);
        if stats.plans == 1 {
            // Many programs create state in their first step, so the second one is observed as well.
            self.observed = self.observed.max(1);
        }
        if self.futile > FUTILE {
            (self.pause, self.observed) = ((1 << self.futile) - 1, 0);
        }
    }
}

impl<M: Memory> Drop for Repeat<M> {
    fn drop(&mut self) {
        // Not during a run, which borrows the loop.
        if let Some(mut progress) = self.progress.lock().take() {
            self.inner.give_up(self.number, &mut progress.arena);
        }
        self.inner.state().steps.loops.try_remove(self.number);
    }
}

impl<M: Memory> fmt::Debug for Repeat<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeat").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
