//! Downloads of several ranges with one wait, and reads of one range.

use crate::common::Outcome;
use crate::subjects::{Subject, assert_stamp, options, over_every_memory_with_bytes, pattern, stamp};
use wgpu_pool::{AccountingMemory, DeviceError, Pool};

over_every_memory_with_bytes! {
    ranges_are_returned_in_the_order_in_which_they_were_added,
    each_range_has_the_contents_at_the_time_of_its_addition,
    a_download_without_ranges_is_empty,
    a_range_that_exceeds_the_room_is_refused_and_the_others_are_returned,
    dropping_a_download_leaves_the_pool_usable,
    a_download_outlives_its_storage,
    a_download_can_be_awaited,
    any_range_of_bytes_is_read,
    a_read_has_the_contents_at_its_first_poll,
    a_read_beyond_the_storage_is_refused_with_numbers,
}

fn ranges_are_returned_in_the_order_in_which_they_were_added<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (one, two) = (pool.allocate(1000)?, pool.allocate(100_000)?);
    stamp(&one, 1)?;
    stamp(&two, 2)?;
    let mut download = pool.download(2000)?;
    download.add(&two, 40_000, 1000)?;
    download.add(&one, 0, 4)?;
    download.add(&two, 0, 0)?;
    download.add(&one, 500, 500)?;
    let (first, second) = (pattern(1, 1000), pattern(2, 100_000));
    let wanted = [&second[40_000..41_000], &first[..4], &first[500..]].concat();
    assert_eq!(download.finish_blocking()?, wanted);
    Ok(())
}

fn each_range_has_the_contents_at_the_time_of_its_addition<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(8)?;
    let mut download = pool.download(24)?;
    for value in 1..=3 {
        storage.write(0, &[value; 8])?;
        download.add(&storage, 0, 8)?;
    }
    storage.clear()?;
    assert_eq!(download.finish_blocking()?, [[1; 8], [2; 8], [3; 8]].concat());
    Ok(())
}

fn a_download_without_ranges_is_empty<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    assert_eq!(pool.download(0)?.finish_blocking()?, Vec::<u8>::new());
    let mut download = pool.download(0)?;
    download.add(&pool.allocate(0)?, 0, 0)?;
    assert_eq!(download.finish_blocking()?, Vec::<u8>::new());
    Ok(())
}

fn a_range_that_exceeds_the_room_is_refused_and_the_others_are_returned<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let mut download = pool.download(60)?;
    download.add(&storage, 0, 40)?;
    let beyond = download.add(&storage, 80, 24).expect_err("the storage has 100 bytes");
    assert_eq!(beyond, DeviceError::OutOfRange { offset: 80, length: 24, size: 100 });
    let full = download.add(&storage, 0, 24).expect_err("20 bytes of room are left");
    assert_eq!(full, DeviceError::OutOfRange { offset: 40, length: 24, size: 60 });
    let crooked = download.add(&storage, 2, 8).expect_err("the offset is no multiple of the unit");
    assert_eq!(crooked, DeviceError::Misaligned { offset: 2, length: 8, unit: 4 });
    let huge = download.add(&storage, u64::MAX - 3, 8).expect_err("the end overflows");
    assert_eq!(huge, DeviceError::OutOfRange { offset: u64::MAX - 3, length: 8, size: 100 });
    download.add(&storage, 80, 20)?;
    let content = pattern(1, 100);
    assert_eq!(download.finish_blocking()?, [&content[..40], &content[80..]].concat());
    Ok(())
}

/// The recorded commands of the dropped download stay valid when they are submitted later.
fn dropping_a_download_leaves_the_pool_usable<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let mut download = pool.download(100)?;
    download.add(&storage, 0, 100)?;
    drop(download);
    pool.submit()?;
    assert_stamp::<S>(&storage, 1);
    Ok(())
}

fn a_download_outlives_its_storage<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let mut download = pool.download(100)?;
    download.add(&storage, 0, 100)?;
    drop(storage);
    let next = pool.allocate(100)?;
    stamp(&next, 2)?;
    drop(next);
    pool.trim();
    assert_eq!(download.finish_blocking()?, pattern(1, 100));
    Ok(())
}

fn a_download_can_be_awaited<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let mut download = pool.download(100)?;
    download.add(&storage, 0, 100)?;
    assert_eq!(pollster::block_on(download.finish())?, pattern(1, 100));
    Ok(())
}

/// At any offset and of any length, in both forms; of a storage whose length is not a multiple of the unit of copies.
fn any_range_of_bytes_is_read<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (before, storage, after) = (pool.allocate(300)?, pool.allocate(1003)?, pool.allocate(300)?);
    for (number, storage) in (1..).zip([&before, &storage, &after]) {
        stamp(storage, number)?;
    }
    let content = pattern(2, 1003);
    for (offset, length) in
        [(0, 1003), (0, 0), (1003, 0), (0, 1), (3, 2), (5, 8), (4, 4), (999, 4), (1001, 2), (1, 1002)]
    {
        let wanted = &content[offset..offset + length];
        let (offset, length) = (offset as u64, length as u64);
        assert_eq!(storage.read_blocking(offset, length)?, wanted, "{offset} {length}");
        assert_eq!(pollster::block_on(storage.read(offset, length))?, wanted, "{offset} {length}");
    }
    let nothing = pool.allocate(0)?;
    assert_eq!(nothing.read_blocking(0, 0)?, Vec::<u8>::new());
    assert_eq!(pollster::block_on(nothing.read(0, 0))?, Vec::<u8>::new());
    Ok(())
}

fn a_read_has_the_contents_at_its_first_poll<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(8)?;
    storage.write(0, &[1; 8])?;
    let read = storage.read(2, 4);
    storage.write(0, &[2; 8])?;
    assert_eq!(pollster::block_on(read)?, [2; 4], "nothing is recorded before the first poll");
    Ok(())
}

fn a_read_beyond_the_storage_is_refused_with_numbers<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(101)?;
    stamp(&storage, 1)?;
    for (offset, length) in [(0, 102), (101, 1), (102, 0), (u64::MAX, 2), (3, u64::MAX)] {
        let refused = DeviceError::OutOfRange { offset, length, size: 101 };
        assert_eq!(storage.read_blocking(offset, length), Err(refused.clone()));
        assert_eq!(pollster::block_on(storage.read(offset, length)), Err(refused));
    }
    let (dry, _) = pool.dry_run(|| storage.read_blocking(1, 5))?;
    assert!(matches!(dry, Err(DeviceError::DryRun { .. })), "{dry:?}");
    assert_stamp::<S>(&storage, 1);
    Ok(())
}

#[test]
fn reading_a_memory_without_storage_is_an_error() -> Outcome {
    let pool = Pool::new(AccountingMemory::new(), options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    assert_eq!(pool.download(100).err(), Some(DeviceError::NoBytes));
    assert_eq!(storage.read_blocking(0, 100), Err(DeviceError::NoBytes));
    assert_eq!(pollster::block_on(storage.read(0, 100)), Err(DeviceError::NoBytes));
    Ok(())
}
