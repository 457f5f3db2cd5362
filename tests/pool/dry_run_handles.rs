//! Storages, threads and panics in dry runs: nothing refers to memory of others, and nothing is lost.

use crate::common::Outcome;
use crate::dry_run::MOST;
use crate::subjects::{Subject, assert_consistent, assert_stamp, currents, options, over_every_memory, stamp};
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu_pool::error::DryRunError;
use wgpu_pool::{AccountingMemory, DeviceError, HostMemory, Memory, MemoryLimits, Pool, PoolOptions};

fn a_storage_that_outlives_its_dry_run_is_refused_everywhere<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let real = pool.allocate(1000)?;
    let (escaped, _) = pool.dry_run(|| pool.allocate(1001))?;
    let escaped = escaped?;
    let refused = Err(DeviceError::DryStorage { bytes: 1001 });
    // The block that the next request gets may have the id that the dry run used.
    let next = pool.allocate(1001)?;
    stamp(&next, 1)?;
    for _ in 0..2 {
        assert_eq!(escaped.write(0, &[1; 1001]), refused);
        assert_eq!(escaped.clear(), refused);
        assert_eq!(real.copy_to(&escaped), refused);
        assert_eq!(escaped.copy_to(&next), refused);
        assert_eq!(escaped.pin().map(|_| ()), refused);
        assert_eq!(escaped.offload(), refused);
        assert_eq!(escaped.prefetch(), refused);
        assert_eq!(escaped.keep_on_device(), refused);
        if let Ok(mut download) = pool.download(2000) {
            assert_eq!(download.add(&escaped, 0, 1000), refused);
        }
        let (result, _) = pool.dry_run(|| escaped.clear())?;
        assert_eq!(result, refused, "a second dry run does not contain it either");
    }
    escaped.set_label("ignored");
    let weak = escaped.downgrade();
    assert!(weak.upgrade().is_some_and(|again| again.is_same(&escaped) && again.is_of_same_pool(&real)));
    let clone = escaped.clone();
    drop(escaped);
    assert!(weak.upgrade().is_some());
    drop(clone);
    assert!(weak.upgrade().is_none());
    assert_stamp::<S>(&next, 1);
    assert_eq!(pool.stats().requested.current, 2001);
    assert_consistent(&pool);
    Ok(())
}

fn reads_and_pins_in_a_dry_run_are_refused<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let real = pool.allocate(1000)?;
    stamp(&real, 7)?;
    let mut download = pool.download(1000).ok();
    let (result, _) = pool.dry_run(|| -> Outcome {
        let dry = pool.allocate(500)?;
        assert_eq!(pool.download(1000).err(), Some(DeviceError::DryRun { bytes: 1000 }));
        for storage in [&real, &dry] {
            let bytes = storage.bytes();
            assert_eq!(storage.pin().err(), Some(DeviceError::DryRun { bytes }));
            storage.clear()?;
            storage.write(0, &[0; 500])?;
            assert!(storage.write(1, &[0; 500]).is_err(), "what is checked before recording is checked");
            if let Some(download) = &mut download {
                assert_eq!(download.add(storage, 0, 100).err(), Some(DeviceError::DryRun { bytes: 100 }));
            }
        }
        pool.submit()?;
        pool.synchronize_blocking()?;
        Ok(())
    })?;
    result?;
    assert_stamp::<S>(&real, 7);
    Ok(())
}

fn a_panic_ends_the_dry_run_and_leaves_the_pool_intact<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let real = pool.allocate(1000)?;
    stamp(&real, 3)?;
    let before = currents(&pool.stats());
    let mut escaped = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pool.dry_run(|| {
            let _scope = pool.scope("unfinished");
            let _unwound = pool.allocate(MOST);
            escaped = pool.allocate(MOST).ok();
            real.clear().expect("nothing is recorded");
            panic!("a defect of the program");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(currents(&pool.stats()), before);
    assert_stamp::<S>(&real, 3);
    assert_eq!(escaped.map(|storage| storage.clear()), Some(Err(DeviceError::DryStorage { bytes: MOST })));
    let (inside, _) = pool.dry_run(|| pool.dry_run(|| ()).err())?;
    assert_eq!(inside, Some(DryRunError::Nested));
    assert_eq!(pool.dry_run(|| 5)?.0, 5, "the next one starts as the first one");
    Ok(())
}

over_every_memory! {
    a_storage_that_outlives_its_dry_run_is_refused_everywhere,
    reads_and_pins_in_a_dry_run_are_refused,
    a_panic_ends_the_dry_run_and_leaves_the_pool_intact,
}

#[test]
fn other_threads_and_other_pools_are_not_part_of_a_dry_run() -> Outcome {
    let [pool, other] = [(), ()].map(|()| Pool::new(HostMemory::default(), options()));
    let (pool, other) = (pool?, other?);
    let (kept, dry_run) = pool.dry_run(|| {
        let dry = pool.allocate(1000).expect("there is no limit");
        let on_thread = std::thread::scope(|threads| {
            let thread = threads.spawn(|| {
                let real = pool.allocate(5000).expect("there is no limit");
                stamp(&real, 1).expect("the memory has bytes");
                assert_eq!(dry.clear(), Err(DeviceError::DryStorage { bytes: 1000 }), "of another thread");
                assert_eq!(pool.stats().requested.current, 5000);
                real
            });
            thread.join().expect("it does not panic")
        });
        on_thread.clear().expect("a storage of another thread may be an operand");
        let of_other = other.allocate(7000).expect("there is no limit");
        stamp(&of_other, 2).expect("the memory has bytes");
        let (_, inner) = other.dry_run(|| other.allocate(10_000)).expect("it is another pool");
        assert_eq!(inner.requested_peak().bytes, 17_000);
        let moved = std::thread::spawn(move || drop(dry));
        moved.join().expect("it does not panic");
        assert_eq!(pool.stats().requested.current, 0, "freed on another thread");
        (on_thread, of_other)
    })?;
    assert_eq!(dry_run.requested_peak().bytes, 1000);
    assert_eq!((pool.stats().requested.current, other.stats().requested.current), (5000, 7000));
    assert_stamp::<crate::subjects::Host>(&kept.0, 1);
    assert_stamp::<crate::subjects::Host>(&kept.1, 2);
    Ok(())
}

#[test]
fn a_block_of_another_thread_is_never_freed_in_place_of_a_block_with_the_same_id() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    let before = pool.allocate(1000)?;
    let (_, dry_run) = pool.dry_run(|| -> Outcome {
        // Both heaps use the next slot: one for each of these.
        let dry = pool.allocate(3000)?;
        let real = std::thread::scope(|threads| threads.spawn(|| pool.allocate(3000)).join().expect("no panic"))?;
        drop(real);
        assert_eq!(pool.stats().requested.current, 4000, "only the other thread's block is freed");
        drop(before);
        assert_eq!(pool.stats().requested.current, 3000);
        drop(dry);
        pool.check()?;
        Ok(())
    })?;
    assert_eq!(dry_run.requested_peak().bytes, 4000);
    assert_eq!(pool.stats().requested.current, 0);
    pool.check()?;
    Ok(())
}

#[test]
fn a_pin_from_before_is_a_pin_in_the_copy_until_its_guard_is_dropped() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    let storage = pool.allocate(1000)?;
    let pinned = storage.pin()?;
    pool.dry_run(|| {
        assert_eq!((pool.pins().len(), pool.stats().pinned.current), (1, 1024));
        drop(storage);
        assert_eq!(pool.stats().active.current, 1024);
        drop(pinned);
        assert_eq!((pool.pins().len(), pool.stats().active.current), (0, 0));
        pool.check().expect("the invariants hold");
    })?;
    assert_eq!(pool.stats().active.current, 0);
    Ok(())
}

#[test]
fn a_scope_from_before_that_ends_in_the_closure_ends_in_the_copy() -> Outcome {
    let pool = Pool::new(HostMemory::default(), options())?;
    let scope = pool.scope("outer");
    let (allocated, dry_run) = pool.dry_run(|| {
        let within = pool.allocate(1000)?;
        drop(scope);
        let after = pool.allocate(2000)?;
        Ok::<_, wgpu_pool::AllocateError>((within, after))
    })?;
    let scopes: Vec<_> = dry_run.holders().iter().map(|holder| (holder.bytes, holder.scope.as_deref())).collect();
    assert_eq!(scopes, [(2000, None), (1000, Some("outer"))]);
    drop(allocated);
    Ok(())
}

/// A device may have larger segments than an accounting memory by default.
#[test]
fn the_copy_has_the_limits_of_the_device() -> Outcome {
    let default = AccountingMemory::new().limits();
    let limits = MemoryLimits { largest_segment: 1 << 40, largest_binding: 1 << 40, ..default };
    let pool = Pool::new(AccountingMemory::with_limits(limits), PoolOptions::default())?;
    let above = default.largest_segment + (1 << 20);
    let before = pool.allocate(above)?;
    let ((), dry_run) = pool.dry_run(|| drop(pool.allocate(above)))?;
    assert!(dry_run.fits(), "{dry_run}");
    assert_eq!(dry_run.requested_peak().bytes, 2 * above);
    drop(before);
    Ok(())
}

/// The order of uses, what is in host memory, and what stays on the device are those of the pool.
#[test]
fn blocks_move_to_host_memory_as_in_the_program() -> Outcome {
    const BLOCK: u64 = 64 << 10;
    let limited = PoolOptions { limit: Some(6 * BLOCK), spill: Some(u64::MAX), ..options() };
    let pool = Pool::new(HostMemory::default(), limited)?;
    let blocks = (0..9).map(|_| pool.allocate(BLOCK)).collect::<Result<Vec<_>, _>>()?;
    blocks[8].keep_on_device()?;
    let step = || -> Result<_, Box<dyn std::error::Error>> {
        let before = pool.spill_stats();
        let activations = (0..3).map(|_| pool.allocate(BLOCK + 100)).collect::<Result<Vec<_>, _>>()?;
        for block in blocks.iter().step_by(2).chain(&activations) {
            block.clear()?;
        }
        let after = pool.spill_stats();
        let places: Vec<_> = blocks.iter().map(wgpu_pool::Storage::residence).collect();
        let counts =
            [after.blocks_out - before.blocks_out, after.blocks_in - before.blocks_in, after.stalls - before.stalls];
        Ok((places, counts, after.host))
    };
    for _ in 0..3 {
        let (predicted, dry_run) = pool.dry_run(step)?;
        let predicted = predicted?;
        pool.reset_peaks();
        assert_eq!(step()?, predicted);
        assert_eq!(pool.stats().reserved.peak, dry_run.reserved_peak().bytes);
        assert!(predicted.1.iter().all(|&count| count > 0), "{predicted:?}");
    }
    // A command whose blocks do not fit together is refused, as in the program.
    let large = pool.allocate(4 * BLOCK)?;
    let other = pool.allocate(4 * BLOCK)?;
    let (copied, dry_run) = pool.dry_run(|| large.copy_to(&other))?;
    assert!(matches!(copied, Err(DeviceError::WorkingSet(_))) && !dry_run.fits(), "{copied:?}");
    assert_eq!(large.copy_to(&other), copied);
    Ok(())
}
