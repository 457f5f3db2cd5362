//! Misuse: each kind returns its own error and changes nothing in the heap.

use super::{GRANULE, allocate, bytes, empty, free, heap, place};
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

/// A heap whose largest segment has 2⁴⁴ − 4096 bytes, so that 2²⁰ of them reach 2⁶⁴.
fn of_large_granules() -> Heap {
    Heap::new(HeapOptions { granule: 4096, small_limit: 0 }).expect("a valid granule")
}

#[test]
fn segments_of_more_bytes_than_can_be_counted_are_refused() {
    let mut heap = of_large_granules();
    let largest = heap.largest_segment();
    let fit = u64::MAX / largest;
    for _ in 0..fit {
        heap.add_segment(SubPool::Large, largest).expect("the sum can be counted");
    }
    let total = fit * largest;
    let refusal = HeapError::TotalBytes { bytes: largest, total };
    assert_eq!(heap.add_segment(SubPool::Small, largest), Err(refusal));
    assert_eq!(heap.stats().reserved.current, total);
    let rest = u64::MAX - total;
    heap.add_segment(SubPool::Small, rest - rest % 4096).expect("the sum can be counted");
    assert_eq!(heap.stats().segments.current, fit + 1);
}

#[test]
fn detached_blocks_of_more_bytes_than_can_be_counted_with_the_segments_are_refused() {
    let mut heap = of_large_granules();
    let largest = heap.largest_segment();
    heap.add_segment(SubPool::Large, largest).expect("the largest there can be");
    let fit = u64::MAX / largest - 1;
    let mut detach = || {
        let id = heap.allocate(bytes(largest)).expect("the segment is idle");
        let refused = heap.detach(id).err();
        if refused.is_some() {
            heap.free(id).expect("the refusal changed nothing");
        }
        refused
    };
    assert_eq!((0..fit).find_map(|_| detach()), None);
    assert_eq!(detach(), Some(HeapError::TotalBytes { bytes: largest, total: (fit + 1) * largest }));
    assert_eq!(heap.stats().spilled.current, fit * largest);
}

#[test]
fn totals_that_exceed_64_bits_stop_at_the_largest_number() {
    let mut heap = of_large_granules();
    let largest = heap.largest_segment();
    heap.add_segment(SubPool::Large, largest).expect("the largest there can be");
    let mut reset = of_large_granules();
    reset.add_segment(SubPool::Large, largest).expect("the largest there can be");
    for step in 0..u64::MAX / largest + 2 {
        for heap in [&mut heap, &mut reset] {
            let id = heap.allocate(bytes(largest)).expect("the segment is idle");
            heap.free(id).expect("active");
        }
        if step % 1000 == 0 {
            reset.reset_accumulated();
        }
    }
    let id = allocate(&mut heap, 4096);
    let counter = heap.stats().allocated;
    assert_eq!((counter.allocated, counter.current, counter.freed), (u64::MAX, 4096, u64::MAX - 4096));
    assert_eq!([heap.lifetime_allocated(), reset.lifetime_allocated()], [u64::MAX; 2]);
    free(&mut heap, id);
}
