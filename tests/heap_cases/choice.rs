//! The choice of the hole for a request.

use super::{GRANULE, SEGMENT, allocate, free, heap, place};
use wgpu_pool::heap::{Heap, HeapOptions, SubPool};

/// Creates a heap with one free segment for each size in granules.
fn holes(granules: impl IntoIterator<Item = u64>) -> Heap {
    let mut heap = Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("a valid granule");
    for size in granules {
        heap.add_segment(SubPool::Large, size * GRANULE).expect("a multiple of the granule");
    }
    heap
}

// Case 14. Only the small limit prevents splitting: a maximum size for splitting is PyTorch's measure against holes,
// which it cannot compact.
#[test]
fn a_large_request_takes_the_tightest_hole_of_any_size() {
    let mut heap = heap();
    for size in [4 * SEGMENT, 2 * SEGMENT, 8 * SEGMENT] {
        heap.add_segment(SubPool::Large, size).expect("a multiple of the granule");
    }
    let sizes = [SEGMENT, SEGMENT + 1, 3 * SEGMENT, 5 * SEGMENT].map(|size| {
        let id = allocate(&mut heap, size);
        heap.segments().find(|segment| segment.id == place(&heap, id).segment).map(|found| found.bytes)
    });
    assert_eq!(sizes, [SEGMENT, 2 * SEGMENT, 4 * SEGMENT, 8 * SEGMENT].map(Some));
}

// Sizes from 1000 to 1007 granules are in one size class.
#[test]
fn the_tightest_hole_of_a_class_is_taken_at_any_position_of_the_list() {
    for sizes in [[1007, 1001, 1004], [1001, 1004, 1007], [1004, 1007, 1001]] {
        let mut heap = holes(sizes);
        let id = allocate(&mut heap, 1000 * GRANULE);
        let segment = place(&heap, id).segment.number();
        assert_eq!(usize::try_from(segment).ok().map(|index| sizes[index]), Some(1001), "{sizes:?}");
    }
}

#[test]
fn a_hole_is_found_among_any_number_of_smaller_holes_of_its_class() {
    // Idle segments.
    let mut heap = holes([1001].into_iter().chain([1000; 100]));
    let id = allocate(&mut heap, 1001 * GRANULE);
    assert_eq!(place(&heap, id).segment.number(), 0);

    // Holes between live blocks.
    let mut heap = holes([1002 + 100 * 1001]);
    let mut freed = Vec::new();
    for size in [1001].into_iter().chain([1000; 100]) {
        freed.push(allocate(&mut heap, size * GRANULE));
        let _stays = allocate(&mut heap, GRANULE);
    }
    freed.into_iter().for_each(|id| free(&mut heap, id));
    let id = allocate(&mut heap, 1001 * GRANULE);
    assert_eq!(place(&heap, id).offset, 0);
}

#[test]
fn a_request_beyond_its_class_takes_the_tightest_of_the_next() {
    let mut heap = holes([2000, 1500, 1100, 1103, 999]);
    let id = allocate(&mut heap, 1010 * GRANULE);
    assert_eq!(place(&heap, id).segment.number(), 2);
}

#[test]
fn an_idle_segment_is_cut_only_when_no_other_hole_fits() {
    let mut heap = holes([4000, 1000]);
    let _held = allocate(&mut heap, 2000 * GRANULE);
    // The idle segment would fit better.
    let neighbor = allocate(&mut heap, 900 * GRANULE);
    assert_eq!(place(&heap, neighbor).segment.number(), 0);
    assert_eq!(heap.inactive_segments().count(), 1);
    let rest = allocate(&mut heap, 1000 * GRANULE);
    assert_eq!(place(&heap, rest).segment.number(), 0);
    let last = allocate(&mut heap, 500 * GRANULE);
    assert_eq!(place(&heap, last).segment.number(), 1);
}
