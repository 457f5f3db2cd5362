//! Faults and other threads at every step of a move between the device and the host.

use crate::common::{Outcome, adapter};
use crate::hostile::{Action, Hostile};
use crate::spill::NoopMapped;
use crate::subjects::{SEGMENT, Subject, assert_consistent, options, pattern, read, stamp};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use wgpu_pool::{
    AllocateError, DeviceError, DeviceResources, Gpu, HostMemory, HostOptions, Memory, Pinned, Pool, PoolOptions,
    Residence, Storage,
};

const BLOCK: u64 = SEGMENT / 2;

fn pool<M: Memory>(memory: M) -> Result<Pool<M>, wgpu_pool::OptionsError> {
    Pool::new(memory, PoolOptions { limit: Some(2 * SEGMENT), spill: Some(u64::MAX), ..options() })
}

fn stamped<M: Memory>(pool: &Pool<M>, number: u64) -> Result<Storage<M>, Box<dyn std::error::Error>> {
    let storage = pool.allocate(BLOCK)?;
    stamp(&storage, number)?;
    Ok(storage)
}

fn assert_content<M: Memory>(storage: &Storage<M>, number: u64) -> Outcome {
    let found = read(storage)?;
    assert!(found == pattern(number, found.len()), "storage {number} lost its content");
    Ok(())
}

/// Schedules an action for the next read-back.
fn during_a_read_back(pool: &Pool<Hostile>, action: impl FnMut() + Send + 'static) {
    let action: Action = Box::new(action);
    pool.memory().meanwhile.collecting.lock().expect("no action panics with the lock").push_back(action);
}

#[test]
fn a_block_that_a_command_uses_during_its_read_back_keeps_the_new_content() -> Outcome {
    let pool = pool(Hostile::new(u64::MAX))?;
    let storage = stamped(&pool, 1)?;
    let inside = storage.clone();
    during_a_read_back(&pool, move || {
        assert_eq!(inside.residence(), Residence::InTransit);
        stamp(&inside, 2).expect("a storage in transit can be written");
    });
    // The second read-back succeeds.
    storage.offload()?;
    assert_eq!(storage.residence(), Residence::Host);
    assert_content(&storage, 2)?;
    assert_consistent(&pool);
    Ok(())
}

#[test]
fn a_block_that_is_used_in_every_read_back_stays_on_the_device() -> Outcome {
    let pool = pool(Hostile::new(u64::MAX))?;
    let storage = stamped(&pool, 1)?;
    for number in 2..20 {
        let inside = storage.clone();
        during_a_read_back(&pool, move || stamp(&inside, number).expect("a storage in transit can be written"));
    }
    assert_eq!(storage.offload(), Err(DeviceError::InUse { bytes: BLOCK }));
    pool.memory().meanwhile.collecting.lock().expect("no action panics").clear();
    assert_eq!((storage.residence(), pool.spill_stats().in_transit), (Residence::Device, 0));
    assert_content(&storage, 9)?;
    Ok(())
}

#[test]
fn a_block_that_is_freed_pinned_or_moved_during_its_read_back_is_safe() -> Outcome {
    let pool = pool(Hostile::new(u64::MAX))?;
    // Freed: by the request of another thread, and its location is reused.
    let victim = Arc::new(Mutex::new(Some(stamped(&pool, 1)?)));
    let others = (2..5).map(|number| stamped(&pool, number)).collect::<Result<Vec<_>, _>>()?;
    let reused = Arc::new(Mutex::new(None));
    let (inside, reused_inside, pool_inside) = (Arc::clone(&victim), Arc::clone(&reused), pool.clone());
    during_a_read_back(&pool, move || {
        drop(inside.lock().expect("no panic").take());
        *reused_inside.lock().expect("no panic") = Some(stamped(&pool_inside, 9).expect("there is room"));
    });
    let more = stamped(&pool, 5)?;
    assert_eq!(pool.spill_stats().host_blocks, 1);
    for (storage, number) in others.iter().chain([&more]).zip(2..) {
        assert_content(storage, number)?;
    }
    assert_content(reused.lock().expect("no panic").as_ref().ok_or("it was allocated")?, 9)?;
    drop((more, reused, others));

    // Pinned during the read-back, and written through the guard.
    let storage = stamped(&pool, 6)?;
    let guard: Arc<Mutex<Option<Pinned<Hostile>>>> = Arc::default();
    let (inside, guard_inside) = (storage.clone(), Arc::clone(&guard));
    during_a_read_back(&pool, move || {
        *guard_inside.lock().expect("no panic") = Some(inside.pin().expect("it is on the device"));
    });
    assert_eq!(storage.offload(), Err(DeviceError::Pinned { bytes: BLOCK, pins: 1 }));
    drop(guard.lock().expect("no panic").take());
    storage.offload()?;
    assert_content(&storage, 6)?;

    // Moved on the device: the copy stays valid.
    let below = stamped(&pool, 7)?;
    let above = stamped(&pool, 8)?;
    drop(below);
    let pool_inside = pool.clone();
    during_a_read_back(&pool, move || {
        pool_inside.compact().expect("nothing is refused");
    });
    above.offload()?;
    assert_content(&above, 8)?;
    assert_consistent(&pool);
    Ok(())
}

#[test]
fn refused_read_backs_and_uploads_lose_no_byte() -> Outcome {
    let pool = pool(Hostile::new(u64::MAX))?;
    let storages = (0..4).map(|number| stamped(&pool, number)).collect::<Result<Vec<_>, _>>()?;
    let refuses = &pool.memory().refuses;
    refuses.readbacks.store(true, Ordering::Relaxed);
    assert_eq!(storages[0].offload(), Err(DeviceError::HostRefused { bytes: BLOCK }));
    assert!(matches!(pool.allocate(BLOCK), Err(AllocateError::OutOfMemory(_))));
    refuses.readbacks.store(false, Ordering::Relaxed);
    // Small read-back buffers suffice.
    refuses.largest_readback.store(BLOCK / 2, Ordering::Relaxed);
    let extra = pool.allocate(BLOCK)?;
    refuses.largest_readback.store(0, Ordering::Relaxed);
    assert_eq!(pool.spill_stats().host_blocks, 1);
    let away = storages.iter().find(|one| one.residence() == Residence::Host).ok_or("one is in host memory")?;
    drop(extra);
    // Staging memory is refused for the upload.
    refuses.writes_left.store(1, Ordering::Relaxed);
    assert_eq!(away.prefetch(), Err(DeviceError::Refused { bytes: BLOCK }));
    assert_eq!(away.residence(), Residence::Host);
    assert_consistent(&pool);
    refuses.writes_left.store(0, Ordering::Relaxed);
    for (storage, number) in storages.iter().zip(0..) {
        assert_content(storage, number)?;
    }
    assert_consistent(&pool);
    Ok(())
}

#[test]
fn a_host_without_memory_leaves_every_block_on_the_device() -> Outcome {
    let pool = pool(HostMemory::default())?;
    let storages = (0..4).map(|number| stamped(&pool, number)).collect::<Result<Vec<_>, _>>()?;
    pool.memory().refuse_host_segments(true);
    assert_eq!(storages[0].offload(), Err(DeviceError::HostRefused { bytes: BLOCK }));
    let error = match pool.allocate(BLOCK) {
        Err(AllocateError::OutOfMemory(error)) => error,
        other => return Err(format!("{other:?}").into()),
    };
    assert_eq!((error.host, error.host_limit, error.gains.spilled), (0, Some(u64::MAX), 0));
    pool.memory().refuse_host_segments(false);
    let more = stamped(&pool, 4)?;
    for (storage, number) in storages.iter().chain([&more]).zip(0..) {
        assert_content(storage, number)?;
    }
    Ok(())
}

/// The device, not the pool's limit, has no memory.
#[test]
fn a_device_that_refuses_memory_is_relieved_and_blocks_return_when_it_has_room() -> Outcome {
    let memory = HostMemory::new(HostOptions { budget: 2 * SEGMENT, ..HostOptions::default() });
    let pool = Pool::new(memory, PoolOptions { spill: Some(u64::MAX), ..options() })?;
    let storages = (0..9).map(|number| stamped(&pool, number)).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(pool.spill_stats().host_blocks, 5);
    for (storage, number) in storages.iter().zip(0..) {
        assert_content(storage, number)?;
    }
    // Another program takes all memory that the pool has released.
    storages.iter().try_for_each(Storage::offload)?;
    pool.trim();
    pool.memory().set_budget(0);
    let Err(DeviceError::WorkingSet(set)) = storages[0].prefetch() else { return Err("there is no room".into()) };
    assert_eq!((set.bytes, set.refused, set.limit), (BLOCK, Some(BLOCK), None));
    assert!(set.to_string().contains("the device refused 128.0 KiB"), "{set}");
    pool.memory().set_budget(u64::MAX);
    for (storage, number) in storages.iter().zip(0..) {
        assert_content(storage, number)?;
    }
    assert_consistent(&pool);
    Ok(())
}

fn lost_device<S: Subject<Memory = Gpu>>() -> Outcome {
    let Some(memory) = S::memory() else { return Ok(()) };
    let pool = pool(memory)?;
    let storages = (0..6).map(|number| stamped(&pool, number)).collect::<Result<Vec<_>, _>>()?;
    let (on_device, on_host) = (&storages[5], &storages[0]);
    assert_eq!((on_device.residence(), on_host.residence()), (Residence::Device, Residence::Host));
    pool.memory().notify_lost("pulled out");
    let lost = DeviceError::Lost { reason: "pulled out".into() };
    assert_eq!([on_device.offload(), on_host.prefetch(), on_host.clear()], [(); 3].map(|()| Err(lost.clone())));
    assert!(matches!(pool.allocate(BLOCK), Err(AllocateError::Device(error)) if error == lost));
    assert_eq!((on_device.residence(), on_host.residence()), (Residence::Device, Residence::Host));
    assert_consistent(&pool);
    drop(storages);
    pool.trim();
    assert_eq!((pool.spill_stats().host, pool.stats().reserved.current), (0, 0));
    Ok(())
}

#[test]
fn a_lost_device_leaves_consistent_places() -> Outcome {
    lost_device::<NoopMapped>()?;
    lost_device::<crate::subjects::Noop>()?;
    lost_device::<crate::spill::AdapterMapped>()
}

/// An application's device is used as it is: its features decide how bytes move.
#[test]
fn a_device_without_the_feature_reads_bytes_back() -> Outcome {
    let (device, queue) = adapter::noop();
    assert!(!device.features().contains(wgpu_pool::wgpu::Features::MAPPABLE_PRIMARY_BUFFERS));
    let without = Gpu::from_device(device, queue);
    assert!(!without.has_host_segments());
    let with = NoopMapped::memory().ok_or("it always exists")?;
    assert!(with.has_host_segments() && with.create_host_segment(1024).is_ok());
    Ok(())
}
