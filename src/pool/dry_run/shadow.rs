//! The copy of a pool on which a dry run acts.

use super::super::ladder::{self, Sizing};
use super::super::pressure::Callback;
use super::super::release::{Decay, Schedule};
use super::super::repeat::{DeferredFrees, Steps};
use super::super::storage::Handle;
use super::super::{Content, Inner, Pool, State, Storage};
use super::held::DryBlock;
use super::log::{Allocated, Log};
use super::{DryRun, DryRuns, Refusal};
use crate::device::lock::Lock;
use crate::device::{AccountingMemory, Memory};
use crate::error::{AllocateError, DeviceError, Site};
use crate::heap::{BlockId, Heap, SegmentId};
use rustc_hash::FxHashMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A copy of a pool, over a memory that only counts bytes.
pub(in crate::pool) struct Shadow {
    inner: Arc<Inner<AccountingMemory>>,
    /// `None` after the end of the dry run.
    log: Lock<Option<Log>>,
    /// Whether the crate divides a command that finds no room, so that this is no refusal.
    pub(super) divides: AtomicBool,
    /// Whether the thread is in a repeated step.
    steps: AtomicBool,
}

impl Shadow {
    /// Copies the current state of a pool.
    pub(super) fn of<M: Memory>(inner: &Inner<M>) -> Self {
        let memory = AccountingMemory::modelling(&inner.memory);
        let mut log = Log::default();
        let state = {
            let real = inner.state();
            real.each_allocated(|_, block, view, origin| {
                let allocated = Allocated { bytes: view.requested, site: origin.site, scope: origin.scope() };
                log.existing(block, allocated, real.attribution.origins.label_of(block));
            });
            real.shadow(&memory)
        };
        log.begin(&state.heap.stats());
        let inner = Inner {
            memory,
            growth: inner.growth,
            largest_block: inner.largest_block,
            compaction_share: inner.compaction_share,
            scrubs: false,
            release_above: inner.release_above,
            // Not modelled: a dry run takes less time than the program.
            schedule: Schedule::new(false),
            pools: AtomicUsize::new(0),
            // Storages that outlive the dry run are no leaks.
            has_warned_of_leaks: AtomicBool::new(true),
            growing: Lock::new(()),
            #[cfg(not(target_arch = "wasm32"))]
            host_copies: AtomicUsize::new(0),
            dry_runs: DryRuns::default(),
            deferred: DeferredFrees::default(),
            is_tracked: state.attribution.is_tracked(),
            state: Lock::new(state),
        };
        Self {
            inner: Arc::new(inner),
            log: Lock::new(Some(log)),
            divides: AtomicBool::new(false),
            steps: AtomicBool::new(false),
        }
    }

    /// Returns a handle to the copy.
    pub(super) fn pool(&self) -> Pool<AccountingMemory> {
        Pool::of(&self.inner)
    }

    pub(in crate::pool) fn inner(&self) -> &Arc<Inner<AccountingMemory>> {
        &self.inner
    }

    /// Calls `act` with the log, until the end of the dry run.
    fn with_log<R>(&self, act: impl FnOnce(&mut Log) -> R) -> Option<R> {
        self.log.lock().as_mut().map(act)
    }

    /// Allocates a block in the copy, for a storage of the pool `inner`.
    pub(in crate::pool) fn allocate<M: Memory>(
        self: Arc<Self>,
        inner: &Arc<Inner<M>>,
        bytes: u64,
        content: &Content,
        site: &'static Location<'static>,
        sizing: Sizing,
    ) -> Result<Storage<M>, AllocateError> {
        let storage = ladder::allocate(&self.inner, bytes, content, site, sizing)
            .inspect_err(|error| self.refuse(Some(site), error))?;
        let block = storage.block().expect("at least one byte is requested");
        let (scope, stats) = {
            let state = self.inner.state();
            (state.attribution.scope_of(block), state.heap.stats())
        };
        let allocated = Allocated { bytes, site, scope };
        let number = self.with_log(|log| log.allocated(allocated, &stats)).unwrap_or(0);
        let id = inner.dry_runs.add_block(DryBlock::new(self, number, block, storage));
        Ok(Storage::new(Handle::new(inner, None), Some(id), bytes))
    }

    /// Records that a request of this call site, or a command, was refused.
    pub(in crate::pool) fn refuse(&self, site: Option<&'static Location<'static>>, error: &AllocateError) {
        self.with_log(|log| log.refused(|| Refusal { site: site.map(Site::from), error: error.clone() }));
    }

    /// Returns the result of a command, or of a call that moves a block, and records a lack of memory.
    pub(in crate::pool) fn with_room<T>(&self, result: Result<T, DeviceError>) -> Result<T, DeviceError> {
        result.inspect_err(|error| match error {
            DeviceError::WorkingSet(_) if self.divides.load(Ordering::Relaxed) => {}
            DeviceError::WorkingSet(_)
            | DeviceError::HostLimit { .. }
            | DeviceError::HostRefused { .. }
            | DeviceError::Refused { .. }
            | DeviceError::TooLarge { .. } => self.refuse(None, &AllocateError::Device(error.clone())),
            _ => {}
        })
    }

    /// Begins a repeated step, which ends when the result is dropped. `None` in another step of the dry run.
    pub(in crate::pool) fn begin_step(&self) -> Option<Stepping<'_>> {
        (!self.steps.swap(true, Ordering::Relaxed)).then_some(Stepping(&self.steps))
    }

    /// Records that the block of this number is freed.
    pub(super) fn freed(&self, number: u64) {
        self.with_log(|log| log.freed(number));
    }

    /// Frees the copy of a block from before the dry run, whose last handle this thread drops.
    pub(in crate::pool) fn free_existing(&self, block: BlockId, requested: u64) {
        if self.with_log(|log| log.freed_existing(block)) == Some(true) {
            self.inner.free(block, requested);
        }
    }

    /// Removes the copy of a pin from before the dry run.
    pub(in crate::pool) fn unpin(&self, number: usize, block: BlockId) {
        let is_copy = self.inner.state().pins.get(number).is_some_and(|&(pinned, _)| pinned == block);
        if is_copy {
            self.inner.unpin(number, block);
        }
    }

    /// Returns whether a block of the real heap existed before the dry run, and is still allocated in it.
    pub(super) fn contains(&self, block: BlockId) -> bool {
        self.number_of(block).is_some()
    }

    /// Returns the number of a block from before the dry run.
    pub(super) fn number_of(&self, block: BlockId) -> Option<u64> {
        self.with_log(|log| log.number_of(block)).flatten()
    }

    /// Notes that a command uses blocks, in a pool with spilling.
    pub(super) fn use_blocks(&self, blocks: &[BlockId]) -> Result<(), DeviceError> {
        if self.inner.spills() {
            drop(self.with_room(self.inner.resolve_blocks(blocks.iter().copied()))?);
        }
        Ok(())
    }

    /// Labels a block.
    pub(in crate::pool) fn set_label<M: Memory>(
        self: &Arc<Self>,
        storage: &Storage<M>,
        block: BlockId,
        label: Arc<str>,
    ) {
        if let Some(number) = storage.number_in(self) {
            self.with_log(|log| log.label(number, Arc::clone(&label)));
        }
        self.inner.state().attribution.origins.label(block, label);
    }

    /// Resets the peaks of the copy's statistics, but not those of the dry run.
    pub(in crate::pool) fn reset_peaks(&self) {
        let mut state = self.inner.state();
        let stats = state.heap.stats();
        state.heap.reset_peaks();
        drop(state);
        self.with_log(|log| log.note(&stats, None));
    }

    /// Ends the dry run and returns its result.
    pub(super) fn finish(&self) -> DryRun {
        let log = self.log.lock().take();
        let mut log = log.expect("a dry run ends once");
        let state = self.inner.state();
        log.note(&state.heap.stats(), None);
        let scopes = state.attribution.scopes();
        DryRun::of(&mut log, |scope| scopes.path(scope), state.limit)
    }
}

/// A repeated step in a dry run. Ends when dropped, also during a panic.
pub(in crate::pool) struct Stepping<'a>(&'a AtomicBool);

impl Drop for Stepping<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<M: Memory> State<M> {
    /// Returns a copy over another memory, in which the segments have the same ids.
    fn shadow(&self, memory: &AccountingMemory) -> State<AccountingMemory> {
        let mut heap = self.heap.clone();
        heap.reset_peaks();
        let segment =
            |(id, bytes): (SegmentId, u64)| (id, memory.existing_segment(bytes, !self.unanswered.contains(&id)));
        let segments = sizes(&heap).map(segment).collect();
        State {
            attribution: self.attribution.without_history(),
            segments,
            unanswered: self.unanswered.clone(),
            spilled: FxHashMap::default(),
            valid_host_copies: Vec::new(),
            spilling: self.spilling.as_ref().map(|spilling| Box::new(spilling.shadow(AccountingMemory::host_segment))),
            references: Vec::new(),
            limit: self.limit,
            remedies: self.remedies,
            callback: Callback::none(),
            pins: self.pins.clone(),
            unfinished: self.unfinished,
            unreported: 0,
            append_loops: self.append_loops.clone(),
            decay: Decay::new(None),
            steps: Steps::default(),
            heap,
        }
    }
}

/// Returns the segments of a heap and their sizes.
fn sizes(heap: &Heap) -> impl Iterator<Item = (SegmentId, u64)> {
    heap.segments().map(|segment| (segment.id, segment.bytes))
}
