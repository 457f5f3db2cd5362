//! Spilling: segments whose bytes are temporarily in host memory. This shrinks a segment when there is no room for a
//! second one.
//!
//! The last step of the out-of-memory ladder handles one segment at a time:
//! 1. Copy: the active blocks are read to host memory. Other threads continue meanwhile; a command on one of the blocks
//!    invalidates the copy, which is then repeated.
//! 2. Spill: in one step, with the recorder and the heap locked, the heap replaces the segment by a segment of exactly
//!    its blocks' size, and the old segment's memory is destroyed. The blocks' bytes are now only in host memory.
//! 3. Restore: after waiting for the device, the new segment's memory is created and the bytes are written to it.
//!
//! Between steps 2 and 3, any thread that needs one of the blocks restores the segment itself ([`Inner::resolve`]), so
//! that no thread waits for another. If the device refuses the memory in step 3, because other programs have taken the
//! destroyed memory, the bytes stay in host memory: nothing is lost. Every later use of the blocks, and every later
//! out-of-memory ladder, tries again. A use for which the device still refuses the memory returns
//! [`DeviceError::Refused`].

use super::{EventKind, Inner, State};
use crate::device::{CacheLevel, Commands, Location, Memory, Submit};
use crate::error::{Bytes, DeviceError};
use crate::heap::compaction::Repacked;
use crate::heap::{BlockId, Place, SegmentId};
use crate::pool::messages::{Postponed, note};

/// The size of a single write to the device in bytes, which bounds the size of a staging buffer.
pub(super) const WRITE_BYTES: usize = 16 << 20;
/// The bytes after which the pool waits for the device, so that staging memory can be reused.
pub(super) const STAGED_BYTES: usize = 64 << 20;
/// The number of attempts to allocate memory for a spilled segment, each after waiting for the device.
pub(super) const RESTORE_ATTEMPTS: u32 = 3;

/// A block's bytes in host memory.
#[derive(Debug)]
pub(super) struct BlockBytes {
    pub(super) block: BlockId,
    pub(super) bytes: Vec<u8>,
    /// The number of bytes, from the start, that were written to the device.
    written: usize,
}

#[cfg(not(target_arch = "wasm32"))]
impl BlockBytes {
    pub(super) const fn new(block: BlockId, bytes: Vec<u8>) -> Self {
        Self { block, bytes, written: 0 }
    }
}

/// A segment without device memory, or whose device memory is not filled yet.
#[derive(Debug)]
pub(super) struct Spilled<S> {
    /// The new device memory, if it has been created.
    memory: Option<S>,
    /// The contents that have not been written yet.
    contents: Vec<BlockBytes>,
    /// Whether the blocks have no contents, because the device refused their segment after its creation.
    was_refused: bool,
}

impl<S> Spilled<S> {
    /// Whether the blocks have no contents, because the device refused their segment after its creation.
    pub(super) const fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// Returns the new device memory, if it has been created.
    pub(super) const fn memory(&self) -> Option<&S> {
        self.memory.as_ref()
    }
}

impl<M: Memory> State<M> {
    /// Notes that a command uses a segment, which invalidates a copy in progress.
    #[inline]
    pub(super) fn invalidate_host_copy(&mut self, segment: SegmentId) {
        if !self.valid_host_copies.is_empty() {
            self.valid_host_copies.retain(|&copied| copied != segment);
        }
    }

    /// Takes the device memory of a segment that was removed from the heap. `None` if it has no device memory.
    pub(super) fn take_memory(&mut self, id: SegmentId) -> Option<M::Segment> {
        let memory = self.segments.remove(&id);
        memory.or_else(|| self.spilled.remove(&id).expect("a segment has memory or is spilled").memory)
    }

    /// Records the replacement of a segment in the history.
    pub(super) fn note_repacked(&mut self, from: SegmentId, repacked: &Repacked) {
        let whole = |segment, size| Place { segment, offset: 0, size, requested: 0 };
        for &(id, bytes) in &repacked.segments {
            self.attribution.record(EventKind::SegmentCreated, whole(id, bytes));
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
    /// Creates the device memory of a spilled segment and writes its bytes. The caller holds the recorder, so that no
    /// other thread can use the segment before all bytes are written. Does not wait.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if memory for the segment or for staging cannot be allocated. Bytes that are not
    /// written yet stay in host memory.
    pub(super) fn restore(&self, commands: &mut M::Commands<'_>, id: SegmentId) -> Result<(), DeviceError> {
        while !self.restore_some(commands, id, usize::MAX)? {}
        Ok(())
    }

    /// Creates the device memory of a spilled segment if necessary, and writes about `most` bytes. Returns whether all
    /// bytes are written.
    fn restore_some(&self, commands: &mut M::Commands<'_>, id: SegmentId, most: usize) -> Result<bool, DeviceError> {
        let mut staged = 0;
        while staged < most {
            let mut state = self.state();
            // The segment may have been released or restored by another thread.
            let Some(bytes) = state.heap.segment_bytes(id) else { return Ok(true) };
            let Some(spilled) = state.spilled.get_mut(&id) else { return Ok(true) };
            let Some(memory) = spilled.memory.clone() else {
                drop(state);
                self.create_memory(commands, id, bytes)?;
                continue;
            };
            let Some(mut next) = spilled.contents.pop() else {
                state.spilled.remove(&id);
                state.insert_segment(&self.memory, id, memory);
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
            let result = commands.write(&to, piece);
            if result.is_ok() {
                staged += piece.len();
                next.written = end;
            }
            if next.written < next.bytes.len() {
                if let Some(spilled) = self.state().spilled.get_mut(&id) {
                    spilled.contents.push(next);
                }
            }
            result?;
        }
        Ok(false)
    }

    /// Creates the device memory of a spilled segment.
    fn create_memory(&self, commands: &mut M::Commands<'_>, id: SegmentId, bytes: u64) -> Result<(), DeviceError> {
        let memory = match self.memory.create_segment(bytes) {
            Ok(memory) => memory,
            Err(error) => {
                self.state().remedies.refusals += 1;
                note!(Debug, "wgpu-pool: the device refused {} for a segment in host memory", Bytes(bytes));
                return Err(error);
            }
        };
        let mut state = self.state();
        match state.spilled.get_mut(&id) {
            Some(spilled) if spilled.memory.is_none() => spilled.memory = Some(memory),
            // If the memory's command guard is not exclusive, another thread may have created the memory first.
            _ => {
                drop(state);
                commands.destroy(id, memory, bytes);
            }
        }
        Ok(())
    }

    /// Restores all spilled segments, as far as the device has room. Returns whether all are restored.
    ///
    /// Waits for the device. The caller must hold no lock.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. Refused allocations are not errors here.
    pub(super) fn restore_all(&self) -> Result<bool, DeviceError> {
        let mut refused = 0;
        let mut attempts = 0;
        while let Some((id, unwritten)) = self.spilled_after(refused) {
            let _later = Postponed::new();
            let mut commands = self.memory.commands();
            let restored = self.restore_some(&mut commands, id, STAGED_BYTES);
            drop(commands);
            match restored {
                Ok(true) => {
                    attempts = 0;
                    self.memory.submit(Submit::Now)?;
                    continue;
                }
                Ok(false) => {}
                Err(DeviceError::Refused { .. }) => self.memory.drop_caches(CacheLevel::Buffers),
                Err(error) => return Err(error),
            }
            // Waiting frees staging memory and destroyed segments.
            self.memory.wait_blocking()?;
            let progressed = self.spilled_after(refused).is_none_or(|(_, left)| left < unwritten);
            attempts = if progressed { 0 } else { attempts + 1 };
            if attempts < RESTORE_ATTEMPTS {
                continue;
            }
            attempts = 0;
            // Smaller segments may fit into the remaining free memory.
            if !self.shrink_spilled(id) {
                refused += 1;
            }
        }
        Ok(refused == 0)
    }

    /// Returns the next spilled segment after skipping `skipped` of them, with the number of unwritten bytes.
    fn spilled_after(&self, skipped: usize) -> Option<(SegmentId, usize)> {
        let state = self.state();
        // A segment without contents is created again when one of its blocks is used.
        let has_contents = state.spilled.iter().filter(|(_, spilled)| !spilled.was_refused);
        let mut ids: Vec<SegmentId> = has_contents.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        let id = *ids.get(skipped)?;
        let unwritten = state.spilled[&id].contents.iter().map(|block| block.bytes.len() - block.written);
        Some((id, unwritten.sum()))
    }

    /// Shrinks a spilled segment whose memory was refused: removes its holes, or, without holes, divides it into
    /// segments of at most half its size or of one block each. Returns whether the segment was changed.
    fn shrink_spilled(&self, id: SegmentId) -> bool {
        let _later = Postponed::new();
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
    /// Stores the contents of the segments that replace another segment.
    pub(super) fn keep_in_host_memory(&mut self, repacked: &Repacked, mut contents: Vec<BlockBytes>) {
        for &(id, _) in &repacked.segments {
            let is_in = |kept: &mut BlockBytes| self.heap.active_place(kept.block).is_some_and(|at| at.segment == id);
            let contents = contents.extract_if(.., is_in).collect();
            self.spilled.insert(id, Spilled { memory: None, contents, was_refused: false });
        }
    }

    /// Notes that the segments that replace a refused segment have no contents.
    pub(super) fn note_refused(&mut self, repacked: &Repacked) {
        for &(id, _) in &repacked.segments {
            self.spilled.insert(id, Spilled { memory: None, contents: Vec::new(), was_refused: true });
        }
    }
}
