//! Blocks that are cleared when they are freed, before they are reused.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{
    SEGMENT, Subject, allocate_at, assert_stamp, options, over_every_memory_with_bytes, spots, stamp,
};
use wgpu_pool::{Memory, Pool, PoolOptions, Storage};

over_every_memory_with_bytes! {
    a_new_block_reads_as_zeros,
    a_block_freed_while_pinned_is_cleared_when_its_last_pin_is_dropped,
    the_old_location_of_a_moved_block_is_cleared,
    every_new_block_of_a_random_program_is_zero,
}

fn scrubbing() -> PoolOptions {
    PoolOptions { scrub_on_free: true, compaction_share: 1.0, ..options() }
}

/// Returns all bytes of a storage's copy units, including those after its last byte.
fn units<M: Memory>(storage: &Storage<M>) -> Result<Vec<u8>, wgpu_pool::DeviceError> {
    let whole = storage.bytes().next_multiple_of(wgpu_pool::COPY_UNIT);
    let mut download = storage.pool().download(whole)?;
    download.add(storage, 0, whole)?;
    download.finish_blocking()
}

fn assert_zero<M: Memory>(storage: &Storage<M>) -> Outcome {
    let stale = units(storage)?.iter().position(|&byte| byte != 0);
    if let Some(stale) = stale {
        return Err(format!("stale byte {stale} in a new block of {}", storage.bytes()).into());
    }
    Ok(())
}

fn a_new_block_reads_as_zeros<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, scrubbing())?;
    for bytes in [1, 1003, 100_001] {
        let (old, spot) = allocate_at(&pool, bytes)?;
        stamp(&old, 1)?;
        let copy = pool.allocate(bytes)?;
        old.copy_to(&copy)?;
        let clone = old.clone();
        drop(old);
        assert_stamp::<S>(&clone, 1);
        drop(clone);
        let (new, again) = allocate_at(&pool, bytes)?;
        assert_eq!(spot, again, "the same place");
        assert_zero(&new)?;
        // A copy that was recorded before the free has the bytes of that time.
        assert_stamp::<S>(&copy, 1);
    }
    Ok(())
}

// Without the option, the bytes are still there. This proves that the tests above can fail.
#[test]
fn without_the_option_a_new_block_has_the_previous_contents() -> Outcome {
    let pool = Pool::new(wgpu_pool::HostMemory::default(), options())?;
    let old = pool.allocate(1000)?;
    stamp(&old, 1)?;
    drop(old);
    assert!(assert_zero(&pool.allocate(1000)?).is_err());
    Ok(())
}

fn a_block_freed_while_pinned_is_cleared_when_its_last_pin_is_dropped<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, scrubbing())?;
    let (old, spot) = allocate_at(&pool, 1000)?;
    stamp(&old, 1)?;
    let (first, second) = (old.pin()?, old.pin()?);
    drop(first);
    assert_stamp::<S>(&old, 1);
    drop(old);
    assert_eq!(pool.stats().active_blocks.current, 1);
    drop(second);
    let (new, again) = allocate_at(&pool, 1000)?;
    assert_eq!(spot, again, "the same place");
    assert_zero(&new)?;
    // Dropping a pin that is not the last use clears nothing.
    stamp(&new, 2)?;
    drop(new.pin()?);
    assert_stamp::<S>(&new, 2);
    Ok(())
}

fn the_old_location_of_a_moved_block_is_cleared<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, scrubbing())?;
    let mut blocks = Vec::new();
    for number in 0..16 {
        let block = pool.allocate(SEGMENT / 8)?;
        stamp(&block, number)?;
        blocks.push((block, number));
    }
    blocks.retain(|(_, number)| number % 3 == 0);
    let before = spots(&pool);
    let moved = pool.compact()?;
    assert!(moved.moves > 0 && spots(&pool) != before, "{moved:?}");
    for (block, number) in &blocks {
        assert_stamp::<S>(block, *number);
    }
    // Every range that is free now.
    let reserved = pool.stats().reserved.current;
    let mut fresh = Vec::new();
    while pool.stats().reserved.current == reserved {
        let new = pool.allocate(SEGMENT / 8)?;
        assert_zero(&new)?;
        fresh.push(new);
    }
    Ok(())
}

fn every_new_block_of_a_random_program_is_zero<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, scrubbing())?;
    let mut random = Random::new(3);
    let (mut live, mut pins) = (Vec::new(), Vec::new());
    for turn in 0..300 {
        match random.below(12) {
            0 => drop(pool.trim()),
            1 => drop(pool.compact_up_to(SEGMENT)?),
            2 => pins.truncate(pins.len() / 2),
            3..=6 if !live.is_empty() => {
                let storage: Storage<S::Memory> = live.swap_remove(random.below(live.len()));
                if random.below(4) == 0 {
                    pins.push(storage.pin()?);
                }
            }
            _ => {
                let storage = pool.allocate(random.size(SEGMENT / 2))?;
                assert_zero(&storage)?;
                stamp(&storage, turn)?;
                live.push(storage);
            }
        }
    }
    pool.check()?;
    Ok(())
}
