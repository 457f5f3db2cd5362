//! Releasing idle segments.

use crate::common::Outcome;
use crate::subjects::{
    SEGMENT, Spot, Subject, allocate_at, assert_consistent, assert_stamp, options, over_every_memory, stamp,
};
use std::collections::BTreeSet;
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{Memory, Pool, PoolOptions, Storage, Trimmed};

over_every_memory! {
    trimming_releases_exactly_the_idle_segments,
    a_segment_with_a_live_block_is_not_trimmed,
    a_second_trim_releases_nothing,
    trimming_an_empty_pool_does_nothing,
    requests_succeed_after_a_trim,
    every_released_byte_is_reported_once;
    without spilling:
    bytes_released_at_the_limit_are_reported_by_the_next_trim,
}

/// Allocates storages of `bytes` bytes, with their locations, until the pool has the given number of segments.
fn fill<M: Memory>(
    pool: &Pool<M>,
    bytes: u64,
    segments: u64,
) -> Result<Vec<(Storage<M>, Spot)>, wgpu_pool::AllocateError> {
    let mut storages = Vec::new();
    while pool.stats().segments.current < segments {
        storages.push(allocate_at(pool, bytes)?);
    }
    Ok(storages)
}

fn segments<M: Memory>(pool: &Pool<M>) -> BTreeSet<SegmentId> {
    pool.snapshot().segments.iter().map(|segment| segment.id).collect()
}

/// Trims until nothing is pending, and sums the results.
fn trim_fully<M: Memory>(pool: &Pool<M>) -> Result<Trimmed, Box<dyn std::error::Error>> {
    let mut sum = pool.trim();
    while sum.pending > 0 {
        pool.synchronize_blocking()?;
        let next = pool.trim();
        sum = Trimmed { segments: sum.segments + next.segments, freed: sum.freed + next.freed, ..next };
    }
    Ok(sum)
}

// Case 15.
fn trimming_releases_exactly_the_idle_segments<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut storages = fill(&pool, SEGMENT / 4, 4)?;
    for (number, (storage, _)) in (0..).zip(&storages) {
        stamp(storage, number)?;
    }
    let all: Vec<SegmentId> = segments(&pool).into_iter().collect();
    let kept: BTreeSet<SegmentId> = all.iter().copied().step_by(2).collect();
    let numbers: Vec<u64> =
        (0..).zip(&storages).filter(|(_, (_, spot))| kept.contains(&spot.segment)).map(|(n, _)| n).collect();
    storages.retain(|(_, spot)| kept.contains(&spot.segment));
    assert_eq!(pool.trim().segments, all.len() - kept.len());
    assert_eq!(segments(&pool), kept);
    for (number, (storage, _)) in numbers.into_iter().zip(&storages) {
        assert_stamp::<S>(storage, number);
    }
    assert_consistent(&pool);
    Ok(())
}

// Case 16, as far as the pool reports it.
fn a_segment_with_a_live_block_is_not_trimmed<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let large = pool.allocate(SEGMENT / 2)?;
    let live = pool.allocate(SEGMENT / 4)?;
    stamp(&live, 7)?;
    drop(large);
    let reserved = pool.stats().reserved.current;
    assert_eq!(pool.trim(), Trimmed::default());
    assert_eq!(pool.stats().reserved.current, reserved);
    assert_stamp::<S>(&live, 7);
    Ok(())
}

// Case 17.
fn a_second_trim_releases_nothing<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    drop(pool.allocate(SEGMENT)?);
    assert_eq!(trim_fully(&pool)?.segments, 1);
    assert_eq!(pool.trim(), Trimmed::default());
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

fn trimming_an_empty_pool_does_nothing<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    assert_eq!(pool.trim(), Trimmed::default());
    assert_eq!(pool.stats(), wgpu_pool::Stats::default());
    Ok(())
}

fn requests_succeed_after_a_trim<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for number in 0..10 {
        let storage = pool.allocate(SEGMENT)?;
        stamp(&storage, number)?;
        assert_stamp::<S>(&storage, number);
        drop(storage);
        assert_eq!(pool.trim().segments, 1);
    }
    let stats = pool.stats();
    assert_eq!((stats.segments.allocated, stats.segments.freed), (10, 10));
    Ok(())
}

// Case 18: the accounting memory has no driver to return segments to.
fn every_released_byte_is_reported_once<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut freed = 0;
    for round in 0..5 {
        let storages = fill(&pool, SEGMENT / 2, round + 1)?;
        for (storage, _) in &storages {
            stamp(storage, round)?;
        }
        drop(storages);
        freed += trim_fully(&pool)?.freed;
    }
    let given_back = pool.stats().reserved.freed;
    assert_eq!(freed, if S::HOLDS_BYTES { given_back } else { 0 });
    Ok(())
}

fn bytes_released_at_the_limit_are_reported_by_the_next_trim<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(2 * SEGMENT), ..options() })?;
    let live = pool.allocate(SEGMENT)?;
    for round in 0..3 {
        let idle = pool.allocate(SEGMENT)?;
        stamp(&idle, round)?;
        drop(idle);
        pool.allocate(2 * SEGMENT).expect_err("the live block leaves half of it");
    }
    drop(live);
    let freed = trim_fully(&pool)?.freed;
    let given_back = pool.stats().reserved.freed;
    assert!(given_back >= 4 * SEGMENT, "{given_back}");
    assert_eq!(freed, if S::HOLDS_BYTES { given_back } else { 0 });
    Ok(())
}

// Case 16, for pinned blocks.
#[test]
fn a_trim_reports_pinned_bytes_and_their_segments() -> Outcome {
    let (device, queue) = crate::common::adapter::noop();
    let pool = Pool::from_device(device, queue, options())?;
    let first = pool.allocate(SEGMENT)?;
    let second = pool.allocate(SEGMENT)?;
    let pins = [first.pin()?, second.pin()?];
    drop(first);
    pool.compact()?;
    let trimmed = pool.trim();
    assert_eq!((trimmed.segments, trimmed.pinned, trimmed.pinned_segments), (0, 2 * SEGMENT, 2));
    drop(pins);
    let trimmed = pool.trim();
    assert_eq!((trimmed.segments, trimmed.pinned, trimmed.pinned_segments), (1, 0, 0));
    Ok(())
}
