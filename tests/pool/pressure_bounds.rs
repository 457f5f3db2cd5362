//! The number of calls of a pressure callback: few if it gains nothing, and as many as it takes while it gains room for the request.

use crate::common::{Outcome, watchdog};
use crate::subjects::{SEGMENT, assert_consistent, options};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use wgpu_pool::{AccountingMemory, HostMemory, HostOptions, Pool, PoolOptions, Storage};

const PART: u64 = SEGMENT / 64;

fn limited(limit: u64) -> PoolOptions {
    PoolOptions { limit: Some(limit), ..options() }
}

/// Counts calls, and ends a test in which they do not end by themselves.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicU64>);

impl Calls {
    /// More than any test makes that passes.
    const MANY: u64 = 20_000;

    fn are_few(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < Self::MANY
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn a_callback_that_allocates_and_drops_a_block_of_its_own_is_called_16_times() -> Outcome {
    for size in [1, PART] {
        let pool = Pool::new(AccountingMemory::default(), limited(SEGMENT))?;
        let _live = pool.allocate(SEGMENT - PART)?;
        let calls = Calls::default();
        let counted = calls.clone();
        pool.set_pressure_callback(move |pool, _| {
            pool.allocate(size).expect("a part is free");
            counted.are_few()
        });
        pool.allocate(SEGMENT).expect_err("nothing was freed");
        assert_eq!(calls.take(), 16, "blocks of {size} bytes");
    }
    Ok(())
}

/// Each call drops the block that another one holds, so that bytes are freed in each call and while each of the others is inside.
#[test]
fn callbacks_that_free_their_own_blocks_and_wait_for_such_threads_are_called_a_bounded_number_of_times() -> Outcome {
    let rounds = watchdog::guarded("callbacks that free their own blocks", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let _live = pool.allocate(SEGMENT - PART).expect("there is room");
        let calls = Calls::default();
        let counted = calls.clone();
        pool.set_pressure_callback(move |pool, _| {
            if !counted.are_few() {
                return false;
            }
            drop(pool.allocate(PART));
            let pool = pool.clone();
            std::thread::spawn(move || pool.allocate(SEGMENT).is_ok()).join().is_ok()
        });
        let rounds = [(); 2].map(|()| {
            pool.allocate(SEGMENT).expect_err("nothing was freed");
            calls.take()
        });
        pool.clear_pressure_callback();
        rounds
    });
    // 16 calls of the first request, during each of which 128 calls fail, and 63 threads wait.
    assert!((16..16 * (1 + 128 + 64)).contains(&rounds[0]), "{rounds:?}");
    assert_eq!(rounds[0], rounds[1], "no call is inside any more");
    Ok(())
}

thread_local! {
    /// The calls that this thread has made for its request.
    static CALLS_OF_THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Takes all parts back in a new thread, whose request calls the callback in turn, and then frees one part more than in the call before
/// for the same request: each request sees room grow from call to call, and fails at last.
fn take_back_and_free(pool: &Pool<HostMemory>, held: &Arc<Mutex<Vec<Storage<HostMemory>>>>, parts: usize) -> bool {
    let (pool, of_thread) = (pool.clone(), Arc::clone(held));
    let thread = std::thread::spawn(move || {
        let mut held = of_thread.lock().expect("no panic");
        held.resize_with(parts, || pool.allocate(PART).expect("the other threads wait"));
        drop(held);
        CALLS_OF_THREAD.set(0);
        pool.allocate(SEGMENT).is_ok()
    });
    assert!(!thread.join().expect("no thread panics"), "half of it is in use");
    let calls = CALLS_OF_THREAD.get() + 1;
    CALLS_OF_THREAD.set(calls);
    held.lock().expect("no panic").truncate(parts.saturating_sub(calls));
    calls <= parts
}

#[test]
fn calls_that_gain_room_for_requests_that_fail_are_bounded_too() -> Outcome {
    const PARTS: usize = 4;
    let rounds = watchdog::guarded("callbacks that take room back", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let _live = pool.allocate(SEGMENT - PARTS as u64 * PART).expect("there is room");
        let held = Arc::new(Mutex::new(Vec::new()));
        let calls = Calls::default();
        let counted = calls.clone();
        pool.set_pressure_callback(move |pool, _| counted.are_few() && take_back_and_free(pool, &held, PARTS));
        let rounds = [(); 2].map(|()| {
            CALLS_OF_THREAD.set(0);
            pool.allocate(SEGMENT).expect_err("most of it is in use");
            calls.take()
        });
        pool.clear_pressure_callback();
        rounds
    });
    // The first request makes a call for each part and one more, and during each of them 128 calls fail and 63 threads wait.
    let most = (PARTS as u64 + 1) * (1 + 128 + 64);
    assert!(rounds.iter().all(|calls| (64..most).contains(calls)), "{rounds:?}");
    Ok(())
}

#[test]
fn a_limit_that_is_raised_without_room_for_the_request_has_no_effect() -> Outcome {
    // The device refuses, so that no limit helps.
    for step in [1, SEGMENT] {
        let memory = HostMemory::new(HostOptions { budget: SEGMENT, ..HostOptions::default() });
        let pool = Pool::new(memory, limited(4 * SEGMENT))?;
        let _live = pool.allocate(SEGMENT)?;
        let calls = Calls::default();
        let counted = calls.clone();
        pool.set_pressure_callback(move |pool, lacking| {
            pool.set_limit(lacking.limit.map(|limit| limit + step));
            counted.are_few()
        });
        pool.allocate(SEGMENT).expect_err("the device has no room");
        assert_eq!(calls.take(), 16, "steps of {step} bytes");
    }
    // What the limit gains is taken at once.
    let pool = Pool::new(AccountingMemory::default(), limited(SEGMENT))?;
    let held = Mutex::new(vec![pool.allocate(SEGMENT)?]);
    let calls = Calls::default();
    let counted = calls.clone();
    pool.set_pressure_callback(move |pool, lacking| {
        pool.set_limit(lacking.limit.map(|limit| limit + PART));
        held.lock().expect("no panic").push(pool.allocate(PART).expect("the limit has room"));
        counted.are_few()
    });
    pool.allocate(SEGMENT).expect_err("the callback takes what it gains");
    assert_eq!(calls.take(), 16);
    pool.clear_pressure_callback();
    Ok(())
}

/// To the size of the request, it would take eight million steps.
#[test]
fn a_request_makes_65536_calls_at_most_that_gain_almost_nothing() -> Outcome {
    let request = 1 << 31;
    let memory = AccountingMemory::default();
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let _live = pool.allocate(SEGMENT)?;
    pool.set_pressure_callback(|pool, lacking| {
        pool.set_limit(lacking.limit.map(|limit| limit + 256));
        true
    });
    pool.allocate(request).expect_err("the limit is far below it");
    assert_eq!((pool.remedies().callbacks, pool.limit()), (65_536, Some(SEGMENT + (65_536 << 8))));
    // One step less than all of them serves the request.
    pool.set_limit(Some(SEGMENT + request - (65_535 << 8)));
    pool.allocate(request)?;
    assert_eq!(pool.remedies().callbacks, 65_536 + 65_535);
    Ok(())
}

#[test]
fn a_limit_that_is_raised_in_small_steps_serves_the_request() -> Outcome {
    let pool = Pool::new(AccountingMemory::default(), limited(SEGMENT))?;
    let _live = pool.allocate(SEGMENT)?;
    // Far below what the pool already holds.
    pool.set_limit(Some(PART));
    pool.set_pressure_callback(|pool, lacking| {
        pool.set_limit(lacking.limit.map(|limit| limit + PART));
        true
    });
    pool.allocate(SEGMENT)?;
    assert_eq!(pool.remedies().callbacks, 127, "to two segments");
    assert_eq!(pool.limit(), Some(2 * SEGMENT));
    Ok(())
}

#[test]
fn a_callback_that_frees_one_of_many_blocks_in_every_15th_call_is_called_until_the_request_is_served() -> Outcome {
    let pool = Pool::new(AccountingMemory::default(), limited(SEGMENT))?;
    let cached: Result<Vec<_>, _> = (0..64).map(|_| pool.allocate(PART)).collect();
    let cache = Mutex::new((0, cached?));
    pool.set_pressure_callback(move |pool, _| {
        let mut cache = cache.lock().expect("no panic");
        cache.0 += 1;
        let freed = cache.1.pop();
        if cache.0 % 15 != 0 {
            drop(freed);
            cache.1.push(pool.allocate(PART).expect("a part was freed"));
        }
        true
    });
    pool.allocate(SEGMENT)?;
    assert_eq!(pool.remedies().callbacks, 15 * 64);
    assert_consistent(&pool);
    pool.clear_pressure_callback();
    Ok(())
}

/// Blocks become movable, and blocks between pinned ones are freed: neither changes what the other changes.
#[test]
fn unpinning_a_block_and_freeing_one_next_to_a_pinned_block_are_effects() -> Outcome {
    let pool = Pool::new(HostMemory::default(), limited(4 * SEGMENT))?;
    let blocks: Result<Vec<_>, _> = (0..4 * 64).map(|_| pool.allocate(PART)).collect();
    let (mut pins, mut cache) = (Vec::new(), Vec::new());
    for (at, block) in blocks?.into_iter().enumerate() {
        if at % 64 < 32 {
            pins.push(block.pin()?);
        } else {
            cache.push(block);
        }
    }
    // 128 blocks next to pinned ones are freed first; the rest has to be unpinned for a hole of a whole segment.
    let held = Mutex::new((cache, pins, 0));
    pool.set_pressure_callback(move |_, _| {
        let mut held = held.lock().expect("no panic");
        held.2 += 1;
        if held.2 % 10 != 0 {
            return true;
        }
        held.0.pop().is_some() || held.1.pop().is_some()
    });
    pool.allocate(SEGMENT)?;
    let calls = pool.remedies().callbacks;
    assert!((1280..2560).contains(&calls), "{calls} calls, of which each tenth frees or unpins a block");
    assert_consistent(&pool);
    pool.clear_pressure_callback();
    Ok(())
}

#[test]
fn requests_that_gain_room_step_by_step_are_served_while_another_thread_is_inside() -> Outcome {
    watchdog::guarded("a thread that stays inside", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let filled = || (0..64).map(|_| pool.allocate(PART).expect("there is room")).collect::<Vec<_>>();
        let cache = Arc::new(Mutex::new(filled()));
        let (entered, enter) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let (entered, left) = (Mutex::new(Some(entered)), Mutex::new(left));
        let held = Arc::clone(&cache);
        pool.set_pressure_callback(move |_, _| {
            let entered = entered.lock().expect("no panic").take();
            if let Some(entered) = entered {
                entered.send(()).expect("the test waits");
                left.lock().expect("no panic").recv().ok();
                return false;
            }
            let freed = held.lock().expect("no panic").pop();
            freed.is_some()
        });
        std::thread::scope(|scope| {
            scope.spawn(|| pool.allocate(PART).expect_err("the callback frees nothing"));
            // Dropped when the test fails, so that the thread ends.
            let leave = leave;
            enter.recv().expect("the thread enters the callback");
            for _ in 0..10 {
                pool.allocate(SEGMENT).expect("64 calls free a part each");
                cache.lock().expect("no panic").extend(filled());
            }
            leave.send(()).expect("the thread waits");
        });
        pool.clear_pressure_callback();
        assert_eq!(pool.remedies().callbacks, 641);
    });
    Ok(())
}
