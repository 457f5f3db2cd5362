//! Log messages of the pool: every step of the ladder after reuse is logged at debug level, and the paths that every
//! block takes log nothing.
//!
//! A separate binary with one test, because the logger is global to the process.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use wgpu_pool::{HostMemory, HostOptions, MemoryPressure, Pool, PoolOptions, RepeatOptions, WeakPool};

/// The pool that the logger reads.
static POOL: Mutex<Option<WeakPool<HostMemory>>> = Mutex::new(None);

/// The pool that the logger allocates from, while [`ALLOCATES`].
static OTHER: Mutex<Option<WeakPool<HostMemory>>> = Mutex::new(None);
static ALLOCATES: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether the logger's own calls of the pool log.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Notes(Mutex<Vec<(log::Level, String)>>);

static NOTES: Notes = Notes(Mutex::new(Vec::new()));

impl log::Log for Notes {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // A logger may read the pool.
        let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pool) = pool.and_then(|pool| pool.upgrade()) {
            assert!(pool.stats().reserved.current <= pool.stats().reserved.peak);
        }
        if ALLOCATES.load(Ordering::Relaxed) && !IS_INSIDE.replace(true) {
            // One that keeps its messages in the pool, and makes room for them.
            let pool = OTHER.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(pool) = pool.and_then(|pool| pool.upgrade()) {
                drop(pool.allocate(1 << 10));
                drop(pool.allocate(SEGMENT / 2));
                let _ = pool.compact();
                pool.trim();
                CALLS.fetch_add(1, Ordering::Relaxed);
            }
            IS_INSIDE.set(false);
        }
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Returns the messages since the last call, at debug level and above.
fn notes() -> Vec<String> {
    let noted = std::mem::take(&mut *NOTES.0.lock().unwrap_or_else(PoisonError::into_inner));
    noted.into_iter().filter(|&(level, _)| level <= log::Level::Debug).map(|(_, text)| text).collect()
}

#[track_caller]
fn assert_noted(expected: &[&str]) {
    let found = notes();
    let matches = found.len() == expected.len() && found.iter().zip(expected).all(|(found, part)| found.contains(part));
    assert!(matches, "wanted {expected:#?}, found {found:#?}");
}

const SEGMENT: u64 = 256 << 10;

fn options() -> PoolOptions {
    PoolOptions {
        small_limit: 16 << 10,
        smallest_segment: Some(SEGMENT),
        compaction_share: 10.0,
        limit: Some(2 * SEGMENT),
        ..PoolOptions::default()
    }
}

#[test]
fn every_measure_of_the_ladder_is_logged_and_reuse_is_not() -> Result<(), Box<dyn std::error::Error>> {
    log::set_logger(&NOTES)?;
    log::set_max_level(log::LevelFilter::Trace);
    let pool = Pool::new(HostMemory::new(HostOptions { budget: 2 * SEGMENT, ..HostOptions::default() }), options())?;
    *POOL.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool.downgrade());
    let quarter = SEGMENT / 4;

    drop(pool.allocate(quarter)?);
    assert_noted(&["wgpu-pool: segment 0 of 256.0 KiB for a request of 64.0 KiB, reserved 256.0 KiB"]);
    for _ in 0..100 {
        drop(pool.allocate(quarter)?);
    }
    assert_noted(&[]);

    drop(pool.allocate(1000)?);
    assert_noted(&["segment 0 adopted by the Small pool"]);

    let mut live = (0..8).map(|_| pool.allocate(quarter)).collect::<Result<Vec<_>, _>>()?;
    assert_noted(&["segment 0 adopted by the Large pool", "segment 1 of 256.0 KiB"]);
    for index in [6, 4, 2, 0] {
        live.swap_remove(index);
    }
    let half = pool.allocate(2 * quarter)?;
    assert_noted(&["compaction: 1 move of 64.0 KiB"]);

    let small = pool.allocate(1000)?;
    let found = notes();
    assert!(found.iter().any(|note| note.contains("the limit leaves no room for a request of 1000 B")), "{found:#?}");
    assert!(
        found.iter().any(|note| note.contains("served from a hole of the large sub-pool: a request of 1000 B")),
        "{found:#?}"
    );

    pool.set_pressure_callback(|_, _| false);
    pool.allocate(SEGMENT).expect_err("there is no room");
    let found = notes();
    assert!(found.iter().any(|note| note.contains("pressure callback")), "{found:#?}");
    assert!(found.last().is_some_and(|note| note.contains("out of memory: requested 256.0 KiB")), "{found:#?}");
    pool.clear_pressure_callback();

    pool.set_limit(None);
    pool.allocate(SEGMENT).expect_err("the budget is used up");
    let found = notes();
    assert!(found.iter().any(|note| note.contains("the device refused a segment of 256.0 KiB")), "{found:#?}");
    assert!(found.iter().any(|note| note.contains("waiting for the device")), "{found:#?}");

    drop((live, half, small));
    assert_noted(&[]);
    pool.pressure(MemoryPressure::Low)?;
    assert_noted(&["memory pressure: Low", "trim: 2 segments"]);
    pool.trim();
    assert_noted(&[]);

    // The logger's own handle would be the last one.
    *POOL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    // Case 51, at the end of the pool: one line for each block that is still alive, once.
    let kept = pool.allocate(1000)?;
    kept.set_label("kept");
    notes();
    let other = pool.clone();
    drop(pool);
    assert_noted(&[]);
    drop(other);
    assert_noted(&["was dropped; blocks still allocated: 1\n1000 B kept, 0 allocations old, tests/log.rs:"]);
    drop(kept.pool());
    assert_noted(&[]);
    a_logger_may_allocate_from_the_pool_and_compact_it()
}

/// Every step of the ladder, of compaction and of a planned loop, with a logger that calls the same pool for each message. With a lock held,
/// it would wait for itself.
fn a_logger_may_allocate_from_the_pool_and_compact_it() -> Result<(), Box<dyn std::error::Error>> {
    let mut calls = 0;
    for scrub_on_free in [false, true] {
        let memory = HostMemory::new(HostOptions { budget: 4 * SEGMENT, ..HostOptions::default() });
        let pool = Pool::new(memory, PoolOptions { scrub_on_free, ..options() })?;
        *OTHER.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool.downgrade());
        ALLOCATES.store(true, Ordering::Relaxed);
        for limit in [Some(2 * SEGMENT), None, Some(3 * SEGMENT)] {
            pool.set_limit(limit);
            let quarter = SEGMENT / 4;
            let mut live: Vec<_> = (0..8).filter_map(|_| pool.allocate(quarter).ok()).collect();
            for index in [6, 4, 2, 0] {
                if index < live.len() {
                    live.swap_remove(index);
                }
            }
            // Compacts, packs, or copies through host memory; then more than there is.
            live.extend(
                [pool.allocate(2 * quarter), pool.allocate(1000), pool.allocate(SEGMENT)].into_iter().flatten(),
            );
            pool.allocate(16 * SEGMENT).expect_err("it exceeds every limit");
            let step = pool.repeat(RepeatOptions::default());
            for _ in 0..4 {
                step.run(|| drop((pool.allocate(3000), pool.allocate(quarter))))?;
            }
            drop(live);
            pool.pressure(MemoryPressure::Critical)?;
            pool.check()?;
        }
        ALLOCATES.store(false, Ordering::Relaxed);
        let now = CALLS.load(Ordering::Relaxed);
        assert!(now > calls + 20, "{now}");
        calls = now;
        *OTHER.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    Ok(())
}
