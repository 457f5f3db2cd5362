//! Giving idle segments back to the driver.

use super::{EventKind, Inner, Pool, State};
use crate::device::{Commands, Memory};
use crate::heap::{Place, SegmentId};
use std::collections::HashSet;

/// What [`Pool::trim`] did. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments that left the pool now.
    pub segments: usize,
    /// Bytes of segments that the driver has back since the last trim.
    pub freed: u64,
    /// Bytes of segments that have left the pool, and that the driver has back once the device finishes the commands which
    /// still name them. The next trim counts them as freed.
    pub pending: u64,
    /// Bytes of pinned blocks, which neither trimming nor compaction can give back before their guards are dropped.
    pub pinned: u64,
    /// Segments that hold a pinned block. [`Pool::pins`] tells who pins them.
    pub pinned_segments: usize,
}

impl<M: Memory> Pool<M> {
    /// Destroys all segments without an active block, as `torch.cuda.empty_cache`, so that other programs get the memory.
    ///
    /// Recorded commands are submitted first; nothing waits for the device. Live tensors stay, and so do the segments they
    /// lie in. Trimming doesn't make memory available to the pool itself, and what it gives back has to be created again when
    /// it is needed: do it when the program is done for a while, not in every step.
    ///
    /// With nothing to do it takes some locks and calls nothing of the device; it goes through the pins.
    ///
    /// On GL the driver keeps a destroyed buffer for as long as it is the last one bound to its slot; a small dispatch, recorded
    /// before, takes every slot from it, so the memory is back once that has run. On a [foreign device](crate::Gpu::from_device) with wgpu's default memory hints, buffers lie in
    /// driver blocks of 128 MiB and more, which go back only when all in them is gone: choose segments above that size.
    #[expect(clippy::must_use_candidate, reason = "what it did is news, not the point of calling it")]
    pub fn trim(&self) -> Trimmed {
        self.trim_by(|state| state.heap.release_inactive())
    }

    /// As [`Pool::trim`], but destroys no more than is needed for the pool's reserved bytes to be at most `bytes`, longest idle
    /// first. What lives is never touched, so reserved bytes may stay above.
    #[expect(clippy::must_use_candidate, reason = "what it did is news, not the point of calling it")]
    pub fn trim_to(&self, bytes: u64) -> Trimmed {
        self.trim_by(|state| {
            let mut released = Vec::new();
            while state.heap.stats().reserved.current > bytes {
                let Some((id, size)) = state.heap.inactive_segments().next() else { break };
                state.heap.release_segment(id).expect("an idle segment may leave");
                released.push((id, size));
            }
            released
        })
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
            memory.drop_caches();
            if let Err(error) = memory.try_submit() {
                // It is latched: the next call that can fail returns it.
                log::warn!("wgpu-pool: trim: {error}");
            }
        }
        let reclaimed = memory.reclaim();
        if segments > 0 {
            log::debug!("wgpu-pool: trim: {segments} segments, {reclaimed:?}");
        }
        let mut state = self.inner.state();
        if segments > 0 {
            state.attribution.record_amount(EventKind::Trim, bytes, None);
        }
        let unreported = std::mem::take(&mut state.unreported);
        let pinned = state.heap.stats().pinned.current;
        Trimmed {
            segments,
            freed: reclaimed.freed + unreported,
            pending: reclaimed.pending,
            pinned,
            pinned_segments: state.pinned_segments(),
        }
    }
}

impl<M: Memory> State<M> {
    /// Segments that hold a pinned block. O(pins).
    fn pinned_segments(&self) -> usize {
        let places = self.pins.iter().filter_map(|(_, &(block, _))| self.heap.active_place(block));
        places.map(|place| place.segment).collect::<HashSet<_>>().len()
    }
}

impl<M: Memory> Inner<M> {
    /// Lets `release` take idle segments out of the heap, and has them destroyed after everything recorded so far. Returns
    /// how many. The recorder is held throughout, so that no command can name a segment between the two.
    pub(super) fn destroy_idle(&self, release: impl FnOnce(&mut State<M>) -> Vec<(SegmentId, u64)>) -> usize {
        if self.state().heap.inactive_segments().next().is_none() {
            return 0;
        }
        let mut commands = self.memory.commands();
        let mut state = self.state();
        let released = release(&mut state);
        let mut doomed = Vec::with_capacity(released.len());
        for (id, bytes) in released {
            let segment = state.take_memory(id);
            let whole = Place { segment: id, offset: 0, size: bytes, requested: 0 };
            state.attribution.record(EventKind::SegmentReleased, whole);
            doomed.push((id, segment, bytes));
        }
        drop(state);
        let count = doomed.len();
        for (id, segment, bytes) in doomed {
            let Some(segment) = segment else { continue };
            commands.destroy(id, segment, bytes);
        }
        count
    }
}
