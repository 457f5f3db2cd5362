//! The pool: a heap, a memory, and the policy that connects them.
//!
//! [`Pool`] allocates [`Storage`] handles. Dropping the last handle of a block frees the block immediately. If no hole
//! is large enough for a request, the pool tries a ladder of measures (`ladder.rs`) before it returns a typed error.
//! [`Pool::trim`] returns idle segments to the driver.
//!
//! Resolving a block to a location and recording a command on it is one step: a function that resolves a block requires
//! the recorder's guard. `device/gpu/mod.rs` documents the order of all locks.

mod answers;
mod append;
mod attribution;
mod caches;
mod compact;
mod compensate;
mod create;
mod download;
mod dry_run;
mod growth;
#[cfg(not(target_arch = "wasm32"))]
mod host_copy;
mod ladder;
mod make_room;
mod messages;
mod options;
mod pin;
mod pressure;
#[cfg(feature = "tensor")]
mod profile;
mod read;
mod references;
mod release;
mod remedies;
mod repeat;
mod reserve;
mod residence;
mod resolve;
mod scrub;
pub mod snapshot;
#[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "nothing can wait in a browser, so nothing is spilled"))]
mod spill;
mod storage;
mod trim;
#[cfg(feature = "tensor")]
mod warm_up;
mod weak;

#[cfg(wgpu_pool_bench)]
pub use attribution::ATTRIBUTES;
pub(crate) use attribution::Content;
pub use attribution::{Event, EventKind, GrowthBetween, GrowthCheck, HeldBlock, Leaks, Mark, Scope, ScopeCounts};
pub use compact::Compacted;
pub use download::Download;
pub use dry_run::{DryRun, MaxBatch, Peak, Refusal};
pub use options::PoolOptions;
pub use pin::{Pin, Pinned};
pub use pressure::{MemoryPressure, Relief};
#[cfg(feature = "tensor")]
pub use profile::{Dispatch, Profile};
#[cfg(feature = "tensor")]
pub(crate) use read::RangeRead;
pub use remedies::Remedies;
pub use repeat::{Deviation, DeviationCause, Repeat, RepeatOptions, RepeatStats};
pub use residence::{Residence, SpillStats};
pub use snapshot::{Report, Snapshot};
pub use storage::Storage;
#[cfg(feature = "tensor")]
pub(crate) use storage::record;
pub use trim::Trimmed;
#[cfg(feature = "tensor")]
pub use warm_up::WarmUp;
pub use weak::{WeakPool, WeakStorage};

use crate::device::lock::{Guard, Lock, rank};
use crate::device::{ContextGuard, Fault, Gpu, Memory, Submit};
use crate::error::{DeviceError, InvariantBroken, Number, OpenError, OptionsError};
use crate::heap::{BlockId, Heap, HeapOptions, SegmentId, Stats};
use append::AppendLoops;
use attribution::Attribution;
use dry_run::DryRuns;
use growth::Growth;
use messages::Postponed;
use pressure::Callback;
use references::References;
use release::{Decay, Schedule};
use repeat::{DeferredFrees, Steps};
use residence::Spilling;
use rustc_hash::FxHashMap;
use slab::Slab;
use spill::Spilled;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A caching memory pool. A clone is another handle to the same pool. The pool lives as long as any of its handles or
/// storages.
///
/// # Examples
///
/// Without a GPU, in host RAM:
///
/// ```
/// use wgpu_pool::{HostMemory, Pool, PoolOptions};
///
/// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
/// let storage = pool.allocate(1000)?;
/// assert_eq!(pool.stats().requested.current, 1000);
/// drop(storage);
/// assert_eq!(pool.stats().allocated.current, 0);
/// assert!(pool.trim().freed > 0);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
pub struct Pool<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
}

pub(crate) struct Inner<M: Memory> {
    growth: Growth,
    /// The largest block of a tensor in bytes.
    #[cfg_attr(not(feature = "tensor"), allow(dead_code, reason = "only tensors are divided"))]
    largest_block: u64,
    compaction_share: f64,
    /// Whether freed bytes are cleared.
    scrubs: bool,
    /// The fraction of the limit above which idle segments are released before the pool grows.
    release_above: f64,
    schedule: Schedule,
    /// The number of [`Pool`] handles.
    pools: AtomicUsize,
    /// Whether the leak warning was logged.
    has_warned_of_leaks: AtomicBool,
    /// Held by the thread that creates a segment; never while waiting for the device.
    growing: Lock<(), rank::Growth>,
    /// The number of host copies that delay the commands of other threads.
    #[cfg(not(target_arch = "wasm32"))]
    host_copies: AtomicUsize,
    dry_runs: DryRuns,
    /// Blocks that the thread of a step has dropped.
    deferred: DeferredFrees,
    /// Whether the attribution needs every free: [`Attribution::is_tracked`].
    is_tracked: Arc<AtomicBool>,
    state: Lock<State<M>, rank::Heap>,
    /// The last field: its drop ends with the destruction of the device, so no other field may hold an object of the device by then.
    memory: M,
}

/// The data behind the heap's lock.
struct State<M: Memory> {
    heap: Heap,
    attribution: Attribution,
    segments: FxHashMap<SegmentId, M::Segment>,
    /// Segments for which the device has not answered yet, and segments in place of those that it refused. Only in browsers.
    unanswered: Vec<SegmentId>,
    /// Segments of the heap without device memory: their bytes are in host memory. Empty except during the last step of
    /// the out-of-memory ladder, unless the device refused memory there.
    spilled: FxHashMap<SegmentId, Spilled<M::Segment>>,
    /// The segments that are being copied to host memory and that no command has used since the copy began.
    valid_host_copies: Vec<SegmentId>,
    /// Blocks in host memory. `None` unless spilling is on.
    spilling: Option<Box<Spilling<M::Segment>>>,
    /// Reference counts without handles, kept for reuse: in steady state an allocation allocates no host memory.
    references: Vec<Arc<References>>,
    limit: Option<u64>,
    remedies: Remedies,
    callback: Callback<M>,
    /// The existing pins: the block, and the call site of the pin.
    pins: Slab<(BlockId, &'static std::panic::Location<'static>)>,
    /// Bytes of released segments that the device still uses. Only where nothing can wait for the device.
    unfinished: u64,
    /// Bytes that the driver has freed and that no trim has reported yet.
    unreported: u64,
    append_loops: AppendLoops,
    decay: Decay,
    /// The runs of repeated steps in progress.
    steps: Steps,
}

impl<M: Memory> Pool<M> {
    /// Creates a pool on a memory.
    ///
    /// # Errors
    /// [`OptionsError`] if the options do not suit the memory.
    pub fn new(memory: M, options: PoolOptions) -> Result<Self, OptionsError> {
        let limits = memory.limits();
        let granule = options.granule_for(&limits)?;
        let growth = options.growth_for(&limits, granule)?;
        let largest_block = options.largest_block_for(&limits, &growth)?;
        options.check_release()?;
        let heap = Heap::new(HeapOptions { granule, small_limit: options.small_limit })
            .map_err(|_| OptionsError::Granule { granule, least: limits.alignment, most: HeapOptions::MOST_GRANULE })?;
        let state = State {
            heap,
            attribution: Attribution::default(),
            segments: FxHashMap::default(),
            unanswered: Vec::new(),
            spilled: FxHashMap::default(),
            valid_host_copies: Vec::new(),
            spilling: options.spill.map(|limit| Box::new(Spilling::new(limit))),
            references: Vec::new(),
            limit: options.limit,
            remedies: Remedies::default(),
            callback: Callback::none(),
            pins: Slab::new(),
            unfinished: 0,
            unreported: 0,
            append_loops: AppendLoops::default(),
            decay: Decay::new(options.release_after),
            steps: Steps::default(),
        };
        let inner = Inner {
            memory,
            growth,
            largest_block,
            compaction_share: options.compaction_share,
            scrubs: options.scrub_on_free,
            release_above: options.release_above,
            schedule: Schedule::new(options.release_after.is_some()),
            pools: AtomicUsize::new(0),
            has_warned_of_leaks: AtomicBool::new(false),
            growing: Lock::new(()),
            #[cfg(not(target_arch = "wasm32"))]
            host_copies: AtomicUsize::new(0),
            dry_runs: DryRuns::default(),
            deferred: DeferredFrees::default(),
            is_tracked: state.attribution.is_tracked(),
            state: Lock::new(state),
        };
        Ok(Self::of(&Arc::new(inner)))
    }

    /// Creates another handle to a pool.
    fn of(inner: &Arc<Inner<M>>) -> Self {
        inner.pools.fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::clone(inner) }
    }

    /// Returns the [`Memory`] that the pool allocates from.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.inner.memory
    }

    /// Returns the largest block of a tensor in bytes.
    #[cfg(feature = "tensor")]
    pub(crate) fn largest_block(&self) -> u64 {
        self.inner.largest_block
    }

    /// Returns the counters: current values, peaks and totals. O(1).
    #[must_use]
    pub fn stats(&self) -> Stats {
        if let Some(dry) = self.dry() {
            return dry.stats();
        }
        self.inner.state().heap.stats()
    }

    /// Returns how often each measure was taken for a request that no hole could serve. O(1).
    #[must_use]
    pub fn remedies(&self) -> Remedies {
        if let Some(dry) = self.dry() {
            return dry.remedies();
        }
        self.inner.state().remedies
    }

    /// Sets every peak to the current value. Equals `torch.cuda.reset_peak_memory_stats`.
    pub fn reset_peaks(&self) {
        if let Some(shadow) = self.inner.shadow() {
            return shadow.reset_peaks();
        }
        self.inner.state().heap.reset_peaks();
    }

    /// Sets every total to zero. Equals `torch.cuda.reset_accumulated_memory_stats`.
    pub fn reset_accumulated(&self) {
        if let Some(dry) = self.dry() {
            return dry.reset_accumulated();
        }
        self.inner.state().heap.reset_accumulated();
    }

    /// Checks every invariant of the heap, and in a pool with spilling the list of blocks that may move to host memory. O(blocks);
    /// for tests.
    ///
    /// # Errors
    /// The first violated invariant.
    pub fn check(&self) -> Result<(), InvariantBroken> {
        if let Some(dry) = self.dry() {
            return dry.check();
        }
        let state = self.inner.state();
        state.heap.check()?;
        state.check_residence()
    }

    /// Returns the limit on reserved bytes, if one is set.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        if let Some(dry) = self.dry() {
            return dry.limit();
        }
        self.inner.state().limit
    }

    /// Sets or removes the limit on reserved bytes. A limit below the reserved bytes frees nothing: requests that need
    /// a new segment fail until reserved bytes have fallen.
    pub fn set_limit(&self, limit: Option<u64>) {
        if let Some(dry) = self.dry() {
            return dry.set_limit(limit);
        }
        self.inner.state().limit = limit;
    }

    /// Sets the limit to a fraction of the device's total memory, and returns the limit in bytes. Equals
    /// `torch.cuda.set_per_process_memory_fraction`.
    ///
    /// Only some memories report their total memory: see
    /// [`DeviceResources::total_bytes`](crate::DeviceResources::total_bytes). wgpu has no safe query on any
    /// backend, so the application must call [`Gpu::set_total_bytes`] first.
    ///
    /// # Errors
    /// [`OptionsError::Fraction`] unless the fraction is above 0 and at most 1; [`OptionsError::TotalUnknown`] if the
    /// memory does not report its total. The limit is then unchanged.
    pub fn set_limit_fraction(&self, fraction: f64) -> Result<u64, OptionsError> {
        if !(fraction > 0.0 && fraction <= 1.0) {
            return Err(OptionsError::Fraction { fraction: Number(fraction) });
        }
        let total = self.inner.memory.total_bytes().ok_or(OptionsError::TotalUnknown)?;
        #[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more than 53 bits")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the product is within 0 and the total"
        )]
        let limit = (total as f64 * fraction) as u64;
        self.set_limit(Some(limit));
        Ok(limit)
    }

    /// Submits everything recorded so far. Needed only before the application submits its own commands that depend on
    /// the pool's commands: the pool submits long and old batches automatically.
    ///
    /// Waits for another thread that is submitting, for application callbacks that wgpu runs inside, and while the
    /// device is more than 32 batches behind. See [`guide::threads`](crate::guide::threads).
    ///
    /// # Errors
    /// The error of a failed batch; [`DeviceError::Lost`].
    pub fn submit(&self) -> Result<(), DeviceError> {
        if let Some(dry) = self.dry() {
            return dry.submit();
        }
        self.inner.memory.submit(Submit::Now)?;
        self.inner.note_submission();
        Ok(())
    }

    /// Submits, then waits asynchronously until the device has finished everything recorded so far and, in a browser, has
    /// answered for every object created so far. Equals `torch.cuda.synchronize`.
    ///
    /// # Errors
    /// As [`Pool::submit`].
    pub async fn synchronize(&self) -> Result<(), DeviceError> {
        if let Some(dry) = self.dry() {
            return dry.submit();
        }
        let finished = self.inner.memory.wait().await;
        self.inner.settle();
        self.inner.note_submission();
        finished
    }

    /// Submits, then blocks the calling thread until the device has finished everything recorded so far. Application callbacks
    /// run inside. Equals `torch.cuda.synchronize`.
    ///
    /// # Errors
    /// As [`Pool::submit`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn synchronize_blocking(&self) -> Result<(), DeviceError> {
        if let Some(dry) = self.dry() {
            return dry.submit();
        }
        #[cfg(wgpu_pool_suspend)]
        return crate::device::block_on(self.synchronize());
        #[cfg(not(wgpu_pool_suspend))]
        {
            self.inner.memory.wait_blocking()?;
            self.inner.note_submission();
            Ok(())
        }
    }

    /// Returns whether two handles refer to the same pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Pool<Gpu> {
    /// Opens the best adapter with a device configured for pooling, and creates a pool on it. Natively the driver is
    /// waited for during the first poll.
    ///
    /// # Errors
    /// [`OpenError`] if there is no suitable adapter, or if the options do not suit the adapter.
    pub async fn request(options: PoolOptions) -> Result<Self, OpenError> {
        let mut gpu = options.gpu.clone();
        if options.spill.is_some() {
            gpu.features |= wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        }
        let gpu = Gpu::open(&gpu).await?;
        Ok(Self::new(gpu, options)?)
    }

    /// Opens the best adapter with a device configured for pooling, and creates a pool on it. Blocks the calling thread until the
    /// driver has answered.
    ///
    /// # Errors
    /// As [`Pool::request`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn request_blocking(options: PoolOptions) -> Result<Self, OpenError> {
        crate::device::block_on(Self::request(options))
    }

    /// Creates a pool on an existing device; see [`Gpu::from_device`] for the recommended device settings.
    ///
    /// # Errors
    /// [`OptionsError`] if the options do not suit the device.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, options: PoolOptions) -> Result<Self, OptionsError> {
        Self::new(Gpu::from_device(device, queue), options)
    }

    /// Returns the first fault since the last call of [`Pool::clear_fault`], if there is one: a batch of commands that
    /// failed. Until the fault is cleared, every call that needs the device returns its error. See [`Gpu::fault`].
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.memory().fault()
    }

    /// Clears and returns the fault, so that the pool can be used again. See [`Gpu::clear_fault`].
    #[expect(clippy::must_use_candidate, reason = "the fault is usually known already")]
    pub fn clear_fault(&self) -> Option<Fault> {
        self.memory().clear_fault()
    }
}

impl<M: Memory> Inner<M> {
    /// Waits for the thread that creates a segment.
    fn lock_growth(&self) -> GrowthGuard<'_> {
        let later = Postponed::new();
        let memory = self.memory.exclude_threads();
        let growing = self.growing.lock();
        GrowthGuard { _growing: growing, _memory: memory, _later: later }
    }

    /// Waits for the thread that uses the state, and frees the blocks that the thread of a step has dropped.
    #[inline]
    fn state(&self) -> Guard<'_, State<M>, rank::Heap> {
        let mut state = self.state.lock();
        if self.deferred.has_any() {
            self.free_deferred(&mut state);
        }
        state
    }
}

/// The right to create segments, of one thread at a time.
#[derive(Debug)]
struct GrowthGuard<'a> {
    // Dropped in this order.
    _growing: Guard<'a, (), rank::Growth>,
    _memory: ContextGuard<'a>,
    _later: Postponed,
}

impl<M: Memory> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self::of(&self.inner)
    }
}

impl<M: Memory> Drop for Pool<M> {
    fn drop(&mut self) {
        if self.inner.pools.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.warn_of_leaks();
        }
    }
}

impl<M: Memory> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            memory,
            growth,
            largest_block,
            compaction_share,
            scrubs,
            release_above,
            schedule,
            pools: _,
            has_warned_of_leaks: _,
            growing: _,
            #[cfg(not(target_arch = "wasm32"))]
                host_copies: _,
            dry_runs: _,
            deferred: _,
            is_tracked: _,
            state: _,
        } = &*self.inner;
        f.debug_struct("Pool")
            .field("memory", memory)
            .field("growth", growth)
            .field("largest_block", largest_block)
            .field("compaction_share", compaction_share)
            .field("scrubs", scrubs)
            .field("release_above", release_above)
            .field("schedule", schedule)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
