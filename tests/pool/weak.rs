//! Handles that keep nothing.

use crate::common::Outcome;
use crate::subjects::{Subject, assert_stamp, options, over_every_memory, stamp};
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_pool::{AccountingMemory, Pool, PoolOptions, Tensor};

over_every_memory! {
    a_weak_handle_finds_its_block_while_it_lives,
    a_weak_handle_is_not_taken_in_by_a_later_block,
    a_weak_handle_keeps_neither_block_nor_pool,
}

fn a_weak_handle_finds_its_block_while_it_lives<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(1000)?;
    if S::HOLDS_BYTES {
        stamp(&storage, 7)?;
    }
    let weak = storage.downgrade();
    let again = weak.upgrade().ok_or("it is there")?;
    assert!(again.is_same(&storage));
    assert_eq!((again.handles(), again.bytes()), (2, 1000));
    drop(storage);
    assert_eq!(pool.stats().blocks.current, 1);
    assert_stamp::<S>(&again, 7);
    drop(again);
    assert!(weak.upgrade().is_none());
    assert_eq!(pool.stats().blocks.current, 0);
    Ok(())
}

fn a_weak_handle_is_not_taken_in_by_a_later_block<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let weak = pool.allocate(1000)?.downgrade();
    // The same block, in the same slot, counted by the same recycled count.
    let later = pool.allocate(1000)?;
    assert!(weak.upgrade().is_none());
    assert_eq!(later.handles(), 1);
    let nothing = pool.allocate(0)?;
    let weak = nothing.downgrade();
    assert!(weak.upgrade().is_some());
    drop(nothing);
    assert!(weak.upgrade().is_none());
    Ok(())
}

fn a_weak_handle_keeps_neither_block_nor_pool<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(1000)?;
    let weak = storage.downgrade();
    drop(storage);
    assert_eq!(pool.stats().blocks.current, 0);
    drop(pool);
    assert!(weak.clone().upgrade().is_none());
    Ok(())
}

#[test]
fn a_weak_handle_races_with_the_last_full_one_and_never_finds_a_freed_block() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    for _ in 0..2000 {
        let storage = pool.allocate(1000)?;
        let weak = storage.downgrade();
        let ready = AtomicBool::new(false);
        let alive_while_held = std::thread::scope(|threads| {
            let race = || {
                ready.store(true, Ordering::Release);
                let mut alive = true;
                while let Some(again) = weak.upgrade() {
                    alive &= pool.stats().blocks.current == 1 && again.handles() <= 2;
                }
                alive
            };
            let racer = threads.spawn(race);
            while !ready.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            drop(storage);
            racer.join()
        });
        assert!(alive_while_held.is_ok_and(|alive| alive), "a handle was held to a block that was freed");
        assert!(weak.upgrade().is_none());
        assert_eq!(pool.stats().blocks.current, 0);
        pool.check()?;
    }
    Ok(())
}

#[test]
fn a_weak_tensor_becomes_the_same_tensor() -> Outcome {
    let (device, queue) = crate::common::adapter::noop();
    let pool = Pool::from_device(device, queue, PoolOptions::default())?;
    let tensor = Tensor::from_slice(&pool, &[1_u32, 2, 3, 4], [2, 2])?;
    let weak = tensor.transpose(0, 1)?.downgrade();
    let again = weak.upgrade().ok_or("it is there")?;
    assert_eq!(again.read_blocking::<u32>()?, [1, 3, 2, 4]);
    drop((tensor, again));
    assert!(weak.upgrade().is_none());
    Ok(())
}
