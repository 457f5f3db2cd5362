//! Handles that keep nothing.

use super::storage::Handles;
use super::{Inner, Storage};
use crate::device::{Gpu, Memory};
use crate::heap::BlockId;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// A handle that keeps neither its block nor its pool. Made by [`Storage::downgrade`].
pub struct WeakStorage<M: Memory = Gpu> {
    inner: Weak<Inner<M>>,
    /// Counts the handles of this block for as long as the heap knows the block by this id.
    handles: Arc<Handles>,
    block: Option<BlockId>,
    requested: u64,
}

impl<M: Memory> WeakStorage<M> {
    pub(super) fn new(inner: &Arc<Inner<M>>, handles: &Arc<Handles>, block: Option<BlockId>, requested: u64) -> Self {
        Self { inner: Arc::downgrade(inner), handles: Arc::clone(handles), block, requested }
    }

    /// A full handle to the block, unless its last one was dropped meanwhile.
    #[must_use]
    pub fn upgrade(&self) -> Option<Storage<M>> {
        let inner = self.inner.upgrade()?;
        // While the lock is held no block comes or goes, so the count is that of this block, or 0 while its last handle waits
        // for the lock.
        let state = inner.state();
        if let Some(block) = self.block {
            state.heap.resolve(block)?;
        }
        let more = |count| if count == 0 { None } else { Some(count + 1) };
        self.handles.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        drop(state);
        Some(Storage::again(inner, Arc::clone(&self.handles), self.block, self.requested))
    }
}

impl<M: Memory> Clone for WeakStorage<M> {
    fn clone(&self) -> Self {
        let Self { inner, handles, block, requested } = self;
        Self { inner: inner.clone(), handles: Arc::clone(handles), block: *block, requested: *requested }
    }
}

impl<M: Memory> fmt::Debug for WeakStorage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, handles: _, block, requested } = self;
        f.debug_struct("WeakStorage").field("block", block).field("requested", requested).finish_non_exhaustive()
    }
}
