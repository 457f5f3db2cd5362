//! Frees in a step, which take no lock.
//!
//! The thread of a step frees a block by an entry in a list that only this thread writes, with plain stores. Each thread that takes the heap's
//! lock frees the listed blocks before it uses the heap ([`Inner::state`]). So every call of the crate finds the blocks freed that were dropped
//! before the call, as if each drop had taken the lock. In a loop of allocations and frees the next allocation does it, and the lock is taken
//! half as often.
//!
//! The handle's references to the pool and to its count stay with the thread ([`Handles`]), and the next allocation of the step uses them
//! again, which saves two more atomic operations. They keep the pool alive no longer than the step, which borrows the loop.
//!
//! A free that has more to do than to free the block takes the lock: [`Inner::may_defer`] lists the cases.

use super::super::caches::MAX_REFERENCES;
use super::super::references::Word;
use super::super::storage::Handle;
use super::super::{Inner, State};
use crate::device::Memory;
use crate::heap::BlockId;
use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest number of blocks in the list, and of handles that a thread keeps. A step that frees more blocks without an allocation takes the
/// lock for the rest.
const CAPACITY: usize = 1024;

/// The blocks that the thread of a step has dropped and no thread has freed yet: a ring with one writer, and one reader at a time.
///
/// Invariant: `taken <= put <= taken + N`.
#[derive(Debug)]
pub(in crate::pool) struct DeferredFrees<W = AtomicU64, const N: usize = CAPACITY> {
    /// 1 while a thread may write, otherwise 0.
    is_open: W,
    blocks: [W; N],
    /// The number of blocks so far that were put in. Written by the thread of the step.
    put: W,
    /// The number of blocks so far that were taken out. Written with the heap's lock.
    taken: W,
    /// The number of handles that the thread of the step keeps.
    handles: W,
}

impl<W: Word, const N: usize> Default for DeferredFrees<W, N> {
    fn default() -> Self {
        let word = W::default;
        let blocks = std::array::from_fn(|_| word());
        Self { is_open: word(), blocks, put: word(), taken: word(), handles: word() }
    }
}

impl<W: Word, const N: usize> DeferredFrees<W, N> {
    /// Makes the calling thread the writer, unless another thread is. The caller has the heap's lock.
    fn open(&self) -> bool {
        let was_open = self.is_open();
        self.is_open.store(1, Ordering::Relaxed);
        !was_open
    }

    /// Ends what [`DeferredFrees::open`] began. The caller has the heap's lock.
    fn close(&self) {
        self.is_open.store(0, Ordering::Relaxed);
    }

    /// Returns whether there is a writer. A thread that is the writer finds true.
    #[inline]
    pub(in crate::pool) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed) != 0
    }

    /// Puts a block in, or returns false if there is no room. Only for the writer.
    #[inline]
    fn put(&self, block: BlockId) -> bool {
        let put = self.put.load(Ordering::Relaxed);
        // The entry may be overwritten only after it was read.
        let has_room = put - self.taken.load(Ordering::Acquire) < N as u64;
        if has_room {
            self.entry(put).store(block.to_bits(), Ordering::Relaxed);
            self.put.store(put + 1, Ordering::Release);
        }
        has_room
    }

    /// Returns whether there are blocks. The caller has the heap's lock.
    #[inline]
    pub(in crate::pool) fn has_any(&self) -> bool {
        self.put.load(Ordering::Acquire) != self.taken.load(Ordering::Relaxed)
    }

    /// Takes the oldest block out. The caller has the heap's lock.
    #[inline]
    fn take(&self) -> Option<BlockId> {
        let taken = self.taken.load(Ordering::Relaxed);
        if self.put.load(Ordering::Acquire) == taken {
            return None;
        }
        let block = BlockId::from_bits(self.entry(taken).load(Ordering::Relaxed));
        self.taken.store(taken + 1, Ordering::Release);
        Some(block)
    }

    #[inline]
    fn entry(&self, number: u64) -> &W {
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below N")]
        let index = (number % N as u64) as usize;
        &self.blocks[index]
    }

    /// Returns the number of handles that the thread of the step keeps.
    pub(in crate::pool) fn handles(&self) -> usize {
        usize::try_from(self.handles.load(Ordering::Relaxed)).unwrap_or(CAPACITY)
    }
}

/// The handles that a thread keeps during its step.
struct Kept {
    /// The address of the pool, which lives as long as its step.
    pool: usize,
    /// A `Vec<Handle<M>>`.
    handles: Box<dyn Any>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Calls `act` with the handles that this thread keeps for a pool. `None` if it keeps none, because it is not the writer.
#[inline]
fn with_handles<M: Memory, R>(pool: usize, act: impl FnOnce(&mut Vec<Handle<M>>) -> Option<R>) -> Option<R> {
    let find = |kept: &RefCell<Option<Kept>>| {
        let mut kept = kept.borrow_mut();
        let kept = kept.as_mut().filter(|kept| kept.pool == pool)?;
        act(kept.handles.downcast_mut()?)
    };
    // A thread that ends may drop storages after its thread-local data is gone. Then it is in no step.
    KEPT.try_with(find).ok().flatten()
}

fn key<M: Memory>(inner: &Inner<M>) -> usize {
    std::ptr::from_ref(inner).addr()
}

impl<M: Memory> Inner<M> {
    /// Returns whether a free that a step's thread makes now has nothing to do but to free the block: no scope counts it, no history records
    /// it, and the release policy expects none. Spilling and scrubbing are checked when the step begins.
    #[inline]
    fn may_defer(&self) -> bool {
        !self.is_tracked.load(Ordering::Relaxed) && self.is_release_settled()
    }

    /// Lets the calling thread defer its frees, unless another thread does. The step begins.
    pub(super) fn begin_to_defer(&self, state: &State<M>) {
        // A thread keeps the handles of one pool: not in a step of one pool within that of another.
        let keeps_none = KEPT.try_with(|kept| kept.borrow().is_none()).unwrap_or(false);
        if self.scrubs || state.spilling.is_some() || !keeps_none || !self.deferred.open() {
            return;
        }
        let handles: Vec<Handle<M>> = Vec::with_capacity(CAPACITY);
        KEPT.set(Some(Kept { pool: key(self), handles: Box::new(handles) }));
    }

    /// Ends what [`Inner::begin_to_defer`] began. The step ends.
    pub(super) fn end_to_defer(self: &Arc<Self>) {
        let handles = with_handles(key(self), |handles: &mut Vec<Handle<M>>| Some(std::mem::take(handles)));
        let Some(handles) = handles else { return };
        KEPT.set(None);
        let mut state = self.state();
        self.deferred.close();
        self.deferred.handles.store(0, Ordering::Relaxed);
        let room = MAX_REFERENCES.saturating_sub(state.references.len());
        // Of the pools, the caller has another reference.
        let references = handles.into_iter().map(|Handle { inner: _, references }| references);
        state.references.extend(references.take(room));
        let leaves_excess = self.note_free(&state);
        drop(state);
        if leaves_excess {
            self.schedule_release();
        }
    }

    /// Frees a block in the calling thread's step without the lock, and keeps the handle, which is the last one. Returns false, and does
    /// nothing, if the thread is in no step or more has to be done. Not inlined, so that a free outside of steps is short.
    #[inline(never)]
    pub(in crate::pool) fn free_later(last: &mut Option<Handle<M>>, block: BlockId) -> bool {
        let Some(Handle { inner, references }) = last else { return false };
        if !inner.may_defer() || !references.is_unused() {
            return false;
        }
        let kept = with_handles(key(inner), |handles| {
            if handles.len() == CAPACITY || !last.as_ref()?.inner.deferred.put(block) {
                return None;
            }
            let handle = last.take()?;
            handle.inner.deferred.handles.store(handles.len() as u64 + 1, Ordering::Relaxed);
            handles.push(handle);
            Some(())
        });
        kept.is_some()
    }

    /// Returns a handle that the calling thread keeps.
    #[inline]
    pub(in crate::pool) fn kept_handle(&self) -> Option<Handle<M>> {
        if !self.deferred.is_open() {
            return None;
        }
        with_handles(key(self), |handles| {
            let handle = handles.pop();
            self.deferred.handles.store(handles.len() as u64, Ordering::Relaxed);
            handle
        })
    }

    /// Drops the handles that the calling thread keeps.
    pub(in crate::pool) fn drop_kept_handles(&self) {
        let handles: Option<Vec<Handle<M>>> = with_handles(key(self), |handles| {
            self.deferred.handles.store(0, Ordering::Relaxed);
            Some(std::mem::replace(handles, Vec::with_capacity(CAPACITY)))
        });
        drop(handles);
    }

    /// Frees the blocks that the thread of a step has dropped.
    pub(in crate::pool) fn free_deferred(&self, state: &mut State<M>) {
        while let Some(block) = self.deferred.take() {
            state.free_deferred(block);
        }
    }
}

#[cfg(test)]
mod tests;
