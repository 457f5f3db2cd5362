//! The pool's own limit, and the steps that are tried before a request fails.

use crate::common::Outcome;
use crate::subjects::{
    SEGMENT, SMALL_LIMIT, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp,
};
use wgpu_pool::{AllocateError, BlockState, Memory, OutOfMemory, Pool, PoolOptions, Storage};

over_every_memory! {
    cached_segments_are_released_before_the_limit_refuses_a_request,
    at_the_limit_a_hole_of_the_other_sub_pool_is_used,
    a_lowered_limit_applies_to_the_next_segment,
    growth_releases_no_more_idle_segments_than_compensate_for_the_new_one,
    a_lifted_limit_lets_the_pool_grow,
    next_to_a_pinned_block_its_whole_segment_is_counted;
    without spilling:
    live_bytes_can_reach_the_limit_but_not_exceed_it,
    an_error_at_the_limit_contains_every_number,
    a_failed_allocation_changes_nothing,
    a_smaller_request_is_served_after_an_error,
    two_halves_fit_and_a_third_fits_after_one_is_dropped,
    a_limit_below_the_live_bytes_loses_no_data,
    a_request_of_the_size_that_the_error_states_as_available_succeeds,
}

fn limited(limit: u64) -> PoolOptions {
    PoolOptions { limit: Some(limit), ..options() }
}

/// Returns the numbers of an out-of-memory error.
fn refusal<M: Memory>(outcome: Result<Storage<M>, AllocateError>) -> OutOfMemory {
    match outcome {
        Err(AllocateError::OutOfMemory(numbers)) => *numbers,
        other => panic!("it ran out of memory, and the answer was {other:?}"),
    }
}

// Case 30.
fn live_bytes_can_reach_the_limit_but_not_exceed_it<S: Subject>(memory: S::Memory) -> Outcome {
    for piece in [SMALL_LIMIT, SEGMENT / 4, SEGMENT, 4 * SEGMENT] {
        let pool = Pool::new(S::memory().ok_or("it opened before")?, limited(4 * SEGMENT))?;
        let storages: Result<Vec<_>, _> = (0..4 * SEGMENT / piece).map(|_| pool.allocate(piece)).collect();
        let storages = storages?;
        assert_eq!(pool.stats().allocated.current, 4 * SEGMENT);
        refusal(pool.allocate(1));
        assert_eq!(pool.stats().reserved.peak, 4 * SEGMENT);
        drop(storages);
    }
    drop(memory);
    Ok(())
}

// Case 30.
fn an_error_at_the_limit_contains_every_number<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(2 * SEGMENT))?;
    let _first = pool.allocate(SEGMENT)?;
    let second = pool.allocate(SEGMENT / 2)?;
    let _third = pool.allocate(SEGMENT / 4)?;
    drop(second);
    let error = pool.allocate(SEGMENT).expect_err("there is no room");
    let numbers = refusal::<S::Memory>(Err(error.clone()));
    assert_eq!((numbers.requested, numbers.rounded), (SEGMENT, SEGMENT));
    assert_eq!((numbers.limit, numbers.refused), (Some(2 * SEGMENT), None));
    let stats = pool.stats();
    assert_eq!((numbers.allocated, numbers.reserved), (stats.allocated.current, stats.reserved.current));
    assert_eq!(numbers.allocated, SEGMENT / 4 * 5);
    assert_eq!(numbers.holes, stats.holes);
    let snapshot = pool.snapshot();
    let blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
    let holes = blocks.filter(|block| block.state == BlockState::Inactive).map(|block| block.size);
    assert_eq!(Some(numbers.largest_hole), holes.max());
    let text = error.to_string();
    assert!(text.starts_with("out of memory: requested 256.0 KiB, limit 512.0 KiB, allocated 320.0 KiB, "), "{text}");
    Ok(())
}

// Case 27.
fn a_failed_allocation_changes_nothing<S: Subject>(memory: S::Memory) -> Outcome {
    let largest = memory.limits().largest_segment;
    let pool = Pool::new(memory, limited(2 * SEGMENT))?;
    let live = pool.allocate(SEGMENT + 1)?;
    stamp(&live, 1)?;
    let before = pool.snapshot();
    for bytes in [SEGMENT, 2 * SEGMENT, largest, largest + 1, u64::MAX] {
        pool.allocate(bytes).expect_err("it is above the limit");
        let after = pool.snapshot();
        assert_eq!((after.stats, after.allocations), (before.stats, before.allocations), "{bytes} bytes");
        assert_eq!(after.segments, before.segments, "{bytes} bytes");
    }
    assert_stamp::<S>(&live, 1);
    Ok(())
}

// Case 31.
fn a_smaller_request_is_served_after_an_error<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(2 * SEGMENT))?;
    let _live = pool.allocate(SEGMENT)?;
    refusal(pool.allocate(SEGMENT + 1));
    let small = pool.allocate(SEGMENT)?;
    stamp(&small, 2)?;
    assert_stamp::<S>(&small, 2);
    Ok(())
}

// Case 32.
fn two_halves_fit_and_a_third_fits_after_one_is_dropped<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(2 * SEGMENT))?;
    let first = pool.allocate(SEGMENT)?;
    let _second = pool.allocate(SEGMENT)?;
    refusal(pool.allocate(SEGMENT));
    drop(first);
    pool.allocate(SEGMENT)?;
    Ok(())
}

// Case 33.
fn cached_segments_are_released_before_the_limit_refuses_a_request<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(4 * SEGMENT))?;
    let small: Result<Vec<_>, _> = (0..4 * SEGMENT / SMALL_LIMIT).map(|_| pool.allocate(SMALL_LIMIT)).collect();
    drop(small?);
    assert_eq!(pool.stats().reserved.current, 4 * SEGMENT);
    let large = pool.allocate(4 * SEGMENT)?;
    assert_eq!(pool.stats().reserved.peak, 4 * SEGMENT);
    stamp(&large, 3)?;
    assert_stamp::<S>(&large, 3);
    drop(large);
    let again: Result<Vec<_>, _> = (0..4 * SEGMENT / SMALL_LIMIT).map(|_| pool.allocate(SMALL_LIMIT)).collect();
    assert_eq!(again?.len() as u64, 4 * SEGMENT / SMALL_LIMIT);
    assert_consistent(&pool);
    Ok(())
}

/// Before a request fails, it uses space in segments of the other size class.
fn at_the_limit_a_hole_of_the_other_sub_pool_is_used<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let _large = pool.allocate(SEGMENT / 2)?;
    let small = pool.allocate(1000)?;
    assert_eq!(pool.stats().reserved.current, SEGMENT);
    stamp(&small, 4)?;
    assert_stamp::<S>(&small, 4);
    assert_consistent(&pool);
    Ok(())
}

// Case 39.
fn a_limit_below_the_live_bytes_loses_no_data<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut storages = Vec::new();
    for number in 0..8 {
        let storage = pool.allocate(SEGMENT)?;
        stamp(&storage, number)?;
        storages.push(storage);
    }
    pool.set_limit(Some(SEGMENT));
    assert_eq!(pool.limit(), Some(SEGMENT));
    while pool.snapshot().stats.inactive() >= SEGMENT {
        storages.push(pool.allocate(SEGMENT)?);
    }
    refusal(pool.allocate(SEGMENT));
    for (number, storage) in (0..8).zip(&storages) {
        assert_stamp::<S>(storage, number);
    }
    storages.clear();
    pool.trim();
    pool.allocate(SEGMENT)?;
    refusal(pool.allocate(2 * SEGMENT));
    Ok(())
}

/// The limit applies to all segments together, also when it is set below their current sum.
fn a_lowered_limit_applies_to_the_next_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let live = pool.allocate(SEGMENT)?;
    // Idle segments, each too small for the following request, and together far above the following limit.
    let idle: Result<Vec<_>, _> = (0..8).map(|_| pool.allocate(SEGMENT)).collect();
    drop(idle?);
    let before = pool.stats();
    let longest = pool.snapshot().segments.iter().map(|segment| segment.bytes).max().ok_or("there are segments")?;
    let request = longest + SEGMENT;
    let limit = 2 * longest + request;
    if before.reserved.current > limit {
        pool.set_limit(Some(limit));
        pool.allocate(request)?;
        assert!(pool.stats().reserved.current <= limit, "{} above {limit}", pool.stats().reserved.current);
    }
    drop(live);
    Ok(())
}

/// Idle segments are a cache: only as many as necessary are released.
fn growth_releases_no_more_idle_segments_than_compensate_for_the_new_one<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut storages = Vec::new();
    while pool.stats().segments.current < 8 {
        storages.push(pool.allocate(SEGMENT)?);
    }
    storages.clear();
    let (before, snapshot) = (pool.stats(), pool.snapshot());
    let longest = snapshot.segments.iter().map(|segment| segment.bytes).max().ok_or("there are segments")?;
    let _larger = pool.allocate(longest + SEGMENT)?;
    let after = pool.stats();
    let created = after.reserved.allocated - before.reserved.allocated;
    let released = after.reserved.freed - before.reserved.freed;
    assert!(released < created + longest, "{released} bytes went for {created}");
    Ok(())
}

fn a_lifted_limit_lets_the_pool_grow<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    refusal(pool.allocate(SEGMENT + 1));
    pool.set_limit(None);
    pool.allocate(SEGMENT + 1)?;
    Ok(())
}

fn a_request_of_the_size_that_the_error_states_as_available_succeeds<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(8 * SEGMENT))?;
    let mut live = vec![pool.allocate(SEGMENT)?, pool.allocate(SEGMENT / 2)?, pool.allocate(5 * SEGMENT)?];
    live.remove(1);
    let numbers = refusal(pool.allocate(8 * SEGMENT));
    assert!(numbers.largest_request > 0);
    refusal(pool.allocate(numbers.largest_request + pool.snapshot().granule));
    pool.allocate(numbers.largest_request)?;
    Ok(())
}

// Why the guarantee does not count the pinned bytes alone. Case 44.
fn next_to_a_pinned_block_its_whole_segment_is_counted<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let piece = SEGMENT / 4;
    let [before, middle, behind] =
        [pool.allocate(3 * piece / 2)?, pool.allocate(piece)?, pool.allocate(3 * piece / 2)?];
    stamp(&middle, 1)?;
    let pinned = middle.pin()?;
    drop((before, behind));
    assert_eq!((pool.stats().pinned.current, pool.stats().reserved.current), (piece, SEGMENT));
    // Three pieces are free, and the bytes of a buffer do not move past a pinned block.
    let numbers = refusal(pool.allocate(2 * piece));
    assert_eq!(numbers.largest_request, 3 * piece / 2);
    let [left, right] = [pool.allocate(3 * piece / 2)?, pool.allocate(3 * piece / 2)?];
    drop((left, right, pinned));
    let large = pool.allocate(3 * piece)?;
    assert_stamp::<S>(&middle, 1);
    drop(large);
    Ok(())
}
