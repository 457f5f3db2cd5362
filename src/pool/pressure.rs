//! Memory pressure: responses to the system's warnings, and the application's callback before an out-of-memory error.

use super::ladder::Sizing;
use super::{Compacted, EventKind, Inner, Pool, State, Trimmed};
use crate::device::lock::check_no_lock_is_held;
use crate::device::{CacheLevel, Memory};
use crate::error::{AllocateError, DeviceError, OutOfMemory};
use crate::heap::BlockId;
use crate::pool::messages::note;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::thread::ThreadId;
use wgpu::WasmNotSendSync;

/// The number of consecutive callback results of `true` without effect after which a request fails.
const MAX_INEFFECTIVE_CALLS: u32 = 16;

/// The number of calls for one request. A limit can be raised by one granule in each call, and a block be replaced by a block that is smaller
/// by a granule, so that calls with an effect are bounded by nothing else that a program would reach.
const MAX_CALLS: u32 = 65_536;

/// The number of threads that may be inside the callback at the same time. A callback may wait for a thread that allocates, whose
/// request may call the callback again: without a bound, there would be a new thread in each call.
const MAX_THREADS_INSIDE: usize = 64;

/// The number of futile calls that the requests made during one call may make together. A call is futile if no room was gained after it,
/// or if its request failed. Without this bound each of the threads that wait for each other would make [`MAX_INEFFECTIVE_CALLS`] calls for
/// each call of the thread before it.
const MAX_FUTILE_CALLS: u32 = 128;

/// The severity of a memory warning, for [`Pool::pressure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryPressure {
    /// Trims idle segments.
    Low,
    /// Also drops caches: bind groups, staging buffers, reference counts of dropped storages. Creating them again costs
    /// microseconds each.
    Moderate,
    /// Compacts first, so that sparse segments become idle, then does all of the above.
    Critical,
}

/// The result of [`Pool::pressure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// The blocks that were moved out of sparse segments.
    pub compacted: Compacted,
    /// The segments that were released.
    pub trimmed: Trimmed,
}

/// A [pressure callback](Pool::set_pressure_callback): frees memory and returns whether it did.
pub(super) trait PressureCallback<M: Memory>: WasmNotSendSync {
    fn call(&self, pool: &Pool<M>, error: &OutOfMemory) -> bool;
}

impl<M: Memory, F: Fn(&Pool<M>, &OutOfMemory) -> bool + WasmNotSendSync> PressureCallback<M> for F {
    fn call(&self, pool: &Pool<M>, error: &OutOfMemory) -> bool {
        self(pool, error)
    }
}

/// The callback, and the calls that have not returned.
pub(super) struct Callback<M: Memory> {
    act: Option<Arc<dyn PressureCallback<M>>>,
    inside: Vec<Call>,
    /// The number of calls so far.
    calls: u64,
}

/// A call that has not returned.
struct Call {
    thread: ThreadId,
    number: u64,
    /// The futile calls of requests that were made during this call.
    futile: u32,
}

impl<M: Memory> Callback<M> {
    pub(super) const fn none() -> Self {
        Self { act: None, inside: Vec::new(), calls: 0 }
    }

    /// The calls that have not returned and that began before a request, which may wait for it. `calls` is the number of calls before
    /// the request.
    fn around(&mut self, calls: u64) -> impl Iterator<Item = &mut Call> {
        self.inside.iter_mut().filter(move |call| call.number < calls)
    }
}

impl<M: Memory> Pool<M> {
    /// Frees memory in response to a memory warning. Waits neither for the device nor for a thread that is submitting: bytes
    /// that the device still uses are reported as pending, and a later trim reports them as freed. Without a submission thread
    /// (GL, browsers) the calling thread submits.
    ///
    /// # When to call this
    ///
    /// | system | signal | level |
    /// | --- | --- | --- |
    /// | Android | `onTrimMemory(TRIM_MEMORY_UI_HIDDEN)` | `Moderate` |
    /// | Android | `onTrimMemory(TRIM_MEMORY_BACKGROUND)`, `onLowMemory` | `Critical` |
    /// | Android below 14 | `TRIM_MEMORY_RUNNING_MODERATE`; `TRIM_MEMORY_RUNNING_LOW`; all other levels | `Low`; `Moderate`; `Critical` |
    /// | iOS | `applicationDidEnterBackground` | `Moderate` |
    /// | iOS | `applicationDidReceiveMemoryWarning`, or its notification | `Critical` |
    /// | macOS, iOS | `DISPATCH_SOURCE_TYPE_MEMORYPRESSURE`: warn, critical | `Moderate`, `Critical` |
    /// | Windows | the event of `IDXGIAdapter3::RegisterVideoMemoryBudgetChangeNotificationEvent`, when `CurrentUsage` is above `Budget` | `Critical` |
    /// | Windows | the object of `CreateMemoryResourceNotification(LowMemoryResourceNotification)` is signalled | `Moderate` |
    /// | browser | `visibilitychange` to hidden | `Moderate` |
    /// | any | a scene change, the end of a task | `Low` |
    ///
    /// A browser sends no memory warnings, and `navigator.deviceMemory` is a constant of the machine: use it to choose
    /// a [limit](Pool::set_limit) when the program starts.
    ///
    /// # Errors
    /// At `Critical`, the errors of [`Pool::compact`]: [`DeviceError::Lost`], or the error of a failed batch. The other steps
    /// are executed nevertheless. The other levels return no error.
    pub fn pressure(&self, level: MemoryPressure) -> Result<Relief, DeviceError> {
        if let Some(dry) = self.dry() {
            return dry.pressure(level);
        }
        note!(Debug, "wgpu-pool: memory pressure: {level:?}");
        let compacted = if level == MemoryPressure::Critical { self.compact() } else { Ok(Compacted::default()) };
        let trimmed = self.trim();
        if level >= MemoryPressure::Moderate {
            let references = std::mem::take(&mut self.inner.state().references);
            drop(references);
            self.inner.drop_kept_handles();
            self.inner.memory.drop_caches(CacheLevel::Bindings);
        }
        Ok(Relief { compacted: compacted?, trimmed })
    }

    /// Sets the callback that the pool calls before an out-of-memory error, when every other measure has failed. The
    /// callback receives a description of the failed request, frees memory if it can, and returns whether it freed any;
    /// if so, the request is retried.
    ///
    /// The pool holds no lock during the call. The callback may allocate, drop, compact, trim, change the limit, set
    /// another callback, or panic; a panic unwinds to the caller of [`Pool::allocate`]. A request that fails inside the
    /// callback does not call it again on the same thread. Up to 64 threads may be inside the callback at the same time; a
    /// request of another thread meanwhile fails without a call. So a callback may wait for a thread that allocates.
    ///
    /// The callback is called repeatedly while it returns `true`. After 16 consecutive calls without effect, and after 65,536 calls in
    /// all, the request fails. A call has an effect if afterwards the pool keeps fewer bytes, or its limit leaves more room for the
    /// request, than at any time since the request began. A block that a call both allocates and drops has none, nor has a limit raised
    /// above what the request needs.
    ///
    /// During one call, requests of other threads that begin meanwhile may make 128 calls without success, which are calls without
    /// effect and calls of requests that fail. Such requests then fail without a call until that one returns.
    ///
    /// A callback that owns a handle to this pool keeps the pool alive; use the handle that is passed to it instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions, Storage};
    ///
    /// let options = PoolOptions { limit: Some(8 << 20), ..PoolOptions::default() };
    /// let pool = Pool::new(HostMemory::default(), options)?;
    /// let cache: Mutex<Vec<Storage<HostMemory>>> = Mutex::new(vec![pool.allocate(6 << 20)?]);
    /// pool.set_pressure_callback(move |_pool, _error| cache.lock().is_ok_and(|mut cache| cache.pop().is_some()));
    /// let storage = pool.allocate(6 << 20)?;
    /// assert_eq!(pool.remedies().callbacks, 1);
    /// # pool.clear_pressure_callback();
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub fn set_pressure_callback(&self, callback: impl Fn(&Self, &OutOfMemory) -> bool + WasmNotSendSync + 'static) {
        let previous = self.inner.state().callback.act.replace(Arc::new(callback));
        // Dropped outside the lock: the previous callback may own storages.
        drop(previous);
    }

    /// Removes the pressure callback.
    pub fn clear_pressure_callback(&self) {
        let previous = self.inner.state().callback.act.take();
        drop(previous);
    }
}

/// Marks a thread as inside the callback until dropped, also during a panic.
struct Inside<'a, M: Memory>(&'a Inner<M>);

impl<M: Memory> Drop for Inside<'_, M> {
    fn drop(&mut self) {
        let this_thread = std::thread::current().id();
        self.0.state().callback.inside.retain(|call| call.thread != this_thread);
    }
}

/// The best values that a request has seen. Each improves a bounded number of times, whatever a callback does: the kept bytes fall at
/// most to zero, and room counts up to the size of the request.
#[derive(Clone, Copy)]
struct Room {
    /// The bytes of active blocks and of those in host memory.
    kept: u64,
    /// The same, with whole segments where a block is pinned.
    unmovable: u64,
    /// What the limit leaves beyond the unmovable bytes, at most the size of the request. Negative above the limit.
    free: i128,
}

impl Room {
    /// The values before the first attempt.
    const NONE: Self = Self { kept: u64::MAX, unmovable: u64::MAX, free: i128::MIN };

    /// The current values, for a request of `rounded` bytes.
    fn of<M: Memory>(state: &State<M>, rounded: u64) -> Self {
        let (stats, pinned) = (state.heap.stats(), state.heap.pinned_segments());
        let kept = stats.active.current.saturating_add(stats.spilled.current);
        let unmovable = (kept - pinned.active).saturating_add(pinned.reserved);
        let limit = state.limit.unwrap_or(u64::MAX);
        let usable = i128::from(limit - limit % state.heap.granule());
        Self { kept, unmovable, free: (usable - i128::from(unmovable)).min(i128::from(rounded)) }
    }

    /// Takes over each value of `now` that is better. Returns whether one is.
    fn improve(&mut self, now: Self) -> bool {
        let is_better = now.kept < self.kept || now.unmovable < self.unmovable || now.free > self.free;
        self.kept = self.kept.min(now.kept);
        self.unmovable = self.unmovable.min(now.unmovable);
        self.free = self.free.max(now.free);
        is_better
    }
}

/// The calls of one request.
struct Attempts<'a, M: Memory> {
    inner: &'a Inner<M>,
    /// The number of calls of the pool before the request.
    calls_before: u64,
    best: Room,
    calls: u32,
    /// The consecutive calls without effect.
    ineffective: u32,
    /// The calls that are futile if the request fails.
    uncounted: u32,
}

impl<M: Memory> Attempts<'_, M> {
    /// Notes the room after a failed attempt. Returns whether another call may be made.
    fn note(&mut self, rounded: u64) -> bool {
        let mut state = self.inner.state();
        let now = Room::of(&state, rounded);
        if self.best.improve(now) {
            self.ineffective = 0;
            return self.calls < MAX_CALLS;
        }
        self.ineffective += 1;
        self.uncounted -= 1;
        state.callback.around(self.calls_before).for_each(|call| call.futile += 1);
        self.ineffective < MAX_INEFFECTIVE_CALLS && self.calls < MAX_CALLS
    }
}

/// Counts the calls of a request that was not served, also during a panic of the callback.
impl<M: Memory> Drop for Attempts<'_, M> {
    fn drop(&mut self) {
        if self.uncounted > 0 {
            let mut state = self.inner.state();
            let around = state.callback.around(self.calls_before);
            around.for_each(|call| call.futile = call.futile.saturating_add(self.uncounted));
        }
    }
}

impl<M: Memory> Pool<M> {
    /// Runs the ladder of measures, and again while the callback frees memory.
    pub(super) fn climb(
        &self,
        requested: NonZeroU64,
        site: &'static Location<'static>,
        sizing: Sizing,
    ) -> Result<BlockId, AllocateError> {
        let state = self.inner.state();
        let (before, calls_before) = (state.remedies, state.callback.calls);
        drop(state);
        let inner = &self.inner;
        let mut attempts = Attempts { inner, calls_before, best: Room::NONE, calls: 0, ineffective: 0, uncounted: 0 };
        loop {
            let mut error = match self.inner.climb(requested, sizing, &before, None) {
                Err(AllocateError::OutOfMemory(error)) => error,
                Ok(block) => {
                    attempts.uncounted = 0;
                    return Ok(block);
                }
                Err(other) => return Err(other),
            };
            if attempts.note(error.rounded) && self.relieve(&error, &mut attempts) {
                continue;
            }
            let mut state = self.inner.state();
            state.remedies.out_of_memory += 1;
            // Including the effect of the callback.
            error.gains = state.remedies.gains_since(&before);
            state.attribution.record_amount(EventKind::OutOfMemory, requested.get(), Some(site));
            drop(state);
            note!(Warn, "wgpu-pool: {error}, at {site}");
            return Err(AllocateError::OutOfMemory(error));
        }
    }

    /// Calls the callback. Returns false if there is none, if this thread is inside it, if too many threads are, or after too many futile
    /// calls during a call that may wait for this request.
    fn relieve(&self, error: &OutOfMemory, attempts: &mut Attempts<'_, M>) -> bool {
        check_no_lock_is_held("a pressure callback");
        let this_thread = std::thread::current().id();
        let act = {
            let mut state = self.inner.state();
            let callback = &mut state.callback;
            let Some(act) = callback.act.clone() else { return false };
            let is_inside = callback.inside.iter().any(|call| call.thread == this_thread);
            let is_futile = callback.around(attempts.calls_before).any(|call| call.futile >= MAX_FUTILE_CALLS);
            if is_inside || is_futile || callback.inside.len() >= MAX_THREADS_INSIDE {
                return false;
            }
            callback.inside.push(Call { thread: this_thread, number: callback.calls, futile: 0 });
            callback.calls += 1;
            state.remedies.callbacks += 1;
            act
        };
        attempts.calls += 1;
        attempts.uncounted += 1;
        let inside = Inside(&self.inner);
        let freed = act.call(self, error);
        drop(inside);
        let mut state = self.inner.state();
        let relieved = error.allocated.saturating_sub(state.heap.stats().allocated.current);
        state.remedies.relieved = state.remedies.relieved.saturating_add(relieved);
        drop(state);
        note!(Debug, "wgpu-pool: the pressure callback freed {}", if freed { "something" } else { "nothing" });
        freed
    }
}
