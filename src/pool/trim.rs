//! Trimming: releasing idle segments to the driver.

use super::{EventKind, Inner, Pool, State};
use crate::device::{CacheLevel, Commands, Memory, Submit};
use crate::error::Count;
use crate::heap::{Place, SegmentId};
use crate::pool::messages::{Postponed, note};
use std::collections::HashSet;

/// The result of [`Pool::trim`]. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// The number of segments that were released now.
    pub segments: usize,
    /// Bytes of released segments that the driver has freed since the last trim.
    pub freed: u64,
    /// Bytes of released segments that unfinished commands still use. The driver frees them when these commands have
    /// finished, and a later trim reports them as freed.
    pub pending: u64,
    /// Bytes of pinned blocks, which neither trimming nor compaction can free before their guards are dropped.
    pub pinned: u64,
    /// The number of segments with a pinned block. [`Pool::pins`] lists the pins.
    pub pinned_segments: usize,
}

impl<M: Memory> Pool<M> {
    /// Destroys all segments without an active block, so that other programs can use the memory. Equals
    /// `torch.cuda.empty_cache`.
    ///
    /// Submits recorded commands first; does not wait for the device. Live tensors and their segments are not affected.
    /// Trimming does not make memory available to the pool itself, and released segments must be created again when
    /// they are needed: trim when the program becomes idle, not in every step.
    ///
    /// In a pool with spilling, host buffers without a block are freed as well.
    ///
    /// With nothing to release this takes a few locks, makes no call to the device, and costs O(pins).
    ///
    /// On GL the driver keeps a destroyed buffer while it is the last buffer bound to a binding slot. The pool
    /// therefore records a small dispatch that binds another buffer to every slot; the memory is freed when the
    /// dispatch has executed. On an [existing device](crate::Gpu::from_device) with wgpu's default memory hints, the
    /// driver places buffers in blocks of 128 MiB and more, which are freed only when all buffers inside are destroyed:
    /// choose segments above that size.
    pub fn trim(&self) -> Trimmed {
        if let Some(dry) = self.dry() {
            return dry.trim();
        }
        self.trim_by(State::release_idle_segments)
    }

    /// Destroys segments without an active block, longest idle first, until the pool's reserved bytes are at most `bytes`. See
    /// [`Pool::trim`]. Segments with active blocks are never destroyed, so reserved bytes may stay above
    /// `bytes`.
    #[expect(clippy::must_use_candidate, reason = "the result is for reports, and not the purpose of the call")]
    pub fn trim_to(&self, bytes: u64) -> Trimmed {
        if let Some(dry) = self.dry() {
            return dry.trim_to(bytes);
        }
        self.trim_by(|state| state.release_longest_idle(bytes))
    }

    fn trim_by(&self, release: impl FnOnce(&mut State<M>) -> Vec<(SegmentId, u64)>) -> Trimmed {
        let memory = &self.inner.memory;
        let mut bytes = 0;
        let segments = self.inner.destroy_idle(|state| {
            let released = release(state);
            bytes = released.iter().map(|&(_, bytes)| bytes).sum();
            released
        });
        if segments > 0 {
            memory.drop_caches(CacheLevel::Buffers);
            if let Err(error) = memory.submit(Submit::WithoutWaiting) {
                // The error is latched: the next fallible call returns it.
                note!(Warn, "wgpu-pool: trim: {error}");
            }
        }
        let reclaimed = memory.reclaim();
        if segments > 0 {
            note!(Debug, "wgpu-pool: trim: {}, {reclaimed:?}", Count(segments, "segment"));
        }
        let mut state = self.inner.state();
        let host_segments = state.spilling.as_mut().map(|spilling| spilling.take_idle());
        if segments > 0 {
            state.attribution.record_amount(EventKind::Trim, bytes, None);
        }
        let unreported = std::mem::take(&mut state.unreported);
        let pinned = state.heap.stats().pinned.current;
        let pinned_segments = state.pinned_segments();
        drop(state);
        drop(host_segments);
        let freed = reclaimed.freed.saturating_add(unreported);
        Trimmed { segments, freed, pending: reclaimed.pending, pinned, pinned_segments }
    }
}

impl<M: Memory> State<M> {
    /// Returns whether there may be an idle segment: also the arena of a plan.
    fn has_idle(&self) -> bool {
        self.heap.inactive_segments().next().is_some() || !self.heap.planned_segments().is_empty()
    }

    /// Adds the bytes that the driver has freed to the report of the next trim.
    pub(super) const fn count_freed(&mut self, bytes: u64) {
        self.unreported = self.unreported.saturating_add(bytes);
    }

    /// Returns the number of segments with a pinned block. O(pins).
    fn pinned_segments(&self) -> usize {
        let places = self.pins.iter().filter_map(|(_, &(block, _))| self.heap.active_place(block));
        places.map(|place| place.segment).collect::<HashSet<_>>().len()
    }
}

impl<M: Memory> Inner<M> {
    /// Calls `release`, which removes idle segments from the heap, and destroys them after everything recorded so far.
    /// Returns their number. The recorder is held throughout, so that no command can use a segment between the two
    /// steps.
    pub(super) fn destroy_idle(&self, release: impl FnOnce(&mut State<M>) -> Vec<(SegmentId, u64)>) -> usize {
        if !self.state().has_idle() {
            return 0;
        }
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        self.settle_with(&mut commands);
        let mut state = self.state();
        let released = release(&mut state);
        let mut destroyed = Vec::with_capacity(released.len());
        for (id, bytes) in released {
            let segment = state.take_memory(id);
            let whole = Place { segment: id, offset: 0, size: bytes, requested: 0 };
            state.attribution.record(EventKind::SegmentReleased, whole);
            destroyed.push((id, segment, bytes));
        }
        drop(state);
        let count = destroyed.len();
        for (id, segment, bytes) in destroyed {
            let Some(segment) = segment else { continue };
            commands.destroy(id, segment, bytes);
        }
        count
    }
}
