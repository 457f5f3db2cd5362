//! The steps of an allocation that does not fit, one by one: each step is counted when it is taken, and only that one.

use crate::common::{Outcome, watchdog};
use crate::subjects::{
    Adapter, Noop, SEGMENT, SMALL_LIMIT, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp,
};
use wgpu_pool::{AccountingMemory, AllocateError, Gpu, HostMemory, HostOptions, Pool, PoolOptions, Remedies, Storage};

over_every_memory! {
    a_hole_is_reused_without_any_other_measure,
    an_idle_segment_of_the_other_sub_pool_is_adopted_before_one_is_created,
    blocks_are_moved_to_form_a_hole_before_a_segment_is_created,
    at_the_limit_blocks_are_moved_before_the_pool_waits,
    idle_segments_that_are_too_small_are_released_longest_idle_first_before_the_pool_grows,
    at_the_limit_a_small_request_uses_a_hole_of_the_large_sub_pool;
    without spilling:
    a_failed_request_is_counted_once,
}

/// `Remedies` with some fields set.
fn remedies(set: impl FnOnce(&mut Remedies)) -> Remedies {
    let mut remedies = Remedies::default();
    set(&mut remedies);
    remedies
}

fn a_hole_is_reused_without_any_other_measure<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for _ in 0..10 {
        drop(pool.allocate(SEGMENT)?);
    }
    assert_eq!(pool.remedies(), remedies(|now| now.segments_created = 1));
    Ok(())
}

fn an_idle_segment_of_the_other_sub_pool_is_adopted_before_one_is_created<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    drop(pool.allocate(SMALL_LIMIT)?);
    drop(pool.allocate(SEGMENT)?);
    let expected = remedies(|now| (now.segments_created, now.adopted) = (1, 1));
    assert_eq!(pool.remedies(), expected);
    Ok(())
}

fn blocks_are_moved_to_form_a_hole_before_a_segment_is_created<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 1.0, ..options() })?;
    let quarter = SEGMENT / 4;
    let mut storages = Vec::new();
    for number in 0..8 {
        let storage = pool.allocate(quarter)?;
        stamp(&storage, number)?;
        storages.push((number, storage));
    }
    storages.retain(|(number, _)| number % 2 == 0);
    let half = pool.allocate(2 * quarter)?;
    let expected = remedies(|now| (now.segments_created, now.compactions, now.bytes_moved) = (2, 1, quarter));
    assert_eq!(pool.remedies(), expected);
    for (number, storage) in &storages {
        assert_stamp::<S>(storage, *number);
    }
    drop(half);
    Ok(())
}

// A step waits for the device only if the alternative is an error.
fn at_the_limit_blocks_are_moved_before_the_pool_waits<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 1.0, limit: Some(2 * SEGMENT), ..options() })?;
    let mut live = (0..8).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<Vec<_>, _>>()?;
    for index in [6, 4, 2, 0] {
        live.swap_remove(index);
    }
    let half = pool.allocate(SEGMENT / 2)?;
    let expected = remedies(|now| (now.segments_created, now.compactions, now.bytes_moved) = (2, 1, SEGMENT / 4));
    assert_eq!(pool.remedies(), expected);
    drop((live, half));
    Ok(())
}

// Case 22: far below the limit, without waiting for the device.
fn idle_segments_that_are_too_small_are_released_longest_idle_first_before_the_pool_grows<S: Subject>(
    memory: S::Memory,
) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(100 * SEGMENT), ..options() })?;
    let mut storages = (0..5).map(|_| pool.allocate(SEGMENT)).collect::<Result<Vec<_>, _>>()?;
    let segments: Vec<_> = pool.snapshot().segments.iter().map(|segment| segment.id).collect();
    let mut live: Vec<_> = storages.drain(..).map(Some).collect();
    for index in [3, 1, 4, 0] {
        live[index] = None;
    }
    let large = pool.allocate(2 * SEGMENT)?;
    let left: Vec<_> = pool.snapshot().segments.iter().map(|segment| segment.id).collect();
    assert_eq!(left[..3], [segments[0], segments[2], segments[4]], "the two that fell idle first made up for it");
    let expected = remedies(|now| {
        (now.segments_created, now.segments_released, now.bytes_released) = (6, 2, 2 * SEGMENT);
    });
    assert_eq!(pool.remedies(), expected);
    assert_eq!(pool.stats().reserved.current, 5 * SEGMENT);
    drop(large);
    Ok(())
}

fn at_the_limit_a_small_request_uses_a_hole_of_the_large_sub_pool<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(SEGMENT), ..options() })?;
    let large = pool.allocate(SEGMENT / 2)?;
    let small = pool.allocate(SMALL_LIMIT)?;
    let found = pool.remedies();
    assert_eq!((found.cross_pool, found.limit_hits > 0, found.out_of_memory), (1, true, 0), "{found:?}");
    drop((large, small));
    Ok(())
}

fn a_failed_request_is_counted_once<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(SEGMENT), ..options() })?;
    let live = pool.allocate(SEGMENT)?;
    for times in 1..=3 {
        pool.allocate(SEGMENT).expect_err("the limit is used up");
        let found = pool.remedies();
        assert_eq!((found.out_of_memory, found.callbacks, found.waits), (times, 0, 0), "{found:?}");
        assert!(found.limit_hits >= times, "{found:?}");
    }
    drop(live);
    Ok(())
}

#[test]
fn a_refusal_is_counted_and_followed_by_a_smaller_segment() -> Outcome {
    let pool = Pool::new(HostMemory::default(), PoolOptions { smallest_segment: None, ..options() })?;
    pool.memory().fail_at(0);
    let live = pool.allocate(SEGMENT)?;
    assert_eq!(pool.remedies(), remedies(|now| (now.segments_created, now.refusals) = (1, 1)));
    assert_eq!(pool.stats().reserved.current, SEGMENT, "the least that serves");
    drop(live);
    Ok(())
}

#[test]
fn a_permanent_refusal_waits_once_before_it_is_an_error() -> Outcome {
    let pool = Pool::new(HostMemory::new(HostOptions { budget: SEGMENT, ..HostOptions::default() }), options())?;
    let live = pool.allocate(SEGMENT)?;
    pool.allocate(SEGMENT).expect_err("the budget is used up");
    let found = pool.remedies();
    assert_eq!((found.waits, found.out_of_memory, found.segments_created), (1, 1, 1), "{found:?}");
    assert!(found.refusals >= 2, "{found:?}");
    drop(live);
    Ok(())
}

/// Fills a pool to its limit with blocks that are all pinned.
fn check_that_a_fully_pinned_pool_stays_usable<S: Subject<Memory = Gpu>>() -> Outcome {
    let Some(memory) = S::memory() else { return Ok(()) };
    watchdog::guarded("a pool that is pinned whole", move || {
        let options = PoolOptions { limit: Some(2 * SEGMENT), compaction_share: 10.0, ..options() };
        let pool = Pool::new(memory, options).expect("the options suit");
        let eighth = SEGMENT / 8;
        let mut live = Vec::new();
        for number in 0..16 {
            let storage = pool.allocate(eighth).expect("there is room");
            stamp(&storage, number).expect("it can be written");
            live.push((number, storage));
        }
        let pinning = line!() + 1;
        let mut pins: Vec<_> = live.iter().map(|(_, storage)| storage.pin().expect("the device works")).collect();
        // Freed but still pinned: neither reused nor moved.
        live.retain(|(number, _)| number % 2 == 0);
        let refused = pool.allocate(eighth).expect_err("every byte is active");
        assert!(matches!(refused, AllocateError::OutOfMemory(_)), "{refused}");
        assert_eq!(pool.compact().expect("the device works").moves, 0);
        let trimmed = pool.trim();
        assert_eq!((trimmed.segments, trimmed.pinned, trimmed.pinned_segments), (0, 2 * SEGMENT, 2));
        let listed = pool.pins();
        assert_eq!(listed.len(), 16);
        assert_eq!(listed.iter().map(|pin| pin.bytes).sum::<u64>(), 2 * SEGMENT);
        assert!(listed.iter().all(|pin| (pin.site.file(), pin.site.line()) == (file!(), pinning)), "{listed:?}");
        assert!(listed[0].to_string().starts_with("32.0 KiB of segment 0 by "), "{}", listed[0]);
        assert_consistent(&pool);
        // The pins of the freed blocks are dropped: holes appear, but the blocks between them still can't move.
        let mut number = 0;
        pins.retain(|_| {
            number += 1;
            number % 2 == 1
        });
        drop(pool.allocate(eighth).expect("there are holes"));
        let refused = pool.allocate(2 * eighth).expect_err("no two holes are neighbours");
        assert!(matches!(refused, AllocateError::OutOfMemory(_)), "{refused}");
        assert_eq!(pool.remedies().bytes_moved, 0);
        pins.clear();
        assert_eq!(pool.pins(), []);
        let half = pool.allocate(SEGMENT).expect("now they move");
        assert!(pool.remedies().bytes_moved > 0);
        for (number, storage) in &live {
            assert_stamp::<S>(storage, *number);
        }
        assert_consistent(&pool);
        drop(half);
    });
    Ok(())
}

// Case 44.
#[test]
fn on_the_noop_device_a_fully_pinned_pool_neither_deadlocks_nor_loses_data() -> Outcome {
    check_that_a_fully_pinned_pool_stays_usable::<Noop>()
}

// Case 44.
#[test]
fn on_the_adapter_a_fully_pinned_pool_neither_deadlocks_nor_loses_data() -> Outcome {
    check_that_a_fully_pinned_pool_stays_usable::<Adapter>()
}

/// Frees the neighbors of one block of 1 MiB, trims, and returns the remaining bytes.
fn reserved_mib_around_one_mebibyte(around: &[u64]) -> Result<u64, Box<dyn std::error::Error>> {
    const MIB: u64 = 1 << 20;
    let pool = Pool::new(AccountingMemory::new(), crate::common::options())?;
    let (before, behind) = around.split_at(around.len() / 2);
    let allocate = |sizes: &[u64]| -> Result<Vec<Storage<_>>, AllocateError> {
        sizes.iter().map(|&mebibytes| pool.allocate(mebibytes * MIB)).collect()
    };
    let before = allocate(before)?;
    let kept = pool.allocate(MIB)?;
    let behind = allocate(behind)?;
    assert!(pool.stats().reserved.current > 1536 * MIB);
    drop((before, behind));
    pool.trim();
    let left = pool.stats().reserved.current;
    drop(kept);
    Ok(left / MIB)
}

#[test]
fn after_freeing_1_5_gib_around_a_1_mib_block_at_most_a_small_segment_remains() -> Outcome {
    for around in [vec![1536], vec![64; 24], vec![3; 512], vec![1; 1536], vec![512, 2, 511, 511]] {
        let left = reserved_mib_around_one_mebibyte(&around)?;
        assert!(left <= 8, "{left} MiB remain around 1 MiB, of {} blocks", around.len());
    }
    Ok(())
}
