//! How large the next segment is.

use crate::heap::SubPool;

/// The rule by which segments are sized. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The smallest segment.
    pub minimum_segment: u64,
    /// The largest segment: the device's largest buffer.
    pub maximum_segment: u64,
    /// Every segment is a multiple of this: the heap's granule.
    pub granule: u64,
}

/// What the next segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The pool that it will serve.
    pub pool: SubPool,
    /// The block that it must hold, in bytes.
    pub lacking: u64,
    /// Bytes of all segments now.
    pub reserved: u64,
    /// Bytes of the pool's segments now.
    pub reserved_in_pool: u64,
    /// Bytes that the limit leaves for the segment, if there is a limit.
    pub room: Option<u64>,
}

impl Growth {
    /// The next segment's size, in bytes; `None` if there is no room for what is lacking.
    pub fn segment_bytes(&self, demand: &Demand) -> Option<u64> {
        let room = demand.room.unwrap_or(u64::MAX).min(self.maximum_segment);
        let most = room / self.granule * self.granule;
        (demand.lacking <= most).then(|| demand.lacking.max(self.minimum_segment).min(most))
    }
}
