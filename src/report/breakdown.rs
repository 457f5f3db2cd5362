//! A breakdown of memory: bytes that the program uses, bytes that the pool caches, and other bytes that the driver
//! holds.

use crate::pool::snapshot::{SegmentSnapshot, Snapshot};

/// All bytes that the pool has reserved and that the driver holds, grouped by how they can be freed. Computed from the
/// blocks of a snapshot.
///
/// Invariant: live + rounding + pending_free + releasable + split = reserved. If the backend reports driver memory,
/// reserved + pending + own + foreign + unused equals the driver's bytes, except for the alignment padding of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breakdown {
    /// Requested bytes of allocated blocks: dropping tensors frees them.
    pub live: u64,
    /// Bytes added by rounding the requested sizes to the granule.
    pub rounding: u64,
    /// Freed blocks that are still pinned: dropping the pin guards frees them.
    pub pending_free: u64,
    /// Cached bytes of segments without active blocks: trimming returns them to the driver.
    pub releasable: u64,
    /// The number of these segments.
    pub releasable_segments: u64,
    /// Free bytes of segments with active blocks: compacting and then trimming returns most of them to the driver.
    pub split: u64,
    /// The number of these segments.
    pub split_segments: u64,
    /// The part of `split` in segments where a pin prevents a block from moving: the pin guards must be dropped first.
    pub split_by_pins: u64,
    /// The sum of the above.
    pub reserved: u64,
    /// Destroyed segments that the driver frees when the device has finished with them.
    pub pending: u64,
    /// Other bytes that the driver holds, if the backend reports them.
    pub driver: Option<DriverBreakdown>,
}

/// Bytes that the driver holds for the device in addition to the pool's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverBreakdown {
    /// Staging, readback and parameter buffers of this crate. [`pressure`](crate::Pool::pressure) frees the idle ones.
    pub own: u64,
    /// Segments of other pools on the device, destroyed segments that are not freed yet, and alignment padding.
    pub other_segments: u64,
    /// Buffers and textures of the application.
    pub foreign: u64,
    /// Unused parts of the driver's allocations, which wgpu keeps for later buffers.
    pub unused: u64,
    /// All bytes that the driver holds for the device.
    pub total: u64,
}

impl Breakdown {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut breakdown = Self { pending: snapshot.pending, ..Self::default() };
        for segment in &snapshot.segments {
            breakdown.add(segment);
        }
        breakdown.driver = snapshot.driver.map(|driver| DriverBreakdown {
            own: driver.own,
            other_segments: driver.segments.saturating_sub(breakdown.reserved),
            foreign: driver.foreign,
            unused: driver.unused,
            total: driver.reserved,
        });
        breakdown
    }

    fn add(&mut self, segment: &SegmentSnapshot) {
        self.reserved += segment.bytes;
        let mut inactive = 0;
        for block in &segment.blocks {
            if block.state.is_allocated() {
                self.live += block.requested;
                self.rounding += block.size - block.requested;
            } else if block.state.is_active() {
                self.pending_free += block.size;
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

/// Fragmentation of a pool's free memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragmentation {
    /// Free bytes in holes of all sizes. Does not include the free bytes in the arenas of repeated steps.
    pub free: u64,
    /// The number of holes.
    pub holes: u64,
    /// The size of the largest hole in bytes.
    pub largest_hole: u64,
    /// Requested bytes of allocated blocks.
    pub live: u64,
    /// Bytes of all segments.
    pub reserved: u64,
}

impl Fragmentation {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let holes = || snapshot.holes().map(|block| block.size);
        Self {
            free: holes().sum(),
            holes: holes().count() as u64,
            largest_hole: holes().max().unwrap_or(0),
            live: snapshot.allocated_blocks().map(|block| block.requested).sum(),
            reserved: snapshot.segments.iter().map(|segment| segment.bytes).sum(),
        }
    }

    /// Returns external fragmentation, 1 − largest hole / free bytes: 0 if all free bytes are one hole, near 1 if the
    /// free bytes are in many small holes. 0 if nothing is free.
    #[must_use]
    pub fn external(&self) -> f64 {
        one_less(self.largest_hole, self.free)
    }

    /// Returns 1 − live / reserved: the part of the pool that is not in use. 0 for an empty pool.
    #[must_use]
    pub fn unused(&self) -> f64 {
        one_less(self.live, self.reserved)
    }
}

/// Returns 1 − part / whole, or 0 if `whole` is 0.
#[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more than 53 bits")]
fn one_less(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 1.0 - part as f64 / whole as f64 }
}
