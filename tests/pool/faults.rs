//! Fault injection: a memory that refuses segments, once at each possible point, repeatedly, and permanently.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::common::watchdog;
use crate::subjects::{Host, SEGMENT, assert_consistent, assert_stamp, options, stamp};
use wgpu_pool::{AllocateError, HostMemory, HostOptions, Pool, PoolOptions, Storage};

/// Runs a program of allocations, frees and trims, and calls `before` before each allocation. Live blocks keep their
/// contents through every failure, and nothing leaks. Returns the number of failed allocations.
fn run(
    pool: &Pool<HostMemory>,
    mut before: impl FnMut(&Pool<HostMemory>),
) -> Result<usize, Box<dyn std::error::Error>> {
    let mut random = Random::new(38);
    let mut live: Vec<(Storage<HostMemory>, u64)> = Vec::new();
    let mut failed = 0;
    for number in 0..120 {
        match random.below(8) {
            0 => drop(pool.trim()),
            1..=3 if !live.is_empty() => {
                let (storage, number) = live.swap_remove(random.below(live.len()));
                assert_stamp::<Host>(&storage, number);
            }
            _ => {
                before(pool);
                let (stats, used) = (pool.stats(), pool.memory().used_bytes());
                match pool.allocate(random.size(2 * SEGMENT)) {
                    Ok(storage) => {
                        stamp(&storage, number)?;
                        live.push((storage, number));
                    }
                    Err(AllocateError::OutOfMemory(numbers)) => {
                        failed += 1;
                        assert!(numbers.refused.is_some() || numbers.limit.is_some(), "{numbers}");
                        assert_eq!(pool.stats().requested, stats.requested, "{numbers}");
                        assert!(pool.memory().used_bytes() <= used, "{numbers}");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        assert_consistent(pool);
        assert_eq!(pool.memory().used_bytes(), pool.stats().reserved.current);
    }
    for (storage, number) in live {
        assert_stamp::<Host>(&storage, number);
    }
    pool.trim();
    assert_eq!((pool.memory().used_bytes(), pool.stats().reserved.current), (0, 0));
    assert_consistent(pool);
    Ok(failed)
}

// Case 38.
#[test]
fn refusing_any_one_segment_loses_no_data() -> Outcome {
    let clean = Pool::new(HostMemory::default(), options())?;
    assert_eq!(run(&clean, |_| {})?, 0);
    let created = clean.stats().segments.allocated;
    assert!(created > 10, "{created} segments are too few to tell");
    for refused in 0..=created {
        let pool = Pool::new(HostMemory::default(), options())?;
        pool.memory().fail_at(refused);
        run(&pool, |_| {}).map_err(|error| format!("the segment {refused} was refused: {error}"))?;
    }
    Ok(())
}

// Case 38: after a single refusal, the pool allocates a smaller segment or waits; a budget refuses permanently.
#[test]
fn no_budget_of_a_memory_loses_data() -> Outcome {
    let mut failures = 0;
    for eighths in 0..40 {
        let budget = eighths * SEGMENT / 8;
        let pool = Pool::new(HostMemory::new(HostOptions { budget, ..HostOptions::default() }), options())?;
        let failed = run(&pool, |_| {}).map_err(|error| format!("a budget of {budget}: {error}"))?;
        if budget == 0 {
            assert_eq!(pool.stats().blocks.allocated, 0);
            assert!(failed > 50);
        }
        failures += failed;
    }
    assert!(failures > 100, "{failures} failures are too few to tell");
    Ok(())
}

// Case 38.
#[test]
fn requests_succeed_when_a_refusal_is_injected_before_every_allocation() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    let failed = run(&pool, |pool| pool.memory().fail_at(0))?;
    assert_eq!(failed, 0, "a refused segment was tried again, smaller");
    Ok(())
}

// Case 38.
#[test]
fn refusing_every_kth_segment_loses_no_data() -> Outcome {
    let mut refusals = 0;
    for compaction_share in [0.0, 0.1, 10.0] {
        for limit in [None, Some(6 * SEGMENT)] {
            for k in 1..=7 {
                let which = format!("every {k}th, limit {limit:?}, share {compaction_share}");
                let outcome = watchdog::guarded("a memory that refuses", move || {
                    let pool = Pool::new(HostMemory::default(), PoolOptions { limit, compaction_share, ..options() });
                    let pool = pool.expect("the options suit");
                    pool.memory().fail_each(k);
                    let failed = run(&pool, |_| {}).map_err(|error| error.to_string());
                    failed.map(|failed| (failed, pool.remedies().refusals, pool.stats().blocks.allocated))
                });
                let (failed, refused, served) = outcome.map_err(|error| format!("{which}: {error}"))?;
                refusals += refused;
                assert_eq!((served == 0, failed > 50), (k == 1, k == 1), "{which}: {failed} failed, {served} served");
            }
        }
    }
    assert!(refusals > 200, "{refusals} refusals are too few to tell");
    Ok(())
}
