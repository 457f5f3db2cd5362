//! Release of unneeded memory after a period.

use crate::common::{Outcome, sleep, watchdog};
use crate::subjects::{Adapter, SEGMENT, Subject, options, over_every_memory};
use quanta::Instant;
use std::time::Duration;
use wgpu_pool::error::Number;
use wgpu_pool::{AccountingMemory, Memory, OptionsError, Pool, PoolOptions, Storage};

/// Short enough to be waited for.
const PERIOD: Duration = Duration::from_millis(20);

/// Ends periods, by a submission where the memory has no timer, until `done` says so.
fn wait_until<M: Memory>(pool: &Pool<M>, what: &str, done: impl Fn(&Pool<M>) -> bool) {
    let begun = Instant::now();
    while !done(pool) {
        assert!(begun.elapsed() < watchdog::DEADLOCK, "{what}: {:?}", pool.stats());
        sleep(PERIOD / 4);
        if begun.elapsed() > 2 * PERIOD {
            pool.submit().expect("the device works");
        }
    }
}

fn reserved<M: Memory>(pool: &Pool<M>) -> u64 {
    pool.stats().reserved.current
}

fn releasing() -> PoolOptions {
    PoolOptions { release_after: Some(PERIOD), ..options() }
}

fn idle_memory_is_released_without_a_call<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, releasing())?;
    let blocks: Vec<_> = (0..10).map(|_| pool.allocate(SEGMENT)).collect::<Result<_, _>>()?;
    assert!(reserved(&pool) >= 10 * SEGMENT);
    drop(blocks);
    wait_until(&pool, "all is released", |pool| reserved(pool) == 0);
    assert_eq!(pool.stats().segments.current, 0);
    pool.check()?;
    Ok(())
}

fn a_need_that_falls_keeps_what_is_still_needed_and_a_margin<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, releasing())?;
    let mut blocks: Vec<_> = (0..40).map(|_| pool.allocate(SEGMENT)).collect::<Result<_, _>>()?;
    blocks.truncate(4);
    wait_until(&pool, "the excess is released", |pool| reserved(pool) <= 6 * SEGMENT);
    // A quarter above four segments, and one more.
    assert!(reserved(&pool) >= 4 * SEGMENT);
    pool.check()?;
    Ok(())
}

fn sparse_segments_are_emptied_and_no_byte_is_lost<S: Subject>(memory: S::Memory) -> Outcome {
    const BYTES: u64 = SEGMENT / 8;
    let pool = Pool::new(memory, releasing())?;
    let blocks: Vec<_> = (0..128).map(|_| pool.allocate(BYTES)).collect::<Result<_, _>>()?;
    assert!(reserved(&pool) >= 16 * SEGMENT);
    let kept: Vec<(u8, Storage<S::Memory>)> = (0..).zip(blocks).filter(|(number, _)| number % 16 == 3).collect();
    for (number, block) in &kept {
        block.write(0, &vec![*number; usize::try_from(BYTES)?])?;
    }
    wait_until(&pool, "sparse segments are released", |pool| reserved(pool) <= 3 * SEGMENT);
    if S::HOLDS_BYTES {
        for (number, block) in &kept {
            let mut download = pool.download(BYTES)?;
            download.add(block, 0, BYTES)?;
            assert!(download.finish_blocking()?.iter().all(|byte| byte == number), "block {number}");
        }
    }
    pool.check()?;
    Ok(())
}

fn pinned_blocks_stay_where_they_are<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, releasing())?;
    let blocks: Vec<_> = (0..20).map(|_| pool.allocate(SEGMENT)).collect::<Result<_, _>>()?;
    let pin = blocks[7].pin()?;
    let place = pin.place();
    drop(blocks);
    wait_until(&pool, "the rest is released", |pool| reserved(pool) <= 3 * SEGMENT);
    assert_eq!(pin.place(), place);
    assert_eq!(pool.stats().pinned.current, SEGMENT);
    drop(pin);
    wait_until(&pool, "the last segment is released", |pool| reserved(pool) == 0);
    pool.check()?;
    Ok(())
}

over_every_memory! {
    idle_memory_is_released_without_a_call,
    a_need_that_falls_keeps_what_is_still_needed_and_a_margin,
    sparse_segments_are_emptied_and_no_byte_is_lost,
    pinned_blocks_stay_where_they_are,
}

/// A loop whose iterations are alike creates no segment after its first.
fn a_loop_keeps_its_memory<M: Memory>(memory: M) -> Outcome {
    let pool = Pool::new(memory, releasing())?;
    let step = || -> Outcome {
        let blocks: Vec<_> = (1..12).map(|size| pool.allocate(size * SEGMENT / 3)).collect::<Result<_, _>>()?;
        drop(blocks);
        Ok(())
    };
    let begun = Instant::now();
    step()?;
    let created = pool.remedies().segments_created;
    let mut end = begun;
    let mut longest = Duration::ZERO;
    while end - begun < 6 * PERIOD {
        step()?;
        pool.submit()?;
        let before = std::mem::replace(&mut end, Instant::now());
        longest = longest.max(end - before);
    }
    // A machine that stops the thread for a period makes it a loop with longer iterations.
    if longest < PERIOD / 2 {
        assert_eq!(pool.remedies().segments_created, created);
    }
    Ok(())
}

#[test]
fn a_loop_whose_iterations_are_alike_creates_no_segment_again() -> Outcome {
    a_loop_keeps_its_memory(AccountingMemory::new())?;
    Adapter::memory().map_or(Ok(()), a_loop_keeps_its_memory)
}

#[test]
fn without_the_option_memory_stays_reserved() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), options())?;
    drop(pool.allocate(10 * SEGMENT)?);
    sleep(3 * PERIOD);
    pool.submit()?;
    assert!(reserved(&pool) >= 10 * SEGMENT);
    Ok(())
}

/// Case 22: above a fraction of the limit, idle segments are released before the pool grows, without waiting for the device.
#[test]
fn idle_segments_go_before_the_pool_grows_beyond_a_fraction_of_its_limit() -> Outcome {
    let limit = 100 * SEGMENT;
    let reserved_after = |release_above| -> Result<u64, Box<dyn std::error::Error>> {
        let options = PoolOptions { limit: Some(limit), release_above, ..options() };
        let pool = Pool::new(AccountingMemory::new(), options)?;
        let blocks: Vec<_> = (0..50).map(|_| pool.allocate(SEGMENT)).collect::<Result<_, _>>()?;
        drop(blocks);
        let _block = pool.allocate(20 * SEGMENT)?;
        assert_eq!(pool.remedies().waits, 0);
        Ok(reserved(&pool))
    };
    // As many bytes are released as the new segment has, unless the fraction requires more.
    assert!(reserved_after(1.0)? >= 45 * SEGMENT);
    let reserved = reserved_after(0.3)?;
    assert!((20 * SEGMENT..=30 * SEGMENT).contains(&reserved), "{reserved} of {limit}");
    Ok(())
}

#[test]
fn a_fraction_that_is_none_is_refused() {
    for fraction in [0.0, -1.0, 1.01, f64::NAN, f64::INFINITY] {
        let options = PoolOptions { release_above: fraction, ..options() };
        let error = Pool::new(AccountingMemory::new(), options).expect_err("refused");
        assert_eq!(error, OptionsError::ReleaseAbove { fraction: Number(fraction) });
    }
}

/// The longest periods, which end at no moment that the system can represent.
#[test]
fn the_longest_period_releases_nothing_and_overflows_nowhere() -> Outcome {
    for release_after in [Duration::MAX, Duration::MAX / 2, Duration::from_secs(u64::MAX / 64)] {
        let (device, queue) = crate::common::adapter::noop();
        let released_late = PoolOptions { release_after: Some(release_after), ..options() };
        let pool = Pool::from_device(device, queue, released_late)?;
        for _ in 0..20 {
            drop((pool.allocate(8 << 20)?, pool.allocate(3 << 20)?));
        }
        assert!(pool.stats().reserved.current >= 11 << 20, "{release_after:?}");
    }
    Ok(())
}
