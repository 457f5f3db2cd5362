//! Segments that the device refuses after their creation. Only in browsers, where the device's answers arrive late.
//!
//! A refused segment leaves the heap at once if it is idle. Otherwise a segment of exactly the size of its blocks takes
//! its place, without device memory, so that no further request is served from it. The blocks' contents are lost, which
//! the device reports as a fault; using a block creates memory for it again.

#[cfg(test)]
mod tests;

use super::{Inner, State};
use crate::device::{Acceptance, Commands, Memory};
use crate::heap::{BlockId, SegmentId};
use crate::pool::messages::{Postponed, note};

impl<M: Memory> Inner<M> {
    /// Removes segments from the pool that the device has refused since the last call, and the segments in their place that
    /// have become idle. Cheap if there are none. The caller must hold no lock.
    pub(super) fn settle(&self) {
        if !self.state().unanswered.is_empty() {
            let _later = Postponed::new();
            self.settle_with(&mut self.memory.commands());
        }
    }

    /// Removes refused segments from the pool, for a caller that holds the recorder. See [`Inner::settle`].
    pub(super) fn settle_with(&self, commands: &mut M::Commands<'_>) {
        let mut state = self.state();
        if state.unanswered.is_empty() {
            return;
        }
        let (mut refused, mut errors) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut state.unanswered) {
            match state.segments.get(&id).map(|segment| self.memory.acceptance(segment)) {
                Some(Acceptance::Accepted) => {}
                Some(Acceptance::Pending) => state.unanswered.push(id),
                Some(Acceptance::Refused(error)) => {
                    errors.push((id, error));
                    state.remedies.refusals += 1;
                    refused.extend(state.remove_refused(id).map(|segment| (id, segment)));
                }
                // A segment that replaces a refused one, unless it was released.
                None if state.spilled.contains_key(&id) => {
                    refused.extend(state.remove_refused(id).map(|segment| (id, segment)));
                }
                None => {}
            }
        }
        drop(state);
        for (id, error) in errors {
            note!(Debug, "wgpu-pool: segment {id} was refused after its creation: {error}");
        }
        for (id, segment) in refused {
            // The segment takes no bytes of the device.
            commands.destroy(id, segment, 0);
        }
    }

    /// Returns whether the device has refused the memory of a block.
    pub(super) fn is_refused(&self, block: BlockId) -> bool {
        let state = self.state();
        let place = state.heap.allocated_place(block);
        place.is_some_and(|place| state.spilled.get(&place.segment).is_some_and(super::spill::Spilled::was_refused))
    }
}

impl<M: Memory> State<M> {
    /// Adds the memory of a segment of the heap.
    pub(super) fn insert_segment(&mut self, memory: &M, id: SegmentId, segment: M::Segment) {
        if memory.acceptance(&segment) == Acceptance::Pending {
            self.unanswered.push(id);
        }
        self.segments.insert(id, segment);
    }

    /// Removes a refused segment. Returns the handle of its memory, unless a pinned block keeps the segment: commands on it
    /// fail.
    fn remove_refused(&mut self, id: SegmentId) -> Option<M::Segment> {
        if let Ok(bytes) = self.heap.release_segment(id) {
            self.remedies.count_released(&[(id, bytes)]);
            return self.take_memory(id);
        }
        if self.spilled.contains_key(&id) {
            // The segment has the size of its blocks already.
            self.unanswered.push(id);
            return None;
        }
        let repacked = self.heap.repack_segment(id, u64::MAX)?;
        let segment = self.take_memory(id);
        self.note_repacked(id, &repacked);
        self.note_refused(&repacked);
        self.unanswered.extend(repacked.segments.iter().map(|&(id, _)| id));
        segment
    }
}
