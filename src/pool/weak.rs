//! Weak handles to storages and pools.

use super::references::References;
use super::{Inner, Pool, Storage};
use crate::device::{Gpu, Memory};
use crate::heap::BlockId;
use std::fmt;
use std::sync::{Arc, Weak};

/// A handle that keeps neither its block nor its pool alive. Created by [`Storage::downgrade`].
pub struct WeakStorage<M: Memory = Gpu> {
    inner: Weak<Inner<M>>,
    /// The reference count of this block. Not reused for another block while this handle exists.
    references: Arc<References>,
    block: Option<BlockId>,
    requested: u64,
}

impl<M: Memory> WeakStorage<M> {
    /// Creates a weak handle. The caller must have a strong handle to the block.
    pub(super) fn new(
        inner: &Arc<Inner<M>>,
        references: &Arc<References>,
        block: Option<BlockId>,
        requested: u64,
    ) -> Self {
        references.add_weak();
        Self { inner: Arc::downgrade(inner), references: Arc::clone(references), block, requested }
    }

    /// Returns a strong handle to the block, or `None` after the last strong handle was dropped. A pin keeps a freed
    /// block at its location, but does not make it allocated again.
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

/// A handle that does not keep its pool alive. Created by [`Pool::downgrade`].
///
/// For callbacks that the device or the pool itself owns, where a [`Pool`] would keep both alive.
pub struct WeakPool<M: Memory = Gpu>(Weak<Inner<M>>);

impl<M: Memory> Pool<M> {
    /// Returns a handle that does not keep the pool alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakPool<M> {
        WeakPool(Arc::downgrade(&self.inner))
    }
}

impl<M: Memory> WeakPool<M> {
    /// Returns a handle to the pool, or `None` after its last handle and its last storage were dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Pool<M>> {
        self.0.upgrade().map(|inner| Pool::of(&inner))
    }
}

impl<M: Memory> Clone for WeakPool<M> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<M: Memory> fmt::Debug for WeakPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakPool").finish_non_exhaustive()
    }
}
