//! Where blocks come from and what became of them: call sites, labels, scopes, and the history.
//!
//! Always on: an allocation writes one record of 64 bytes beside the heap, without a stack walk. Scopes cost something only
//! while one is open, the history only while it is recorded.

mod history;
mod holders;
mod leaks;
mod mark;
mod origins;
mod scope;

pub use history::{Event, EventKind};
pub use holders::Holding;
pub use leaks::Leaks;
pub use mark::{GrowthBetween, Mark, NoGrowth, SiteGrowth};
pub(crate) use origins::Content;
pub use scope::{Scope, ScopeCounts};

use crate::heap::{BlockId, Heap, Place};
pub(super) use history::History;
use origins::Origins;
use scope::Scopes;
use std::panic::Location;

/// Whether blocks have records. Only in the build that benches/pool.rs asks for, to find out what they cost.
#[cfg(wgpu_pool_bench)]
pub static ATTRIBUTES: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);

/// What the pool knows of its blocks beside the heap.
#[derive(Default)]
pub(super) struct Attribution {
    /// Whether anything below is to be told of each block: looked at first, so that nothing else is where nobody asks.
    watched: Watched,
    pub(super) origins: Origins,
    scopes: Scopes,
    /// None while no history is recorded.
    history: Option<Box<History>>,
}

/// Who wants to be told of every allocation and every free.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Watched {
    by_scopes: bool,
    by_history: bool,
}

impl Watched {
    #[inline]
    fn at_all(self) -> bool {
        self != Self::default()
    }
}

impl Attribution {
    /// Takes note of a block that was handed out.
    #[inline]
    pub(super) fn allocated(
        &mut self,
        heap: &Heap,
        block: BlockId,
        requested: u64,
        site: &'static Location<'static>,
        content: &Content,
    ) {
        #[cfg(wgpu_pool_bench)]
        if !ATTRIBUTES.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        if !self.watched.at_all() {
            self.origins.note(block, site, content, None);
            return;
        }
        let scope = self.scopes.allocated(requested);
        self.origins.note(block, site, content, scope);
        self.record_block(EventKind::Allocate, heap, block, requested);
    }

    /// Takes note of a block that is about to be freed.
    #[inline]
    pub(super) fn freed(&mut self, heap: &Heap, block: BlockId, requested: u64) {
        if self.watched.at_all() {
            self.scopes.freed(requested);
            self.record_block(EventKind::Free, heap, block, requested);
        }
    }

    /// The history, while it is recorded.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// Puts a history in place of the one that there is.
    fn set_history(&mut self, history: Option<Box<History>>) -> Option<Box<History>> {
        self.watched.by_history = history.is_some();
        std::mem::replace(&mut self.history, history)
    }

    pub(super) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Enters or leaves scopes.
    fn change_scopes<R>(&mut self, change: impl FnOnce(&mut Scopes) -> R) -> R {
        let result = change(&mut self.scopes);
        self.watched.by_scopes = self.scopes.any_open();
        result
    }

    fn record_block(&mut self, kind: EventKind, heap: &Heap, block: BlockId, requested: u64) {
        let (Some(history), Some(place)) = (&mut self.history, heap.allocated_place(block)) else { return };
        let origin = self.origins.of(block);
        history.record(&Event {
            requested,
            site: origin.map(|origin| origin.site),
            scope: origin.and_then(origins::Origin::scope),
            ..Event::at(kind, place)
        });
    }

    /// Takes note of something that happened to a range of a segment, or to all of it.
    pub(super) fn record(&mut self, kind: EventKind, place: Place) {
        if let Some(history) = &mut self.history {
            history.record(&Event::at(kind, place));
        }
    }

    /// Takes note of a block that was moved.
    pub(super) fn moved(&mut self, block: BlockId, from: Place, to: Place) {
        let Some(history) = &mut self.history else { return };
        let origin = self.origins.of(block);
        history.record(&Event {
            site: origin.map(|origin| origin.site),
            scope: origin.and_then(origins::Origin::scope),
            to: Some((to.segment, to.offset)),
            ..Event::at(EventKind::Move, from)
        });
    }

    /// Takes note of something that happened to no place: a trim of some bytes, a request that found no memory.
    pub(super) fn record_amount(&mut self, kind: EventKind, bytes: u64, site: Option<&'static Location<'static>>) {
        if let Some(history) = &mut self.history {
            history.record(&Event { site, ..Event::of(kind, bytes) });
        }
    }
}
