//! The dry runs of a thread, and of a pool.

use super::super::Inner;
use super::held::{DryBlock, DryId, DryPlace};
use super::{DryRun, Shadow};
use crate::device::Memory;
use crate::device::lock::{Guard, Lock};
use crate::error::DryRunError;
use crate::heap::BlockId;
use slab::Slab;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// The dry runs of this thread, each with the address of its pool. A pool has at most one of them.
    static RUNS: RefCell<Vec<(usize, Arc<Shadow>)>> = const { RefCell::new(Vec::new()) };
}

/// The dry runs of a pool on all threads, and the blocks that were allocated in them.
#[derive(Debug, Default)]
pub(in crate::pool) struct DryRuns {
    /// The number of dry runs in progress, and of blocks in `blocks`.
    count: AtomicUsize,
    /// The blocks of current and ended dry runs that have a handle.
    blocks: Lock<Slab<DryBlock>>,
}

impl DryRuns {
    /// Returns whether no dry run of this thread exists and no block of a dry run is known to this thread. May be false because of another
    /// thread. A thread sees its own changes of the counter, and those before it received a handle, so no ordering is necessary.
    #[inline]
    pub(in crate::pool) fn none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Adds a block with one handle, and returns the id for its storage.
    ///
    /// # Panics
    /// At 2³¹ blocks.
    pub(super) fn add_block(&self, block: DryBlock) -> BlockId {
        self.count.fetch_add(1, Ordering::Relaxed);
        let number = u32::try_from(self.blocks().insert(block)).ok().and_then(BlockId::outside);
        number.expect("fewer than 2^31 blocks fit the host's memory")
    }

    /// Frees a block, when the last handle is dropped. Also after the end of the dry run, where only the copy of the heap notices.
    #[cold]
    pub(in crate::pool) fn free(&self, id: DryId) {
        let removed = self.blocks().try_remove(id.0 as usize);
        if let Some(block) = removed {
            block.free();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns the dry run of a block, which has a handle.
    pub(super) fn block(&self, id: DryId) -> Option<DryPlace> {
        self.blocks().get(id.0 as usize).map(DryBlock::place)
    }

    fn blocks(&self) -> Guard<'_, Slab<DryBlock>> {
        self.blocks.lock()
    }
}

/// Returns the key of a pool. The pool lives during its dry runs, so that no other pool has the address.
fn key<M: Memory>(inner: &Inner<M>) -> usize {
    std::ptr::from_ref(inner).addr()
}

/// Returns the dry run of this thread on a pool.
#[cold]
pub(super) fn find<M: Memory>(inner: &Inner<M>) -> Option<Arc<Shadow>> {
    let key = key(inner);
    let found = |runs: &RefCell<Vec<(usize, Arc<Shadow>)>>| {
        runs.borrow().iter().find(|(of, _)| *of == key).map(|(_, shadow)| Arc::clone(shadow))
    };
    // A thread that ends may drop storages after its thread-local data is gone. Then it has no dry run.
    RUNS.try_with(found).ok().flatten()
}

/// A dry run in progress. Ends when dropped, also during a panic.
pub(super) struct Running<'a, M: Memory> {
    inner: &'a Inner<M>,
    shadow: Arc<Shadow>,
}

impl<'a, M: Memory> Running<'a, M> {
    pub(super) fn start(inner: &'a Inner<M>) -> Result<Self, DryRunError> {
        if inner.shadow().is_some() {
            return Err(DryRunError::Nested);
        }
        let shadow = Arc::new(Shadow::of(inner));
        RUNS.with(|runs| runs.borrow_mut().push((key(inner), Arc::clone(&shadow))));
        inner.dry_runs.count.fetch_add(1, Ordering::Relaxed);
        Ok(Self { inner, shadow })
    }

    /// Ends the dry run and returns its result.
    pub(super) fn finish(self) -> DryRun {
        let shadow = Arc::clone(&self.shadow);
        drop(self);
        shadow.finish()
    }
}

impl<M: Memory> Drop for Running<'_, M> {
    fn drop(&mut self) {
        let key = key(self.inner);
        let removed = RUNS.try_with(|runs| {
            let mut runs = runs.borrow_mut();
            let place = runs.iter().position(|(of, _)| *of == key);
            place.map(|place| runs.remove(place))
        });
        self.inner.dry_runs.count.fetch_sub(1, Ordering::Relaxed);
        // Dropped outside of the borrow.
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use crate::device::HostMemory;
    use crate::pool::{Pool, PoolOptions};

    #[test]
    fn after_the_last_handle_of_a_dry_run_no_call_searches_for_one() -> crate::error::Result<()> {
        let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
        let none = || pool.inner.dry_runs.none();
        assert!(none());
        let (escaped, _) = pool.dry_run(|| {
            assert!(!none());
            pool.allocate(1000)
        })?;
        let escaped = escaped?;
        let clone = escaped.clone();
        drop(escaped);
        assert!(!none(), "a handle exists");
        drop(clone);
        assert!(none());
        Ok(())
    }
}
