//! Repeated steps: what they do is what the heap would do, wherever the blocks are.

use crate::common::Outcome;
use crate::subjects::{Host, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp};
use std::cell::{Cell, RefCell};
use std::sync::Barrier;
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{
    AccountingMemory, AllocateError, DeviationCause, HostMemory, Memory, Pool, PoolOptions, Repeat, RepeatError,
    RepeatOptions, Storage,
};

const KIB: u64 = 1 << 10;

over_every_memory! {
    a_step_is_observed_once_and_then_follows_its_plan,
    blocks_that_outlive_the_step_are_outside_the_arena,
    a_step_that_differs_loses_nothing_and_is_planned_again,
    kinds_of_steps_share_one_arena,
    a_block_that_is_kept_is_never_overwritten,
    at_the_limit_the_arena_serves_every_request,
    the_arena_serves_other_requests_before_the_pool_grows,
    a_run_goes_on_without_its_arena,
    a_trim_releases_the_arena_between_runs_only,
    requests_in_another_order_are_found_in_the_plan,
    planned_blocks_have_handles_origins_and_events_like_others,
}

fn step<M: Memory>(pool: &Pool<M>) -> Repeat<M> {
    pool.repeat(RepeatOptions::default())
}

/// Allocates blocks of these sizes in KiB, each of which lives until the next but one is there.
fn chain<M: Memory>(pool: &Pool<M>, sizes: &[u64]) -> Result<(), AllocateError> {
    let mut last: Vec<Storage<M>> = Vec::new();
    for &size in sizes {
        if last.len() == 2 {
            drop(last.remove(0));
        }
        last.push(pool.allocate(size * KIB)?);
    }
    Ok(())
}

/// The segments of the blocks and their offsets.
fn places<M: Memory>(storages: &[Storage<M>]) -> Vec<(SegmentId, u64)> {
    storages.iter().map(|storage| storage.pin().expect("on the device").place()).collect()
}

fn a_step_is_observed_once_and_then_follows_its_plan<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let weights = pool.allocate(100 * KIB)?;
    let step = step(&pool);
    let at = RefCell::new(Vec::new());
    let before = Cell::new(pool.remedies());
    for run in 0..6 {
        if run == 2 {
            before.set(pool.remedies());
        }
        step.run(|| -> Outcome {
            let first = pool.allocate(300 * KIB)?;
            let second = pool.allocate(50 * KIB)?;
            drop(first);
            let third = pool.allocate(200 * KIB)?;
            let small = pool.allocate(100)?;
            at.borrow_mut().push(places(&[second, third, small]));
            Ok(())
        })??;
        assert_consistent(&pool);
    }
    let stats = step.stats();
    assert_eq!((stats.runs, stats.agreeing, stats.deviating, stats.plans, stats.kinds), (6, 5, 0, 1, 1));
    assert_eq!((stats.planned_requests, stats.heap_requests, stats.observed), (20, 0, 2));
    // The peak of the step: 300 and 50 KiB.
    assert_eq!((stats.arena, stats.lower_bound, stats.arenas_created), (350 * KIB, 350 * KIB, 1));
    let at = at.into_inner();
    assert!(at[1..].iter().all(|places| *places == at[1]), "{at:?}");
    let after = pool.remedies();
    assert_eq!(after.segments_created, before.get().segments_created, "no segment after the first planned run");
    assert_eq!(after.bytes_moved, before.get().bytes_moved);
    drop(step);
    assert_consistent(&pool);
    drop(weights);
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

fn blocks_that_outlive_the_step_are_outside_the_arena<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    let mut state: Option<Storage<S::Memory>> = None;
    for run in 0..6 {
        step.run(|| -> Outcome {
            let temporary = pool.allocate(200 * KIB)?;
            let new = pool.allocate(80 * KIB)?;
            stamp(&new, run)?;
            if let Some(old) = &state {
                assert_stamp::<S>(old, run - 1);
            }
            stamp(&temporary, 77)?;
            state = Some(new);
            Ok(())
        })??;
        assert_stamp::<S>(state.as_ref().expect("set"), run);
        assert_consistent(&pool);
    }
    let stats = step.stats();
    assert_eq!((stats.agreeing, stats.plans, stats.arena), (5, 1, 200 * KIB));
    assert_eq!((stats.planned_requests, stats.heap_requests), (5, 5));
    Ok(())
}

fn a_step_that_differs_loses_nothing_and_is_planned_again<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    let run = |sizes: &[u64]| -> Outcome { Ok(step.run(|| chain(&pool, sizes))??) };
    let usual = [100, 30, 200, 60, 10, 90];
    for _ in 0..3 {
        run(&usual)?;
    }
    assert_eq!(step.stats().agreeing, 2);
    // One request more: only this one goes to the heap.
    run(&[100, 30, 200, 55, 60, 10, 90])?;
    let stats = step.stats();
    assert_eq!((stats.agreeing, stats.deviating, stats.planned_requests, stats.heap_requests), (2, 1, 18, 1));
    let deviation = stats.last_deviation.expect("a deviation");
    assert_eq!((deviation.request, deviation.cause), (3, DeviationCause::Size));
    assert_eq!((deviation.planned_bytes, deviation.bytes), (Some(60 * KIB), Some(55 * KIB)));
    assert!(deviation.site.is_some_and(|site| site.file.ends_with("repeat.rs")));
    // Back to the plan: nothing is planned again.
    run(&usual)?;
    assert_eq!((step.stats().agreeing, step.stats().plans), (3, 1));
    // Fewer, and in another order.
    run(&usual[..4])?;
    let deviation = step.stats().last_deviation.expect("a deviation");
    assert_eq!((deviation.request, deviation.cause, deviation.bytes), (4, DeviationCause::Missing, None));
    run(&[100, 200, 30, 60, 10, 90])?;
    assert_eq!((step.stats().deviating, step.stats().plans), (3, 3));
    // Both have plans now, and so has the usual one. A run of another kind than the one before begins in the wrong plan, because all of them
    // begin with 100 KiB, so its blocks may not find their locations free. The next run of the kind begins in the right one.
    for sizes in [&[100, 200, 30, 60, 10, 90], &usual[..], &usual[..4]] {
        run(sizes)?;
        let agreeing = step.stats().agreeing;
        run(sizes)?;
        assert_eq!(step.stats().agreeing, agreeing + 1, "{sizes:?}");
    }
    // In turns, the kind that followed last time is expected.
    for _ in 0..2 {
        run(&[100, 200, 30, 60, 10, 90])?;
        run(&usual)?;
    }
    let agreeing = step.stats().agreeing;
    for _ in 0..3 {
        run(&[100, 200, 30, 60, 10, 90])?;
        run(&usual)?;
    }
    assert_eq!(step.stats().agreeing, agreeing + 6);
    assert_eq!((step.stats().plans, step.stats().kinds), (3, 3));
    assert_consistent(&pool);
    Ok(())
}

fn kinds_of_steps_share_one_arena<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = pool.repeat(RepeatOptions { kinds: 3, ..RepeatOptions::default() });
    let lengths = [3, 5, 8];
    let run = |length: u64| -> Outcome { Ok(step.run(|| chain(&pool, &[length * 20, length * 9, length * 33]))??) };
    for _ in 0..4 {
        for length in lengths {
            run(length)?;
        }
    }
    let stats = step.stats();
    assert_eq!((stats.kinds, stats.plans), (3, 3), "{stats:?}");
    let before = pool.remedies().segments_created;
    for length in [8, 3, 3, 5, 8, 5] {
        run(length)?;
    }
    assert_eq!(step.stats().agreeing, stats.agreeing + 6);
    assert_eq!(pool.remedies().segments_created, before);
    // The largest kind needs 8 · (9 + 33) KiB, or 8 · 29 before.
    assert_eq!(step.stats().arena, 336 * KIB);
    // A fourth kind takes the place of the one that was not used for the longest time.
    for _ in 0..3 {
        run(2)?;
    }
    assert_eq!((step.stats().kinds, step.stats().plans), (3, 4));
    assert_consistent(&pool);
    Ok(())
}

fn a_block_that_is_kept_is_never_overwritten<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    let mut kept: Vec<(Storage<S::Memory>, u64)> = Vec::new();
    for run in 0..20 {
        step.run(|| -> Outcome {
            for number in 0..8 {
                let storage = pool.allocate((20 + number * 7) * KIB)?;
                stamp(&storage, run * 8 + number)?;
                // Now and then a block that the plan ends in the step is kept, and an older one is dropped.
                if run % 4 == 3 && number == run / 4 {
                    kept.push((storage, run * 8 + number));
                } else if run % 5 == 4 && number == 3 && !kept.is_empty() {
                    let (storage, number) = kept.remove(0);
                    assert_stamp::<S>(&storage, number);
                }
            }
            Ok(())
        })??;
        for (storage, number) in &kept {
            assert_stamp::<S>(storage, *number);
        }
        assert_consistent(&pool);
    }
    let stats = step.stats();
    assert!(stats.deviating > 0 && stats.agreeing > 5, "{stats:?}");
    Ok(())
}

fn at_the_limit_the_arena_serves_every_request<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(1024 * KIB), ..options() })?;
    let step = step(&pool);
    for _ in 0..3 {
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    assert_eq!((step.stats().agreeing, step.stats().arena), (2, 700 * KIB));
    // In a run: more than the limit leaves next to the arena, and all of it.
    step.run(|| -> Outcome {
        let first = pool.allocate(400 * KIB)?;
        stamp(&first, 5)?;
        let second = pool.allocate(600 * KIB)?;
        stamp(&second, 6)?;
        assert_stamp::<S>(&first, 5);
        assert_consistent(&pool);
        Ok(())
    })??;
    assert!(pool.stats().reserved.peak <= 1024 * KIB);
    // Between the runs.
    let large = pool.allocate(1000 * KIB)?;
    assert_consistent(&pool);
    step.run(|| chain(&pool, &[4, 3, 2]))??;
    assert!(matches!(
        step.stats().refusal,
        Some(RepeatError::ArenaAboveLimit { arena, limit, room }) if arena == 700 * KIB && limit == 1024 * KIB && room < arena
    ));
    drop(large);
    for _ in 0..5 {
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    assert_eq!((step.stats().refusal, step.stats().arena), (None, 700 * KIB));
    assert_consistent(&pool);
    Ok(())
}

/// After the arena was given up, the rest of the run goes to the heap, also where the plan would use bytes of blocks before it again.
fn a_run_goes_on_without_its_arena<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    let usual = [100, 30, 200, 60, 10, 90, 150, 40];
    for _ in 0..3 {
        step.run(|| chain(&pool, &usual))??;
    }
    for place in 1..usual.len() {
        let mut sizes = usual.to_vec();
        sizes.insert(place, 2000 + place as u64);
        step.run(|| chain(&pool, &sizes))??;
        assert_consistent(&pool);
        for _ in 0..2 {
            step.run(|| chain(&pool, &usual))??;
        }
    }
    let agreeing = step.stats().agreeing;
    step.run(|| chain(&pool, &usual))??;
    assert_eq!(step.stats().agreeing, agreeing + 1);
    Ok(())
}

/// What a step does not need between and in its runs serves other requests before the pool grows.
fn the_arena_serves_other_requests_before_the_pool_grows<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let [step, other] = [0, 1].map(|_| step(&pool));
    for _ in 0..3 {
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    let reserved = pool.stats().reserved.current;
    assert_eq!(reserved, 700 * KIB);
    pool.reset_peaks();
    for _ in 0..5 {
        // Between the runs, such as a validation.
        chain(&pool, &[250, 400, 250])?;
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    // A run of another kind, whose requests are larger than what the arena holds by then.
    step.run(|| chain(&pool, &[30, 650, 20]))??;
    // Another loop, in turns with the first.
    for _ in 0..4 {
        other.run(|| chain(&pool, &[100, 350, 80]))??;
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    assert_eq!(pool.stats().reserved.peak, reserved);
    let (stats, other) = (step.stats(), other.stats());
    assert_eq!((stats.agreeing, stats.arenas_created, other.agreeing, other.arenas_created), (11, 1, 3, 0));
    assert_consistent(&pool);
    Ok(())
}

fn a_trim_releases_the_arena_between_runs_only<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    for _ in 0..2 {
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    assert_eq!(pool.stats().reserved.current, 700 * KIB);
    step.run(|| -> Outcome {
        pool.trim();
        assert_eq!(pool.stats().reserved.current, 700 * KIB);
        chain(&pool, &[400, 300, 200])?;
        pool.trim_to(0);
        assert_eq!(pool.stats().reserved.current, 700 * KIB);
        Ok(())
    })??;
    assert_eq!(step.stats().agreeing, 2);
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);
    step.run(|| chain(&pool, &[400, 300, 200]))??;
    assert_eq!((step.stats().agreeing, step.stats().arenas_created), (3, 2));
    pool.trim_to(1);
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

/// Requests that change places keep their locations.
fn requests_in_another_order_are_found_in_the_plan<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let step = step(&pool);
    let all = |sizes: [u64; 4]| -> Outcome {
        Ok(step.run(|| {
            let blocks = sizes.into_iter().map(|size| pool.allocate(size * KIB)).collect::<Result<Vec<_>, _>>();
            blocks.map(drop)
        })??)
    };
    for _ in 0..3 {
        all([100, 30, 200, 60])?;
    }
    let before = step.stats();
    all([30, 100, 200, 60])?;
    let stats = step.stats();
    assert_eq!((stats.planned_requests, stats.heap_requests), (before.planned_requests + 4, before.heap_requests));
    assert_eq!(stats.last_deviation.map(|deviation| (deviation.request, deviation.bytes)), Some((0, Some(30 * KIB))));
    assert_consistent(&pool);
    Ok(())
}

/// The same program in a pool with planned steps and in one without: all that a program can see of its blocks is equal.
fn planned_blocks_have_handles_origins_and_events_like_others<S: Subject>(memory: S::Memory) -> Outcome {
    let other = S::memory().ok_or("there was one before")?;
    let mut seen = Vec::new();
    for (memory, planned) in [(memory, true), (other, false)] {
        let pool = Pool::new(memory, options())?;
        let step = step(&pool);
        let body = || -> wgpu_pool::Result<_> {
            let scope = pool.scope("step");
            let first = pool.allocate(100 * KIB + 7)?;
            first.set_label("first");
            let weak = first.downgrade();
            let clone = first.clone();
            let second = pool.allocate(300 * KIB)?;
            drop(first);
            let is_kept = weak.upgrade().is_some();
            let pin = clone.pin()?;
            drop(clone);
            let counts = pool.stats();
            let holders = pool.top_holders(5).into_iter().map(|held| (held.label, held.scope, held.bytes));
            let holders: Vec<_> = holders.collect();
            drop(pin);
            drop(second);
            drop(scope);
            let counts = [counts.requested, counts.allocated, counts.active, counts.blocks, counts.pinned];
            Ok((is_kept, weak.upgrade().is_none(), counts.map(|counter| counter.current), holders))
        };
        for _ in 0..3 {
            if planned {
                step.run(body)??
            } else {
                body()?
            };
        }
        pool.start_history(100);
        let result = if planned { step.run(body)?? } else { body()? };
        let events: Vec<_> =
            pool.history().iter().map(|event| (event.kind, event.size, event.requested, event.scope)).collect();
        // The pinned block ends with its pin, within the step.
        let stats = step.stats();
        assert_eq!((stats.agreeing, stats.planned_requests), if planned { (3, 6) } else { (0, 0) });
        seen.push((result, events, pool.stats().requested.allocated));
        assert_consistent(&pool);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1.len(), 4);
    Ok(())
}

fn accounting() -> Pool<AccountingMemory> {
    Pool::new(AccountingMemory::new(), options()).expect("the options suit")
}

#[test]
fn a_step_in_a_step_and_a_step_of_another_thread_are_refused() -> Outcome {
    let pool = accounting();
    let (outer, inner) = (step(&pool), step(&pool));
    let nested = outer.run(|| (inner.run(|| ()), outer.run(|| ())))?;
    assert_eq!(nested, (Err(RepeatError::Nested), Err(RepeatError::Nested)));
    let other = std::thread::scope(|scope| {
        outer.run(|| scope.spawn(|| (outer.run(|| ()), inner.run(|| 5))).join().expect("no panic"))
    })?;
    assert_eq!(other, (Err(RepeatError::Running), Ok(5)));
    // Another pool is independent.
    let other = accounting();
    assert_eq!(outer.run(|| step(&other).run(|| 7))?, Ok(7));
    Ok(())
}

#[test]
fn a_panic_ends_the_run_and_loses_nothing() -> Outcome {
    let pool = accounting();
    let step = step(&pool);
    for run in 0..6 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            step.run(|| {
                let block = pool.allocate(100 * KIB).expect("there is room");
                assert!(run % 2 == 1, "deliberate");
                drop(block);
                chain(&pool, &[30, 20]).expect("there is room");
            })
        }));
        assert_eq!(result.is_err(), run % 2 == 0);
        assert_eq!(pool.stats().allocated.current, 0);
        assert_consistent(&pool);
    }
    assert_eq!((step.stats().runs, step.stats().plans), (6, 1));
    Ok(())
}

#[test]
fn in_a_dry_run_a_step_is_not_planned_and_counts_like_any_program() -> Outcome {
    let pool = accounting();
    let step = step(&pool);
    for _ in 0..3 {
        step.run(|| chain(&pool, &[400, 300, 200]))??;
    }
    let (result, dry_run) = pool.dry_run(|| step.run(|| chain(&pool, &[400, 300, 200])))?;
    result??;
    assert_eq!((dry_run.requested_peak().bytes, dry_run.reserved_peak().bytes), (700 * KIB, 700 * KIB));
    assert_eq!(step.stats().runs, 3);
    // And a dry run in a step.
    step.run(|| -> Outcome {
        let (result, dry_run) = pool.dry_run(|| chain(&pool, &[500]))?;
        result?;
        assert_eq!(dry_run.requested_peak().bytes, 500 * KIB);
        Ok(chain(&pool, &[400, 300, 200])?)
    })??;
    assert_eq!(step.stats().agreeing, 3);
    Ok(())
}

#[test]
fn two_loops_on_two_threads_have_an_arena_each() -> Outcome {
    let pool = accounting();
    std::thread::scope(|scope| {
        let threads = (1..=2).map(|thread| {
            let pool = &pool;
            scope.spawn(move || -> wgpu_pool::Result<_> {
                let step = step(pool);
                for _ in 0..50 {
                    step.run(|| chain(pool, &[thread * 100, 30, thread * 70]))??;
                }
                Ok(step.stats())
            })
        });
        for thread in threads.collect::<Vec<_>>() {
            let stats = thread.join().expect("no panic").expect("there is room");
            assert_eq!((stats.agreeing, stats.plans), (49, 1));
        }
    });
    assert_consistent(&pool);
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

/// Loops take each other's idle arenas, but a run has its arena for itself.
#[test]
fn two_runs_never_use_one_arena_at_the_same_time() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    let [one, other] = [0, 1].map(|_| step(&pool));
    let barrier = Barrier::new(2);
    // Two blocks that are live together; `between` is called after the first is there.
    let body = |number: u64, between: &dyn Fn()| -> Outcome {
        let first = pool.allocate(100 * KIB)?;
        stamp(&first, number)?;
        between();
        let second = pool.allocate(200 * KIB)?;
        stamp(&second, number + 1)?;
        between();
        // After the last wait, since a thread that fails before it would leave the other one waiting.
        pool.check()?;
        assert_stamp::<Host>(&first, number);
        assert_stamp::<Host>(&second, number + 1);
        Ok(())
    };
    for _ in 0..3 {
        one.run(|| body(1, &|| ()))??;
        other.run(|| body(3, &|| ()))??;
    }
    assert_eq!((one.stats().arenas_created, other.stats().arenas_created), (1, 0), "they use one arena in turns");
    let wait = || {
        barrier.wait();
    };
    std::thread::scope(|scope| {
        let threads = [(&one, 5), (&other, 7)].map(|(step, number)| {
            scope.spawn(move || step.run(|| body(number, &wait).map_err(|error| error.to_string())))
        });
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), Ok(Ok(())));
        }
    });
    assert_eq!((one.stats().agreeing, other.stats().agreeing), (3, 3));
    drop((one, other));
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

/// Another thread needs the memory of the arena, in a run that has followed its plan so far.
#[test]
fn a_run_that_loses_its_arena_to_another_thread_goes_on() -> Outcome {
    let pool = Pool::new(HostMemory::default(), PoolOptions { limit: Some(1024 * KIB), ..options() })?;
    let step = step(&pool);
    let body = |other: u64| -> Outcome {
        let first = pool.allocate(100 * KIB)?;
        stamp(&first, 1)?;
        let large = std::thread::scope(|scope| scope.spawn(|| pool.allocate(other * KIB)).join().expect("no panic"))?;
        stamp(&large, 2)?;
        assert_stamp::<Host>(&first, 1);
        drop(large);
        chain(&pool, &[10, 20, 30, 10, 20, 30])?;
        assert_stamp::<Host>(&first, 1);
        Ok(())
    };
    for _ in 0..3 {
        step.run(|| body(0))??;
    }
    assert_eq!(step.stats().agreeing, 2);
    step.run(|| body(900))??;
    let deviation = step.stats().last_deviation.ok_or("a deviation")?;
    assert_eq!((deviation.request, deviation.cause), (1, DeviationCause::ArenaReleased));
    assert_consistent(&pool);
    for _ in 0..2 {
        step.run(|| body(0))??;
    }
    assert_eq!(step.stats().agreeing, 4);
    Ok(())
}

#[test]
fn a_loop_that_never_repeats_itself_is_planned_more_and_more_rarely() -> Outcome {
    let pool = accounting();
    let step = step(&pool);
    for run in 0..300 {
        step.run(|| chain(&pool, &[1 + run, 2 + run * 3 % 17, 5 + run * 7 % 29]))??;
    }
    let stats = step.stats();
    assert_eq!(stats.runs, 300);
    assert!(stats.plans < 20, "{stats:?}");
    Ok(())
}

#[test]
fn an_arena_above_the_largest_segment_has_several_segments() -> Outcome {
    let limits = wgpu_pool::MemoryLimits { largest_segment: 1 << 20, ..AccountingMemory::new().limits() };
    let pool = Pool::new(AccountingMemory::with_limits(limits), PoolOptions::default())?;
    let step = step(&pool);
    let run = || -> Outcome {
        let blocks: Vec<_> = (0..40).map(|number| pool.allocate((100 + number) * KIB)).collect::<Result<_, _>>()?;
        drop(blocks);
        Ok(())
    };
    for _ in 0..4 {
        step.run(run)??;
    }
    let stats = step.stats();
    assert_eq!((stats.agreeing, stats.planned_requests), (3, 120));
    assert!(pool.stats().segments.current > 4 && stats.arena <= stats.lower_bound * 11 / 10, "{stats:?}");
    Ok(())
}
