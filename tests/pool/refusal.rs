//! Invalid arguments to the pool: each has its own error with the relevant numbers, and the pool stays usable.

use crate::common::Outcome;
use crate::subjects::{SEGMENT, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp};
use wgpu_pool::{
    AccountingMemory, AllocateError, DeviceError, HostMemory, HostOptions, Memory, MemoryLimits, OptionsError, Pool,
    PoolOptions,
};

over_every_memory! {
    a_request_above_the_largest_buffer_is_refused_with_both_numbers,
    a_range_outside_the_storage_is_refused_with_both_numbers,
    an_unaligned_offset_is_refused,
    options_that_do_not_suit_the_memory_are_refused,
}

// Case 37.
fn a_request_above_the_largest_buffer_is_refused_with_both_numbers<S: Subject>(memory: S::Memory) -> Outcome {
    let largest = memory.limits().largest_segment;
    let pool = Pool::new(memory, options())?;
    let granule = pool.snapshot().granule;
    for requested in [largest + 1, 1 << 50, u64::MAX] {
        match pool.allocate(requested) {
            Err(AllocateError::TooLarge { requested: named, limit }) => {
                assert_eq!(named, requested);
                assert!(limit <= largest && limit > largest.min(u64::from(u32::MAX) * granule) - granule, "{limit}");
            }
            other => panic!("{requested} bytes: {other:?}"),
        }
    }
    let storage = pool.allocate(SEGMENT)?;
    stamp(&storage, 1)?;
    assert_stamp::<S>(&storage, 1);
    assert_consistent(&pool);
    Ok(())
}

fn a_range_outside_the_storage_is_refused_with_both_numbers<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let error = storage.write(96, &[0; 8]).expect_err("it ends at 104");
    assert_eq!(error, DeviceError::OutOfRange { offset: 96, length: 8, size: 100 });
    assert_eq!(error.to_string(), "bytes 96..104 are outside of the 100 B of the storage");
    let error = storage.write(u64::MAX, &[0; 8]).expect_err("its end overflows");
    assert_eq!(error, DeviceError::OutOfRange { offset: u64::MAX, length: 8, size: 100 });
    assert_stamp::<S>(&storage, 1);
    Ok(())
}

fn an_unaligned_offset_is_refused<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    for offset in 1..4 {
        let error = storage.write(offset, &[0; 8]).expect_err("the offset is no multiple of the unit");
        assert_eq!(error, DeviceError::Misaligned { offset, length: 8, unit: 4 });
    }
    assert_stamp::<S>(&storage, 1);
    Ok(())
}

fn options_that_do_not_suit_the_memory_are_refused<S: Subject>(memory: S::Memory) -> Outcome {
    let MemoryLimits { alignment, largest_segment, .. } = memory.limits();
    let with = |options: PoolOptions| Pool::new(S::memory().expect("it opened before"), options).err();
    for granule in [0, 1, 3, alignment / 2, alignment + 1, 8192] {
        let error = with(PoolOptions { granule: Some(granule), ..options() });
        assert_eq!(error, Some(OptionsError::Granule { granule, least: alignment, most: 4096 }));
    }
    let error = with(PoolOptions { smallest_segment: Some(largest_segment + 1), ..options() });
    assert!(matches!(error, Some(OptionsError::Segment { bytes, limit }) if bytes > limit), "{error:?}");
    let pool = Pool::new(memory, PoolOptions { granule: Some(4096), ..options() })?;
    let _one = pool.allocate(1)?;
    assert_eq!(pool.stats().allocated.current, 4096);
    Ok(())
}

// Case 8: every alignment that devices require.
#[test]
fn blocks_are_aligned_for_any_device() -> Outcome {
    for alignment in [16, 32, 64, 128, 256, 1024, 4096] {
        let limits =
            MemoryLimits { alignment, largest_segment: 1 << 30, largest_binding: 1 << 27, shared_below: 1 << 20 };
        let pool = Pool::new(AccountingMemory::with_limits(limits), crate::common::options())?;
        let storages: Result<Vec<_>, _> = (0..300).map(|number| pool.allocate(1 + number * 13)).collect();
        for spot in crate::subjects::spots(&pool) {
            assert!(spot.offset.is_multiple_of(alignment) && spot.size.is_multiple_of(alignment), "{spot:?}");
        }
        drop(storages?);
        assert_consistent(&pool);
    }
    Ok(())
}

#[test]
fn commands_with_storages_of_two_pools_are_refused_and_change_nothing() -> Outcome {
    let pools = [(); 2].map(|()| Pool::new(HostMemory::default(), options()));
    let [first, second] = pools;
    let (first, second) = (first?, second?);
    let (from, to) = (first.allocate(100)?, second.allocate(100)?);
    to.write(0, &[7; 100])?;
    for _ in 0..2 {
        assert_eq!(from.copy_to(&to), Err(DeviceError::Pools));
        assert_eq!(to.copy_to(&from), Err(DeviceError::Pools));
        let mut download = second.download(104)?;
        assert_eq!(download.add(&from, 0, 4), Err(DeviceError::Pools));
        // The download goes on.
        download.add(&to, 0, 100)?;
        assert_eq!(download.finish_blocking()?[..100], [7; 100]);
    }
    let error = from.copy_to(&to).expect_err("the pools differ");
    assert_eq!(error.to_string(), "the storages belong to different pools: read from one and write to the other");
    Ok(())
}

// Case 34, where the device runs out of memory and not the limit.
#[test]
fn idle_segments_are_released_before_a_device_refusal_is_an_error() -> Outcome {
    let budget = 4 * SEGMENT;
    let pool = Pool::new(HostMemory::new(HostOptions { budget, ..HostOptions::default() }), options())?;
    let small: Result<Vec<_>, _> = (0..64).map(|_| pool.allocate(8 << 10)).collect();
    drop(small?);
    let whole = pool.allocate(budget)?;
    let error = pool.allocate(1000).expect_err("the budget is used up");
    let AllocateError::OutOfMemory(numbers) = error else { panic!("{error}") };
    assert_eq!((numbers.limit, numbers.refused.is_some()), (None, true));
    assert_eq!((numbers.allocated, numbers.reserved, numbers.largest_hole), (budget, budget, 0));
    assert!(numbers.to_string().contains(", the device refused "), "{numbers}");
    drop(whole);
    pool.allocate(1000)?;
    Ok(())
}
