//! The caches of a pool and its memory: usage, bounds, and clearing.

use super::references::References;
use super::{Pool, State};
use crate::device::{CacheLevel, CacheUse, Memory};

/// The largest number of reference counts of dropped storages that are kept for reuse. The rest is returned to the host
/// allocator.
pub(super) const MAX_REFERENCES: usize = 1 << 16;

impl<M: Memory> Pool<M> {
    /// Returns the usage of the caches of the pool and of its memory. Each cache is bounded by entries or by bytes.
    /// Reports list the caches, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// drop(pool.allocate(1000)?);
    /// let kept = |pool: &Pool<HostMemory>| pool.caches().iter().map(|cache| cache.entries).sum::<u64>();
    /// assert_eq!(kept(&pool), 1, "the storage's reference count");
    /// pool.clear_caches();
    /// assert_eq!(kept(&pool), 0);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn caches(&self) -> Vec<CacheUse> {
        let mut caches = self.inner.memory.caches();
        let kept = self.inner.deferred.handles();
        caches.extend(self.inner.state().caches(kept));
        caches
    }

    /// Empties every cache: bind groups, staging buffers, reference counts of dropped storages, idle host buffers of
    /// [spilling](crate::PoolOptions::spill), the plans of [repeated steps](Pool::repeat), whose next runs are observed again, and
    /// compiled kernels, which take milliseconds each to compile again. Objects that recorded commands use live until the device has
    /// finished with them, the plans of a step in progress until its end, and so do up to 1,024 reference counts of a step on another
    /// thread. Does not wait.
    ///
    /// Idle segments stay; [`Pool::trim`] returns them to the driver. [`Pool::pressure`] drops all caches except
    /// compiled kernels and plans.
    pub fn clear_caches(&self) {
        if let Some(dry) = self.dry() {
            return dry.clear_caches();
        }
        let mut state = self.inner.state();
        let references = std::mem::take(&mut state.references);
        let host_segments = state.spilling.as_mut().map(|spilling| spilling.take_idle());
        drop(state);
        drop((references, host_segments));
        self.inner.drop_kept_handles();
        self.inner.forget_plans();
        self.inner.memory.drop_caches(CacheLevel::Kernels);
    }
}

impl<M: Memory> State<M> {
    /// Returns the usage of the pool's own caches. `kept` reference counts are those of the thread of a step.
    pub(super) fn caches(&self, kept: usize) -> impl Iterator<Item = CacheUse> {
        let host = self.spilling.as_ref().map(|spilling| spilling.host_cache());
        [references(self.references.len() + kept), self.steps.cache_use()].into_iter().chain(host)
    }
}

/// Returns the usage of the cache of reference counts.
fn references(entries: usize) -> CacheUse {
    /// Including the two counters of the `Arc`.
    const BYTES: usize = size_of::<References>() + 2 * size_of::<usize>();
    CacheUse {
        entries: entries as u64,
        most_entries: Some(MAX_REFERENCES as u64),
        bytes: Some((entries * BYTES) as u64),
        ..CacheUse::named("reference counts")
    }
}
