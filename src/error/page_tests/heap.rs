//! The pages of the heap's errors.

use super::{assert_printed, messages};
use crate::error::{HeapError, InvariantBroken};

#[test]
fn the_page_of_heap_errors_prints_their_messages() {
    let (key, generation) = (7, 2);
    assert_printed(
        include_str!("../../../docs/guide/errors/heap.md"),
        &messages([
            HeapError::StalePlan { planned: 41, now: 42 },
            HeapError::Granule { granule: 48, least: 16, most: 4096 },
            HeapError::StaleBlock { key, generation },
            HeapError::FreedBlock { key, generation, pins: 1 },
            HeapError::PinnedBlock { key, generation, pins: 1 },
            HeapError::AttachedSize { size: 512, target: 256 },
            HeapError::NotPinned { key, generation },
            HeapError::TooManyPins { key, generation, pins: u32::MAX },
            HeapError::SegmentSize { bytes: 100, granule: 64 },
            HeapError::SegmentTooLarge { bytes: 1 << 40, limit: 64 << 30 },
            HeapError::TotalBytes { bytes: 4 << 40, total: u64::MAX - 4095 },
            HeapError::UnknownSegment { segment: 3 },
            HeapError::SegmentInUse { segment: 3, active: 4096 },
        ]),
    );
}

#[test]
fn the_page_of_broken_invariants_prints_their_messages() {
    let segment = 1;
    assert_printed(
        include_str!("../../../docs/guide/errors/invariant.md"),
        &messages([
            InvariantBroken::Tiling { segment, offset: 512, expected: 256 },
            InvariantBroken::EmptyBlock { segment, offset: 256 },
            InvariantBroken::Uncoalesced { segment, offset: 256 },
            InvariantBroken::Neighbours { block: 7, segment },
            InvariantBroken::Records { records: 12, mapped: 11 },
            InvariantBroken::Vacancies { vacant: 4, chained: 3 },
            InvariantBroken::Requested { segment, offset: 256, requested: 100, size: 64 },
            InvariantBroken::Unpinned { segment, offset: 256 },
            InvariantBroken::Membership { class: 9, block: 7 },
            InvariantBroken::Entry { class: 9, block: 7 },
            InvariantBroken::Bitmap { class: 9, bit: true, filled: false },
            InvariantBroken::Unlisted { inactive: 5, listed: 4 },
            InvariantBroken::Idle { segment },
            InvariantBroken::Table { segment },
            InvariantBroken::Stats { metric: "active", counted: 256, sum: 512 },
            InvariantBroken::Order { lesser: "requested", low: 3, greater: "allocated", high: 2 },
        ]),
    );
}
