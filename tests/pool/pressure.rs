//! The application's release callback, memory pressure warnings from the system, and limits as a share of the device.

use crate::common::{Outcome, watchdog};
use crate::subjects::{SEGMENT, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wgpu_pool::{DeviceResources, HostMemory, HostOptions, MemoryPressure, OptionsError, Pool, PoolOptions};

over_every_memory! {
    trimming_to_a_target_releases_the_longest_idle_segments_until_the_target,
    critical_pressure_shrinks_the_pool_to_its_live_blocks;
    without spilling:
    the_callback_is_called_while_it_returns_true,
    a_callback_that_always_returns_true_is_called_a_bounded_number_of_times,
    memory_freed_by_the_callback_serves_the_request,
    a_callback_may_allocate_trim_compact_and_change_the_limit,
    a_panicking_callback_leaves_the_pool_consistent,
    reserved_memory_serves_the_next_request,
}

fn limited(limit: u64) -> PoolOptions {
    PoolOptions { limit: Some(limit), ..options() }
}

// Case 35.
fn the_callback_is_called_while_it_returns_true<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let _live = pool.allocate(SEGMENT)?;
    for retries in 0..8 {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        pool.set_pressure_callback(move |_, lacking| {
            assert_eq!((lacking.requested, lacking.limit), (SEGMENT, Some(SEGMENT)));
            counted.fetch_add(1, Ordering::Relaxed) < retries
        });
        pool.allocate(SEGMENT).expect_err("nothing was freed");
        assert_eq!(calls.load(Ordering::Relaxed), retries + 1);
        assert_eq!(pool.remedies().out_of_memory, retries + 1);
    }
    assert_eq!(pool.remedies().callbacks, (1..=8).sum::<u64>());
    Ok(())
}

fn a_callback_that_always_returns_true_is_called_a_bounded_number_of_times<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let _live = pool.allocate(SEGMENT)?;
    pool.set_pressure_callback(|_, _| true);
    pool.allocate(SEGMENT).expect_err("nothing was freed");
    assert_eq!(pool.remedies().callbacks, 16);
    pool.clear_pressure_callback();
    pool.allocate(SEGMENT).expect_err("nothing was freed");
    assert_eq!(pool.remedies().callbacks, 16);
    Ok(())
}

fn memory_freed_by_the_callback_serves_the_request<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(4 * SEGMENT))?;
    let kept = pool.allocate(SEGMENT)?;
    stamp(&kept, 1)?;
    let cached: Result<Vec<_>, _> = (0..3).map(|_| pool.allocate(SEGMENT)).collect();
    let cache = Mutex::new(cached?);
    pool.set_pressure_callback(move |_, _| cache.lock().is_ok_and(|mut cache| cache.pop().is_some()));
    let large = pool.allocate(2 * SEGMENT)?;
    assert_eq!(pool.remedies().callbacks, 2, "two of three had to go");
    assert_eq!(pool.remedies().out_of_memory, 0);
    stamp(&large, 2)?;
    assert_stamp::<S>(&kept, 1);
    assert_consistent(&pool);
    pool.clear_pressure_callback();
    Ok(())
}

fn a_callback_may_allocate_trim_compact_and_change_the_limit<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let live = pool.allocate(SEGMENT)?;
    stamp(&live, 3)?;
    pool.set_pressure_callback(|pool, lacking| {
        pool.allocate(SEGMENT).expect_err("inside, the callback isn't called again");
        pool.trim();
        pool.compact().expect("the device works");
        pool.set_limit(Some(lacking.reserved + 2 * SEGMENT));
        true
    });
    pool.allocate(SEGMENT)?;
    assert_eq!((pool.remedies().callbacks, pool.remedies().out_of_memory), (1, 1));
    assert_stamp::<S>(&live, 3);
    assert_consistent(&pool);
    Ok(())
}

fn a_panicking_callback_leaves_the_pool_consistent<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(SEGMENT))?;
    let live = pool.allocate(SEGMENT)?;
    stamp(&live, 4)?;
    pool.set_pressure_callback(|_, _| std::panic::panic_any("the callback's own"));
    for calls in 1..=2 {
        let attempt = std::panic::AssertUnwindSafe(|| pool.allocate(SEGMENT));
        assert!(std::panic::catch_unwind(attempt).is_err());
        assert_eq!(pool.remedies().callbacks, calls, "a thread that left by a panic is not inside any more");
    }
    assert_stamp::<S>(&live, 4);
    drop(live);
    pool.allocate(SEGMENT)?;
    assert_consistent(&pool);
    Ok(())
}

// Case 21.
fn trimming_to_a_target_releases_the_longest_idle_segments_until_the_target<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    // Each block is above the default segment size, so each has its own segment.
    let mut storages: Vec<_> = (0..6).map(|_| pool.allocate(SEGMENT)).collect::<Result<_, _>>()?;
    let segments: Vec<_> = pool.snapshot().segments.iter().map(|segment| segment.id).collect();
    assert_eq!(segments.len(), 6, "a segment each");
    let order = [3, 0, 5, 1];
    let mut live: Vec<_> = storages.drain(..).map(Some).collect();
    for index in order {
        live[index] = None;
    }
    for (reserved, gone) in [(6, 0), (5, 1), (3, 3), (0, 4)] {
        pool.trim_to(reserved * SEGMENT + SEGMENT / 2);
        let left: Vec<_> = pool.snapshot().segments.iter().map(|segment| segment.id).collect();
        let expected: Vec<_> =
            (0..6).filter(|index| !order[..gone].contains(index)).map(|index| segments[index]).collect();
        assert_eq!(left, expected, "down to {reserved} segments");
    }
    assert_consistent(&pool);
    Ok(())
}

fn critical_pressure_shrinks_the_pool_to_its_live_blocks<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storages: Vec<_> = (0..32).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<_, _>>()?;
    let kept: Vec<_> = storages.into_iter().step_by(4).collect();
    for (number, storage) in (0..).zip(&kept) {
        stamp(storage, number)?;
    }
    assert_eq!(pool.stats().reserved.current, 8 * SEGMENT);
    pool.pressure(MemoryPressure::Low)?;
    assert_eq!(pool.stats().reserved.current, 8 * SEGMENT, "each segment holds a live block");
    let relief = pool.pressure(MemoryPressure::Critical)?;
    assert_eq!((relief.trimmed.segments, pool.stats().reserved.current), (6, 2 * SEGMENT));
    assert!(relief.compacted.moves >= 6);
    assert_eq!(pool.remedies().evacuations, pool.remedies().compactions);
    for (number, storage) in (0..).zip(&kept) {
        assert_stamp::<S>(storage, number);
    }
    assert_consistent(&pool);
    Ok(())
}

fn reserved_memory_serves_the_next_request<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, limited(4 * SEGMENT))?;
    pool.reserve_blocking(3 * SEGMENT)?;
    let created = pool.stats().segments.allocated;
    let _room = pool.allocate(3 * SEGMENT)?;
    assert_eq!(pool.stats().segments.allocated, created);
    pool.reserve_blocking(2 * SEGMENT).expect_err("it is above the limit");
    Ok(())
}

#[test]
fn a_callback_may_wait_for_a_thread_whose_request_calls_it() -> Outcome {
    let calls = watchdog::guarded("callbacks that wait for threads", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let live = pool.allocate(SEGMENT).expect("there is room");
        pool.set_pressure_callback(|pool, _| {
            let pool = pool.clone();
            std::thread::spawn(move || pool.allocate(SEGMENT).is_ok()).join().expect("no thread panics")
        });
        let calls = [(); 2].map(|()| {
            pool.allocate(SEGMENT).expect_err("nothing was freed");
            pool.remedies().callbacks
        });
        drop(live);
        pool.allocate(SEGMENT).expect("no thread is inside the callback any more");
        pool.clear_pressure_callback();
        calls
    });
    assert_eq!(calls, [64, 128]);
    Ok(())
}

#[test]
fn a_callback_without_effect_that_waits_for_such_threads_is_called_a_bounded_number_of_times() -> Outcome {
    let calls = watchdog::guarded("callbacks without effect", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let _live = pool.allocate(SEGMENT).expect("there is room");
        pool.set_pressure_callback(|pool, _| {
            let pool = pool.clone();
            std::thread::spawn(move || pool.allocate(SEGMENT).is_ok()).join().is_ok()
        });
        let calls = [(); 2].map(|()| {
            pool.allocate(SEGMENT).expect_err("nothing was freed");
            pool.remedies().callbacks
        });
        pool.clear_pressure_callback();
        calls
    });
    // 16 calls of the first request, each with 63 further threads and 64 repeated calls, of which few lead to another thread's.
    assert!(calls[0] < 4096 && calls[1] == 2 * calls[0], "{calls:?}");
    Ok(())
}

#[test]
fn concurrent_callbacks_do_not_block_each_other() -> Outcome {
    let callbacks = watchdog::guarded("four threads in the callback", || {
        let pool = Pool::new(HostMemory::default(), limited(SEGMENT)).expect("the options suit");
        let _live = pool.allocate(SEGMENT).expect("there is room");
        let barrier = std::sync::Barrier::new(4);
        pool.set_pressure_callback(move |_, _| {
            barrier.wait();
            false
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| pool.allocate(SEGMENT).expect_err("nothing was freed"));
            }
        });
        pool.remedies().callbacks
    });
    assert_eq!(callbacks, 4);
    Ok(())
}

#[test]
fn a_limit_as_a_fraction_needs_a_memory_that_reports_its_size() -> Outcome {
    let memory = HostMemory::new(HostOptions { budget: 8 * SEGMENT, ..HostOptions::default() });
    let pool = Pool::new(memory, options())?;
    assert_eq!(pool.set_limit_fraction(0.5), Ok(4 * SEGMENT));
    assert_eq!(pool.limit(), Some(4 * SEGMENT));
    for fraction in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        assert!(matches!(pool.set_limit_fraction(fraction), Err(OptionsError::Fraction { .. })));
    }
    assert_eq!(pool.limit(), Some(4 * SEGMENT));
    let untold = Pool::new(HostMemory::default(), options())?;
    assert_eq!(untold.set_limit_fraction(0.5), Err(OptionsError::TotalUnknown));
    assert_eq!(untold.memory().total_bytes(), None);
    Ok(())
}
