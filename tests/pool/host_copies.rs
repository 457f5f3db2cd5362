//! Other threads and callbacks that act during a copy through host memory, at every possible point.

use crate::common::{Outcome, watchdog};
use crate::hostile::{Action, Hostile};
use crate::last_rungs::{Numbered, assert_whole, stuck};
use crate::subjects::{SEGMENT, assert_consistent, options, pattern, read, stamp};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wgpu_pool::{Pool, PoolOptions, Storage};

fn pool() -> Result<Pool<Hostile>, wgpu_pool::OptionsError> {
    Pool::new(Hostile::new(u64::MAX), PoolOptions { limit: Some(2 * SEGMENT), ..options() })
}

/// The point at which an action runs.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// During the n-th read of the blocks.
    Reading(usize),
    /// In the n-th wait after the segment's memory is destroyed. The first wait, which belongs to the copy, does not
    /// count.
    Waiting(usize),
}

const POINTS: [Point; 5] =
    [Point::Reading(0), Point::Reading(1), Point::Waiting(0), Point::Waiting(1), Point::Waiting(2)];

/// Schedules an action at a point.
fn at(pool: &Pool<Hostile>, moment: Point, action: Action) {
    let meanwhile = &pool.memory().meanwhile;
    let (actions, after) = match moment {
        Point::Reading(after) => (&meanwhile.collecting, after),
        Point::Waiting(after) => (&meanwhile.waiting, after),
    };
    let mut actions = actions.lock().expect("no action panics with the lock");
    actions.extend((0..after).map(|_| Box::new(|| {}) as Action));
    actions.push_back(action);
}

fn forget_actions(pool: &Pool<Hostile>) {
    pool.memory().meanwhile.collecting.lock().expect("no action panics with the lock").clear();
    pool.memory().meanwhile.waiting.lock().expect("no action panics with the lock").clear();
}

/// Runs `act` on both blocks that cannot move on the device, at every point, while a request of `bytes` makes the pool
/// copy them through host memory; then compares the blocks with what `after` expects.
fn at_every_point(bytes: u64, act: fn(&Pool<Hostile>, &mut Numbered<Hostile>), may_be_refused: bool) -> Outcome {
    for moment in POINTS {
        let pool = pool()?;
        let live = Arc::new(Mutex::new(stuck(&pool)?));
        let acted = Arc::new(AtomicBool::new(false));
        {
            let (pool_inside, live, acted) = (pool.clone(), Arc::clone(&live), Arc::clone(&acted));
            let action = move || {
                acted.store(true, Ordering::Relaxed);
                act(&pool_inside, &mut live.lock().expect("no thread panics"));
            };
            at(&pool, moment, Box::new(action));
        }
        let served = pool.allocate(bytes);
        forget_actions(&pool);
        match served {
            Ok(storage) => {
                stamp(&storage, 99)?;
                assert!(read(&storage)? == pattern(99, read(&storage)?.len()), "{moment:?}");
            }
            Err(error) => assert!(may_be_refused && acted.load(Ordering::Relaxed), "{moment:?}: {error}"),
        }
        assert_whole(&live.lock().expect("no thread panics"));
        assert!(pool.stats().reserved.peak <= 2 * SEGMENT, "{moment:?}");
        assert_consistent(&pool);
        live.lock().expect("no thread panics").clear();
        pool.trim();
        assert_eq!((pool.stats().reserved.current, pool.memory().host.used_bytes()), (0, 0), "{moment:?}");
    }
    Ok(())
}

#[test]
fn bytes_written_during_a_host_copy_are_preserved() -> Outcome {
    let write = |_: &Pool<Hostile>, live: &mut Numbered<Hostile>| {
        for (number, storage) in live {
            *number += 1000;
            stamp(storage, *number).expect("it can be written");
        }
    };
    at_every_point(6 * SEGMENT / 8, write, false)
}

#[test]
fn reads_and_copies_during_a_host_copy_are_correct() -> Outcome {
    let read_all = |_: &Pool<Hostile>, live: &mut Numbered<Hostile>| {
        assert_whole(live);
        if let [(number, first), (other, second)] = live.as_mut_slice() {
            first.copy_to(second).expect("they are of one size");
            *other = *number;
        }
    };
    at_every_point(6 * SEGMENT / 8, read_all, false)
}

#[test]
fn blocks_can_be_dropped_and_cloned_during_a_host_copy() -> Outcome {
    let drop_one = |_: &Pool<Hostile>, live: &mut Numbered<Hostile>| drop(live.pop());
    at_every_point(6 * SEGMENT / 8, drop_one, false)?;
    let drop_all = |_: &Pool<Hostile>, live: &mut Numbered<Hostile>| live.clear();
    at_every_point(6 * SEGMENT / 8, drop_all, false)?;
    let clone = |_: &Pool<Hostile>, live: &mut Numbered<Hostile>| {
        let clones: Vec<_> = live.iter().map(|(number, storage)| (*number, storage.clone())).collect();
        live.extend(clones);
    };
    at_every_point(6 * SEGMENT / 8, clone, false)
}

#[test]
fn blocks_allocated_during_a_host_copy_overlap_no_other_block() -> Outcome {
    let allocate = |pool: &Pool<Hostile>, live: &mut Numbered<Hostile>| {
        for number in 50..54 {
            let storage = pool.allocate(1000).expect("there is room for small blocks");
            stamp(&storage, number).expect("it can be written");
            live.push((number, storage));
        }
        // A block that is never written.
        drop(pool.allocate(500));
    };
    // The threads take the memory that the request needs.
    at_every_point(6 * SEGMENT / 8, allocate, true)
}

#[test]
fn a_request_during_a_host_copy_may_start_its_own_host_copy() -> Outcome {
    let allocate = |pool: &Pool<Hostile>, live: &mut Numbered<Hostile>| {
        let storage = pool.allocate(SEGMENT / 2).expect("there is room for it alone");
        stamp(&storage, 77).expect("it can be written");
        live.push((77, storage));
    };
    at_every_point(6 * SEGMENT / 8, allocate, true)?;
    let trim = |pool: &Pool<Hostile>, _: &mut Numbered<Hostile>| {
        pool.compact().expect("the device works");
        pool.trim();
    };
    at_every_point(6 * SEGMENT / 8, trim, false)
}

#[test]
fn a_block_pinned_during_a_host_copy_stays_at_the_pinned_location() -> Outcome {
    for moment in POINTS {
        let pool = pool()?;
        let live = stuck(&pool)?;
        let pinned = Arc::new(Mutex::new(Vec::new()));
        let (guards, storage) = (Arc::clone(&pinned), live[0].1.clone());
        at(
            &pool,
            moment,
            Box::new(move || guards.lock().expect("no thread panics").push(storage.pin().expect("the device works"))),
        );
        let _served = pool.allocate(6 * SEGMENT / 8);
        forget_actions(&pool);
        let guards = pinned.lock().expect("no thread panics");
        for guard in guards.iter() {
            let places = pool.pins();
            assert!(places.iter().any(|pin| pin.segment == guard.place().0), "{moment:?}: {places:?}");
        }
        drop(guards);
        assert_whole(&live);
        pool.check()?;
    }
    Ok(())
}

#[test]
fn a_panic_in_a_callback_during_a_host_copy_loses_no_data() -> Outcome {
    for moment in POINTS {
        let pool = pool()?;
        let live = stuck(&pool)?;
        at(&pool, moment, Box::new(|| panic!("a callback of the program")));
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.allocate(6 * SEGMENT / 8).map(drop)));
        forget_actions(&pool);
        if let Ok(served) = outcome {
            served?;
        }
        assert_whole(&live);
        pool.allocate(6 * SEGMENT / 8)?;
        assert_whole(&live);
        assert_consistent(&pool);
    }
    Ok(())
}

// Every copy is interrupted, until the pool blocks other threads for a moment.
#[test]
fn a_thread_that_writes_continuously_does_not_prevent_requests_from_succeeding() {
    watchdog::guarded("a request while a thread writes", || {
        let pool = pool().expect("the options suit");
        let live = stuck(&pool).expect("there is room");
        let (stop, writes) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for (number, storage) in &live {
                let (stop, writes) = (&stop, &writes);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        stamp(storage, *number).expect("it can be written");
                        writes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // The requests run while the threads write, even if the threads start late.
            while writes.load(Ordering::Relaxed) < live.len() {
                std::thread::yield_now();
            }
            for _ in 0..20 {
                let served: Result<Storage<Hostile>, _> = pool.allocate(6 * SEGMENT / 8);
                drop(served.unwrap_or_else(|error| panic!("{error}")));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_whole(&live);
        assert_consistent(&pool);
    });
}
