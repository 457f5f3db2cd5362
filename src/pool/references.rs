//! Reference counting: the handles that share a block, and when the block is freed.
//!
//! # Life cycle of a handle
//! One [`References`] counts the handles of one block: *strong* handles ([`Storage`](super::Storage)) keep the block
//! allocated, *weak* handles ([`WeakStorage`](super::WeakStorage)) do not. The heap counts pins: a pin keeps a freed
//! block's bytes at their location, and never makes the block allocated again.
//!
//! | state | strong | weak | block in the heap | `upgrade` | next transitions |
//! | --- | --- | --- | --- | --- | --- |
//! | in use | 1 or more | any | allocated | succeeds | clone, downgrade, upgrade, pin, unpin, drop |
//! | being freed: the last strong handle is dropped, and its thread waits for the pool's lock | 0 | any | allocated | fails | the block is freed |
//! | freed, pinned | 0 | any | active, not allocated | fails | the last unpin makes the block inactive |
//! | freed | 0 | 1 or more | inactive, or allocated with another count | fails | dropping the last weak handle drops the count |
//! | recycled | - | 0 | - | there is no weak handle | the count is used for a new block |
//!
//! In a repeated step the thread does not wait for the lock: the next thread that takes the lock frees the block (`repeat/deferred.rs`).
//!
//! Two invariants follow, and a model checker verifies both for up to three threads (`tests` below):
//! - A strong count of 0 never rises again while a handle of either kind exists. Therefore a successful upgrade refers
//!   to its own block, which is allocated, without a query of the heap.
//! - A count is reused for another block only when no handle of either kind refers to it. Therefore two blocks never
//!   share a count, regardless of how long a weak handle exists.
//!
//! Both counts are halves of one word, so that one load shows whether a handle is the only one of either kind. This is
//! the usual case when a handle is dropped, and it needs no atomic write.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// One strong handle.
const STRONG: u64 = 1;
/// One weak handle.
const WEAK: u64 = 1 << 32;
/// The largest number of handles of one kind. Half of the representable range, so that concurrent increments at the
/// bound do not carry over.
const MAX_HANDLES: u64 = 1 << 31;

const fn strong(word: u64) -> u64 {
    word & (WEAK - 1)
}

const fn weak(word: u64) -> u64 {
    word >> 32
}

/// An atomic 64-bit word: the standard library's, or the model checker's.
pub(super) trait Word: Default {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn add(&self, value: u64, order: Ordering) -> u64;
    fn subtract(&self, value: u64, order: Ordering) -> u64;
    fn exchange_weak(&self, current: u64, new: u64) -> Result<u64, u64>;
    fn acquire_fence();
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    #[inline]
    fn subtract(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_sub(value, order)
    }

    #[inline]
    fn exchange_weak(&self, current: u64, new: u64) -> Result<u64, u64> {
        self.compare_exchange_weak(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline]
    fn acquire_fence() {
        fence(Ordering::Acquire);
    }
}

/// The number of strong handles in the low half of a word, and of weak handles in the high half.
#[derive(Debug, Default)]
pub(super) struct References<W = AtomicU64>(W);

impl<W: Word> References<W> {
    /// Counts the first strong handle of a block. The caller has exclusive access to this count.
    #[inline]
    pub(super) fn begin(&self) {
        // Threads that are still dropping handles of an earlier block no longer access the count.
        self.0.store(STRONG, Ordering::Relaxed);
    }

    /// The number of strong handles. Other threads may change the number at any time.
    #[inline]
    pub(super) fn strong(&self) -> u64 {
        strong(self.0.load(Ordering::Acquire))
    }

    /// Counts a clone of a strong handle.
    ///
    /// # Panics
    /// At 2³¹ strong handles, which requires a program that leaks handles.
    #[inline]
    pub(super) fn clone_strong(&self) {
        if strong(self.0.add(STRONG, Ordering::Relaxed)) >= MAX_HANDLES {
            self.0.subtract(STRONG, Ordering::Relaxed);
            panic!("more than {MAX_HANDLES} handles to one block");
        }
    }

    /// Counts a new weak handle.
    ///
    /// # Panics
    /// At 2³¹ weak handles, which requires a program that leaks handles.
    #[inline]
    pub(super) fn add_weak(&self) {
        if weak(self.0.add(WEAK, Ordering::Relaxed)) >= MAX_HANDLES {
            self.0.subtract(WEAK, Ordering::Relaxed);
            panic!("more than {MAX_HANDLES} weak handles to one block");
        }
    }

    /// Counts a new strong handle, created from a weak handle. Returns false if there is no strong handle.
    #[inline]
    pub(super) fn upgrade(&self) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if strong(word) == 0 || strong(word) >= MAX_HANDLES {
                return false;
            }
            match self.0.exchange_weak(word, word + STRONG) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Counts the drop of a weak handle.
    #[inline]
    pub(super) fn drop_weak(&self) {
        self.0.subtract(WEAK, Ordering::Release);
    }

    /// Counts the drop of a strong handle. Returns whether it was the last: the caller then frees the block, and all
    /// accesses of other threads through their handles happen before that.
    #[inline]
    #[must_use = "the last handle frees the block"]
    pub(super) fn drop_strong(&self) -> bool {
        // No other thread can clone the only handle while it is dropped, and without a weak handle none can upgrade.
        if self.0.load(Ordering::Acquire) == STRONG {
            return true;
        }
        if strong(self.0.subtract(STRONG, Ordering::Release)) != 1 {
            return false;
        }
        W::acquire_fence();
        true
    }

    /// Returns whether the count can be reused for another block. Called once, by the thread whose handle was the last.
    #[inline]
    pub(super) fn is_unused(&self) -> bool {
        weak(self.0.load(Ordering::Acquire)) == 0
    }
}

#[cfg(test)]
pub(super) mod tests;
