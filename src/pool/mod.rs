//! The pool: a heap, a memory, and the policy between them.
//!
//! [`Pool`] hands out [`Storage`] handles; the last drop of a handle gives its block back at once. When no hole is large
//! enough the pool climbs a ladder of remedies (`ladder.rs`), ending in a typed error. [`Pool::trim`] gives idle
//! segments back to the driver.
//!
//! Turning a block into a place and recording a command on it are one step: whoever asks for a place shows that it holds
//! the recorder. The order of all locks is said in `device/gpu/mod.rs`.

mod append;
mod attribution;
mod caches;
mod compact;
mod compensate;
mod create;
mod download;
mod growth;
#[cfg(not(target_arch = "wasm32"))]
mod host_copy;
mod ladder;
mod make_room;
mod options;
mod pin;
mod pressure;
#[cfg(feature = "tensor")]
mod profile;
mod references;
mod remedies;
mod reserve;
mod resolve;
mod scrub;
pub mod snapshot;
#[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "nothing can wait in a browser, so nothing is spilled"))]
mod spill;
mod storage;
mod trim;
mod weak;

#[cfg(wgpu_pool_bench)]
pub use attribution::ATTRIBUTES;
pub(crate) use attribution::Content;
pub use attribution::{
    Event, EventKind, GrowthBetween, Holding, Leaks, Mark, NoGrowth, Scope, ScopeCounts, SiteGrowth,
};
pub use compact::Compacted;
pub use download::Download;
pub use options::PoolOptions;
pub use pin::{Pin, Pinned};
pub use pressure::{MemoryPressure, Relief};
#[cfg(feature = "tensor")]
pub use profile::{Dispatch, Profile};
pub use remedies::Remedies;
pub use snapshot::{Report, Snapshot};
pub use storage::Storage;
#[cfg(feature = "tensor")]
pub(crate) use storage::record;
pub use trim::Trimmed;
pub use weak::WeakStorage;

use crate::device::{Fault, Gpu, Memory};
use crate::error::{DeviceError, LawBroken, OptionsError};
use crate::heap::{BlockId, Heap, HeapOptions, SegmentId, Stats};
use append::AppendLoops;
use attribution::Attribution;
use growth::Growth;
use pressure::Callback;
use references::References;
use rustc_hash::FxHashMap;
use slab::Slab;
use spill::Spilled;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A caching pool of memory. Cloning it gives another handle to the same pool, which lives as long as any handle or
/// storage of it.
///
/// # Examples
///
/// Without a GPU, on the host's memory:
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
}

pub(crate) struct Inner<M: Memory> {
    memory: M,
    growth: Growth,
    compaction_share: f64,
    /// Whether bytes that a block leaves are cleared.
    scrubs: bool,
    /// How many [`Pool`]s there are of it.
    pools: AtomicUsize,
    /// There were none once, while blocks were handed out; it is told once.
    ended: AtomicBool,
    /// Held by the one thread that creates a segment; never across a wait.
    growing: Mutex<()>,
    /// Host copies that hold other threads' recording up for a moment.
    #[cfg(not(target_arch = "wasm32"))]
    host_copies: AtomicUsize,
    state: Mutex<State<M>>,
}

/// What the heap's lock guards.
struct State<M: Memory> {
    heap: Heap,
    attribution: Attribution,
    segments: FxHashMap<SegmentId, M::Segment>,
    /// The segments of the heap that have no memory on the device: their bytes are in host memory. Empty but for the moments
    /// inside the last rung of the ladder, unless the device refused memory there.
    spilled: FxHashMap<SegmentId, Spilled<M::Segment>>,
    /// The segments that are being copied to host memory, and that no command has named since the copy began.
    undisturbed: Vec<SegmentId>,
    /// Counts that no handle refers to any more, to be used again: allocating takes no host memory in steady state.
    references: Vec<Arc<References>>,
    limit: Option<u64>,
    remedies: Remedies,
    callback: Callback<M>,
    /// The pins that are held: the block, and where it was pinned.
    pins: Slab<(BlockId, &'static std::panic::Location<'static>)>,
    /// Bytes that the driver has back and no trim has reported yet.
    unreported: u64,
    append_loops: AppendLoops,
}

impl<M: Memory> Pool<M> {
    /// A pool over any memory.
    ///
    /// # Errors
    /// [`OptionsError`] when the options don't suit the memory.
    pub fn new(memory: M, options: PoolOptions) -> Result<Self, OptionsError> {
        let limits = memory.limits();
        let granule = options.granule_for(&limits)?;
        let growth = options.growth_for(&limits, granule)?;
        let heap = Heap::new(HeapOptions { granule, small_limit: options.small_limit })
            .map_err(|_| OptionsError::Granule { granule, least: limits.alignment, most: HeapOptions::MOST_GRANULE })?;
        let state = State {
            heap,
            attribution: Attribution::default(),
            segments: FxHashMap::default(),
            spilled: FxHashMap::default(),
            undisturbed: Vec::new(),
            references: Vec::new(),
            limit: options.limit,
            remedies: Remedies::default(),
            callback: Callback::none(),
            pins: Slab::new(),
            unreported: 0,
            append_loops: AppendLoops::default(),
        };
        let inner = Inner {
            memory,
            growth,
            compaction_share: options.compaction_share,
            scrubs: options.scrub_on_free,
            pools: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            growing: Mutex::new(()),
            #[cfg(not(target_arch = "wasm32"))]
            host_copies: AtomicUsize::new(0),
            state: Mutex::new(state),
        };
        Ok(Self::of(&Arc::new(inner)))
    }

    /// Another handle to a pool.
    fn of(inner: &Arc<Inner<M>>) -> Self {
        inner.pools.fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::clone(inner) }
    }

    /// The memory below the pool.
    #[must_use]
    pub fn memory(&self) -> &M {
        &self.inner.memory
    }

    /// The counters: current, peak and totals. O(1).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.state().heap.stats()
    }

    /// How often each remedy was taken for a request that no hole could serve. O(1).
    #[must_use]
    pub fn remedies(&self) -> Remedies {
        self.inner.state().remedies
    }

    /// Sets every peak to its current value, as `torch.cuda.reset_peak_memory_stats`.
    pub fn reset_peaks(&self) {
        self.inner.state().heap.reset_peaks();
    }

    /// Sets every total to zero, as `torch.cuda.reset_accumulated_memory_stats`.
    pub fn reset_accumulated(&self) {
        self.inner.state().heap.reset_accumulated();
    }

    /// Proves every law of the heap. O(blocks), for tests.
    ///
    /// # Errors
    /// The first law that doesn't hold.
    pub fn check(&self) -> Result<(), LawBroken> {
        self.inner.state().heap.check()
    }

    /// The limit on reserved bytes, if one is set.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.inner.state().limit
    }

    /// Sets or lifts the limit on reserved bytes. One below what is reserved loses nothing: requests that need a new
    /// segment fail until there is room again.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.inner.state().limit = limit;
    }

    /// Sets the limit to a share of all memory that the device has, and answers with it in bytes.
    ///
    /// Only some memories can tell how much that is: see [`Memory::total_bytes`]. wgpu has no safe call for it on any backend,
    /// so a program that knows tells [`Gpu::set_total_bytes`] first.
    ///
    /// # Errors
    /// [`OptionsError::Fraction`] unless it is above 0 and at most 1, [`OptionsError::TotalUnknown`] where the memory
    /// can't tell. The limit stays as it was.
    pub fn set_limit_fraction(&self, fraction: f64) -> Result<u64, OptionsError> {
        if !(fraction > 0.0 && fraction <= 1.0) {
            return Err(OptionsError::Fraction { fraction: fraction.to_string() });
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

    /// Hands everything recorded to the device's queue, so that the device begins. A program needs it only before it submits commands of
    /// its own that depend on the pool's: the pool submits long and old batches by itself.
    ///
    /// Waits for a thread that is submitting some of it, for callbacks of the application that wgpu runs inside, and for the device while
    /// that is more than 32 batches behind. See [`guide::threads`](crate::guide::threads).
    ///
    /// # Errors
    /// What the device found wrong with the commands; [`DeviceError::Lost`].
    pub fn submit(&self) -> Result<(), DeviceError> {
        self.inner.memory.submit()
    }

    /// Submits and waits until the device has finished everything, as `torch.cuda.synchronize`. Callbacks of the application run inside.
    ///
    /// # Errors
    /// As [`Pool::submit`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.inner.memory.wait()
    }

    /// Whether two handles are of one pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Pool<Gpu> {
    /// Opens the best adapter with a device made for pooling, and a pool on it.
    ///
    /// # Errors
    /// [`OptionsError`] when there is no adapter or the options don't suit it.
    pub async fn request(options: PoolOptions) -> Result<Self, OptionsError> {
        let gpu = Gpu::open(&options.gpu).await?;
        Self::new(gpu, options)
    }

    /// As [`Pool::request`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Pool::request`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn request_blocking(options: PoolOptions) -> Result<Self, OptionsError> {
        pollster::block_on(Self::request(options))
    }

    /// A pool on a device that the program already has; see [`Gpu::from_device`] for what it should be made with.
    ///
    /// # Errors
    /// [`OptionsError`] when the options don't suit the device.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue, options: PoolOptions) -> Result<Self, OptionsError> {
        Self::new(Gpu::from_device(device, queue), options)
    }

    /// Returns the first fault since the last was cleared, if there was one: a batch of commands that wgpu refused. Until it is
    /// cleared, every call that needs the device returns its error. See [`Gpu::fault`].
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.memory().fault()
    }

    /// Clears the fault and returns it, so that the pool can be used again. See [`Gpu::clear_fault`].
    #[expect(clippy::must_use_candidate, reason = "the fault is usually known already")]
    pub fn clear_fault(&self) -> Option<Fault> {
        self.memory().clear_fault()
    }
}

impl<M: Memory> Inner<M> {
    fn state(&self) -> MutexGuard<'_, State<M>> {
        // Every critical section on the state leaves it whole, so a panic elsewhere in its thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            compaction_share,
            scrubs,
            pools: _,
            ended: _,
            growing: _,
            #[cfg(not(target_arch = "wasm32"))]
                host_copies: _,
            state: _,
        } = &*self.inner;
        f.debug_struct("Pool")
            .field("memory", memory)
            .field("growth", growth)
            .field("compaction_share", compaction_share)
            .field("scrubs", scrubs)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
