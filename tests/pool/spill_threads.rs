//! Spilling with several threads, and callbacks that use storages while the pool moves blocks.

use crate::common::random::Random;
use crate::common::{Outcome, watchdog};
use crate::spill::NoopMapped;
use crate::subjects::{Host, HostReadback, Noop, SEGMENT, Subject, assert_consistent, options, pattern, read, stamp};
use std::sync::Arc;
use wgpu_pool::{DeviceError, Pool, PoolOptions, Storage};

const BLOCK: u64 = SEGMENT / 4;

/// Threads work on separate storages, which together exceed the limit several times. Each command uses two storages, so
/// that the threads' working sets compete: within a limit of so many blocks.
fn compete<S: Subject>(limit: u64) -> Outcome
where
    S::Memory: Send + Sync,
    Storage<S::Memory>: Send + Sync,
{
    let Some(memory) = S::memory() else { return Ok(()) };
    let threads = 4;
    let rounds = if cfg!(debug_assertions) { 150 } else { 1000 };
    let pool = Pool::new(memory, PoolOptions { limit: Some(limit * BLOCK), spill: Some(u64::MAX), ..options() })?;
    let own = |thread: u64| -> Result<Vec<Storage<S::Memory>>, Box<dyn std::error::Error>> {
        (0..6)
            .map(|number| {
                let storage = pool.allocate(BLOCK)?;
                stamp(&storage, thread * 100 + number)?;
                Ok(storage)
            })
            .collect()
    };
    let sets = (0..threads).map(own).collect::<Result<Vec<_>, _>>()?;
    std::thread::scope(|scope| {
        let handles: Vec<_> = sets
            .into_iter()
            .zip(0u64..)
            .map(|(storages, thread)| {
                let pool = &pool;
                scope.spawn(move || -> Result<(), String> {
                    let mut numbers: Vec<u64> = (0..6).map(|number| thread * 100 + number).collect();
                    let mut random = Random::new(thread);
                    let fail = |what: &str, error: DeviceError| format!("{what}: {error}");
                    for round in 0..rounds {
                        let (from, to) = (random.below(6), random.below(6));
                        match random.below(8) {
                            0 => drop(storages[from].offload()),
                            1 => storages[from].prefetch().map_err(|error| fail("prefetch", error))?,
                            2 => {
                                numbers[from] = thread * 1_000_000 + round;
                                stamp(&storages[from], numbers[from]).map_err(|error| fail("stamp", error))?;
                            }
                            3 => drop(pool.allocate(BLOCK).map_err(|error| error.to_string())?),
                            4 => drop(storages[from].pin().map_err(|error| fail("pin", error))?),
                            _ => {
                                storages[from].copy_to(&storages[to]).map_err(|error| fail("copy", error))?;
                                numbers[to] = numbers[from];
                            }
                        }
                    }
                    for (storage, number) in storages.iter().zip(&numbers) {
                        let found = read(storage).map_err(|error| fail("read", error))?;
                        if found != pattern(*number, found.len()) {
                            return Err(format!("storage {number} of thread {thread} lost its content"));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        handles.into_iter().try_for_each(|handle| handle.join().map_err(|_| "a thread panicked".to_string())?)
    })?;
    assert_consistent(&pool);
    pool.trim();
    let stats = pool.spill_stats();
    assert_eq!((stats.host, stats.in_transit, stats.idle), (0, 0, 0), "{stats:?}");
    Ok(())
}

#[test]
fn threads_with_competing_working_sets_lose_no_byte() -> Outcome {
    fn run<S: Subject>() -> Result<(), String>
    where
        S::Memory: Send + Sync,
        Storage<S::Memory>: Send + Sync,
    {
        // All commands of the threads fit together, and two of four, next to a pinned block of each of the other threads.
        [8, 6].into_iter().try_for_each(|limit| compete::<S>(limit)).map_err(|error| error.to_string())
    }
    for run in [run::<Host>, run::<HostReadback>, run::<Noop>, run::<NoopMapped>] {
        watchdog::guarded("threads with competing working sets", run)?;
    }
    Ok(())
}

/// Two commands whose storages fit the limit one at a time, on two threads: the older claim is served first, and neither
/// thread fails.
#[test]
fn commands_that_fit_one_at_a_time_do_not_starve_each_other() -> Outcome {
    let run = || take_turns().map_err(|error| error.to_string());
    Ok(watchdog::guarded("commands that fit one at a time", run)?)
}

fn take_turns() -> Outcome {
    let memory = Host::memory().ok_or("it always exists")?;
    let pool = Pool::new(memory, PoolOptions { limit: Some(4 * BLOCK), spill: Some(u64::MAX), ..options() })?;
    let pair = || -> Result<[Storage<_>; 2], Box<dyn std::error::Error>> {
        let pair = [pool.allocate(2 * BLOCK)?, pool.allocate(2 * BLOCK)?];
        stamp(&pair[0], 1)?;
        Ok(pair)
    };
    let pairs = Arc::new([pair()?, pair()?]);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|index| {
                let pairs = Arc::clone(&pairs);
                scope.spawn(move || (0..200).try_for_each(|_| pairs[index][0].copy_to(&pairs[index][1])))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    for pair in pairs.iter() {
        assert!(read(&pair[1])? == pattern(1, read(&pair[1])?.len()));
    }
    assert_consistent(&pool);
    Ok(())
}
