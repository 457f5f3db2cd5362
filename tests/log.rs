//! Log messages of the pool: every step of the ladder after reuse is logged at debug level, and the paths that every
//! block takes log nothing.
//!
//! A separate binary with one test, because the logger is global to the process.

use std::sync::{Mutex, PoisonError};
use wgpu_pool::{HostMemory, HostOptions, MemoryPressure, Pool, PoolOptions, WeakPool};

/// The pool that the logger reads.
static POOL: Mutex<Option<WeakPool<HostMemory>>> = Mutex::new(None);

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
    assert_noted(&["compaction: 1 moves of 64.0 KiB"]);

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
    Ok(())
}
