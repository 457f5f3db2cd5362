//! Weak handles.

use crate::common::Outcome;
use crate::subjects::{Subject, assert_stamp, options, over_every_memory, stamp};
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_pool::{AccountingMemory, AllocateError, Pool};

over_every_memory! {
    a_weak_handle_upgrades_while_its_block_is_allocated,
    a_weak_handle_never_upgrades_to_a_later_block,
    a_weak_handle_keeps_neither_block_nor_pool,
    a_weak_handle_of_a_freed_pinned_block_never_upgrades_and_affects_no_other_block,
    a_count_is_reused_only_when_no_weak_handle_is_left,
    a_weak_handle_of_a_pool_keeps_neither_the_pool_nor_its_memory,
}

fn a_weak_handle_of_a_pool_keeps_neither_the_pool_nor_its_memory<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let weak = pool.downgrade();
    let storage = pool.allocate(1000)?;
    assert!(weak.upgrade().is_some_and(|again| again.is_same(&pool)));
    drop(pool);
    // A storage keeps its pool.
    let again = weak.clone().upgrade().ok_or("the storage keeps the pool")?;
    assert!(again.is_same(&storage.pool()));
    drop((storage, again));
    assert!(weak.upgrade().is_none());
    // The callback of a pool may hold a weak handle to it.
    let pool = Pool::new(wgpu_pool::HostMemory::default(), options())?;
    let weak = pool.downgrade();
    let own = weak.clone();
    pool.set_pressure_callback(move |_, _| own.upgrade().is_none());
    drop(pool);
    assert!(weak.upgrade().is_none());
    Ok(())
}

fn a_weak_handle_upgrades_while_its_block_is_allocated<S: Subject>(memory: S::Memory) -> Outcome {
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

fn a_weak_handle_never_upgrades_to_a_later_block<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let weak = pool.allocate(1000)?.downgrade();
    // The same block in the same slot, with the same recycled reference counter.
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

// Case 57.
fn a_weak_handle_of_a_freed_pinned_block_never_upgrades_and_affects_no_other_block<S: Subject>(
    memory: S::Memory,
) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let old = pool.allocate(1000)?;
    let (weak, guard) = (old.downgrade(), old.pin()?);
    let second = old.pin()?;
    drop(old);
    let stats = pool.stats();
    assert_eq!((stats.blocks.current, stats.active_blocks.current), (0, 1), "freed, and still pinned");
    assert!(weak.upgrade().is_none(), "a pin does not bring a block back");
    let new = pool.allocate(1000)?;
    let twin = new.clone();
    assert_eq!((twin.handles(), weak.upgrade().is_none()), (2, true));
    if S::HOLDS_BYTES {
        stamp(&new, 5)?;
    }
    drop(second);
    assert!(weak.upgrade().is_none());
    drop(new);
    assert_eq!((twin.handles(), pool.stats().blocks.current), (1, 1), "the twin keeps its block");
    let other = pool.allocate(1000)?;
    if S::HOLDS_BYTES {
        stamp(&other, 6)?;
    }
    drop(guard);
    let third = pool.allocate(1000)?;
    assert!(weak.upgrade().is_none() && weak.clone().upgrade().is_none());
    assert_stamp::<S>(&twin, 5);
    assert_stamp::<S>(&other, 6);
    drop((twin, other, third));
    let stats = pool.stats();
    assert_eq!((stats.blocks.current, stats.active.current, stats.pinned.current), (0, 0, 0));
    Ok(())
}

// Case 57: a reference counter is never shared between blocks.
fn a_count_is_reused_only_when_no_weak_handle_is_left<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    // Each dead handle is another chance to match a later block in its slot with the same counter.
    let dead: Result<Vec<_>, _> = (0..50).map(|_| Ok::<_, AllocateError>(pool.allocate(1000)?.downgrade())).collect();
    let dead = dead?;
    let living: Result<Vec<_>, _> = (0..50).map(|_| pool.allocate(1000)).collect();
    let living = living?;
    assert!(dead.iter().all(|weak| weak.upgrade().is_none()));
    for (index, one) in living.iter().enumerate() {
        assert_eq!(one.handles(), 1);
        assert!(living[..index].iter().all(|other| !one.is_same(other)));
    }
    Ok(())
}

#[test]
fn racing_pins_weak_handles_and_allocations_free_no_block_twice() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), crate::common::options())?;
    for round in 0..1000_u64 {
        let storage = pool.allocate(1000 + round)?;
        let (weak, guard) = (storage.downgrade(), storage.pin()?);
        std::thread::scope(|threads| {
            threads.spawn(|| drop(storage));
            threads.spawn(|| drop(guard));
            threads.spawn(|| {
                let next = pool.allocate(1000 + round).expect("there is no limit");
                assert_eq!(next.handles(), 1);
                if let Some(again) = weak.upgrade() {
                    assert!(!again.is_same(&next) && again.bytes() == 1000 + round);
                }
                assert_eq!(next.clone().handles(), 2);
            });
        });
        assert!(weak.upgrade().is_none());
        let stats = pool.stats();
        assert_eq!((stats.blocks.current, stats.active_blocks.current), (0, 0));
        pool.check()?;
    }
    Ok(())
}

#[test]
fn an_upgrade_racing_with_the_last_strong_handle_never_returns_a_freed_block() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), crate::common::options())?;
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
                std::thread::yield_now();
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

#[cfg(feature = "tensor")]
#[test]
fn a_weak_tensor_upgrades_to_the_same_tensor() -> Outcome {
    use wgpu_pool::Tensor;

    let (device, queue) = crate::common::adapter::noop();
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let tensor = Tensor::from_slice(&pool, &[1_u32, 2, 3, 4], [2, 2])?;
    let weak = tensor.transpose(0, 1)?.downgrade();
    let again = weak.upgrade().ok_or("it is there")?;
    assert_eq!(again.read_blocking::<u32>()?, [1, 3, 2, 4]);
    drop((tensor, again));
    assert!(weak.upgrade().is_none());
    Ok(())
}
