//! Tests of deferred frees: of the list with a model checker, of the rest with pools.

use super::{CAPACITY, DeferredFrees};
use crate::device::{AccountingMemory, HostMemory};
use crate::error::{Error, Result};
use crate::heap::BlockId;
use crate::pool::references::tests::Checked;
use crate::pool::{EventKind, Pool, PoolOptions, Repeat, RepeatOptions, Storage};
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

/// A list that is smaller than the number of blocks.
type List = DeferredFrees<Checked, 2>;

fn block(number: u32) -> BlockId {
    BlockId::outside(number).expect("a small number")
}

#[test]
fn a_block_survives_the_conversion_to_a_number() {
    for number in [0, 1, 12_345] {
        assert_eq!(BlockId::from_bits(block(number).to_bits()), block(number));
    }
}

#[test]
fn every_block_is_taken_once_and_in_order_while_the_writer_goes_on() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        // The bytes that the writer uses until it drops a block.
        let bytes: [_; 3] = std::array::from_fn(|_| loom::cell::UnsafeCell::new(()));
        #[expect(clippy::arc_with_non_send_sync, reason = "the model checker runs all threads on one")]
        let shared = Arc::new((List::default(), bytes, Mutex::new(0)));
        assert!(shared.0.open() && !shared.0.open());
        let take = |shared: &(List, [loom::cell::UnsafeCell<()>; 3], Mutex<u32>)| {
            let (list, bytes, taken) = shared;
            let mut taken = taken.lock().expect("no thread panics");
            while list.has_any() {
                assert_eq!(list.take(), Some(block(*taken)));
                bytes[*taken as usize].with_mut(|_| ());
                *taken += 1;
            }
            *taken
        };
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || take(&shared))
        };
        for number in 0..3 {
            shared.1[number as usize].with(|_| ());
            if !shared.0.put(block(number)) {
                // No room: the writer takes the lock.
                assert_eq!(take(&shared), number);
                assert!(shared.0.put(block(number)));
            }
        }
        // The writer finds its own blocks, whether the reader is done or not.
        assert_eq!(take(&shared), 3);
        reader.join().expect("it does not panic");
        assert!(shared.0.take().is_none());
        shared.0.close();
        assert!(!shared.0.is_open() && shared.0.open());
    });
}

fn pool() -> Result<(Pool<HostMemory>, Repeat<HostMemory>)> {
    let pool = Pool::new(HostMemory::default(), PoolOptions { release_after: None, ..PoolOptions::default() })?;
    let step = pool.repeat(RepeatOptions::default());
    Ok((pool, step))
}

fn kept_counts(pool: &Pool<HostMemory>) -> u64 {
    let caches = pool.caches();
    caches.iter().filter(|cache| cache.name == "reference counts").map(|cache| cache.entries).sum()
}

#[test]
fn every_thread_finds_the_blocks_freed_that_a_step_dropped() -> Result<()> {
    let (pool, step) = pool()?;
    for _ in 0..4 {
        step.run(|| {
            let (first, second) = (pool.allocate(1000)?, pool.allocate(2000)?);
            drop(first);
            assert!(pool.inner.deferred.has_any(), "no lock was taken");
            let other = pool.clone();
            let requested = std::thread::spawn(move || other.stats().requested.current).join();
            assert_eq!(requested.expect("it does not panic"), 2000);
            assert!(!pool.inner.deferred.has_any());
            drop(second);
            pool.check()?;
            assert_eq!((pool.stats().blocks.current, kept_counts(&pool)), (0, 2));
            Ok::<_, Error>(())
        })??;
        assert_eq!((pool.inner.deferred.handles(), kept_counts(&pool)), (0, 2));
    }
    assert_eq!(step.stats().agreeing, 3);
    Ok(())
}

#[test]
fn more_blocks_than_the_list_has_room_for_are_freed_with_the_lock() -> Result<()> {
    let (pool, step) = pool()?;
    for _ in 0..3 {
        step.run(|| {
            let blocks = (0..CAPACITY + 10).map(|_| pool.allocate(1000));
            let blocks: std::result::Result<Vec<Storage<_>>, _> = blocks.collect();
            drop(blocks?);
            assert_eq!(pool.stats().blocks.current, 0);
            Ok::<_, Error>(())
        })??;
        assert_eq!(kept_counts(&pool), CAPACITY as u64 + 10);
        pool.check()?;
    }
    Ok(())
}

#[test]
fn scopes_and_the_history_see_each_free_on_its_own_thread() -> Result<()> {
    let (pool, step) = pool()?;
    step.run(|| {
        let (first, second, third) = (pool.allocate(1000)?, pool.allocate(2000)?, pool.allocate(3000)?);
        let before = pool.allocate(500)?;
        drop(before);
        let scope = pool.scope("inside");
        drop(first);
        let counts = scope.finish();
        assert_eq!((counts.freed, counts.blocks), (1000, -1));
        drop(second);
        assert!(pool.inner.deferred.has_any());
        pool.start_history(10);
        drop(third);
        let events: Vec<_> = pool.history().iter().map(|event| (event.kind, event.requested)).collect();
        assert_eq!(events, [(EventKind::Free, 3000)]);
        Ok::<_, Error>(())
    })?
}

#[test]
fn a_panic_in_a_step_loses_no_block_and_no_handle_keeps_the_pool_alive() -> Result<()> {
    let (pool, step) = pool()?;
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        step.run(|| {
            let first = pool.allocate(1000);
            drop(first);
            panic!("on purpose");
        })
    }));
    assert!(unwound.is_err());
    assert_eq!((pool.stats().blocks.current, kept_counts(&pool)), (0, 1));
    assert!(!pool.inner.deferred.is_open());
    let weak = pool.downgrade();
    drop((pool, step));
    assert!(weak.upgrade().is_none());
    Ok(())
}

#[test]
fn steps_of_two_pools_and_of_two_threads_at_once_free_every_block() -> Result<()> {
    let (outer, outer_step) = pool()?;
    let inner = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let inner_step = inner.repeat(RepeatOptions::default());
    let other_step = outer.repeat(RepeatOptions::default());
    for _ in 0..3 {
        outer_step.run(|| {
            let first = outer.allocate(1000)?;
            inner_step.run(|| inner.allocate(1000).map(drop))??;
            let other = std::thread::scope(|scope| {
                let run = || other_step.run(|| outer.allocate(3000).map(drop));
                scope.spawn(run).join().expect("it does not panic")
            });
            other??;
            drop(first);
            Ok::<_, Error>(())
        })??;
        assert_eq!((outer.stats().blocks.current, inner.stats().blocks.current), (0, 0));
        assert!(!outer.inner.deferred.is_open() && !inner.inner.deferred.is_open());
    }
    assert_eq!([outer_step, other_step].map(|step| step.stats().agreeing), [2, 2]);
    Ok(())
}

#[test]
fn a_count_with_a_weak_handle_is_not_used_again() -> Result<()> {
    let (pool, step) = pool()?;
    step.run(|| {
        let first = pool.allocate(1000)?;
        let weak = first.downgrade();
        drop(first);
        let second = pool.allocate(1000)?;
        assert!(weak.upgrade().is_none());
        assert_eq!(second.handles(), 1);
        drop(second);
        pool.clear_caches();
        assert_eq!((pool.inner.deferred.handles(), kept_counts(&pool)), (0, 0));
        Ok::<_, Error>(())
    })?
}
