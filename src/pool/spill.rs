//! Segments whose bytes are in host memory for a moment: how a segment becomes smaller where there is no room for a second one.
//!
//! The last rung of the ladder takes one segment at a time:
//! 1. Copy: the active blocks are read to host memory. Other threads may go on meanwhile; a command on one of the blocks makes the
//!    copy worthless, and it is begun anew.
//! 2. Spill: in one step with the recorder and the heap held, the heap replaces the segment by one of exactly its blocks' size, and
//!    the old segment's memory is destroyed. The blocks' bytes are in host memory alone now.
//! 3. Restore: after a wait for the device the new segment's memory is created, and the bytes are written to it.
//!
//! Between 2 and 3 any thread that needs one of the blocks restores the segment by itself ([`Inner::resolve`]), so that no thread
//! waits for another one. If the device refuses the memory in step 3, because others have taken what was destroyed, the bytes stay in
//! host memory: nothing is lost. Every later use of the blocks and every later climb of the ladder tries again. A use that is refused
//! returns [`DeviceError::Refused`].

use super::{EventKind, Inner, State};
use crate::device::{Commands, Location, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::compaction::Repacked;
use crate::heap::{BlockId, Place, SegmentId};

/// A block is written back in pieces of this size, so that no single staging buffer is large.
const WRITE_BYTES: usize = 16 << 20;
/// The pool waits for the device after so many bytes, so that their staging memory is used again for the next ones.
const STAGED_BYTES: usize = 64 << 20;
/// How often memory for a spilled segment is asked for, each time after a wait for the device.
pub(super) const RESTORE_ATTEMPTS: u32 = 3;

/// A block's bytes in host memory.
#[derive(Debug)]
pub(super) struct BlockBytes {
    pub(super) block: BlockId,
    pub(super) bytes: Vec<u8>,
    /// Bytes at the start that are back on the device.
    written: usize,
}

#[cfg(not(target_arch = "wasm32"))]
impl BlockBytes {
    pub(super) const fn new(block: BlockId, bytes: Vec<u8>) -> Self {
        Self { block, bytes, written: 0 }
    }
}

/// A segment without memory on the device, or whose memory is not filled yet.
#[derive(Debug)]
pub(super) struct Spilled<S> {
    /// The new memory, once there is one.
    memory: Option<S>,
    /// What is yet to be written to it.
    contents: Vec<BlockBytes>,
}

impl<S> Spilled<S> {
    /// The new memory, if there is one already.
    pub(super) const fn memory(&self) -> Option<&S> {
        self.memory.as_ref()
    }
}

impl<M: Memory> State<M> {
    /// Notes that a command names a segment: a copy of it that is under way is out of date.
    #[inline]
    pub(super) fn disturb(&mut self, segment: SegmentId) {
        if !self.undisturbed.is_empty() {
            self.undisturbed.retain(|&copied| copied != segment);
        }
    }

    /// Takes the memory of a segment that has left the heap. None if it has none on the device.
    pub(super) fn take_memory(&mut self, id: SegmentId) -> Option<M::Segment> {
        let memory = self.segments.remove(&id);
        memory.or_else(|| self.spilled.remove(&id).expect("a segment has memory or is spilled").memory)
    }

    /// Tells the history that segments took the place of another one.
    pub(super) fn note_repacked(&mut self, from: SegmentId, repacked: &Repacked) {
        let whole = |segment, size| Place { segment, offset: 0, size, requested: 0 };
        for &(id, bytes) in &repacked.segments {
            self.attribution.record(EventKind::SegmentMade, whole(id, bytes));
        }
        for one in &repacked.moves {
            let at = |segment, offset| Place { segment, offset, size: one.size, requested: 0 };
            let (old, new) = (at(one.from_segment, one.from_offset), at(one.to_segment, one.to_offset));
            self.attribution.moved(one.block, old, new);
        }
        self.attribution.record(EventKind::SegmentReleased, whole(from, repacked.released));
        self.remedies.segments_created += repacked.segments.len() as u64;
        self.remedies.count_released(&[(from, repacked.released)]);
    }
}

impl<M: Memory> Inner<M> {
    /// Gives a spilled segment its memory back, and writes its bytes to it. The recorder is held, so that no other thread can name the
    /// segment before all of its bytes are written. Does not wait.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] when there is no memory for the segment, or none for staging its bytes. What is not written yet stays
    /// in host memory.
    pub(super) fn restore(&self, commands: &mut M::Commands<'_>, id: SegmentId) -> Result<(), DeviceError> {
        while !self.restore_some(commands, id, usize::MAX)? {}
        Ok(())
    }

    /// Writes about `most` bytes of a spilled segment, after its memory is created. Whether that was the rest of them.
    fn restore_some(&self, commands: &mut M::Commands<'_>, id: SegmentId, most: usize) -> Result<bool, DeviceError> {
        let mut staged = 0;
        while staged < most {
            let mut state = self.state();
            // The segment may have been released or restored meanwhile.
            let Some(bytes) = state.heap.segment_bytes(id) else { return Ok(true) };
            let Some(spilled) = state.spilled.get_mut(&id) else { return Ok(true) };
            let Some(memory) = spilled.memory.clone() else {
                drop(state);
                self.give_memory(commands, id, bytes)?;
                continue;
            };
            let Some(mut next) = spilled.contents.pop() else {
                state.spilled.remove(&id);
                state.segments.insert(id, memory);
                return Ok(true);
            };
            let place = state.heap.active_place(next.block);
            drop(state);
            // A block that was freed meanwhile has nothing to write.
            let Some(place) = place else { continue };
            let end = next.bytes.len().min(next.written + WRITE_BYTES);
            let piece = &next.bytes[next.written..end];
            let offset = place.offset + next.written as u64;
            let to = Location { id, segment: memory, offset, size: piece.len() as u64 };
            let verdict = commands.write(&to, piece);
            if verdict.is_ok() {
                staged += piece.len();
                next.written = end;
            }
            if next.written < next.bytes.len() {
                if let Some(spilled) = self.state().spilled.get_mut(&id) {
                    spilled.contents.push(next);
                }
            }
            verdict?;
        }
        Ok(false)
    }

    /// Creates the memory of a spilled segment.
    fn give_memory(&self, commands: &mut M::Commands<'_>, id: SegmentId, bytes: u64) -> Result<(), DeviceError> {
        let memory = match self.memory.create_segment(bytes) {
            Ok(memory) => memory,
            Err(error) => {
                self.state().remedies.refusals += 1;
                log::debug!("wgpu-pool: the device refused {} for a segment in host memory", Bytes(bytes));
                return Err(error);
            }
        };
        let mut state = self.state();
        match state.spilled.get_mut(&id) {
            Some(spilled) if spilled.memory.is_none() => spilled.memory = Some(memory),
            // Where the recorder excludes nobody, another thread may have been faster.
            _ => {
                drop(state);
                commands.destroy(id, memory, bytes);
            }
        }
        Ok(())
    }

    /// Gives all spilled segments their memory back, as far as the device has room. Whether all have it.
    ///
    /// Waits for the device. No lock may be held.
    ///
    /// # Errors
    /// What the device found wrong, other than a lack of memory.
    pub(super) fn restore_all(&self) -> Result<bool, DeviceError> {
        let mut refused = 0;
        let mut attempts = 0;
        while let Some((id, unwritten)) = self.spilled_after(refused) {
            let mut commands = self.memory.commands();
            let restored = self.restore_some(&mut commands, id, STAGED_BYTES);
            drop(commands);
            match restored {
                Ok(true) => {
                    attempts = 0;
                    self.memory.submit()?;
                    continue;
                }
                Ok(false) => {}
                Err(DeviceError::Refused { .. }) => self.memory.drop_caches(),
                Err(error) => return Err(error),
            }
            // Staging memory comes back with a wait, and so does what was destroyed.
            self.memory.wait()?;
            let progressed = self.spilled_after(refused).is_none_or(|(_, left)| left < unwritten);
            attempts = if progressed { 0 } else { attempts + 1 };
            if attempts < RESTORE_ATTEMPTS {
                continue;
            }
            attempts = 0;
            // In smaller segments it may fit between what others have taken.
            if !self.shrink_spilled(id) {
                refused += 1;
            }
        }
        Ok(refused == 0)
    }

    /// One of the spilled segments, after so many of them, with the bytes that are yet to be written.
    fn spilled_after(&self, skipped: usize) -> Option<(SegmentId, usize)> {
        let state = self.state();
        let mut ids: Vec<SegmentId> = state.spilled.keys().copied().collect();
        ids.sort_unstable();
        let id = *ids.get(skipped)?;
        let unwritten = state.spilled[&id].contents.iter().map(|block| block.bytes.len() - block.written);
        Some((id, unwritten.sum()))
    }

    /// Has a spilled segment that got no memory need less of it: without its holes, or, if it has none, in two or more segments of at most half
    /// its size or of one block each. Whether anything could be done.
    fn shrink_spilled(&self, id: SegmentId) -> bool {
        let _recorder = self.memory.commands();
        let mut state = self.state();
        let has_memory = state.spilled.get(&id).is_none_or(|spilled| spilled.memory.is_some());
        let Some(bytes) = state.heap.segment_bytes(id) else { return false };
        let blocks = state.heap.active_blocks_of(id);
        let active: u64 = blocks.iter().map(|&(_, _, size)| size).sum();
        let most = if active < bytes { u64::MAX } else { bytes / 2 };
        if has_memory || (active == bytes && blocks.len() < 2) {
            return false;
        }
        let Some(repacked) = state.heap.repack_segment(id, most) else { return false };
        let contents = state.spilled.remove(&id).map_or_else(Vec::new, |spilled| spilled.contents);
        state.note_repacked(id, &repacked);
        state.keep_in_host_memory(&repacked, contents);
        true
    }
}

impl<M: Memory> State<M> {
    /// Notes the contents of segments that have just taken the place of another one.
    pub(super) fn keep_in_host_memory(&mut self, repacked: &Repacked, mut contents: Vec<BlockBytes>) {
        for &(id, _) in &repacked.segments {
            let lies_in = |kept: &mut BlockBytes| self.heap.active_place(kept.block).is_some_and(|at| at.segment == id);
            let contents = contents.extract_if(.., lies_in).collect();
            self.spilled.insert(id, Spilled { memory: None, contents });
        }
    }
}
