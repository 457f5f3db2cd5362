//! The plans of repeated steps as a cache: listed, bounded, and emptied at any time.

use crate::common::Outcome;
use crate::subjects::options;
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_pool::{AccountingMemory, AllocateError, CacheUse, Pool, RepeatOptions};

fn accounting() -> Pool<AccountingMemory> {
    Pool::new(AccountingMemory::new(), options()).expect("the options suit every memory")
}

fn plans(pool: &Pool<AccountingMemory>) -> CacheUse {
    let found = pool.caches().into_iter().find(|cache| cache.name == "plans of repeated steps");
    found.expect("plans are listed")
}

/// A step of a kind: two blocks at once.
fn step_of(pool: &Pool<AccountingMemory>, kind: u64) -> Result<(), AllocateError> {
    let first = pool.allocate((kind + 1) << 12)?;
    let second = pool.allocate((kind + 1) << 13)?;
    drop((first, second));
    Ok(())
}

// Case 65.
#[test]
fn plans_are_listed_with_their_bound_and_can_be_dropped() -> Outcome {
    let pool = accounting();
    assert_eq!((plans(&pool).entries, plans(&pool).most_entries, plans(&pool).bytes), (0, Some(0), Some(0)));
    let loops: Vec<_> = (0..3).map(|_| pool.repeat(RepeatOptions { kinds: 4, ..RepeatOptions::default() })).collect();
    for run in 0..60 {
        for one in &loops {
            one.run(|| step_of(&pool, run % 7))??;
            let now = plans(&pool);
            assert_eq!(now.most_entries, Some(12));
            assert!(now.entries <= 12 && (now.entries == 0) == (now.bytes == Some(0)), "{now:?}");
        }
    }
    let full = plans(&pool);
    assert_eq!(full.entries, 12, "more kinds than plans");
    assert!(full.bytes.is_some_and(|bytes| bytes > 12 * 100) && full.made >= 12, "{full:?}");
    assert_eq!(pool.snapshot().caches, pool.caches());

    let reserved = pool.stats().reserved.current;
    pool.clear_caches();
    let empty = plans(&pool);
    assert_eq!((empty.entries, empty.bytes, empty.most_entries, empty.made), (0, Some(0), Some(12), full.made));
    assert!(pool.snapshot().plans.is_empty());
    assert_eq!(pool.stats().reserved.current, reserved, "the arenas are idle segments");
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);

    // The loops learn again.
    let observed = loops[0].stats().observed;
    for _ in 0..4 {
        loops[0].run(|| step_of(&pool, 3))??;
    }
    let stats = loops[0].stats();
    assert!(stats.observed > observed && stats.kinds == 1, "{stats:?}");
    assert_eq!(plans(&pool).entries, 1);
    drop(loops);
    assert_eq!((plans(&pool).entries, plans(&pool).most_entries), (0, Some(0)));
    Ok(())
}

#[test]
fn plans_that_are_dropped_in_a_step_serve_it_to_its_end() -> Outcome {
    let pool = accounting();
    let one = pool.repeat(RepeatOptions::default());
    for _ in 0..4 {
        one.run(|| step_of(&pool, 5))??;
    }
    let before = one.stats();
    one.run(|| {
        pool.clear_caches();
        step_of(&pool, 5)
    })??;
    let after = one.stats();
    assert_eq!(after.planned_requests - before.planned_requests, 2, "the run follows its plan");
    assert_eq!((plans(&pool).entries, after.kinds), (0, 0));
    one.run(|| step_of(&pool, 5))??;
    assert_eq!(one.stats().observed, before.observed + 1);
    Ok(())
}

#[test]
fn no_run_is_refused_because_another_thread_drops_plans() -> Outcome {
    let pool = accounting();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clearing = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                pool.clear_caches();
                pool.trim();
            }
        });
        let run = || -> Outcome {
            let one = pool.repeat(RepeatOptions::default());
            for _ in 0..2000 {
                one.run(|| step_of(&pool, 2))??;
            }
            Ok(())
        };
        let result = run();
        ends.store(true, Ordering::Relaxed);
        clearing.join().expect("clearing does not panic");
        result
    })
}
