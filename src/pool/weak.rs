//! Weak handles.

use super::references::References;
use super::{Inner, Storage};
use crate::device::{Gpu, Memory};
use crate::heap::BlockId;
use std::fmt;
use std::sync::{Arc, Weak};

/// A handle that keeps neither its block nor its pool alive. Made by [`Storage::downgrade`].
pub struct WeakStorage<M: Memory = Gpu> {
    inner: Weak<Inner<M>>,
    /// Counts the handles of this block, and of no other while this handle exists.
    references: Arc<References>,
    block: Option<BlockId>,
    requested: u64,
}

impl<M: Memory> WeakStorage<M> {
    /// The block must have a strong handle, the caller's.
    pub(super) fn new(
        inner: &Arc<Inner<M>>,
        references: &Arc<References>,
        block: Option<BlockId>,
        requested: u64,
    ) -> Self {
        references.add_weak();
        Self { inner: Arc::downgrade(inner), references: Arc::clone(references), block, requested }
    }

    /// A full handle to the block, or nothing once the last full one was dropped. A pin keeps a freed block in place, and
    /// doesn't bring it back.
    #[must_use]
    pub fn upgrade(&self) -> Option<Storage<M>> {
        let inner = self.inner.upgrade()?;
        let upgraded = self.references.upgrade();
        upgraded.then(|| Storage::counted(inner, Arc::clone(&self.references), self.block, self.requested))
    }
}

impl<M: Memory> Clone for WeakStorage<M> {
    fn clone(&self) -> Self {
        let Self { inner, references, block, requested } = self;
        references.add_weak();
        Self { inner: inner.clone(), references: Arc::clone(references), block: *block, requested: *requested }
    }
}

impl<M: Memory> Drop for WeakStorage<M> {
    fn drop(&mut self) {
        self.references.drop_weak();
    }
}

impl<M: Memory> fmt::Debug for WeakStorage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, references: _, block, requested } = self;
        f.debug_struct("WeakStorage").field("block", block).field("requested", requested).finish_non_exhaustive()
    }
}
