//! Leak detection: lists the blocks that are still allocated.

use super::super::{Inner, Pool};
use super::holders::HeldBlock;
use crate::device::Memory;
use crate::pool::messages::note;
use std::fmt;
use std::sync::atomic::Ordering;

/// Blocks that are still allocated, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// The blocks.
    pub blocks: Vec<HeldBlock>,
}

impl Leaks {
    /// Returns whether there are no leaks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// Formats one line per block: size, label, dtype and shape, age in allocations, and call site. Empty without leaks.
impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocks.iter().try_for_each(|block| writeln!(f, "{block}"))
    }
}

impl<M: Memory> Pool<M> {
    /// Returns the blocks that are allocated now: at a point where a program should hold no memory, these are its
    /// leaks. Blocks in reference cycles are included. O(blocks).
    ///
    /// When the last handle of a pool is dropped while blocks are still allocated, the pool logs the same list once, as
    /// a warning: the remaining storages keep the pool alive, but no handle is left with which to query it.
    #[must_use]
    pub fn leaks(&self) -> Leaks {
        if let Some(dry) = self.dry() {
            return dry.leaks();
        }
        self.inner.leaks()
    }
}

impl<M: Memory> Inner<M> {
    fn leaks(&self) -> Leaks {
        Leaks { blocks: self.state().held_blocks(|_, _| true) }
    }

    /// Logs the blocks that outlive the last handle of the pool.
    pub(in crate::pool) fn warn_of_leaks(&self) {
        if self.state().heap.stats().blocks.current == 0 || !log::log_enabled!(log::Level::Warn) {
            return;
        }
        if self.has_warned_of_leaks.swap(true, Ordering::Relaxed) {
            return;
        }
        let leaks = self.leaks();
        note!(
            Warn,
            "wgpu-pool: the last handle of the pool was dropped; blocks still allocated: {}\n{leaks}",
            leaks.blocks.len()
        );
    }
}
