//! Memory that somebody else needs: the system's warnings, and the program's own remedy before an error.

use super::{Compacted, EventKind, Inner, Pool, Trimmed};
use crate::device::Memory;
use crate::error::{AllocateError, DeviceError, OutOfMemory};
use crate::heap::BlockId;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::thread::ThreadId;
use wgpu::WasmNotSendSync;

/// How many calls in a row that bring nothing the pressure callback may call a success. Then the request fails all the same.
const CALLS_IN_VAIN: u32 = 16;

/// How urgently the system wants memory back, for [`Pool::pressure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryPressure {
    /// Drop what is idle: trim.
    Low,
    /// Drop the caches as well: bind groups, staging, records of dropped storages. Making them again costs microseconds each.
    Moderate,
    /// Keep the minimum: compact, so that sparse segments fall idle, then all of the above.
    Critical,
}

/// What [`Pool::pressure`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Blocks that were moved out of sparse segments.
    pub compacted: Compacted,
    /// Segments that were given back.
    pub trimmed: Trimmed,
}

/// What a [pressure callback](Pool::set_pressure_callback) does: frees something, and says whether it did.
pub(super) trait PressureCallback<M: Memory>: WasmNotSendSync {
    fn call(&self, pool: &Pool<M>, lacking: &OutOfMemory) -> bool;
}

impl<M: Memory, F: Fn(&Pool<M>, &OutOfMemory) -> bool + WasmNotSendSync> PressureCallback<M> for F {
    fn call(&self, pool: &Pool<M>, lacking: &OutOfMemory) -> bool {
        self(pool, lacking)
    }
}

/// The callback, and the threads that are inside of it.
pub(super) struct Callback<M: Memory> {
    act: Option<Arc<dyn PressureCallback<M>>>,
    inside: Vec<ThreadId>,
}

impl<M: Memory> Callback<M> {
    pub(super) const fn none() -> Self {
        Self { act: None, inside: Vec::new() }
    }
}

impl<M: Memory> Pool<M> {
    /// Gives memory back because the system asks for it. Never waits: what the device still uses is reported as pending, and
    /// a later trim reports it as freed.
    ///
    /// # What to call from where
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
    /// | any | a change of scene, the end of a run | `Low` |
    ///
    /// A browser sends no memory warning, and `navigator.deviceMemory` is a constant of the machine: choose a
    /// [limit](Pool::set_limit) by it when the program starts.
    ///
    /// # Errors
    /// What the device found wrong while blocks were moved. The rest is done all the same.
    pub fn pressure(&self, level: MemoryPressure) -> Result<Relief, DeviceError> {
        log::debug!("wgpu-pool: memory pressure: {level:?}");
        let compacted =
            if level == MemoryPressure::Critical { self.compact(u64::MAX) } else { Ok(Compacted::default()) };
        let trimmed = self.trim();
        if level >= MemoryPressure::Moderate {
            let references = std::mem::take(&mut self.inner.state().references);
            drop(references);
            self.inner.memory.drop_all_caches();
        }
        Ok(Relief { compacted: compacted?, trimmed })
    }

    /// Sets what the pool calls when every other remedy has failed and the next answer would be an error. It is told what is
    /// lacking, frees what it can, and answers whether it freed something; if so the request is tried again.
    ///
    /// No lock is held meanwhile: it may allocate, drop, compact, trim, change the limit, set another callback, or panic, which
    /// the caller of [`Pool::allocate`] then sees. A request that fails inside of it doesn't call it again on the same thread.
    /// Several threads may be inside at once.
    ///
    /// It is called again for as long as it answers `true`. After 16 such answers in a row that neither lowered the pool's
    /// allocated bytes nor raised its limit the request fails.
    ///
    /// A callback that owns a handle to this pool keeps it alive; it needs none, since it is handed one.
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
    /// pool.set_pressure_callback(move |_pool, _lacking| cache.lock().is_ok_and(|mut cache| cache.pop().is_some()));
    /// let storage = pool.allocate(6 << 20)?;
    /// assert_eq!(pool.remedies().callbacks, 1);
    /// # pool.clear_pressure_callback();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_pressure_callback(&self, callback: impl Fn(&Self, &OutOfMemory) -> bool + WasmNotSendSync + 'static) {
        let previous = self.inner.state().callback.act.replace(Arc::new(callback));
        // Outside of the lock: what the callback owned may be storages.
        drop(previous);
    }

    /// Removes the pressure callback.
    pub fn clear_pressure_callback(&self) {
        let previous = self.inner.state().callback.act.take();
        drop(previous);
    }
}

/// Notes that a thread is inside the callback, until it is dropped; a panic passes here too.
struct Inside<'a, M: Memory>(&'a Inner<M>);

impl<M: Memory> Drop for Inside<'_, M> {
    fn drop(&mut self) {
        let this_thread = std::thread::current().id();
        self.0.state().callback.inside.retain(|&thread| thread != this_thread);
    }
}

impl<M: Memory> Pool<M> {
    /// Every rung above the first: the ladder, and again for as long as the callback frees something.
    pub(super) fn climb(
        &self,
        requested: NonZeroU64,
        site: &'static Location<'static>,
    ) -> Result<BlockId, AllocateError> {
        let before = self.remedies();
        let mut in_vain = 0;
        let (mut least_live, mut highest_limit) = (u64::MAX, 0);
        loop {
            let mut lacking = match self.inner.climb(requested, &before) {
                Err(AllocateError::OutOfMemory(lacking)) => lacking,
                other => return other,
            };
            // Both can only improve so often, so that this ends.
            let limit = lacking.limit.unwrap_or(u64::MAX);
            in_vain = if lacking.allocated < least_live || limit > highest_limit { 0 } else { in_vain + 1 };
            (least_live, highest_limit) = (least_live.min(lacking.allocated), highest_limit.max(limit));
            if in_vain < CALLS_IN_VAIN && self.relieve(&lacking) {
                continue;
            }
            let mut state = self.inner.state();
            state.remedies.out_of_memory += 1;
            // With what the callback gained.
            lacking.gains = state.remedies.gains_since(&before);
            state.attribution.record_amount(EventKind::OutOfMemory, requested.get(), Some(site));
            drop(state);
            log::warn!("wgpu-pool: {lacking}, at {site}");
            return Err(AllocateError::OutOfMemory(lacking));
        }
    }

    /// Calls the callback, unless there is none or this thread is inside of it.
    fn relieve(&self, lacking: &OutOfMemory) -> bool {
        let this_thread = std::thread::current().id();
        let act = {
            let mut state = self.inner.state();
            let Some(act) = state.callback.act.clone() else { return false };
            if state.callback.inside.contains(&this_thread) {
                return false;
            }
            state.callback.inside.push(this_thread);
            state.remedies.callbacks += 1;
            act
        };
        let inside = Inside(&self.inner);
        let freed = act.call(self, lacking);
        drop(inside);
        let mut state = self.inner.state();
        state.remedies.relieved += lacking.allocated.saturating_sub(state.heap.stats().allocated.current);
        drop(state);
        log::debug!("wgpu-pool: the pressure callback freed {}", if freed { "something" } else { "nothing" });
        freed
    }
}
