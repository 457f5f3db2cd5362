//! Memory pressure: responses to the system's warnings, and the application's callback before an out-of-memory error.

use super::ladder::Sizing;
use super::{Compacted, EventKind, Inner, Pool, Trimmed};
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

/// The number of threads that may be inside the callback at the same time. A callback may wait for a thread that allocates, whose
/// request may call the callback again: without a bound, there would be a new thread in each call.
const MAX_THREADS_INSIDE: usize = 64;

/// The number of calls after calls without effect that the requests of all threads may make together while other threads are inside the
/// callback. Without this bound each of the threads that wait for each other would make [`MAX_INEFFECTIVE_CALLS`] calls for each
/// call of the thread before it.
const MAX_REPEATS_INSIDE: u32 = 64;

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

/// The callback, and the threads that are inside it.
pub(super) struct Callback<M: Memory> {
    act: Option<Arc<dyn PressureCallback<M>>>,
    inside: Vec<ThreadId>,
    /// The calls that count against [`MAX_REPEATS_INSIDE`] since no thread was inside.
    repeats: u32,
}

impl<M: Memory> Callback<M> {
    pub(super) const fn none() -> Self {
        Self { act: None, inside: Vec::new(), repeats: 0 }
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
    /// The callback is called repeatedly while it returns `true`. After 16 consecutive calls that neither lowered the
    /// pool's allocated bytes nor raised its limit, the request fails. While other threads are inside the callback, it also fails
    /// if no byte of the pool was freed since its last call, and 64 such calls were made already.
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
        let callback = &mut self.0.state().callback;
        callback.inside.retain(|&thread| thread != this_thread);
        if callback.inside.is_empty() {
            callback.repeats = 0;
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
        let before = self.remedies();
        let mut ineffective = 0;
        // The bytes that were freed so far when the callback was called.
        let mut freed_before = None;
        let (mut least_live, mut highest_limit) = (u64::MAX, 0);
        loop {
            let mut error = match self.inner.climb(requested, sizing, &before, None) {
                Err(AllocateError::OutOfMemory(error)) => error,
                other => return other,
            };
            // Both values improve a bounded number of times, so the loop ends.
            let limit = error.limit.unwrap_or(u64::MAX);
            ineffective = if error.allocated < least_live || limit > highest_limit { 0 } else { ineffective + 1 };
            (least_live, highest_limit) = (least_live.min(error.allocated), highest_limit.max(limit));
            if ineffective == 0 {
                freed_before = None;
            }
            if ineffective < MAX_INEFFECTIVE_CALLS && self.relieve(&error, &mut freed_before) {
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

    /// Calls the callback. Returns false if there is none, if this thread is inside it, if too many threads are, or after too many calls
    /// without effect. `freed_before` is what this function stored there at the last call, or `None` if that call had an effect.
    fn relieve(&self, error: &OutOfMemory, freed_before: &mut Option<u64>) -> bool {
        check_no_lock_is_held("a pressure callback");
        let this_thread = std::thread::current().id();
        let act = {
            let mut state = self.inner.state();
            let freed = state.heap.stats().allocated.freed;
            let callback = &mut state.callback;
            let Some(act) = callback.act.clone() else { return false };
            if callback.inside.len() >= MAX_THREADS_INSIDE || callback.inside.contains(&this_thread) {
                return false;
            }
            if freed_before.replace(freed) == Some(freed) && !callback.inside.is_empty() {
                if callback.repeats >= MAX_REPEATS_INSIDE {
                    return false;
                }
                callback.repeats += 1;
            }
            callback.inside.push(this_thread);
            state.remedies.callbacks += 1;
            act
        };
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
