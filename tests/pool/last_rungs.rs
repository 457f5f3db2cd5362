//! Worst-case arrangements, and a device that refuses at the worst moment.

use crate::common::random::Random;
use crate::common::watchdog;
use crate::common::{self, Outcome};
use crate::hostile::Hostile;
use crate::subjects::{
    Host, SEGMENT, SMALL_LIMIT, Subject, assert_consistent, assert_stamp, options, over_every_memory, pattern, read,
    stamp,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use wgpu_pool::{
    AccountingMemory, Advice, AllocateError, DeviceError, HostMemory, HostOptions, Memory, Pool, PoolOptions, Storage,
};

over_every_memory! {
    one_small_block_in_each_segment_does_not_block_a_large_request,
    small_blocks_are_moved_for_a_large_request_and_large_blocks_for_small_requests;
    without spilling:
    blocks_too_large_for_any_hole_are_moved_through_host_memory,
    a_limit_below_the_reserved_bytes_is_met_by_shrinking_segments,
    a_limit_below_the_smallest_segment_is_usable_to_the_last_granule,
    one_live_byte_costs_one_granule_of_the_limit,
}

fn limited(limit: u64) -> PoolOptions {
    PoolOptions { limit: Some(limit), ..options() }
}

/// Storages, each with the number of its stamp.
pub(crate) type Numbered<M> = Vec<(u64, Storage<M>)>;

fn stamped<M: Memory>(pool: &Pool<M>, sizes: impl IntoIterator<Item = u64>) -> Result<Numbered<M>, AllocateError> {
    let mut storages = Vec::new();
    for (number, bytes) in (0..).zip(sizes) {
        let storage = pool.allocate(bytes)?;
        stamp(&storage, number)?;
        storages.push((number, storage));
    }
    Ok(storages)
}

fn assert_stamps<S: Subject>(storages: &Numbered<S::Memory>) {
    for (number, storage) in storages {
        assert_stamp::<S>(storage, *number);
    }
}

// Case 53.
fn one_small_block_in_each_segment_does_not_block_a_large_request<S: Subject>(memory: S::Memory) -> Outcome {
    let limit = 8 * SEGMENT;
    let pool = Pool::new(memory, limited(limit))?;
    let mut live = stamped(&pool, (0..64).map(|_| SEGMENT / 8))?;
    assert_eq!(pool.stats().reserved.current, limit);
    live.retain(|(number, _)| number % 8 == 0);
    let rest = pool.allocate(limit - SEGMENT)?;
    assert_eq!(pool.stats().reserved.peak, limit);
    assert_consistent(&pool);
    assert_stamps::<S>(&live);
    drop(rest);
    Ok(())
}

// Case 53: no block can move on the device, because no segment has room for a block of the other.
fn blocks_too_large_for_any_hole_are_moved_through_host_memory<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(2 * SEGMENT))?;
    let part = SEGMENT / 8;
    let mut live = stamped(&pool, [5 * part, 3 * part, 5 * part, 3 * part])?;
    assert_eq!(pool.stats().segments.current, 2);
    live.retain(|(number, _)| number % 2 == 0);
    let large = pool.allocate(6 * part)?;
    stamp(&large, 99)?;
    assert!(pool.remedies().host_copies > 0, "{:?}", pool.remedies());
    assert_eq!(pool.stats().reserved.peak, 2 * SEGMENT);
    assert_consistent(&pool);
    assert_stamps::<S>(&live);
    assert_stamp::<S>(&large, 99);
    pool.allocate(1).expect_err("the limit is used up");
    Ok(())
}

// Case 53.
fn small_blocks_are_moved_for_a_large_request_and_large_blocks_for_small_requests<S: Subject>(
    memory: S::Memory,
) -> Outcome {
    let limit = 4 * SEGMENT;
    let pool = Pool::new(memory, limited(limit))?;
    let mut small = stamped(&pool, (0..limit / SMALL_LIMIT).map(|_| SMALL_LIMIT))?;
    small.retain(|(number, _)| number % 4 == 0);
    let large = pool.allocate(limit / 2)?;
    assert_stamps::<S>(&small);
    drop((small, large));

    let mut large = stamped(&pool, (0..8).map(|_| SEGMENT / 2))?;
    large.retain(|(number, _)| number % 2 == 0);
    let small = stamped(&pool, (0..limit / 2 / SMALL_LIMIT).map(|_| SMALL_LIMIT))?;
    assert_stamps::<S>(&large);
    assert_stamps::<S>(&small);
    assert_eq!(pool.stats().allocated.current, limit);
    assert_eq!(pool.stats().reserved.peak, limit);
    assert_consistent(&pool);
    Ok(())
}

// Case 39 and 53.
fn a_limit_below_the_reserved_bytes_is_met_by_shrinking_segments<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut live = stamped(&pool, (0..64).map(|_| SEGMENT / 8))?;
    live.retain(|(number, _)| number % 3 == 0);
    let allocated = pool.stats().allocated.current;
    pool.set_limit(Some(allocated + 5 * SEGMENT + 1));
    let more = pool.allocate(5 * SEGMENT)?;
    assert_eq!(pool.stats().reserved.current, allocated + 5 * SEGMENT);
    assert_stamps::<S>(&live);
    pool.allocate(1).expect_err("the limit is used up");
    assert_consistent(&pool);
    drop(more);
    Ok(())
}

fn a_limit_below_the_smallest_segment_is_usable_to_the_last_granule<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT / 8 + 1))?;
    let granule = pool.snapshot().granule;
    let mut live = stamped(&pool, (0..SEGMENT / 8 / granule).map(|_| granule))?;
    pool.allocate(1).expect_err("the limit is used up");
    live.retain(|(number, _)| number % 2 == 1);
    let half = pool.allocate(SEGMENT / 16)?;
    stamp(&half, 99)?;
    assert_stamps::<S>(&live);
    assert_stamp::<S>(&half, 99);
    assert_eq!(pool.stats().reserved.peak, SEGMENT / 8);
    Ok(())
}

fn one_live_byte_costs_one_granule_of_the_limit<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(16 * SEGMENT))?;
    if !common::adapter::holds(&pool, 16 * SEGMENT) {
        return Ok(());
    }
    let granule = pool.snapshot().granule;
    let byte = stamped(&pool, [1])?;
    assert_eq!(pool.largest_request(), Some(16 * SEGMENT - granule));
    let rest = pool.allocate(16 * SEGMENT - granule)?;
    assert_eq!(pool.stats().reserved.peak, 16 * SEGMENT);
    assert_stamps::<S>(&byte);
    drop(rest);
    Ok(())
}

// Case 53: like 128 MiB with one eighth live, in blocks that fit in no other segment.
#[test]
fn a_request_that_manual_compaction_and_trimming_would_serve_succeeds_directly() -> Outcome {
    const MIB: u64 = 1 << 20;
    for (request, small_limit) in [(16, 1 << 20), (64, 1 << 20), (112, 1 << 20), (112, 0)] {
        let options = PoolOptions { limit: Some(128 * MIB), small_limit, ..crate::common::options() };
        let pool = Pool::new(AccountingMemory::new(), options)?;
        let mut live = (0..128).map(|_| pool.allocate(MIB)).collect::<Result<Vec<_>, _>>()?;
        let mut number = 0;
        live.retain(|_| {
            number += 1;
            number % 8 == 1
        });
        let served = pool.allocate(request * MIB)?;
        assert_eq!(pool.stats().reserved.peak, 128 * MIB);
        drop((live, served));
    }
    Ok(())
}

#[test]
fn blocks_of_prime_sizes_leave_no_byte_of_the_limit_unusable() -> Outcome {
    let is_prime = |number: u64| {
        (2..number).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
    };
    let limit = 12 * SEGMENT;
    for stride in [2, 3, 5, 7] {
        let pool = Pool::new(HostMemory::default(), limited(limit))?;
        let granule = pool.snapshot().granule;
        let mut live = Numbered::new();
        let mut primes = (20_000..).filter(|&number| is_prime(number));
        for number in 0.. {
            let Ok(storage) = pool.allocate(primes.next().ok_or("there are more")?) else { break };
            stamp(&storage, number)?;
            live.push((number, storage));
        }
        live.retain(|(number, _)| number % stride == 0);
        let bytes: u64 = live.iter().map(|(_, storage)| storage.bytes().next_multiple_of(granule)).sum();
        let rest = pool.allocate(limit - bytes)?;
        pool.allocate(1).expect_err("the limit is used up");
        assert_stamps::<Host>(&live);
        drop(rest);
    }
    Ok(())
}

#[test]
fn the_smaller_of_the_limit_and_the_device_memory_applies() -> Outcome {
    for (limit, budget) in [(8, 6), (6, 8), (7, 7)] {
        let memory = HostMemory::new(HostOptions { budget: budget * SEGMENT, ..HostOptions::default() });
        let pool = Pool::new(memory, limited(limit * SEGMENT))?;
        let room = limit.min(budget) * SEGMENT;
        let mut live = stamped(&pool, (0..room * 8 / SEGMENT).map(|_| SEGMENT / 8))?;
        live.retain(|(number, _)| number % 5 == 0);
        let rest = pool.allocate(room - pool.stats().allocated.current)?;
        let error = pool.allocate(1).expect_err("the room is used up");
        let AllocateError::OutOfMemory(numbers) = error else { panic!("{error}") };
        assert_eq!(numbers.refused.is_some(), budget < limit, "{numbers}");
        assert_stamps::<Host>(&live);
        assert_eq!(pool.memory().used_bytes(), room);
        drop(rest);
    }
    Ok(())
}

/// Creates two segments, each with a block that is too large for the other: only a copy through host memory helps.
pub(crate) fn stuck(pool: &Pool<Hostile>) -> Result<Numbered<Hostile>, AllocateError> {
    let part = SEGMENT / 8;
    let mut live = stamped(pool, [5 * part, 3 * part, 5 * part, 3 * part])?;
    live.retain(|(number, _)| number % 2 == 0);
    Ok(live)
}

pub(crate) fn assert_whole(storages: &Numbered<Hostile>) {
    for (number, storage) in storages {
        let found = read(storage).expect("it can be read");
        assert!(found == pattern(*number, found.len()), "storage {number} has changed");
    }
}

// Case 53.
#[test]
fn a_refused_bounce_buffer_leads_to_the_next_measure() -> Outcome {
    const MIB: u64 = 1 << 20;
    let pool = Pool::new(Hostile::new(24 * MIB), PoolOptions { compaction_share: 1.0, ..crate::common::options() })?;
    pool.memory().refuses.bounce_buffers.store(true, Ordering::Relaxed);
    let mut live = stamped(&pool, (0..8).map(|_| 2 * MIB))?;
    live.retain(|(number, _)| number % 2 == 0);
    let called = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&called);
    pool.set_pressure_callback(move |_, _| calls.fetch_add(1, Ordering::Relaxed) > 9);
    let _four = pool.allocate(4 * MIB)?;
    let _twelve = pool.allocate(12 * MIB)?;
    assert_eq!(called.load(Ordering::Relaxed), 0, "nothing was refused");
    let error = pool.allocate(1).expect_err("the device is full");
    assert!(matches!(error, AllocateError::OutOfMemory(_)), "{error}");
    assert_eq!(called.load(Ordering::Relaxed), 1);
    assert_whole(&live);
    Ok(())
}

#[test]
fn without_memory_for_a_readback_the_error_states_that_free_bytes_could_not_be_joined() -> Outcome {
    let pool = Pool::new(Hostile::new(u64::MAX), limited(2 * SEGMENT))?;
    let live = stuck(&pool)?;
    pool.memory().refuses.readbacks.store(true, Ordering::Relaxed);
    let error = pool.allocate(SEGMENT / 2).expect_err("nothing can be copied");
    let AllocateError::OutOfMemory(numbers) = error else { panic!("{error}") };
    assert!(matches!(numbers.advice(), Advice::Smaller { .. }), "{numbers}");
    pool.memory().refuses.readbacks.store(false, Ordering::Relaxed);
    assert_whole(&live);
    pool.allocate(SEGMENT / 2)?;
    assert_whole(&live);
    Ok(())
}

#[test]
fn a_block_is_read_in_pieces_that_fit_the_remaining_device_memory() -> Outcome {
    let pool = Pool::new(Hostile::new(u64::MAX), limited(2 * SEGMENT))?;
    let live = stuck(&pool)?;
    pool.memory().refuses.largest_readback.store(70_000, Ordering::Relaxed);
    let large = pool.allocate(SEGMENT / 2)?;
    pool.memory().refuses.largest_readback.store(0, Ordering::Relaxed);
    assert_whole(&live);
    drop(large);
    Ok(())
}

// The budget falls between the two halves of the copy.
#[test]
fn blocks_without_device_memory_stay_in_host_memory_until_there_is_room() -> Outcome {
    let pool = Pool::new(Hostile::new(2 * SEGMENT), options())?;
    let mut live = stuck(&pool)?;
    let granule = pool.snapshot().granule;
    pool.memory().refuses.budget_after_wait.store(SEGMENT / 2, Ordering::Relaxed);
    let error = pool.allocate(SEGMENT / 2).expect_err("the device has half a segment left");
    assert!(matches!(error, AllocateError::OutOfMemory(_)), "{error}");
    pool.check()?;
    assert!(pool.memory().host.used_bytes() <= 2 * SEGMENT);
    // Blocks that cannot be used return an error and keep their bytes.
    let kept = live.iter().filter(|(_, storage)| matches!(read(storage), Err(DeviceError::Refused { .. }))).count();
    assert!(kept > 0, "some block has no memory");
    let refused = live.iter().filter(|(_, storage)| storage.write(0, &[1; 4]).is_err()).count();
    assert_eq!(refused, kept);
    for (number, storage) in &live {
        // The blocks that could be written have changed.
        let _ = storage.write(0, &pattern(*number, 4));
    }
    pool.compact()?;
    pool.trim();
    pool.memory().host.set_budget(2 * SEGMENT);
    assert_whole(&live);
    pool.memory().host.set_budget(u64::MAX);
    let more = pool.allocate(SEGMENT)?;
    assert_whole(&live);
    live.clear();
    drop(more);
    pool.trim();
    assert_eq!((pool.stats().reserved.current, pool.memory().host.used_bytes()), (0, 0));
    assert!(granule > 0);
    Ok(())
}

// The device has room for nine of the ten live blocks, in small segments.
#[test]
fn blocks_whose_segment_no_longer_fits_are_restored_in_smaller_segments() -> Outcome {
    let pool = Pool::new(Hostile::new(2 * SEGMENT), options())?;
    let part = SEGMENT / 8;
    let mut live = stamped(&pool, (0..16).map(|_| part))?;
    live.retain(|(number, _)| number % 8 < 5);
    assert_eq!((live.len(), pool.stats().segments.current), (10, 2));
    pool.memory().refuses.budget_after_wait.store(9 * part, Ordering::Relaxed);
    // One part more than moves on the device could join.
    pool.allocate(7 * part).expect_err("the device has no room for the live blocks");
    let readable = live.iter().filter(|(_, storage)| read(storage).is_ok()).count();
    assert_eq!(readable, 9);
    pool.memory().host.set_budget(10 * part);
    assert_whole(&live);
    assert_consistent(&pool);
    Ok(())
}

// Case 55: between planning and creating, another thread uses a segment that was idle.
#[test]
fn a_segment_that_another_thread_uses_concurrently_counts_against_the_limit() -> Outcome {
    let limit = 4 * SEGMENT;
    let pool = Pool::new(Hostile::new(u64::MAX), PoolOptions { compaction_share: 0.0, ..limited(limit) })?;
    let first = pool.allocate(SEGMENT)?;
    drop(pool.allocate(2 * SEGMENT)?);
    assert_eq!(pool.stats().reserved.current, 3 * SEGMENT);
    let (other, taken) = (pool.clone(), Arc::new(Mutex::new(Vec::new())));
    let takes = Arc::clone(&taken);
    let take = move || takes.lock().expect("no thread panics").extend(other.allocate(2 * SEGMENT));
    pool.memory().meanwhile.recording.lock().expect("no thread panics").push_back(Box::new(take));
    let refused = pool.allocate(3 * SEGMENT).expect_err("another thread was faster");
    assert!(matches!(refused, AllocateError::OutOfMemory(_)), "{refused}");
    assert_eq!(taken.lock().expect("no thread panics").drain(..).count(), 1);
    assert!(pool.stats().reserved.peak <= limit, "{:?}", pool.stats().reserved);
    drop(first);
    Ok(())
}

// Case 55.
#[test]
fn a_limit_that_is_lowered_while_a_segment_is_created_holds() -> Outcome {
    for compaction_share in [0.0, 0.1] {
        let pool = Pool::new(Hostile::new(u64::MAX), PoolOptions { compaction_share, ..limited(8 * SEGMENT) })?;
        let first = pool.allocate(SEGMENT)?;
        let other = pool.clone();
        let lower = move || other.set_limit(Some(2 * SEGMENT));
        pool.memory().meanwhile.creating.lock().expect("no thread panics").push_back(Box::new(lower));
        let refused = pool.allocate(2 * SEGMENT).expect_err("the limit is two segments now");
        assert!(matches!(refused, AllocateError::OutOfMemory(_)), "{refused}");
        assert_eq!((pool.stats().reserved.peak, pool.memory().host.used_bytes()), (SEGMENT, SEGMENT));
        let raise = pool.clone();
        let raise = move || raise.set_limit(None);
        pool.memory().meanwhile.creating.lock().expect("no thread panics").push_back(Box::new(raise));
        drop((first, pool.allocate(SEGMENT)?));
    }
    Ok(())
}

#[test]
fn a_write_refused_during_a_host_copy_loses_no_data() -> Outcome {
    for writes in 1..6 {
        let pool = Pool::new(Hostile::new(2 * SEGMENT), options())?;
        let part = SEGMENT / 16;
        let mut live = stamped(&pool, (0..32).map(|_| part))?;
        live.retain(|(number, _)| number % 16 < 9);
        assert_eq!(pool.stats().segments.current, 2);
        pool.memory().refuses.writes_left.store(writes, Ordering::Relaxed);
        let first = pool.allocate(14 * part);
        pool.memory().refuses.writes_left.store(0, Ordering::Relaxed);
        assert_whole(&live);
        pool.check()?;
        drop(first);
        let second = pool.allocate(14 * part)?;
        assert_whole(&live);
        drop(second);
    }
    Ok(())
}

// Case 54.
#[test]
fn resetting_statistics_changes_no_policy() -> Outcome {
    const MIB: u64 = 1 << 20;
    let run = |resets: bool| -> Result<_, AllocateError> {
        let pool = Pool::new(AccountingMemory::new(), crate::common::options()).expect("the options suit");
        for _ in 0..50 {
            let mut live = (0..32).map(|_| pool.allocate(2 * MIB)).collect::<Result<Vec<_>, _>>()?;
            let mut number = 0;
            live.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            if resets {
                pool.reset_accumulated();
                pool.reset_peaks();
            }
            let large = pool.allocate(16 * MIB)?;
            drop((live, large));
            pool.trim();
        }
        Ok(pool.remedies())
    };
    let plain = run(false)?;
    assert!(plain.compactions > 0, "{plain:?}");
    assert_eq!(plain, run(true)?);
    Ok(())
}

/// Runs threads that fill a pool to its limit. Each has a share of the limit, so no request may be refused.
fn threads_at_the_limit<S: Subject>(memory: S::Memory, compaction_share: f64, threads: u64, steps: usize) {
    let share = 4 * SEGMENT;
    let limit = share * threads;
    let pool = Pool::new(memory, PoolOptions { compaction_share, ..limited(limit) }).expect("the options suit");
    watchdog::guarded("threads at the limit", move || {
        let start = Barrier::new(usize::try_from(threads).expect("few threads"));
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (pool, start) = (&pool, &start);
                scope.spawn(move || {
                    let granule = pool.snapshot().granule;
                    let mut random = Random::new(thread);
                    let mut live: Numbered<S::Memory> = Vec::new();
                    start.wait();
                    for _ in 0..steps {
                        let held: u64 = live.iter().map(|(_, storage)| storage.bytes().next_multiple_of(granule)).sum();
                        let bytes = random.size(share / 2);
                        if held + bytes.next_multiple_of(granule) > share {
                            let (number, storage) = live.swap_remove(random.below(live.len()));
                            assert_stamp::<S>(&storage, number);
                            continue;
                        }
                        match pool.allocate(bytes) {
                            Ok(storage) => {
                                let number = random.next() >> 1;
                                stamp(&storage, number).expect("it can be written");
                                live.push((number, storage));
                            }
                            Err(error) if compaction_share > 0.0 => panic!("{bytes} bytes fit: {error}"),
                            Err(_) => {}
                        }
                        let reserved = pool.stats().reserved;
                        assert!(reserved.peak <= limit, "{} of {limit}", reserved.peak);
                        if !live.is_empty() && random.below(4) == 0 {
                            let (number, storage) = &live[random.below(live.len())];
                            assert_stamp::<S>(storage, *number);
                        }
                    }
                    for (number, storage) in &live {
                        assert_stamp::<S>(storage, *number);
                    }
                });
            }
        });
        assert_consistent(&pool);
    });
}

// Case 55 and 53.
#[test]
fn threads_at_the_limit_never_exceed_it_and_are_never_refused() {
    threads_at_the_limit::<Host>(HostMemory::default(), 0.1, 4, 400);
}

// Case 55.
#[test]
fn threads_at_the_limit_never_exceed_it_without_compaction() {
    threads_at_the_limit::<Host>(HostMemory::default(), 0.0, 4, 400);
}

// Case 55, with a limit that changes: segments created after a change never exceed the new limit.
#[test]
fn a_limit_that_changes_while_threads_grow_the_pool_holds() {
    let pool = Pool::new(AccountingMemory::new(), limited(16 * SEGMENT)).expect("the options suit");
    watchdog::guarded("a limit that changes", move || {
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    let mut live = Vec::new();
                    for _ in 0..2000 {
                        live.extend(pool.allocate(random.size(2 * SEGMENT)));
                        if live.len() > 5 {
                            live.swap_remove(random.below(5));
                        }
                    }
                });
            }
            let mut random = Random::new(9);
            for _ in 0..500 {
                let limit = SEGMENT * (1 + random.next() % 16);
                pool.set_limit(Some(limit));
                let before = pool.stats().reserved.current;
                std::thread::yield_now();
                let after = pool.stats().reserved.current;
                assert!(after <= before.max(limit), "{after} bytes are reserved, {before} before, of {limit}");
            }
        });
        assert_consistent(&pool);
    });
}
