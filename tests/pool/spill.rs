//! Spilling: blocks that move to host memory and return, on every memory and by both methods: recorded copies, and
//! read-backs.

use crate::common::{Outcome, adapter};
use crate::subjects::{SEGMENT, Subject, assert_consistent, assert_stamp, options, stamp};
use wgpu_pool::{
    AllocateError, DeviceError, EventKind, Gpu, GpuOptions, Memory, Pool, PoolOptions, Residence, Storage,
};

/// wgpu without a driver, with recorded copies.
pub(crate) struct NoopMapped;
/// The best adapter, with recorded copies if it has the feature.
pub(crate) struct AdapterMapped;

impl Subject for NoopMapped {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;
    const RUNS_KERNELS: bool = false;

    fn memory() -> Option<Gpu> {
        let required_features = wgpu_pool::wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        let descriptor = wgpu_pool::wgpu::DeviceDescriptor { required_features, ..Default::default() };
        let (device, queue) = wgpu_pool::wgpu::Device::noop(&descriptor);
        Some(Gpu::from_device(device, queue))
    }
}

impl Subject for AdapterMapped {
    type Memory = Gpu;
    const HOLDS_BYTES: bool = true;

    fn memory() -> Option<Gpu> {
        // Fails where an adapter is required.
        adapter::gpu()?;
        let features = wgpu_pool::wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
        pollster::block_on(Gpu::open(&GpuOptions { features, ..GpuOptions::default() })).ok()
    }
}

/// Defines a test for each case and each memory.
macro_rules! over_spilling_memories {
    ($($case:ident),* $(,)?) => {
        over_spilling_memories! { @ [
            accounting $crate::subjects::Accounting, host $crate::subjects::Host, host_readback $crate::subjects::HostReadback,
            noop $crate::subjects::Noop, noop_mapped $crate::spill::NoopMapped, on_adapter $crate::subjects::Adapter,
            on_adapter_mapped $crate::spill::AdapterMapped, gl $crate::subjects::Gl
        ] $($case)* }
    };
    (@ [] $($case:ident)*) => {};
    (@ [$module:ident $subject:path $(, $rest:ident $rest_subject:path)*] $($case:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $case() -> $crate::common::Outcome {
                    match <$subject as $crate::subjects::Subject>::memory() {
                        Some(memory) => super::$case::<$subject>(memory),
                        None => Ok(()),
                    }
                }
            )*
        }
        over_spilling_memories! { @ [$($rest $rest_subject),*] $($case)* }
    };
}

over_spilling_memories! {
    more_than_the_limit_is_held_and_no_byte_is_lost,
    an_offloaded_storage_returns_before_a_command_uses_it,
    handles_views_and_labels_survive_a_move,
    pinned_and_kept_storages_stay,
    the_tensors_of_one_command_must_fit_together,
    beyond_the_host_limit_the_error_has_the_numbers_of_both_sides,
    a_freed_storage_frees_its_host_memory,
    a_loop_over_more_than_fits_moves_the_excess_only,
    the_history_and_the_snapshot_show_the_places,
    without_the_option_nothing_moves,
    cleared_blocks_stay_cleared_when_blocks_move,
    zero_bytes_have_no_place_to_leave,
}

const BLOCK: u64 = SEGMENT / 2;

fn spilling<M: Memory>(memory: M, limit: u64, host: u64) -> Result<Pool<M>, wgpu_pool::OptionsError> {
    Pool::new(memory, PoolOptions { limit: Some(limit), spill: Some(host), ..options() })
}

fn stamped<M: Memory>(pool: &Pool<M>, count: u64) -> Result<Vec<Storage<M>>, Box<dyn std::error::Error>> {
    let one = |number| {
        let storage = pool.allocate(BLOCK)?;
        stamp(&storage, number)?;
        Ok(storage)
    };
    (0..count).map(one).collect()
}

fn more_than_the_limit_is_held_and_no_byte_is_lost<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 2 * SEGMENT, u64::MAX)?;
    let storages = stamped(&pool, 13)?;
    let stats = pool.spill_stats();
    assert_eq!((stats.host_blocks, stats.host, stats.in_transit), (9, 9 * BLOCK, 0), "{stats:?}");
    assert!(pool.stats().reserved.current <= 2 * SEGMENT);
    for _ in 0..2 {
        for (storage, number) in storages.iter().zip(0..) {
            assert_stamp::<S>(storage, number);
        }
    }
    assert_consistent(&pool);
    assert!(pool.spill_stats().stalls > 0 || !S::HOLDS_BYTES);
    drop(storages);
    pool.trim();
    let stats = pool.spill_stats();
    assert_eq!((stats.host, stats.idle, pool.stats().reserved.current), (0, 0, 0), "{stats:?}");
    Ok(())
}

fn an_offloaded_storage_returns_before_a_command_uses_it<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 4 * SEGMENT, u64::MAX)?;
    let storage = pool.allocate(1001)?;
    stamp(&storage, 7)?;
    let before = pool.stats();
    storage.offload()?;
    assert_eq!(storage.residence(), Residence::Host);
    assert_eq!((pool.stats().requested.current, pool.stats().spilled_requested.current), (0, 1001));
    storage.offload()?;
    // Another block is at its location meanwhile.
    let other = pool.allocate(1001)?;
    stamp(&other, 8)?;
    storage.prefetch()?;
    assert_eq!(storage.residence(), Residence::Device);
    assert_stamp::<S>(&storage, 7);
    assert_stamp::<S>(&other, 8);
    drop(other);
    assert_eq!(pool.stats().requested.current, before.requested.current);
    storage.offload()?;
    stamp(&storage, 9)?;
    assert_eq!(storage.residence(), Residence::Device);
    storage.offload()?;
    let copy = pool.allocate(1001)?;
    storage.copy_to(&copy)?;
    assert_stamp::<S>(&copy, 9);
    let stats = pool.spill_stats();
    assert_eq!((stats.blocks_out, stats.blocks_in, stats.host), (3, 3, 0), "{stats:?}");
    assert_consistent(&pool);
    Ok(())
}

fn handles_views_and_labels_survive_a_move<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 4 * SEGMENT, u64::MAX)?;
    let storage = pool.allocate(4096)?;
    storage.set_label("weights");
    stamp(&storage, 1)?;
    let (clone, weak) = (storage.clone(), storage.downgrade());
    storage.offload()?;
    let upgraded = weak.upgrade().ok_or("the storage lives")?;
    assert!(upgraded.is_same(&clone) && upgraded.handles() == 3);
    assert_stamp::<S>(&upgraded, 1);
    upgraded.offload()?;
    let holders = pool.top_holders(5);
    assert_eq!(holders.iter().map(|holder| holder.bytes).sum::<u64>(), 4096, "{holders:?}");
    assert_eq!(holders[0].label.as_deref(), Some("weights"));
    drop((storage, clone, upgraded));
    assert!(weak.upgrade().is_none());
    assert_eq!(pool.spill_stats().host, 0);
    assert_consistent(&pool);
    Ok(())
}

fn pinned_and_kept_storages_stay<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 2 * SEGMENT, u64::MAX)?;
    let (pinned, kept) = (pool.allocate(BLOCK)?, pool.allocate(BLOCK)?);
    stamp(&pinned, 100)?;
    stamp(&kept, 101)?;
    kept.keep_on_device()?;
    let guard = pinned.pin()?;
    let place = guard.place();
    assert_eq!(pinned.offload(), Err(DeviceError::Pinned { bytes: BLOCK, pins: 1 }));
    let others = stamped(&pool, 7)?;
    assert_eq!((pinned.residence(), kept.residence()), (Residence::Device, Residence::Device));
    assert_eq!(guard.place(), place);
    assert_eq!(pool.spill_stats().kept, BLOCK);
    drop(guard);
    // The explicit call precedes.
    kept.offload()?;
    assert_eq!((kept.residence(), pool.spill_stats().kept), (Residence::Host, 0));
    kept.keep_on_device()?;
    assert_eq!(kept.residence(), Residence::Device);
    for (storage, number) in others.iter().zip(0..) {
        assert_stamp::<S>(storage, number);
    }
    assert_eq!(kept.residence(), Residence::Device);
    assert_stamp::<S>(&pinned, 100);
    assert_stamp::<S>(&kept, 101);
    assert_consistent(&pool);
    Ok(())
}

fn the_tensors_of_one_command_must_fit_together<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, SEGMENT, u64::MAX)?;
    let (first, second) = (pool.allocate(3 * BLOCK / 2)?, pool.allocate(3 * BLOCK / 2)?);
    stamp(&first, 1)?;
    stamp(&second, 2)?;
    let Err(DeviceError::WorkingSet(set)) = first.copy_to(&second) else {
        return Err("two storages of 0.75 of the limit each cannot be on the device together".into());
    };
    assert_eq!((set.bytes, set.missing, set.limit), (3 * BLOCK, 3 * BLOCK / 2, Some(SEGMENT)));
    assert_eq!(set.host, 3 * BLOCK / 2);
    // Nothing was lost.
    assert_stamp::<S>(&first, 1);
    assert_stamp::<S>(&second, 2);
    pool.set_limit(Some(2 * SEGMENT));
    first.copy_to(&second)?;
    assert_stamp::<S>(&second, 1);
    assert_consistent(&pool);
    Ok(())
}

fn beyond_the_host_limit_the_error_has_the_numbers_of_both_sides<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 2 * SEGMENT, 2 * BLOCK)?;
    let storages = stamped(&pool, 6)?;
    let error = match pool.allocate(BLOCK) {
        Err(AllocateError::OutOfMemory(error)) => error,
        other => return Err(format!("{other:?}").into()),
    };
    assert_eq!((error.limit, error.allocated), (Some(2 * SEGMENT), 4 * BLOCK));
    assert_eq!((error.host, error.host_limit), (2 * BLOCK, Some(2 * BLOCK)));
    assert!(error.to_string().contains(", in host memory 256.0 KiB of at most 256.0 KiB"), "{error}");
    let on_device = storages.iter().find(|one| one.residence() == Residence::Device).ok_or("four are")?;
    assert_eq!(on_device.offload(), Err(DeviceError::HostLimit { bytes: BLOCK, held: 2 * BLOCK, limit: 2 * BLOCK }));
    // With both sides full, blocks are exchanged: the limit holds before and after.
    for (storage, number) in storages.iter().zip(0..) {
        storage.prefetch()?;
        assert_stamp::<S>(storage, number);
        let stats = pool.spill_stats();
        assert!((stats.host, stats.host_blocks) == (2 * BLOCK, 2) && stats.idle == 0, "{stats:?}");
    }
    drop(storages);
    assert_eq!(stamped(&pool, 6)?.len(), 6);
    assert_consistent(&pool);
    Ok(())
}

fn a_freed_storage_frees_its_host_memory<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 4 * SEGMENT, BLOCK)?;
    for number in 0..5 {
        let storage = pool.allocate(BLOCK)?;
        stamp(&storage, number)?;
        storage.offload()?;
        assert_eq!(pool.spill_stats().host, BLOCK);
    }
    // An idle host buffer of another size is freed when the limit requires it.
    let storage = pool.allocate(BLOCK / 2)?;
    stamp(&storage, 9)?;
    storage.offload()?;
    let stats = pool.spill_stats();
    assert!(stats.host == BLOCK / 2 && stats.host + stats.idle <= BLOCK, "{stats:?}");
    assert_stamp::<S>(&storage, 9);
    Ok(())
}

fn a_loop_over_more_than_fits_moves_the_excess_only<S: Subject>(memory: S::Memory) -> Outcome {
    let room = 10;
    let pool = spilling(memory, room * BLOCK, u64::MAX)?;
    for blocks in [11, 15, 20] {
        let storages = stamped(&pool, blocks)?;
        let pass = || storages.iter().zip(0..).try_for_each(|(storage, number)| stamp(storage, number));
        for _ in 0..6 {
            pass()?;
        }
        let before = pool.spill_stats();
        let passes = 4;
        for _ in 0..passes {
            pass()?;
        }
        let stats = pool.spill_stats();
        assert_eq!(stats.period, Some(blocks));
        let moved = (stats.blocks_out - before.blocks_out).max(stats.blocks_in - before.blocks_in);
        // Belady's optimum is (blocks - room) / (blocks - 1) of the uses.
        let best = (passes * blocks * (blocks - room)).div_ceil(blocks - 1);
        assert!(moved <= best + passes, "{moved} blocks moved, at best {best} of {}", passes * blocks);
        for (storage, number) in storages.iter().zip(0..) {
            assert_stamp::<S>(storage, number);
        }
    }
    Ok(())
}

fn the_history_and_the_snapshot_show_the_places<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 4 * SEGMENT, u64::MAX)?;
    pool.start_history(100);
    let storage = pool.allocate(1000)?;
    storage.set_label("weights");
    stamp(&storage, 1)?;
    storage.offload()?;
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.spill.host, snapshot.spill.limit), (snapshot.stats.spilled.current, Some(u64::MAX)));
    let [block] = &snapshot.host_blocks[..] else { return Err("one block is in host memory".into()) };
    assert_eq!((block.requested, block.size), (1000, snapshot.stats.spilled.current));
    assert_eq!(block.origin.as_ref().and_then(|origin| origin.label.as_deref()), Some("weights"));
    let report = pool.report().to_string();
    assert!(report.contains("in host memory"), "{report}");
    storage.prefetch()?;
    storage.offload()?;
    drop(storage);
    let kinds: Vec<EventKind> = pool.history().iter().map(|event| event.kind).collect();
    let wanted = [
        EventKind::SegmentCreated,
        EventKind::Allocate,
        EventKind::Spill,
        EventKind::Return,
        EventKind::Spill,
        EventKind::Free,
    ];
    assert_eq!(kinds, wanted);
    assert!(pool.history().last().is_some_and(|event| event.segment.is_none() && event.requested == 1000));
    assert!(pool.snapshot().host_blocks.is_empty());
    Ok(())
}

fn without_the_option_nothing_moves<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(SEGMENT), ..options() })?;
    let storage = pool.allocate(BLOCK)?;
    assert_eq!(storage.offload(), Err(DeviceError::SpillingOff));
    assert_eq!((storage.prefetch(), storage.keep_on_device()), (Ok(()), Ok(())));
    assert_eq!(storage.residence(), Residence::Device);
    let other = pool.allocate(BLOCK)?;
    assert!(matches!(pool.allocate(1), Err(AllocateError::OutOfMemory(error)) if error.host_limit.is_none()));
    assert_eq!(pool.spill_stats(), wgpu_pool::SpillStats::default());
    assert!(!pool.report().to_string().contains("host memory"));
    drop((storage, other));
    Ok(())
}

fn cleared_blocks_stay_cleared_when_blocks_move<S: Subject>(memory: S::Memory) -> Outcome {
    let options = PoolOptions { limit: Some(2 * SEGMENT), spill: Some(u64::MAX), scrub_on_free: true, ..options() };
    let pool = Pool::new(memory, options)?;
    let secret = stamped(&pool, 4)?;
    let more = stamped(&pool, 4)?;
    for (storage, number) in secret.iter().chain(&more).zip((0..4).chain(0..4)) {
        assert_stamp::<S>(storage, number);
    }
    drop(secret);
    if S::HOLDS_BYTES {
        let new = pool.allocate(4 * BLOCK)?;
        assert!(crate::subjects::read(&new)?.iter().all(|&byte| byte == 0));
    }
    for (storage, number) in more.iter().zip(0..) {
        assert_stamp::<S>(storage, number);
    }
    Ok(())
}

fn zero_bytes_have_no_place_to_leave<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = spilling(memory, 2 * SEGMENT, 0)?;
    let empty = pool.allocate(0)?;
    assert_eq!((empty.offload(), empty.prefetch(), empty.keep_on_device()), (Ok(()), Ok(()), Ok(())));
    assert_eq!(empty.residence(), Residence::Device);
    let storage = pool.allocate(16)?;
    assert!(matches!(storage.offload(), Err(DeviceError::HostLimit { held: 0, limit: 0, .. })));
    Ok(())
}
