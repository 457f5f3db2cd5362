//! Misuse: each kind returns its own error and changes nothing in the heap.

use super::{GRANULE, allocate, empty, free, heap, place};
use wgpu_pool::error::HeapError;
use wgpu_pool::heap::compaction::PackingBounds;
use wgpu_pool::heap::{Heap, HeapOptions, SubPool};

#[test]
fn a_stale_id_is_refused_regardless_of_the_current_block() {
    let mut heap = heap();
    let id = allocate(&mut heap, 100_000);
    free(&mut heap, id);
    let heir = allocate(&mut heap, 100_000);
    assert_eq!(heir.key(), id.key());
    let refusal = HeapError::StaleBlock { key: u32::try_from(id.key()).expect("a u32"), generation: id.generation() };
    let answers = [heap.free(id), heap.pin(id), heap.unpin(id)];
    assert_eq!(answers, [Err(refusal); 3]);
    assert_eq!(heap.allocated_place(id), None);
    assert!(heap.allocated_place(heir).is_some());
}

#[test]
fn segments_of_a_wrong_size_are_refused() {
    let mut heap = empty();
    for size in [0, 1, GRANULE - 1, GRANULE + 1] {
        let refusal = HeapError::SegmentSize { bytes: size, granule: GRANULE };
        assert_eq!(heap.add_segment(SubPool::Large, size), Err(refusal));
    }
    let limit = heap.largest_segment();
    let refusal = HeapError::SegmentTooLarge { bytes: limit + GRANULE, limit };
    assert_eq!(heap.add_segment(SubPool::Large, limit + GRANULE), Err(refusal));
    heap.add_segment(SubPool::Large, limit).expect("the largest there can be");
    let id = allocate(&mut heap, limit);
    assert_eq!(place(&heap, id).size, limit);
}

#[test]
fn granules_that_are_no_power_of_two_or_out_of_range_are_refused() {
    for granule in [0, 1, 8, 48, 8192, u64::MAX] {
        let refusal = HeapError::Granule { granule, least: 16, most: 4096 };
        assert_eq!(Heap::new(HeapOptions { granule, small_limit: 0 }).err(), Some(refusal));
    }
}

#[test]
fn packing_changes_nothing_if_no_segment_is_sparse_enough() {
    let mut heap = heap();
    allocate(&mut heap, 100_000);
    let bounds =
        |dense| PackingBounds { least: 256, usual: 1 << 30, most: 1 << 30, budget: 1 << 30, dense, goal: u64::MAX };
    assert_eq!(heap.packing_bytes(SubPool::Large, &bounds(0)), None);
    assert_eq!(heap.packing_bytes(SubPool::Large, &bounds(1)), None, "no segment has more holes than its size");
    assert!(heap.packing_bytes(SubPool::Large, &bounds(u32::MAX)).is_some());
}
