//! The last resort before an out-of-memory error: shrinking a segment to the size of its active blocks through host
//! memory. See [`spill`](super::spill) for the steps.
//!
//! One segment at a time, so that the host memory for more than one segment's blocks is never needed, unless the device
//! refuses to allocate a segment again.

use super::Inner;
use super::make_room::Progress;
use super::spill::BlockBytes;
use crate::device::{CacheLevel, Commands, Location, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, SegmentId};
use crate::pool::messages::{Postponed, note};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The bytes per readback. Halved if the device refuses the readback buffer.
pub(super) const READBACK_BYTES: u64 = 64 << 20;
/// The smallest size to which the readback is halved.
const MIN_READBACK_BYTES: u64 = 64 << 10;
/// The number of attempts to copy one segment while other threads keep using it, before the next segment is tried.
const MAX_ATTEMPTS: u32 = 8;
/// From this attempt on, commands of other threads are delayed briefly.
const DELAYING_COPIES: u32 = 2;
/// The longest delay of a command.
const LONGEST_DELAY: Duration = Duration::from_millis(20);
/// The interval between two checks of a delayed thread.
const DELAY_STEP: Duration = Duration::from_micros(100);

/// The result of copying a segment to host memory.
enum Copied {
    Contents(Vec<BlockBytes>),
    /// Another thread has used, moved or released the segment.
    Invalidated,
    /// Memory on the device or on the host could not be allocated.
    Refused,
}

/// The result of a request for a readback.
pub(super) enum Granted<R> {
    Readback(R),
    /// The device refused the readback; a smaller one may be granted.
    Halved,
    /// The device refused the smallest readback.
    Refused,
}

/// Allocates host memory for `size` bytes. `None` if the host has none.
pub(super) fn host_buffer(size: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let reserved = usize::try_from(size).ok().map(|size| bytes.try_reserve_exact(size));
    if !matches!(reserved, Some(Ok(()))) {
        note!(Debug, "wgpu-pool: no host memory for a copy of {}", Bytes(size));
        return None;
    }
    Some(bytes)
}

/// The next part of a block to read.
struct Piece {
    /// The block's index in the list of contents.
    index: usize,
    offset: u64,
    length: u64,
}

/// Tracks whether commands use a segment, until dropped.
struct Tracker<'a, M: Memory>(&'a Inner<M>, SegmentId);

impl<M: Memory> Drop for Tracker<'_, M> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(index) = state.valid_host_copies.iter().position(|&copied| copied == self.1) {
            state.valid_host_copies.swap_remove(index);
        }
    }
}

/// Delays the commands of other threads until dropped; each thread waits at most [`LONGEST_DELAY`].
struct Delay<'a>(&'a AtomicUsize);

impl<'a> Delay<'a> {
    fn new(copies: &'a AtomicUsize) -> Self {
        copies.fetch_add(1, Ordering::AcqRel);
        Self(copies)
    }
}

impl Drop for Delay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<M: Memory> Inner<M> {
    /// Delays the calling thread while a host copy is running that was invalidated before. The delay is bounded,
    /// because the copy may be waiting for this thread.
    #[inline]
    pub(super) fn wait_for_host_copy(&self) {
        if self.host_copies.load(Ordering::Relaxed) > 0 {
            let begun = Instant::now();
            while self.host_copies.load(Ordering::Acquire) > 0 && begun.elapsed() < LONGEST_DELAY {
                std::thread::sleep(DELAY_STEP);
            }
        }
    }

    /// Replaces a segment by a segment of exactly its active blocks' size, through host memory. Returns
    /// [`Progress::None`] if memory for the copy could not be allocated. Waits for the device. The caller must hold no
    /// lock.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. Refused allocations are not errors here.
    pub(super) fn shrink_through_host(&self, id: SegmentId) -> Result<Progress, DeviceError> {
        for copy in 0..MAX_ATTEMPTS {
            let _delay = (copy >= DELAYING_COPIES).then(|| Delay::new(&self.host_copies));
            let tracker = self.tracker(id);
            match self.copy_to_host(id)? {
                Copied::Contents(contents) => {
                    if self.spill(id, contents) {
                        drop(tracker);
                        self.memory.drop_caches(CacheLevel::Buffers);
                        self.memory.wait_blocking()?;
                        self.restore_all()?;
                        return Ok(Progress::Made);
                    }
                }
                Copied::Invalidated => {}
                Copied::Refused => return Ok(Progress::None),
            }
            let gone = self.state().heap.active_blocks_of(id).is_empty();
            if gone {
                return Ok(Progress::Made);
            }
        }
        Ok(Progress::Contended)
    }

    fn tracker(&self, id: SegmentId) -> Tracker<'_, M> {
        self.state().valid_host_copies.push(id);
        Tracker(self, id)
    }

    /// Reads the active blocks of a segment.
    fn copy_to_host(&self, id: SegmentId) -> Result<Copied, DeviceError> {
        let blocks = self.state().heap.active_blocks_of(id);
        let mut contents = Vec::with_capacity(blocks.len());
        for &(block, _, size) in &blocks {
            let wanted = if M::HOLDS_BYTES { size } else { 0 };
            let Some(bytes) = host_buffer(wanted) else { return Ok(Copied::Refused) };
            contents.push(BlockBytes::new(block, bytes));
        }
        if !M::HOLDS_BYTES {
            return Ok(Copied::Contents(contents));
        }
        let (mut at, mut read_bytes) = ((0, 0), READBACK_BYTES);
        while at.0 < blocks.len() {
            let (pieces, next) = next_pieces(&blocks, at, read_bytes);
            let length = pieces.iter().map(|piece| piece.length).sum();
            let readback = match self.readback_or_halve(length, &mut read_bytes)? {
                Granted::Readback(readback) => readback,
                Granted::Halved => continue,
                Granted::Refused => return Ok(Copied::Refused),
            };
            let Some(readback) = self.record_reads(id, &blocks, &pieces, readback)? else {
                return Ok(Copied::Invalidated);
            };
            let bytes = match self.memory.collect_blocking(readback) {
                Ok(bytes) => bytes,
                Err(DeviceError::Refused { .. } | DeviceError::HostRefused { .. }) => return Ok(Copied::Refused),
                Err(error) => return Err(error),
            };
            let mut rest = bytes.as_slice();
            for piece in &pieces {
                let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
                let Some((read, after)) = rest.split_at_checked(length) else {
                    let message = format!("a readback of {length} B returned {} B", rest.len());
                    return Err(DeviceError::Validation { message });
                };
                contents[piece.index].bytes.extend_from_slice(read);
                rest = after;
            }
            at = next;
        }
        Ok(Copied::Contents(contents))
    }

    /// Creates a readback of `length` bytes. If the device refuses it, halves `most`, the size for the next attempt.
    pub(super) fn readback_or_halve(&self, length: u64, most: &mut u64) -> Result<Granted<M::Readback>, DeviceError> {
        match self.memory.readback(length) {
            Ok(readback) => Ok(Granted::Readback(readback)),
            Err(DeviceError::Refused { .. }) if *most > MIN_READBACK_BYTES => {
                *most /= 2;
                self.memory.drop_caches(CacheLevel::Buffers);
                Ok(Granted::Halved)
            }
            Err(DeviceError::Refused { .. }) => Ok(Granted::Refused),
            Err(error) => Err(error),
        }
    }

    /// Records the reads. Returns `None` if a block has moved or was freed.
    fn record_reads(
        &self,
        id: SegmentId,
        blocks: &[(BlockId, u64, u64)],
        pieces: &[Piece],
        mut readback: M::Readback,
    ) -> Result<Option<M::Readback>, DeviceError> {
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let state = self.state();
        if !state.valid_host_copies.contains(&id) {
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

    /// Replaces a segment whose blocks were copied to host memory, and destroys its device memory. Returns whether the
    /// copy was still valid.
    fn spill(&self, id: SegmentId, contents: Vec<BlockBytes>) -> bool {
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let mut state = self.state();
        if !state.valid_host_copies.contains(&id) || !state.segments.contains_key(&id) {
            return false;
        }
        let Some(repacked) = state.heap.repack_segment(id, u64::MAX) else { return false };
        let memory = state.segments.remove(&id).expect("it was just found");
        let copied: u64 = repacked.moves.iter().map(|one| one.size).sum();
        state.note_repacked(id, &repacked);
        state.remedies.host_copies += 1;
        state.remedies.bytes_moved = state.remedies.bytes_moved.saturating_add(copied);
        // A block that was allocated during the copy was never written, so it has no contents.
        state.keep_in_host_memory(&repacked, contents);
        drop(state);
        let size = repacked.released;
        if self.scrubs {
            let whole = Location { id, segment: memory.clone(), offset: 0, size };
            if let Err(error) = commands.clear(&whole) {
                // The segment is returned to the driver nevertheless.
                note!(Error, "wgpu-pool: cannot clear segment {id}: {error}");
            }
        }
        commands.destroy(id, memory, size);
        drop(commands);
        note!(Debug, "wgpu-pool: {} of segment {id} copied through host memory", Bytes(copied));
        true
    }
}

/// Returns the next pieces to read, of `most` bytes in total, and the position after them.
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
