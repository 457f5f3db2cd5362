//! Attribution: call sites, labels and scopes of blocks, and the history of events.
//!
//! Always on: an allocation writes one record of 64 bytes, without a stack walk. Scopes have a cost only while a scope
//! is open, and the history only while it is recorded.

mod history;
mod holders;
mod leaks;
mod mark;
mod origins;
mod scope;

pub use history::{Event, EventKind};
pub use holders::HeldBlock;
pub use leaks::Leaks;
pub use mark::{GrowthBetween, GrowthCheck, Mark};
pub(crate) use origins::Content;
pub use scope::{Scope, ScopeCounts};

use crate::heap::{BlockId, Heap, Place};
pub(super) use history::History;
pub(super) use holders::HolderTotals;
use origins::Origins;
use scope::Scopes;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether records are written. Only in the build for benches/pool.rs, which measures their cost.
#[cfg(wgpu_pool_bench)]
pub static ATTRIBUTES: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);

/// The pool's data about its blocks, apart from the heap.
#[derive(Default)]
pub(super) struct Attribution {
    /// Whether scopes or the history need to be updated for each block. Checked first, so that an inactive feature
    /// costs nothing.
    tracking: Tracking,
    /// Whether `tracking` is active, for threads without the lock.
    is_tracked: Arc<AtomicBool>,
    pub(super) origins: Origins,
    scopes: Scopes,
    /// `None` unless the history is recorded.
    history: Option<Box<History>>,
}

/// The features that need every allocation and every free.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Tracking {
    scopes: bool,
    history: bool,
}

impl Tracking {
    #[inline]
    fn is_active(self) -> bool {
        self != Self::default()
    }
}

impl Attribution {
    /// Records an allocation.
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
        if !self.tracking.is_active() {
            self.origins.note(block, site, content, None);
            return;
        }
        let scope = self.scopes.allocated(requested);
        self.origins.note(block, site, content, scope);
        self.record_block(EventKind::Allocate, heap, block, requested);
    }

    /// Records that a block is about to be freed.
    #[inline]
    pub(super) fn freed(&mut self, heap: &Heap, block: BlockId, requested: u64) {
        if self.tracking.is_active() {
            self.scopes.freed(requested);
            self.record_block(EventKind::Free, heap, block, requested);
        }
    }

    /// Records that a block is about to be freed which a step's thread dropped before scopes or the history were active. No scope was open on
    /// this thread.
    #[inline]
    pub(super) fn freed_later(&mut self, heap: &Heap, block: BlockId) {
        if self.history.is_some() {
            let requested = heap.allocated_place(block).map_or(0, |place| place.requested);
            self.record_block(EventKind::Free, heap, block, requested);
        }
    }

    /// Returns the history, if it is recorded.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// Replaces the history, and returns the previous one.
    fn set_history(&mut self, history: Option<Box<History>>) -> Option<Box<History>> {
        self.tracking.history = history.is_some();
        self.publish();
        std::mem::replace(&mut self.history, history)
    }

    fn publish(&self) {
        self.is_tracked.store(self.tracking.is_active(), Ordering::Relaxed);
    }

    /// Returns a value that is true while scopes or the history need every allocation and every free. Changes only with the lock; the thread
    /// that opens a scope sees it at once.
    pub(super) fn is_tracked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_tracked)
    }

    /// Returns the number of the scope in which a block was allocated.
    pub(super) fn scope_of(&self, block: BlockId) -> Option<u32> {
        self.origins.of(block).and_then(origins::Origin::scope)
    }

    /// Returns a copy that records no history.
    pub(super) fn without_history(&self) -> Self {
        let Self { tracking, is_tracked: _, origins, scopes, history: _ } = self;
        let tracking = Tracking { history: false, ..*tracking };
        let (origins, scopes) = (origins.clone(), scopes.clone());
        Self { tracking, is_tracked: Arc::default(), origins, scopes, history: None }
    }

    pub(super) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Opens or closes scopes.
    fn change_scopes<R>(&mut self, change: impl FnOnce(&mut Scopes) -> R) -> R {
        let result = change(&mut self.scopes);
        self.tracking.scopes = self.scopes.any_open();
        self.publish();
        result
    }

    fn record_block(&mut self, kind: EventKind, heap: &Heap, block: BlockId, requested: u64) {
        if self.history.is_none() {
            return;
        }
        let event = match (heap.allocated_place(block), heap.detached(block)) {
            (Some(place), _) => Event::at(kind, place),
            // In host memory.
            (None, Some(detached)) => Event::of(kind, detached.size),
            (None, None) => return,
        };
        self.record_of(block, Event { requested, ..event });
    }

    /// Records that a block has moved to host memory from a location, or has returned to it.
    pub(super) fn moved_between(&mut self, kind: EventKind, block: BlockId, place: Place) {
        self.record_of(block, Event { requested: place.requested, ..Event::at(kind, place) });
    }

    /// Records an event with the call site and the scope of a block.
    fn record_of(&mut self, block: BlockId, event: Event) {
        let Some(history) = &mut self.history else { return };
        let origin = self.origins.of(block);
        history.record(&Event {
            site: origin.map(|origin| origin.site),
            scope: origin.and_then(origins::Origin::scope),
            ..event
        });
    }

    /// Records an event on a range of a segment, or on a whole segment.
    pub(super) fn record(&mut self, kind: EventKind, place: Place) {
        if let Some(history) = &mut self.history {
            history.record(&Event::at(kind, place));
        }
    }

    /// Records a move of a block.
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

    /// Records an event without a location: a trim, or a failed request.
    pub(super) fn record_amount(&mut self, kind: EventKind, bytes: u64, site: Option<&'static Location<'static>>) {
        if let Some(history) = &mut self.history {
            history.record(&Event { site, ..Event::of(kind, bytes) });
        }
    }
}
