//! Stamps, which verify that no other block or command has changed a block's bytes before it is freed.
//!
//! The first 16 bytes of every block and its last 13 to 16 are written when it is allocated, as a function of the replay,
//! of the allocation's id and of the byte's position, and are read again when it is freed. A block that was allocated
//! twice, a command out of order, or a move that lost bytes causes a stamp that does not match.
//!
//! The program waits for the device once for many blocks: a read returns the bytes at its point of the program order, so the
//! block may be freed and reused before the bytes arrive.

use crate::fault::ReplayError;
use std::ops::Range;
use wgpu_pool::{COPY_UNIT, Download, Memory, Pool, Storage};

/// Bytes of either stamp.
const STAMP_LENGTH: usize = 16;
const STAMP: u64 = STAMP_LENGTH as u64;

/// Bytes that are read with one wait.
const BATCH: u64 = 1 << 20;

/// An observer of the allocations and frees of a replay.
pub(crate) trait Witness<M: Memory> {
    /// A replay begins in this pool.
    fn begin(&mut self, pool: &Pool<M>, slots: u32);

    /// The slot now holds a new block.
    fn allocated(&mut self, slot: u32, storage: &Storage<M>) -> Result<(), ReplayError>;

    /// The slot's block is about to be freed.
    fn freed(&mut self, slot: u32, storage: &Storage<M>) -> Result<(), ReplayError>;

    /// Everything was freed.
    fn end(&mut self) -> Result<(), ReplayError>;
}

/// An observer without effect: for memories without bytes, and for timing only the pool.
#[derive(Debug)]
pub(crate) struct Unstamped;

impl<M: Memory> Witness<M> for Unstamped {
    #[inline]
    fn begin(&mut self, _pool: &Pool<M>, _slots: u32) {}

    #[inline]
    fn allocated(&mut self, _slot: u32, _storage: &Storage<M>) -> Result<(), ReplayError> {
        Ok(())
    }

    #[inline]
    fn freed(&mut self, _slot: u32, _storage: &Storage<M>) -> Result<(), ReplayError> {
        Ok(())
    }

    #[inline]
    fn end(&mut self) -> Result<(), ReplayError> {
        Ok(())
    }
}

/// Stamps every block when it is allocated, and verifies the stamp when it is freed.
#[derive(Debug)]
pub(crate) struct Stamps<M: Memory> {
    pool: Option<Pool<M>>,
    /// The number of the replay, so that a stamp of an earlier replay does not match.
    replay: u64,
    allocations: u64,
    /// The id of the allocation in each slot.
    ids: Vec<u64>,
    download: Option<Download<M>>,
    /// Ranges that are being read to the host, in the order of their bytes.
    expected: Vec<Expected>,
    expected_bytes: u64,
}

/// A range of a block that is being read.
#[derive(Debug)]
struct Expected {
    id: u64,
    /// Bytes of the whole block.
    bytes: u64,
    range: Range<u64>,
}

impl<M: Memory> Stamps<M> {
    pub(crate) fn new() -> Self {
        Self {
            pool: None,
            replay: 0,
            allocations: 0,
            ids: Vec::new(),
            download: None,
            expected: Vec::new(),
            expected_bytes: 0,
        }
    }

    /// Waits for the pending reads, and compares the bytes.
    fn verify(&mut self) -> Result<(), ReplayError> {
        let Some(download) = self.download.take() else { return Ok(()) };
        let found = download.finish_blocking()?;
        let mut rest = found.as_slice();
        for Expected { id, bytes, range } in self.expected.drain(..) {
            let (read, others) = rest.split_at(whole_units(&range));
            rest = others;
            for (offset, &found) in range.zip(read) {
                let stamped = stamp(self.replay, id, offset);
                if found != stamped {
                    return Err(ReplayError::Stamp { id, bytes, offset, stamped, found });
                }
            }
        }
        self.expected_bytes = 0;
        Ok(())
    }
}

impl<M: Memory> Witness<M> for Stamps<M> {
    fn begin(&mut self, pool: &Pool<M>, slots: u32) {
        self.pool = Some(pool.clone());
        self.replay += 1;
        self.allocations = 0;
        self.ids = vec![0; slots as usize];
    }

    fn allocated(&mut self, slot: u32, storage: &Storage<M>) -> Result<(), ReplayError> {
        let id = self.allocations;
        self.allocations += 1;
        self.ids[slot as usize] = id;
        let mut content = [0; STAMP_LENGTH];
        for range in stamped_ranges(storage.bytes()) {
            let start = range.start;
            let mut length = 0;
            for (byte, offset) in content.iter_mut().zip(range) {
                *byte = stamp(self.replay, id, offset);
                length += 1;
            }
            storage.write(start, &content[..length])?;
        }
        Ok(())
    }

    fn freed(&mut self, slot: u32, storage: &Storage<M>) -> Result<(), ReplayError> {
        if self.expected_bytes + 2 * STAMP > BATCH {
            self.verify()?;
        }
        let (id, bytes) = (self.ids[slot as usize], storage.bytes());
        for range in stamped_ranges(bytes) {
            let download = match &mut self.download {
                Some(download) => download,
                None => {
                    let pool = self.pool.as_ref().expect("a replay has begun");
                    self.download.insert(pool.download(BATCH)?)
                }
            };
            let length = whole_units(&range) as u64;
            download.add(storage, range.start, length)?;
            self.expected_bytes += length;
            self.expected.push(Expected { id, bytes, range });
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ReplayError> {
        self.verify()?;
        self.pool = None;
        Ok(())
    }
}

/// Returns the stamped ranges of a block: its head, and the rest of its tail. Each starts at a whole copy unit; the last ends
/// with the block's last byte.
fn stamped_ranges(bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let head = 0..bytes.min(STAMP);
    let tail = bytes.next_multiple_of(COPY_UNIT).saturating_sub(STAMP).max(head.end)..bytes;
    [head, tail].into_iter().filter(|range| !range.is_empty())
}

/// Returns the bytes to read for a range: whole copy units.
fn whole_units(range: &Range<u64>) -> usize {
    usize::try_from((range.end - range.start).next_multiple_of(COPY_UNIT)).expect("a stamp is a few bytes long")
}

/// Returns the byte at an offset: the top byte of a product of odd constants, on which every bit of the arguments has an effect.
fn stamp(replay: u64, id: u64, offset: u64) -> u8 {
    let mixed = (replay ^ id.rotate_left(24) ^ offset.rotate_left(48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed.to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_pool::{HostMemory, PoolOptions};

    fn pool() -> Pool<HostMemory> {
        Pool::new(HostMemory::default(), PoolOptions::default()).expect("the defaults suit the host")
    }

    #[test]
    fn stamps_cover_both_ends_of_a_block_of_any_size_without_overlap() {
        for bytes in 0..200 {
            let ranges: Vec<_> = stamped_ranges(bytes).collect();
            let covered: Vec<u64> = ranges.iter().cloned().flatten().collect();
            assert!(covered.is_sorted_by(|a, b| a < b), "{bytes}: {ranges:?}");
            let is_stamped = |offset| covered.contains(&offset);
            assert!((0..bytes.min(16)).all(is_stamped), "{bytes}: {ranges:?}");
            assert!((bytes.saturating_sub(13)..bytes).all(is_stamped), "{bytes}: {ranges:?}");
            assert!(covered.iter().all(|&offset| offset < bytes), "{bytes}: {ranges:?}");
            assert!(ranges.iter().all(|range| range.start % 4 == 0 && range.end - range.start <= 16), "{bytes}");
        }
    }

    #[test]
    fn adjacent_blocks_of_every_size_keep_their_stamps() {
        let pool = pool();
        let mut stamps = Stamps::new();
        stamps.begin(&pool, 100);
        let storages: Vec<_> = (0..100).map(|bytes| pool.allocate(bytes).expect("there is room")).collect();
        for (slot, storage) in (0..).zip(&storages) {
            stamps.allocated(slot, storage).expect("it can be stamped");
        }
        for (slot, storage) in (0..).zip(&storages) {
            stamps.freed(slot, storage).expect("it can be read");
        }
        stamps.end().expect("every stamp matches");
    }

    #[test]
    fn an_overwritten_stamp_is_detected_and_its_block_reported() {
        let pool = pool();
        for (bytes, damaged) in [(64, 0), (64, 60), (1, 0), (41, 40), (5 << 20, (5 << 20) - 4)] {
            let mut stamps = Stamps::new();
            stamps.begin(&pool, 2);
            let storage = pool.allocate(bytes).expect("there is room");
            let neighbour = pool.allocate(bytes).expect("there is room");
            stamps.allocated(0, &neighbour).expect("it can be stamped");
            stamps.allocated(1, &storage).expect("it can be stamped");
            let right = stamp(1, 1, damaged);
            let garbage = vec![!right; usize::from(bytes - damaged > 1) * 3 + 1];
            storage.write(damaged, &garbage).expect("it can be written");
            stamps.freed(0, &neighbour).expect("it can be read");
            stamps.freed(1, &storage).expect("it can be read");
            let error = stamps.end().expect_err("the stamp was overwritten");
            let ReplayError::Stamp { id: 1, offset, stamped, found, .. } = error else { panic!("{error}") };
            assert_eq!((offset, stamped, found), (damaged, right, !right));
        }
    }

    #[test]
    fn the_stamp_of_an_earlier_replay_or_of_another_block_is_wrong() {
        let stamps = |replay, id| -> Vec<u8> { (0..16).map(|offset| stamp(replay, id, offset)).collect() };
        assert_ne!(stamps(1, 7), stamps(2, 7));
        assert_ne!(stamps(1, 7), stamps(1, 8));
        assert_ne!(stamps(1, 7), stamps(8, 0));
    }

    #[test]
    fn more_blocks_than_one_read_holds_are_verified_in_several_reads() {
        let pool = pool();
        let mut stamps = Stamps::new();
        stamps.begin(&pool, 1);
        let storage = pool.allocate(64).expect("there is room");
        for _ in 0..BATCH / 32 * 2 + 1 {
            stamps.allocated(0, &storage).expect("it can be stamped");
            stamps.freed(0, &storage).expect("earlier stamps match");
            assert!(stamps.expected_bytes <= BATCH);
        }
        stamps.end().expect("every stamp matches");
    }
}
