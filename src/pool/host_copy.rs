//! The last rung: a segment becomes as small as its blocks by way of host memory. See [`spill`](super::spill) for the steps.
//!
//! One segment at a time, so that host memory for more than its blocks is never needed, unless the device refuses to give a segment
//! its memory back.

use super::Inner;
use super::make_room::Progress;
use super::spill::BlockBytes;
use crate::device::{Commands, Location, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, SegmentId};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes that are read to the host at a time. Where the device refuses a buffer for so many, they are halved.
const READ_BYTES: u64 = 64 << 20;
/// The least that they are halved to.
const LEAST_READ_BYTES: u64 = 64 << 10;
/// Copies of one segment that other threads' commands may make worthless before the next segment is tried.
const COPIES: u32 = 8;
/// From this copy on other threads' commands are held up for a moment.
const HELD_COPIES: u32 = 2;
/// The longest that a thread is held up before it records a command.
const LONGEST_HOLD: Duration = Duration::from_millis(20);
/// How often it looks meanwhile.
const HOLD_STEP: Duration = Duration::from_micros(100);

/// What became of a copy.
enum Copied {
    Contents(Vec<BlockBytes>),
    /// Another thread has used, moved or released the segment.
    Disturbed,
    /// No memory for it, on the device's side or the host's.
    Refused,
}

/// The part of a block that is read next.
struct Piece {
    /// The block's place in the list of contents.
    index: usize,
    offset: u64,
    length: u64,
}

/// Has the pool note which commands name a segment, until it is dropped.
struct Watch<'a, M: Memory>(&'a Inner<M>, SegmentId);

impl<M: Memory> Drop for Watch<'_, M> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(index) = state.undisturbed.iter().position(|&copied| copied == self.1) {
            state.undisturbed.swap_remove(index);
        }
    }
}

/// Holds other threads' commands up until it is dropped, or until each has waited long enough.
struct Hold<'a>(&'a AtomicUsize);

impl<'a> Hold<'a> {
    fn new(copies: &'a AtomicUsize) -> Self {
        copies.fetch_add(1, Ordering::AcqRel);
        Self(copies)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<M: Memory> Inner<M> {
    /// Waits for a host copy that commands of other threads have made worthless before, but never for long: the copy may be
    /// waiting for this thread.
    #[inline]
    pub(super) fn yield_to_host_copy(&self) {
        if self.host_copies.load(Ordering::Relaxed) > 0 {
            let begun = Instant::now();
            while self.host_copies.load(Ordering::Acquire) > 0 && begun.elapsed() < LONGEST_HOLD {
                std::thread::sleep(HOLD_STEP);
            }
        }
    }

    /// Replaces a segment by one of exactly its active blocks' size, by way of host memory. No progress means that there was no memory for
    /// the copy. Waits for the device. No lock may be held.
    ///
    /// # Errors
    /// What the device found wrong, other than a lack of memory.
    pub(super) fn shrink_through_host(&self, id: SegmentId) -> Result<Progress, DeviceError> {
        for copy in 0..COPIES {
            let _held = (copy >= HELD_COPIES).then(|| Hold::new(&self.host_copies));
            let watch = self.watch(id);
            match self.copy_to_host(id)? {
                Copied::Contents(contents) => {
                    if self.spill(id, contents) {
                        drop(watch);
                        self.memory.drop_caches();
                        self.memory.wait()?;
                        self.restore_all()?;
                        return Ok(Progress::Made);
                    }
                }
                Copied::Disturbed => {}
                Copied::Refused => return Ok(Progress::None),
            }
            let gone = self.state().heap.active_blocks_of(id).is_empty();
            if gone {
                return Ok(Progress::Made);
            }
        }
        Ok(Progress::Disturbed)
    }

    fn watch(&self, id: SegmentId) -> Watch<'_, M> {
        self.state().undisturbed.push(id);
        Watch(self, id)
    }

    /// Reads the active blocks of a segment.
    fn copy_to_host(&self, id: SegmentId) -> Result<Copied, DeviceError> {
        let blocks = self.state().heap.active_blocks_of(id);
        let mut contents = Vec::with_capacity(blocks.len());
        for &(block, _, size) in &blocks {
            let mut bytes = Vec::new();
            if self.memory.holds_bytes() {
                let reserved = usize::try_from(size).ok().map(|size| bytes.try_reserve_exact(size));
                if !matches!(reserved, Some(Ok(()))) {
                    log::debug!("wgpu-pool: no host memory for a copy of {}", Bytes(size));
                    return Ok(Copied::Refused);
                }
            }
            contents.push(BlockBytes::new(block, bytes));
        }
        if !self.memory.holds_bytes() {
            return Ok(Copied::Contents(contents));
        }
        let (mut at, mut read_bytes) = ((0, 0), READ_BYTES);
        while at.0 < blocks.len() {
            let (pieces, next) = next_pieces(&blocks, at, read_bytes);
            let length = pieces.iter().map(|piece| piece.length).sum();
            let readback = match self.memory.readback(length) {
                Ok(readback) => readback,
                Err(DeviceError::Refused { .. }) if read_bytes > LEAST_READ_BYTES => {
                    read_bytes /= 2;
                    self.memory.drop_caches();
                    continue;
                }
                Err(DeviceError::Refused { .. }) => return Ok(Copied::Refused),
                Err(error) => return Err(error),
            };
            let Some(readback) = self.record_reads(id, &blocks, &pieces, readback)? else {
                return Ok(Copied::Disturbed);
            };
            let bytes = match self.memory.collect_blocking(readback) {
                Ok(bytes) => bytes,
                Err(DeviceError::Refused { .. }) => return Ok(Copied::Refused),
                Err(error) => return Err(error),
            };
            let mut rest = bytes.as_slice();
            for piece in &pieces {
                let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
                let Some((read, after)) = rest.split_at_checked(length) else {
                    let message = format!("a read-back of {length} bytes gave {}", rest.len());
                    return Err(DeviceError::Validation { message });
                };
                contents[piece.index].bytes.extend_from_slice(read);
                rest = after;
            }
            at = next;
        }
        Ok(Copied::Contents(contents))
    }

    /// Records the reads, unless a block has moved or was freed. The reads themselves disturb nothing.
    fn record_reads(
        &self,
        id: SegmentId,
        blocks: &[(BlockId, u64, u64)],
        pieces: &[Piece],
        mut readback: M::Readback,
    ) -> Result<Option<M::Readback>, DeviceError> {
        let mut commands = self.memory.commands();
        let state = self.state();
        if !state.undisturbed.contains(&id) {
            return Ok(None);
        }
        let Some(memory) = state.segments.get(&id) else { return Ok(None) };
        for piece in pieces {
            let (block, offset, _) = blocks[piece.index];
            let place = state.heap.active_place(block);
            if place.is_none_or(|place| (place.segment, place.offset) != (id, offset)) {
                return Ok(None);
            }
            let from = Location { id, segment: memory.clone(), offset: offset + piece.offset, size: piece.length };
            commands.read(&from, &mut readback)?;
        }
        Ok(Some(readback))
    }

    /// Replaces a segment whose blocks were copied to host memory, and destroys its memory. Whether the copy was still up to date.
    fn spill(&self, id: SegmentId, contents: Vec<BlockBytes>) -> bool {
        let mut commands = self.memory.commands();
        let mut state = self.state();
        if !state.undisturbed.contains(&id) || !state.segments.contains_key(&id) {
            return false;
        }
        let Some(repacked) = state.heap.repack_segment(id, u64::MAX) else { return false };
        let memory = state.segments.remove(&id).expect("it was just found");
        let copied: u64 = repacked.moves.iter().map(|one| one.size).sum();
        state.note_repacked(id, &repacked);
        state.remedies.host_copies += 1;
        state.remedies.bytes_moved += copied;
        // A block that came into being meanwhile was never written: it has no bytes to keep.
        state.keep_in_host_memory(&repacked, contents);
        drop(state);
        let size = repacked.released;
        if self.scrubs {
            let whole = Location { id, segment: memory.clone(), offset: 0, size };
            if let Err(error) = commands.clear(&whole) {
                // It goes back to the driver all the same.
                log::error!("wgpu-pool: segment {id} can't be cleared: {error}");
            }
        }
        commands.destroy(id, memory, size);
        drop(commands);
        log::debug!("wgpu-pool: {} of segment {id} copied through host memory", Bytes(copied));
        true
    }
}

/// The pieces that are read next, of `most` bytes together, and where to go on after them.
fn next_pieces(
    blocks: &[(BlockId, u64, u64)],
    (mut index, mut offset): (usize, u64),
    most: u64,
) -> (Vec<Piece>, (usize, u64)) {
    let mut pieces = Vec::new();
    let mut left = most;
    while left > 0 && index < blocks.len() {
        let length = (blocks[index].2 - offset).min(left);
        pieces.push(Piece { index, offset, length });
        left -= length;
        offset += length;
        if offset == blocks[index].2 {
            (index, offset) = (index + 1, 0);
        }
    }
    (pieces, (index, offset))
}
