//! Giving idle segments back to the driver.

use super::{Inner, Pool, State};
use crate::device::{Commands, Memory};
use crate::heap::SegmentId;

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
}

impl<M: Memory> Pool<M> {
    /// Destroys all segments without an active block, as `torch.cuda.empty_cache`, so that other programs get the memory.
    ///
    /// Recorded commands are submitted first; nothing waits for the device. Live tensors stay, and so do the segments they
    /// lie in. Trimming doesn't make memory available to the pool itself, and what it gives back has to be created again when
    /// it is needed: do it when the program is done for a while, not in every step.
    #[expect(clippy::must_use_candidate, reason = "what it did is news, not the point of calling it")]
    pub fn trim(&self) -> Trimmed {
        let memory = &self.inner.memory;
        let segments = self.inner.destroy_idle(|state| state.heap.release_inactive());
        if segments > 0 {
            memory.drop_caches();
            if let Err(error) = memory.submit() {
                // It is latched: the next call that can fail returns it.
                log::warn!("wgpu-pool: trim: {error}");
            }
        }
        let reclaimed = memory.reclaim();
        if segments > 0 {
            log::debug!("wgpu-pool: trim: {segments} segments, {reclaimed:?}");
        }
        let unreported = std::mem::take(&mut self.inner.state().unreported);
        Trimmed { segments, freed: reclaimed.freed + unreported, pending: reclaimed.pending }
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
            let segment = state.segments.remove(&id).expect("every segment of the heap has its memory");
            doomed.push((id, segment, bytes));
        }
        drop(state);
        let count = doomed.len();
        for (id, segment, bytes) in doomed {
            commands.destroy(id, segment, bytes);
        }
        count
    }
}
