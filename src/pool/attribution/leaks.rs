//! What is still held when nothing should be.

use super::super::{Inner, Pool};
use super::holders::Holding;
use crate::device::Memory;
use std::fmt;
use std::sync::atomic::Ordering;

/// Blocks that are still handed out, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaks {
    /// The blocks.
    pub blocks: Vec<Holding>,
}

impl Leaks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// One line for each block: its size, label, dtype and shape, age in allocations, and call site. Nothing if there are none.
impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocks.iter().try_for_each(|block| writeln!(f, "{block}"))
    }
}

impl<M: Memory> Pool<M> {
    /// The blocks that are handed out now: at a point where a program should hold none, its leaks. It doesn't matter who
    /// holds them, so those in a cycle of `Rc`s are listed too. O(blocks).
    ///
    /// When the last handle of a pool is dropped while blocks are handed out, the same list goes to the log as a warning, once. A
    /// storage keeps its pool alive, but nobody can ask the pool about it any more.
    #[must_use]
    pub fn leaks(&self) -> Leaks {
        self.inner.leaks()
    }
}

impl<M: Memory> Inner<M> {
    fn leaks(&self) -> Leaks {
        Leaks { blocks: self.state().holdings(|_, _| true) }
    }

    /// Says in the log what outlives the last handle of the pool.
    pub(in crate::pool) fn warn_of_leaks(&self) {
        if self.state().heap.stats().blocks.current == 0 || !log::log_enabled!(log::Level::Warn) {
            return;
        }
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let leaks = self.leaks();
        log::warn!("wgpu-pool: the pool's last handle is gone; blocks still held: {}\n{leaks}", leaks.blocks.len());
    }
}
