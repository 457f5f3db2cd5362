//! Where the memory is: what the program has, what the pool caches, what the driver holds beyond both.

use crate::pool::snapshot::{SegmentSnapshot, Snapshot};

/// Every byte that the pool reserves, and that the driver holds, told apart by what it would take to have it back. Bytes, summed
/// over a snapshot's blocks.
///
/// Law: live + rounding + waiting + releasable + split = reserved. Where the driver tells, reserved + pending + own + foreign +
/// unused is what it holds, up to what alignment adds to a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What the program asked for and has: dropping tensors frees it.
    pub live: u64,
    /// What rounding to the granule adds to that.
    pub rounding: u64,
    /// Freed, and pinned all the same: dropping the guards frees it.
    pub waiting: u64,
    /// Cached in segments that nothing is active in: trimming gives it back.
    pub releasable: u64,
    /// Segments of that kind.
    pub releasable_segments: u64,
    /// Cached in segments that active blocks hold: compacting and trimming gives most of it back.
    pub split: u64,
    /// Segments of that kind.
    pub split_segments: u64,
    /// Of the split bytes, those in segments where a pin keeps a block from moving: the guards must be dropped first.
    pub split_by_pins: u64,
    /// All of the above.
    pub reserved: u64,
    /// Segments on their way back to the driver: it has them when the device is done.
    pub pending: u64,
    /// What the driver says beyond that, where the backend can tell.
    pub beyond: Option<Beyond>,
}

/// What the driver holds for the device beside the pool's segments. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Staging, read-back and parameters of this crate: [`pressure`](crate::Pool::pressure) gives up what idles of it.
    pub own: u64,
    /// Segments beyond this pool's: those of other pools on the device, those on their way back, and alignment.
    pub other_segments: u64,
    /// Buffers and textures of the rest of the program.
    pub foreign: u64,
    /// Parts of the driver's blocks that nothing is in. wgpu keeps them for the next buffers.
    pub unused: u64,
    /// All that the driver holds for the device.
    pub held: u64,
}

impl Split {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut split = Self { pending: snapshot.pending, ..Self::default() };
        for segment in &snapshot.segments {
            split.add(segment);
        }
        split.beyond = snapshot.driver.map(|driver| Beyond {
            own: driver.own,
            other_segments: driver.segments.saturating_sub(split.reserved),
            foreign: driver.foreign,
            unused: driver.unused,
            held: driver.reserved,
        });
        split
    }

    fn add(&mut self, segment: &SegmentSnapshot) {
        self.reserved += segment.bytes;
        let mut inactive = 0;
        for block in &segment.blocks {
            if block.state.is_allocated() {
                self.live += block.requested;
                self.rounding += block.size - block.requested;
            } else if block.state.is_active() {
                self.waiting += block.size;
            } else {
                inactive += block.size;
            }
        }
        if !segment.blocks.iter().any(|block| block.state.is_active()) {
            self.releasable += inactive;
            self.releasable_segments += 1;
        } else if inactive > 0 {
            self.split += inactive;
            self.split_segments += 1;
            if segment.blocks.iter().any(|block| block.pins > 0) {
                self.split_by_pins += inactive;
            }
        }
    }
}

/// How scattered the free bytes of a pool are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragmentation {
    /// Bytes that are free, in holes of all sizes.
    pub free: u64,
    /// The number of holes.
    pub holes: u64,
    /// Bytes of the largest hole.
    pub largest_hole: u64,
    /// Bytes that the program asked for and has.
    pub live: u64,
    /// Bytes of all segments.
    pub reserved: u64,
}

impl Fragmentation {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let blocks = || snapshot.segments.iter().flat_map(|segment| &segment.blocks);
        let holes = || blocks().filter(|block| !block.state.is_active()).map(|block| block.size);
        Self {
            free: holes().sum(),
            holes: holes().count() as u64,
            largest_hole: holes().max().unwrap_or(0),
            live: snapshot.handed_out().map(|block| block.requested).sum(),
            reserved: snapshot.segments.iter().map(|segment| segment.bytes).sum(),
        }
    }

    /// 1 − largest hole / free bytes: 0 when all that is free is one hole, near 1 when it is dust. 0 if nothing is free.
    #[must_use]
    pub fn external(&self) -> f64 {
        one_less(self.largest_hole, self.free)
    }

    /// 1 − live / reserved: the part of the pool that serves nobody now. 0 for an empty pool.
    #[must_use]
    pub fn unused(&self) -> f64 {
        one_less(self.live, self.reserved)
    }
}

/// 1 − part / whole, or 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more than 53 bits")]
fn one_less(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 1.0 - part as f64 / whole as f64 }
}
