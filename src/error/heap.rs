//! The errors of the heap: misuse of ids and sizes, and broken invariants.

use super::{Bytes, Count};
use thiserror::Error;

/// The reason why the heap refused a call. A refusal changes nothing.
///
/// Running out of memory is not among these errors: an allocation that finds no block returns the segment that is
/// missing.
///
/// Cause and remedy of each variant: [`guide::errors::heap`](crate::guide::errors::heap).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeapError {
    /// The heap has changed since the plan was made.
    #[error("plan for version {planned} of the heap, which is at {now} now")]
    StalePlan {
        /// The version that the plan was made for.
        planned: u64,
        /// The current version.
        now: u64,
    },
    /// The granule is not a power of two within the heap's range.
    #[error("granule of {granule} B is not a power of two from {least} B to {most} B")]
    Granule {
        /// The requested granule in bytes.
        granule: u64,
        /// The smallest granule, in bytes.
        least: u64,
        /// The largest granule, in bytes.
        most: u64,
    },
    /// The block of this id is not active any more: it was freed, and its slot may have been reused.
    #[error("block {key}.{generation} is not active any more")]
    StaleBlock {
        /// The slot in the id.
        key: u32,
        /// The generation in the id.
        generation: u32,
    },
    /// The block was freed, and is active only because it is still pinned.
    #[error("block {key}.{generation} was freed, and has {} left", Count(*pins, "pin"))]
    FreedBlock {
        /// The slot in the id.
        key: u32,
        /// The generation in the id.
        generation: u32,
        /// The pins that keep the block active.
        pins: u32,
    },
    /// The block is pinned, so it cannot leave its segment.
    #[error("block {key}.{generation} is pinned {} and stays in its segment", Count(*pins, "time"))]
    PinnedBlock {
        /// The slot in the id.
        key: u32,
        /// The generation in the id.
        generation: u32,
        /// The pins of the block.
        pins: u32,
    },
    /// A detached block and the block whose location it should take have different sizes.
    #[error("a detached block of {size} B cannot take the location of a block of {target} B")]
    AttachedSize {
        /// The size of the detached block in bytes.
        size: u64,
        /// The size of the block at the location, in bytes.
        target: u64,
    },
    /// The block has no pin to remove.
    #[error("block {key}.{generation} is not pinned")]
    NotPinned {
        /// The slot in the id.
        key: u32,
        /// The generation in the id.
        generation: u32,
    },
    /// The block has the maximum number of pins.
    #[error("block {key}.{generation} is pinned {}, the most that can be counted", Count(*pins, "time"))]
    TooManyPins {
        /// The slot in the id.
        key: u32,
        /// The generation in the id.
        generation: u32,
        /// The pins of the block.
        pins: u32,
    },
    /// The size of a segment is zero, or not a multiple of the granule.
    #[error("segment of {bytes} B is not a positive multiple of {granule} B")]
    SegmentSize {
        /// The requested size in bytes.
        bytes: u64,
        /// The granule, in bytes.
        granule: u64,
    },
    /// The segment has more granules than the heap can count.
    #[error("segment of {} is above the heap's largest, {}", Bytes(*bytes), Bytes(*limit))]
    SegmentTooLarge {
        /// The requested size in bytes.
        bytes: u64,
        /// The heap's largest segment with this granule, in bytes.
        limit: u64,
    },
    /// The bytes of all segments and detached blocks together would exceed the largest number of 64 bits.
    #[error("{} more than {} of segments and detached blocks are above the heap's most, 2^64 - 1 B", Bytes(*bytes), Bytes(*total))]
    TotalBytes {
        /// The size of the segment or of the block to detach, in bytes.
        bytes: u64,
        /// The bytes of all segments and detached blocks so far.
        total: u64,
    },
    /// The heap has no segment with this number: the segment was released, or belongs to another heap.
    #[error("segment {segment} is not in the heap")]
    UnknownSegment {
        /// The segment's number.
        segment: u64,
    },
    /// The segment contains active blocks.
    #[error("segment {segment} holds {} in active blocks", Bytes(*active))]
    SegmentInUse {
        /// The segment's number.
        segment: u64,
        /// The bytes of its active blocks.
        active: u64,
    },
}

/// An invariant of the heap that does not hold: a defect of the crate, with the location where it was found.
///
/// `segment` is the number of a segment, `offset` and `size` are in bytes, and `block` is the slot of a block.
///
/// What each variant says about the heap, and what to do: [`guide::errors::invariant`](crate::guide::errors::invariant).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvariantBroken {
    /// The blocks of a segment leave a gap, overlap, or end before or after the segment does.
    #[error("segment {segment}: a block at {offset} where the one before ends at {expected}")]
    Tiling {
        /// The segment.
        segment: u64,
        /// The start of the next block, or the end of the segment.
        offset: u64,
        /// The end of the previous block.
        expected: u64,
    },
    /// A block has size 0.
    #[error("segment {segment}: an empty block at {offset}")]
    EmptyBlock {
        /// The segment.
        segment: u64,
        /// The block's offset.
        offset: u64,
    },
    /// Two adjacent blocks are both inactive.
    #[error("segment {segment}: two inactive neighbours meet at {offset}")]
    Uncoalesced {
        /// The segment.
        segment: u64,
        /// The offset of the second.
        offset: u64,
    },
    /// A block and its neighbour, or its segment, do not refer to each other.
    #[error("block {block} of segment {segment} and its neighbour do not name each other")]
    Neighbours {
        /// The block.
        block: u32,
        /// The segment in which the block was found.
        segment: u64,
    },
    /// A block in the map of a segment has no record in use, or is in two places.
    #[error("{records} block records are in use, {mapped} are in the segments")]
    Records {
        /// Records in use.
        records: u64,
        /// Blocks in the segments.
        mapped: u64,
    },
    /// The free list of the block records is incomplete.
    #[error("{vacant} block records are vacant, {chained} are in the chain")]
    Vacancies {
        /// Vacant records.
        vacant: u64,
        /// The records in the free list, up to the first that is not vacant.
        chained: u64,
    },
    /// The requested bytes of a block exceed its size.
    #[error("segment {segment}: {requested} B requested of the {size} B at {offset}")]
    Requested {
        /// The segment.
        segment: u64,
        /// The block's offset.
        offset: u64,
        /// The requested bytes.
        requested: u64,
        /// The size of the block in bytes.
        size: u64,
    },
    /// A freed block without pins is active.
    #[error("segment {segment}: the freed block at {offset} is active without a pin")]
    Unpinned {
        /// The segment.
        segment: u64,
        /// The block's offset.
        offset: u64,
    },
    /// A free list contains a block that does not belong to it.
    #[error("the list of class {class} holds block {block}, which is not an inactive block of that class and pool")]
    Membership {
        /// The class of the list.
        class: u16,
        /// The block.
        block: u32,
    },
    /// An entry of a free list and its block have different positions or sizes.
    #[error("the list of class {class} and block {block} do not agree on position and size")]
    Entry {
        /// The class of the list.
        class: u16,
        /// The block.
        block: u32,
    },
    /// A bit of the bitmap does not match whether its list is empty.
    #[error("the bit of class {class} is {bit}, and whether its list has a block is {filled}")]
    Bitmap {
        /// The class of the list.
        class: u16,
        /// The bit.
        bit: bool,
        /// Whether the list contains a block.
        filled: bool,
    },
    /// The inactive blocks are not exactly those in the free lists.
    #[error("inactive blocks: {inactive} in the segments, {listed} in the free lists")]
    Unlisted {
        /// Inactive blocks in the segments.
        inactive: u64,
        /// Blocks in the free lists.
        listed: u64,
    },
    /// The list of idle segments is incomplete, contains another segment, or is not linked correctly in both
    /// directions.
    #[error("the list of idle segments is wrong at segment {segment}")]
    Idle {
        /// The segment where the defect was found.
        segment: u64,
    },
    /// The table from numbers to segments does not match the segments.
    #[error("the table of segments is wrong at segment {segment}")]
    Table {
        /// The segment where the defect was found.
        segment: u64,
    },
    /// A counter differs from the sum over the map.
    #[error("{metric} is counted as {counted}, the sum is {sum}")]
    Stats {
        /// The metric.
        metric: &'static str,
        /// The counter's current value.
        counted: u64,
        /// The sum over all blocks or segments.
        sum: u64,
    },
    /// Two metrics are in the wrong order, or a counter is inconsistent.
    #[error("{lesser} at {low} is above {greater} at {high}")]
    Order {
        /// The metric that must not be above the other.
        lesser: &'static str,
        /// Its value.
        low: u64,
        /// The metric that must not be below the other.
        greater: &'static str,
        /// Its value.
        high: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_block_or_the_segment_with_numbers() {
        let shown = [
            (
                HeapError::Granule { granule: 48, least: 16, most: 4096 },
                "granule of 48 B is not a power of two from 16 B to 4096 B",
            ),
            (HeapError::StaleBlock { key: 7, generation: 2 }, "block 7.2 is not active any more"),
            (HeapError::FreedBlock { key: 7, generation: 2, pins: 1 }, "block 7.2 was freed, and has 1 pin left"),
            (HeapError::NotPinned { key: 7, generation: 2 }, "block 7.2 is not pinned"),
            (
                HeapError::TooManyPins { key: 7, generation: 2, pins: u32::MAX },
                "block 7.2 is pinned 4294967295 times, the most that can be counted",
            ),
            (HeapError::SegmentSize { bytes: 100, granule: 64 }, "segment of 100 B is not a positive multiple of 64 B"),
            (
                HeapError::SegmentTooLarge { bytes: 1 << 40, limit: 64 << 30 },
                "segment of 1.0 TiB is above the heap's largest, 64.0 GiB",
            ),
            (
                HeapError::TotalBytes { bytes: 4 << 40, total: u64::MAX - 4095 },
                "4.0 TiB more than 15.9 EiB of segments and detached blocks are above the heap's most, 2^64 - 1 B",
            ),
            (HeapError::UnknownSegment { segment: 3 }, "segment 3 is not in the heap"),
            (HeapError::SegmentInUse { segment: 3, active: 4096 }, "segment 3 holds 4.0 KiB in active blocks"),
        ];
        for (error, text) in shown {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn broken_invariants_say_where() {
        let shown = [
            (
                InvariantBroken::Tiling { segment: 1, offset: 512, expected: 256 },
                "segment 1: a block at 512 where the one before ends at 256",
            ),
            (
                InvariantBroken::Uncoalesced { segment: 1, offset: 256 },
                "segment 1: two inactive neighbours meet at 256",
            ),
            (
                InvariantBroken::Stats { metric: "active", counted: 256, sum: 512 },
                "active is counted as 256, the sum is 512",
            ),
            (
                InvariantBroken::Order { lesser: "requested", low: 3, greater: "allocated", high: 2 },
                "requested at 3 is above allocated at 2",
            ),
        ];
        for (error, text) in shown {
            assert_eq!(error.to_string(), text);
        }
    }
}
