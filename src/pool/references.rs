//! How many handles share one block, and when the block is free again.
//!
//! # Life cycle of a handle
//! One [`References`] counts the handles of one block: *strong* ones ([`Storage`](super::Storage)), which keep the block
//! allocated, and *weak* ones ([`WeakStorage`](super::WeakStorage)), which don't. Pins are counted by the heap: a pin keeps the
//! block's bytes in place after it was freed, and never makes it allocated again.
//!
//! | state | strong | weak | block in the heap | `upgrade` | may happen next |
//! | --- | --- | --- | --- | --- | --- |
//! | in use | 1 or more | any | allocated | succeeds | clone, downgrade, upgrade, pin, unpin, drop |
//! | being freed: the last strong handle is dropped, and its thread waits for the pool's lock | 0 | any | allocated | fails | the block is freed |
//! | freed, pinned | 0 | any | active, not allocated | fails | the last unpin makes the block inactive |
//! | freed | 0 | 1 or more | inactive, or the block of another count | fails | the last weak handle is dropped, and the count with it |
//! | recycled | - | 0 | - | there is no weak handle | the count serves a new block |
//!
//! Two rules follow, and the model checker proves both for up to three threads (`tests` below):
//! - A strong count of 0 never rises again while a handle of either kind exists. So an upgrade that succeeds finds its own
//!   block, allocated, without asking the heap.
//! - A count serves another block only when no handle of either kind refers to it. So two blocks never share a count, however
//!   long a weak handle is kept.
//!
//! Both counts are halves of one word, so that one load tells whether a handle is the only one of either kind. That is the
//! usual case when a handle is dropped, and needs no atomic write.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// One strong handle.
const STRONG: u64 = 1;
/// One weak handle.
const WEAK: u64 = 1 << 32;
/// The most handles of one kind. Half of what fits, so that threads that meet the bound at once still don't carry over.
const MOST: u64 = 1 << 31;

const fn strong(word: u64) -> u64 {
    word & (WEAK - 1)
}

const fn weak(word: u64) -> u64 {
    word >> 32
}

/// An atomic word of 64 bits: the standard library's, or the model checker's.
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

/// The number of strong handles in the low half of a word, that of weak ones in the high half.
#[derive(Debug, Default)]
pub(super) struct References<W = AtomicU64>(W);

impl<W: Word> References<W> {
    /// Counts the first strong handle of a block. The caller has this count for itself.
    #[inline]
    pub(super) fn begin(&self) {
        // Handles of an earlier block, should other threads still be dropping them, have touched the count for the last time.
        self.0.store(STRONG, Ordering::Relaxed);
    }

    /// The strong handles. Other threads may change the number at any time.
    #[inline]
    pub(super) fn strong(&self) -> u64 {
        strong(self.0.load(Ordering::Acquire))
    }

    /// Counts a clone of a strong handle.
    ///
    /// # Panics
    /// At 2³¹ strong handles, which only a program that forgets handles can reach.
    #[inline]
    pub(super) fn clone_strong(&self) {
        if strong(self.0.add(STRONG, Ordering::Relaxed)) >= MOST {
            self.0.subtract(STRONG, Ordering::Relaxed);
            panic!("more than {MOST} handles to one block");
        }
    }

    /// Counts a weak handle, made of a strong or of a weak one.
    ///
    /// # Panics
    /// At 2³¹ weak handles, which only a program that forgets handles can reach.
    #[inline]
    pub(super) fn add_weak(&self) {
        if weak(self.0.add(WEAK, Ordering::Relaxed)) >= MOST {
            self.0.subtract(WEAK, Ordering::Relaxed);
            panic!("more than {MOST} weak handles to one block");
        }
    }

    /// Counts one more strong handle, made of a weak one, unless there is none left.
    #[inline]
    pub(super) fn upgrade(&self) -> bool {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if strong(word) == 0 || strong(word) >= MOST {
                return false;
            }
            match self.0.exchange_weak(word, word + STRONG) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Counts a weak handle as dropped.
    #[inline]
    pub(super) fn drop_weak(&self) {
        self.0.subtract(WEAK, Ordering::Release);
    }

    /// Counts a strong handle as dropped. Whether it was the last: the caller then frees the block, and everything that other
    /// threads did with the block through their handles happens before that.
    #[inline]
    #[must_use = "the last handle frees the block"]
    pub(super) fn drop_strong(&self) -> bool {
        // Nobody can clone the only handle while it is dropped, and without a weak one nobody can upgrade.
        if self.0.load(Ordering::Acquire) == STRONG {
            return true;
        }
        if strong(self.0.subtract(STRONG, Ordering::Release)) != 1 {
            return false;
        }
        W::acquire_fence();
        true
    }

    /// Whether the count may serve another block. Asked by the thread whose handle was the last, once.
    #[inline]
    pub(super) fn is_unused(&self) -> bool {
        weak(self.0.load(Ordering::Acquire)) == 0
    }
}

#[cfg(test)]
mod tests;
