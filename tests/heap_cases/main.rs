//! The requirements for a caching allocator that concern the heap. Each test cites its case in `docs/CASES.md`.
//!
//! Zero bytes (case 5) never reach the heap, which takes `NonZeroU64`.

mod choice;
mod misuse;

use std::num::NonZeroU64;
use wgpu_pool::error::HeapError;
use wgpu_pool::heap::{BlockId, BlockState, Counter, Heap, HeapOptions, Place, SegmentId, Shortfall, Stats, SubPool};

const GRANULE: u64 = 256;
const SMALL_LIMIT: u64 = 1 << 16;
const SEGMENT: u64 = 1 << 20;

fn empty() -> Heap {
    Heap::new(HeapOptions { granule: GRANULE, small_limit: SMALL_LIMIT }).expect("a valid granule")
}

/// Creates a heap with one segment for large blocks.
fn heap() -> Heap {
    let mut heap = empty();
    heap.add_segment(SubPool::Large, SEGMENT).expect("a multiple of the granule");
    heap
}

fn bytes(size: u64) -> NonZeroU64 {
    NonZeroU64::new(size).expect("not zero")
}

#[track_caller]
fn allocate(heap: &mut Heap, size: u64) -> BlockId {
    let id = heap.allocate(bytes(size)).expect("there is a hole");
    heap.check().expect("every invariant holds");
    id
}

#[track_caller]
fn free(heap: &mut Heap, id: BlockId) {
    heap.free(id).expect("active");
    heap.check().expect("every invariant holds");
}

#[track_caller]
fn place(heap: &Heap, id: BlockId) -> Place {
    heap.allocated_place(id).expect("allocated")
}

fn all_counters(stats: &Stats) -> [Counter; 9] {
    [
        stats.requested,
        stats.allocated,
        stats.active,
        stats.inactive_split,
        stats.reserved,
        stats.blocks,
        stats.active_blocks,
        stats.segments,
        stats.pinned,
    ]
}

// Case 1.
#[test]
fn a_freed_block_is_allocated_again_at_the_same_location() {
    let mut heap = heap();
    let _before = allocate(&mut heap, SEGMENT / 4);
    let id = allocate(&mut heap, 100_000);
    let _after = allocate(&mut heap, SEGMENT / 4);
    let first = place(&heap, id);
    free(&mut heap, id);
    let again = allocate(&mut heap, 100_000);
    assert_eq!(place(&heap, again), first);
    assert_ne!(again, id);
    assert_eq!(heap.stats().segments.current, 1);
}

// Case 2.
#[test]
fn freeing_lowers_allocated_bytes_and_keeps_reserved_bytes() {
    let mut heap = heap();
    let id = allocate(&mut heap, 100_000);
    assert_eq!(heap.stats().allocated.current, 100_096);
    free(&mut heap, id);
    assert_eq!(heap.stats().allocated.current, 0);
    assert_eq!(heap.stats().reserved.current, SEGMENT);
}

// Case 3.
#[test]
fn after_everything_is_freed_each_segment_is_one_hole() {
    let mut heap = heap();
    heap.add_segment(SubPool::Large, SEGMENT).expect("a multiple of the granule");
    let ids: Vec<BlockId> = (0..20).map(|index| allocate(&mut heap, 70_000 + 1000 * index)).collect();
    for index in [7, 3, 19, 0, 1, 2, 4, 5, 6, 18, 8, 17, 9, 10, 16, 11, 15, 12, 14, 13] {
        free(&mut heap, ids[index]);
    }
    let stats = heap.stats();
    let currents = [stats.requested, stats.allocated, stats.active, stats.blocks, stats.inactive_split];
    assert!(currents.iter().all(|counter| counter.current == 0), "{stats:?}");
    assert_eq!(heap.holes(), 2);
    assert_eq!(heap.segments().map(|segment| segment.blocks().count()).collect::<Vec<_>>(), [1, 1]);
}

// Case 4.
#[test]
fn one_byte_is_requested_and_one_granule_allocated() {
    let mut heap = empty();
    heap.add_segment(SubPool::Small, SEGMENT).expect("a multiple of the granule");
    let id = allocate(&mut heap, 1);
    let stats = heap.stats();
    assert_eq!((stats.requested.current, stats.allocated.current), (1, GRANULE));
    assert_eq!((place(&heap, id).requested, place(&heap, id).size), (1, GRANULE));
}

// Case 6.
#[test]
fn no_two_live_blocks_overlap() {
    let mut heap = empty();
    heap.add_segment(SubPool::Small, SEGMENT).expect("a multiple of the granule");
    let ids: Vec<BlockId> = (1..60).map(|index| allocate(&mut heap, index * 300)).collect();
    let mut places: Vec<Place> = ids.iter().map(|&id| place(&heap, id)).collect();
    places.sort_by_key(|place| place.offset);
    assert!(places.windows(2).all(|pair| pair[0].offset + pair[0].size <= pair[1].offset), "{places:?}");
}

// Case 7.
#[test]
fn sizes_are_rounded_up_to_the_granule_at_every_boundary() {
    for granule in [16, 32, 64, 256, 4096] {
        let heap = Heap::new(HeapOptions { granule, small_limit: 0 }).expect("a valid granule");
        for count in [1, 2, 3, 63, 64, 65, 127, 128, 129, 1000, 65_536] {
            let edge = count * granule;
            assert_eq!(heap.block_size(bytes(edge)), edge);
            assert_eq!(heap.block_size(bytes(edge - 1)), edge);
            assert_eq!(heap.block_size(bytes(edge + 1)), edge + granule);
        }
    }
}

// Case 8.
#[test]
fn every_offset_is_a_multiple_of_the_granule() {
    for granule in [32, 64, 256] {
        let mut heap = Heap::new(HeapOptions { granule, small_limit: 0 }).expect("a valid granule");
        heap.add_segment(SubPool::Large, SEGMENT).expect("a multiple of the granule");
        for size in [1, 31, 33, 64, 255, 257, 1000, 77_777] {
            let id = allocate(&mut heap, size);
            assert_eq!(place(&heap, id).offset % granule, 0);
        }
    }
}

// Case 9.
#[test]
fn the_remainder_of_a_split_serves_the_next_request() {
    let mut heap = heap();
    let quarter = allocate(&mut heap, SEGMENT / 4);
    let rest = allocate(&mut heap, SEGMENT / 4 * 3);
    assert_eq!((place(&heap, quarter).offset, place(&heap, rest).offset), (0, SEGMENT / 4));
    assert_eq!(heap.holes(), 0);
}

// Case 10.
#[test]
fn three_neighbours_freed_in_any_order_serve_a_request_of_their_sum() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut heap = heap();
        let _before = allocate(&mut heap, SEGMENT / 4);
        let three = [70_000, 80_000, 90_000].map(|size| allocate(&mut heap, size));
        let rest = heap.largest_hole();
        let _after = allocate(&mut heap, rest);
        let sum = three.map(|id| place(&heap, id).size).iter().sum();
        let start = place(&heap, three[0]).offset;
        order.into_iter().for_each(|index| free(&mut heap, three[index]));
        assert_eq!((heap.holes(), heap.largest_hole()), (1, sum));
        let id = allocate(&mut heap, sum);
        assert_eq!(place(&heap, id).offset, start);
    }
}

// Case 11.
#[test]
fn holes_of_two_segments_never_join() {
    let mut heap = heap();
    heap.add_segment(SubPool::Large, SEGMENT).expect("a multiple of the granule");
    let both = [(); 2].map(|()| allocate(&mut heap, SEGMENT));
    both.into_iter().for_each(|id| free(&mut heap, id));
    let shortfall = Shortfall { pool: SubPool::Large, bytes: 2 * SEGMENT };
    assert_eq!(heap.allocate(bytes(2 * SEGMENT)), Err(shortfall));
}

// Case 12.
#[test]
fn a_small_block_is_never_placed_in_a_segment_of_large_blocks() {
    let mut heap = heap();
    let shortfall = Shortfall { pool: SubPool::Small, bytes: 4096 };
    assert_eq!(heap.allocate(bytes(4096)), Err(shortfall));
    assert_eq!(heap.allocate(bytes(SMALL_LIMIT)), Err(Shortfall { bytes: SMALL_LIMIT, ..shortfall }));
    let large = allocate(&mut heap, SMALL_LIMIT + 1);
    let small_segment = heap.add_segment(SubPool::Small, SEGMENT).expect("a multiple of the granule");
    let small = allocate(&mut heap, 4096);
    assert_eq!(place(&heap, small).segment, small_segment);
    free(&mut heap, large);
    assert_eq!(heap.release_inactive().len(), 1);
    assert_eq!(heap.pool_of(small_segment), Some(SubPool::Small));
}

#[test]
fn an_idle_segment_changes_pools_and_a_busy_one_does_not() {
    let mut heap = heap();
    let (segment, _) = heap.inactive_segments().next().expect("it is idle");
    heap.adopt(segment, SubPool::Small).expect("it is idle");
    let small = allocate(&mut heap, 4096);
    assert_eq!(place(&heap, small).segment, segment);
    let refusal = HeapError::SegmentInUse { segment: segment.number(), active: 4096 };
    assert_eq!(heap.adopt(segment, SubPool::Large), Err(refusal));
    assert_eq!((heap.stats().small.reserved, heap.stats().large.reserved), (SEGMENT, 0));
}

// Case 13.
#[test]
fn an_oversize_request_reports_the_segment_it_needs_and_releases_it_as_a_whole() {
    let mut heap = heap();
    let request = 3 * SEGMENT + 1;
    let shortfall = heap.allocate(bytes(request)).expect_err("no segment is so large");
    assert_eq!(shortfall, Shortfall { pool: SubPool::Large, bytes: 3 * SEGMENT + GRANULE });
    let segment = heap.add_segment(shortfall.pool, shortfall.bytes).expect("a multiple of the granule");
    let id = allocate(&mut heap, request);
    assert_eq!(place(&heap, id), Place { segment, offset: 0, size: shortfall.bytes, requested: request });
    free(&mut heap, id);
    assert_eq!(heap.release_segment(segment), Ok(shortfall.bytes));
    assert_eq!(heap.stats().reserved.current, SEGMENT);
}

// Case 15.
#[test]
fn exactly_the_idle_segments_are_released_the_longest_idle_first() {
    let mut heap = empty();
    let segments: Vec<SegmentId> =
        (0..4).map(|_| heap.add_segment(SubPool::Large, SEGMENT).expect("a multiple of the granule")).collect();
    let mut ids: Vec<BlockId> = (0..4).map(|_| allocate(&mut heap, SEGMENT)).collect();
    ids.sort_by_key(|&id| place(&heap, id).segment);
    free(&mut heap, ids[2]);
    free(&mut heap, ids[0]);
    assert_eq!(heap.release_inactive(), [(segments[2], SEGMENT), (segments[0], SEGMENT)]);
    assert_eq!(heap.release_inactive(), []);
    assert_eq!(heap.stats().segments.current, 2);
    assert_eq!(place(&heap, ids[1]).segment, segments[1]);
    let gone = HeapError::UnknownSegment { segment: segments[0].number() };
    assert_eq!(heap.release_segment(segments[0]), Err(gone));
}

// Case 23.
#[test]
fn peaks_reset_to_the_current_value_separately_from_totals() {
    let mut heap = heap();
    let [first, second] = [100_096, 200_192].map(|size| allocate(&mut heap, size));
    free(&mut heap, second);
    heap.reset_peaks();
    let both = 100_096 + 200_192;
    let expected = Counter { current: 100_096, peak: 100_096, allocated: both, freed: 200_192 };
    assert_eq!(heap.stats().allocated, expected);
    heap.reset_accumulated();
    assert_eq!(heap.stats().allocated, Counter { allocated: 100_096, freed: 0, ..expected });
    heap.check().expect("every invariant holds");
    free(&mut heap, first);
    assert_eq!(heap.stats().allocated, Counter { current: 0, peak: 100_096, allocated: 100_096, freed: 100_096 });
}

// Case 24. `heap_shadow` checks the same after every step of a random program.
#[test]
fn allocated_minus_freed_equals_current_for_every_metric() {
    let mut heap = heap();
    let pinned = allocate(&mut heap, 70_001);
    heap.pin(pinned).expect("active");
    free(&mut heap, pinned);
    let id = allocate(&mut heap, 80_001);
    let holds = |heap: &Heap| {
        let counters = all_counters(&heap.stats());
        counters
            .iter()
            .all(|counter| counter.allocated - counter.freed == counter.current && counter.current <= counter.peak)
    };
    assert!(holds(&heap), "{:?}", heap.stats());
    free(&mut heap, id);
    heap.unpin(pinned).expect("pinned");
    let _ = heap.release_inactive();
    assert!(holds(&heap), "{:?}", heap.stats());
    assert!(all_counters(&heap.stats()).iter().all(|counter| counter.current == 0 && counter.freed > 0));
}

// Case 25.
#[test]
fn the_stats_are_the_sums_over_the_segments() {
    let mut heap = heap();
    heap.add_segment(SubPool::Small, SEGMENT).expect("a multiple of the granule");
    let ids: Vec<BlockId> = [100, 90_000, 5000, 100_001, 300].map(|size| allocate(&mut heap, size)).into();
    heap.pin(ids[3]).expect("active");
    free(&mut heap, ids[3]);
    free(&mut heap, ids[2]);
    let blocks = || heap.segments().flat_map(|segment| segment.blocks());
    let sum = |of: BlockState| blocks().filter(|block| block.state == of).map(|block| block.size).sum::<u64>();
    let stats = heap.stats();
    assert_eq!(stats.allocated.current, sum(BlockState::Allocated));
    assert_eq!(stats.active.current, sum(BlockState::Allocated) + sum(BlockState::PendingFree));
    assert_eq!(stats.inactive(), sum(BlockState::Inactive));
    assert_eq!(stats.inactive_split.current, sum(BlockState::Inactive));
    assert_eq!(stats.reserved.current, heap.segments().map(|segment| segment.bytes).sum::<u64>());
    assert_eq!(stats.requested.current, 100 + 90_000 + 300);
    assert_eq!((stats.blocks.current, stats.active_blocks.current), (3, 4));
    assert_eq!(stats.pinned.current, 100_096);
}

// Case 27.
#[test]
fn a_refused_request_changes_no_counter() {
    let mut heap = heap();
    let _live = allocate(&mut heap, 100_000);
    let before = heap.stats();
    for size in [1, SMALL_LIMIT, SEGMENT, 1 << 40, u64::MAX - 1, u64::MAX] {
        let shortfall = heap.allocate(bytes(size)).expect_err("no hole is so large");
        assert_eq!(shortfall.bytes % GRANULE, 0);
        assert_eq!(heap.stats(), before);
        heap.check().expect("every invariant holds");
    }
}

// Case 29.
#[test]
fn fragmentation_numbers_agree_with_a_hand_count() {
    let mut heap = heap();
    let quarters = [(); 4].map(|()| allocate(&mut heap, SEGMENT / 4));
    free(&mut heap, quarters[0]);
    free(&mut heap, quarters[2]);
    assert_eq!((heap.largest_hole(), heap.holes(), heap.stats().inactive()), (SEGMENT / 4, 2, SEGMENT / 2));
    assert_eq!((heap.largest_hole_in(SubPool::Large), heap.largest_hole_in(SubPool::Small)), (SEGMENT / 4, 0));
    free(&mut heap, quarters[3]);
    assert_eq!((heap.largest_hole(), heap.holes(), heap.stats().inactive()), (SEGMENT / 2, 2, SEGMENT / 4 * 3));
}

// Case 44, as far as it concerns the heap.
#[test]
fn a_block_freed_while_pinned_is_reused_only_after_its_last_unpin() {
    let mut heap = heap();
    let id = allocate(&mut heap, SEGMENT);
    heap.pin(id).expect("active");
    heap.pin(id).expect("active");
    free(&mut heap, id);
    let stats = heap.stats();
    assert_eq!((stats.requested.current, stats.allocated.current, stats.active.current), (0, 0, SEGMENT));
    assert!(heap.active_place(id).is_some());
    assert_eq!(heap.allocated_place(id), None);
    heap.unpin(id).expect("pinned");
    assert!(heap.allocate(bytes(SEGMENT)).is_err());
    heap.unpin(id).expect("pinned");
    assert_eq!((heap.active_place(id), heap.allocated_place(id)), (None, None));
    let again = allocate(&mut heap, SEGMENT);
    assert_ne!(again, id);
}
