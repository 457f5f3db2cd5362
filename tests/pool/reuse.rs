//! Allocation, free and reuse.

use crate::common::Outcome;
use crate::subjects::{
    SEGMENT, SMALL_LIMIT, Spot, Subject, allocate_at, assert_consistent, assert_stamp, options, over_every_memory,
    spots, stamp,
};
use wgpu_pool::{Memory, Pool};

over_every_memory! {
    a_freed_block_is_reused_at_its_location,
    a_freed_block_stays_reserved,
    an_empty_pool_has_one_hole_in_each_segment,
    one_byte_takes_one_granule,
    a_storage_of_zero_bytes_has_no_block,
    every_block_starts_at_the_devices_alignment,
    live_blocks_share_no_byte,
    adjacent_blocks_freed_in_any_order_become_one_hole,
    the_remainder_of_a_split_block_serves_the_next_request,
    a_block_never_spans_two_segments,
    a_small_live_block_does_not_keep_a_large_segment,
    a_request_above_the_smallest_segment_gets_a_segment_that_is_released_as_a_whole,
    a_loop_of_one_size_creates_one_segment,
    the_last_of_several_handles_frees_the_block,
    the_pool_lives_as_long_as_a_storage,
}

// Case 1.
fn a_freed_block_is_reused_at_its_location<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for bytes in [1, 5000, SMALL_LIMIT, SMALL_LIMIT + 1, SEGMENT, 3 * SEGMENT] {
        let (storage, first) = allocate_at(&pool, bytes)?;
        drop(storage);
        let segments = pool.stats().segments.allocated;
        let (_storage, second) = allocate_at(&pool, bytes)?;
        assert_eq!(first, second, "{bytes} bytes");
        assert_eq!(pool.stats().segments.allocated, segments, "{bytes} bytes");
    }
    Ok(())
}

// Case 2.
fn a_freed_block_stays_reserved<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100_001)?;
    let before = pool.stats();
    let size = before.allocated.current;
    assert!((100_001..100_001 + 4096).contains(&size), "{size}");
    drop(storage);
    let after = pool.stats();
    assert_eq!(after.allocated.current, 0);
    assert_eq!(after.requested.current, 0);
    assert_eq!(after.reserved, before.reserved);
    assert_eq!(after.inactive(), after.reserved.current);
    Ok(())
}

// Case 3.
fn an_empty_pool_has_one_hole_in_each_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let sizes = [1, 700, 40_000, 3, 100_000, 16_000, SEGMENT, 9, 250_000];
    let mut storages = sizes.map(|bytes| pool.allocate(bytes).map(Some));
    for index in [3, 0, 8, 5, 1, 7, 2, 6, 4] {
        storages[index] = Ok(None);
        assert_consistent(&pool);
    }
    let stats = pool.stats();
    assert_eq!((stats.requested.current, stats.allocated.current, stats.blocks.current), (0, 0, 0));
    assert_eq!(stats.holes, stats.segments.current);
    Ok(())
}

// Case 4.
fn one_byte_takes_one_granule<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(1)?;
    let (stats, granule) = (pool.stats(), pool.snapshot().granule);
    assert_eq!((stats.requested.current, stats.allocated.current), (1, granule));
    assert_eq!(storage.bytes(), 1);
    Ok(())
}

// Case 5.
fn a_storage_of_zero_bytes_has_no_block<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (first, second) = (pool.allocate(0)?, pool.allocate(0)?);
    assert!(!first.is_same(&second));
    assert_eq!((first.bytes(), pool.stats()), (0, wgpu_pool::Stats::default()));
    first.write(0, &[])?;
    first.clear()?;
    first.copy_to(&second)?;
    drop((first, second));
    let _one = pool.allocate(1)?;
    assert_eq!(pool.stats().blocks.current, 1);
    assert_consistent(&pool);
    Ok(())
}

// Case 8.
fn every_block_starts_at_the_devices_alignment<S: Subject>(memory: S::Memory) -> Outcome {
    let alignment = memory.limits().alignment;
    let pool = Pool::new(memory, options())?;
    let storages: Result<Vec<_>, _> = (1..200).map(|bytes| pool.allocate(bytes * 37)).collect();
    for spot in spots(&pool) {
        assert!(spot.offset.is_multiple_of(alignment) && spot.size.is_multiple_of(alignment), "{spot:?}");
    }
    assert_eq!(spots(&pool).len(), storages?.len());
    Ok(())
}

// Case 6.
fn live_blocks_share_no_byte<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut storages = Vec::new();
    for number in 0..40 {
        let storage = pool.allocate(1 + number * number * 50)?;
        stamp(&storage, number)?;
        storages.push(storage);
        let spots = spots(&pool);
        let apart =
            |pair: &[Spot]| pair[0].segment != pair[1].segment || pair[0].offset + pair[0].size <= pair[1].offset;
        assert!(spots.windows(2).all(apart), "{spots:?}");
    }
    for (number, storage) in (0..).zip(&storages) {
        assert_stamp::<S>(storage, number);
    }
    Ok(())
}

// Case 10.
fn adjacent_blocks_freed_in_any_order_become_one_hole<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let bytes = 20 << 10;
        let mut middle = Vec::new();
        let mut first = None;
        for _ in 0..3 {
            let (storage, spot) = allocate_at(&pool, bytes)?;
            first = first.or(Some(spot));
            middle.push(Some(storage));
        }
        let _last = pool.allocate(bytes)?;
        for index in order {
            middle[index] = None;
            assert_consistent(&pool);
        }
        let (_sum, spot) = allocate_at(&pool, 3 * bytes)?;
        assert_eq!(Some((spot.segment, spot.offset)), first.map(|spot| (spot.segment, spot.offset)), "{order:?}");
    }
    assert_eq!(pool.stats().segments.allocated, 1);
    Ok(())
}

// Case 9.
fn the_remainder_of_a_split_block_serves_the_next_request<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    drop(pool.allocate(SEGMENT)?);
    let _quarter = pool.allocate(SEGMENT / 4)?;
    let _rest = pool.allocate(SEGMENT / 4 * 3)?;
    assert_eq!(pool.stats().segments.allocated, 1);
    Ok(())
}

// Case 11.
fn a_block_never_spans_two_segments<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut storages = Vec::new();
    while pool.stats().segments.current < 2 {
        storages.push(pool.allocate(SEGMENT)?);
    }
    storages.clear();
    let sum = pool.stats().reserved.current;
    let (_large, spot) = allocate_at(&pool, sum)?;
    assert_eq!(spot.size, sum);
    let snapshot = pool.snapshot();
    let segment = snapshot.segments.iter().find(|segment| segment.id == spot.segment);
    assert!(segment.is_some_and(|segment| segment.bytes >= sum));
    assert_consistent(&pool);
    Ok(())
}

// Case 12.
fn a_small_live_block_does_not_keep_a_large_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let large = pool.allocate(4 * SEGMENT)?;
    let (_small, spot) = allocate_at(&pool, 4 << 10)?;
    drop(large);
    // Independent of whether large blocks come and go, and of whether the small block came first.
    drop(pool.allocate(8 * SEGMENT)?);
    pool.trim();
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.segments.len(), 1);
    assert_eq!(snapshot.segments[0].id, spot.segment);
    assert!(snapshot.segments[0].bytes < 4 * SEGMENT, "{}", snapshot.segments[0].bytes);
    Ok(())
}

// Case 13.
fn a_request_above_the_smallest_segment_gets_a_segment_that_is_released_as_a_whole<S: Subject>(
    memory: S::Memory,
) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let _live = pool.allocate(1000)?;
    let before = pool.stats().reserved.current;
    let (large, spot) = allocate_at(&pool, 5 * SEGMENT + 1)?;
    assert!(spot.size > 5 * SEGMENT);
    drop(large);
    pool.trim();
    assert_eq!(pool.stats().reserved.current, before);
    Ok(())
}

// Case 20.
fn a_loop_of_one_size_creates_one_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for bytes in [100, SEGMENT] {
        drop(pool.allocate(bytes)?);
        let segments = pool.stats().segments;
        for _ in 0..100 {
            drop(pool.allocate(bytes)?);
        }
        assert_eq!(pool.stats().segments, segments, "{bytes} bytes");
    }
    Ok(())
}

fn the_last_of_several_handles_frees_the_block<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(1000)?;
    stamp(&storage, 1)?;
    let clone = storage.clone();
    assert!(storage.is_same(&clone));
    assert_eq!((storage.handles(), pool.stats().blocks.current), (2, 1));
    drop(storage);
    assert_eq!((clone.handles(), pool.stats().blocks.current), (1, 1));
    assert_stamp::<S>(&clone, 1);
    drop(clone);
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}

fn the_pool_lives_as_long_as_a_storage<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(1000)?;
    drop(pool);
    stamp(&storage, 1)?;
    assert_stamp::<S>(&storage, 1);
    let pool = storage.pool();
    assert!(storage.pool().is_same(&pool));
    drop(storage);
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}
