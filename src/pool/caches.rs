//! What a pool and its memory keep to be fast, how much of it there may be, and how to get rid of it.

use super::Pool;
use super::references::References;
use crate::device::{CacheUse, Memory};

/// Reference counts of dropped storages that are kept for new ones. Those of more storages go back to the host's allocator.
pub(super) const MOST_REFERENCES: usize = 1 << 16;

impl<M: Memory> Pool<M> {
    /// The caches of the pool and of its memory, and how full they are. Each is bounded by a number of entries or of bytes. Reports list
    /// them too.
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn caches(&self) -> Vec<CacheUse> {
        let mut caches = self.inner.memory.caches();
        caches.push(references(self.inner.state().references.len()));
        caches
    }

    /// Empties every cache: bind groups, staging buffers, reference counts of dropped storages, and compiled kernels, which take
    /// milliseconds each to compile again. What recorded commands use lives until the device is done with them. Doesn't wait.
    ///
    /// Idle segments stay; [`Pool::trim`] gives them back. [`Pool::pressure`] drops all but the compiled kernels.
    pub fn clear_caches(&self) {
        let references = std::mem::take(&mut self.inner.state().references);
        drop(references);
        self.inner.memory.clear_caches();
    }
}

/// The cache of reference counts, with so many in it.
pub(super) fn references(entries: usize) -> CacheUse {
    /// Beside the count itself, those of its `Arc`.
    const BYTES: usize = size_of::<References>() + 2 * size_of::<usize>();
    CacheUse {
        entries: entries as u64,
        most_entries: Some(MOST_REFERENCES as u64),
        bytes: Some((entries * BYTES) as u64),
        ..CacheUse::named("reference counts")
    }
}
