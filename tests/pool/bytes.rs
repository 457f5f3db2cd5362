//! Reads return what was written, in program order.

use crate::common::{self, Outcome};
use crate::subjects::{
    SEGMENT, Subject, allocate_at, assert_stamp, options, over_every_memory_with_bytes, pattern, read, stamp,
};
use wgpu_pool::{DeviceError, Pool};

over_every_memory_with_bytes! {
    written_bytes_are_read_back,
    a_write_in_the_middle_changes_no_other_byte,
    clearing_a_storage_changes_no_other_storage,
    a_copy_within_a_segment_equals_a_copy_between_segments,
    a_copy_to_a_longer_storage_keeps_the_remaining_bytes,
    copying_a_storage_to_itself_has_no_effect,
    commands_take_effect_in_program_order,
    a_freed_block_is_reused_while_recorded_commands_still_use_it,
    a_large_upload_in_several_pieces_is_complete,
    a_write_that_ends_within_a_copy_unit_is_refused_without_effect,
}

crate::subjects::over_kernel_copies! {
    a_copy_within_a_segment_equals_a_copy_between_segments,
    a_copy_to_a_longer_storage_keeps_the_remaining_bytes,
    commands_take_effect_in_program_order,
    a_freed_block_is_reused_while_recorded_commands_still_use_it,
    a_copy_of_any_length_changes_no_byte_after_its_range,
}

mod kernels {
    use super::a_copy_of_any_length_changes_no_byte_after_its_range;

    crate::subjects::over_every_memory_that_runs_kernels! {
        a_copy_of_any_length_changes_no_byte_after_its_range,
    }
}

fn written_bytes_are_read_back<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    for bytes in [1, 2, 3, 4, 5, 31, 32, 33, 1023, 4096, 100_001] {
        let storage = pool.allocate(bytes)?;
        stamp(&storage, bytes)?;
        assert_stamp::<S>(&storage, bytes);
    }
    Ok(())
}

fn a_write_in_the_middle_changes_no_other_byte<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(999)?;
    stamp(&storage, 1)?;
    storage.write(100, &[7; 200])?;
    storage.write(996, &[8; 3])?;
    let mut wanted = pattern(1, 999);
    wanted[100..300].fill(7);
    wanted[996..].fill(8);
    assert_eq!(read(&storage)?, wanted);
    Ok(())
}

fn clearing_a_storage_changes_no_other_storage<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storages = [pool.allocate(1000)?, pool.allocate(777)?, pool.allocate(1000)?];
    for (number, storage) in (0..).zip(&storages) {
        stamp(storage, number)?;
    }
    storages[1].clear()?;
    assert_eq!(read(&storages[1])?, vec![0; 777]);
    assert_stamp::<S>(&storages[0], 0);
    assert_stamp::<S>(&storages[2], 2);
    Ok(())
}

// Case 48.
fn a_copy_within_a_segment_equals_a_copy_between_segments<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (source, first) = allocate_at(&pool, 10_001)?;
    stamp(&source, 1)?;
    let (near, spot) = allocate_at(&pool, 10_001)?;
    assert_eq!(spot.segment, first.segment);
    let (far, spot) = allocate_at(&pool, 2 * SEGMENT)?;
    assert_ne!(spot.segment, first.segment);
    source.copy_to(&near)?;
    source.copy_to(&far)?;
    assert_stamp::<S>(&near, 1);
    assert_eq!(read(&far)?[..10_001], pattern(1, 10_001));
    assert_stamp::<S>(&source, 1);
    Ok(())
}

fn a_copy_to_a_longer_storage_keeps_the_remaining_bytes<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (short, long) = (pool.allocate(400)?, pool.allocate(4000)?);
    stamp(&short, 1)?;
    stamp(&long, 2)?;
    short.copy_to(&long)?;
    let mut wanted = pattern(2, 4000);
    wanted[..400].copy_from_slice(&pattern(1, 400));
    assert_eq!(read(&long)?, wanted);
    let error = long.copy_to(&short).expect_err("the target is shorter");
    assert_eq!(error, DeviceError::OutOfRange { offset: 0, length: 4000, size: 400 });
    assert_stamp::<S>(&short, 1);
    Ok(())
}

/// Copies within a segment and between segments. The destination ends before, within, at and far beyond the last copy
/// unit of the source.
fn a_copy_of_any_length_changes_no_byte_after_its_range<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let far = pool.allocate(2 * SEGMENT)?;
    for bytes in [1, 2, 3, 4, 5, 6, 7, 30, 31, 33, 4097, 20_001] {
        let source = pool.allocate(bytes)?;
        stamp(&source, 1)?;
        for more in [0, 1, 2, 3, 4, 5, 1000] {
            let target = pool.allocate(bytes + more)?;
            stamp(&target, 2)?;
            source.copy_to(&target)?;
            let length = usize::try_from(bytes)?;
            let mut wanted = pattern(2, usize::try_from(bytes + more)?);
            wanted[..length].copy_from_slice(&pattern(1, length));
            assert_eq!(read(&target)?, wanted, "{bytes} bytes into {}", bytes + more);
            assert_stamp::<S>(&source, 1);
        }
        far.write(0, &pattern(3, 30_000))?;
        source.copy_to(&far)?;
        let mut wanted = pattern(3, 30_000);
        wanted[..usize::try_from(bytes)?].copy_from_slice(&pattern(1, usize::try_from(bytes)?));
        assert_eq!(read(&far)?[..30_000], wanted, "{bytes} bytes into another segment");
    }
    Ok(())
}

fn copying_a_storage_to_itself_has_no_effect<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    storage.copy_to(&storage.clone())?;
    assert_stamp::<S>(&storage, 1);
    Ok(())
}

fn commands_take_effect_in_program_order<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let (one, two, three) = (pool.allocate(64)?, pool.allocate(64)?, pool.allocate(64)?);
    one.write(0, &[1; 64])?;
    one.copy_to(&two)?;
    one.write(0, &[2; 64])?;
    one.copy_to(&three)?;
    one.clear()?;
    three.write(32, &[3; 8])?;
    assert_eq!(read(&one)?, [0; 64]);
    assert_eq!(read(&two)?, [1; 64]);
    assert_eq!(read(&three)?, [[2; 32].as_slice(), &[3; 8], &[2; 24]].concat());
    Ok(())
}

// Case 47: the new owner's bytes are written after the commands that use the previous block.
fn a_freed_block_is_reused_while_recorded_commands_still_use_it<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let kept: Result<Vec<_>, _> = (0..20).map(|_| pool.allocate(256)).collect();
    let kept = kept?;
    let mut places = std::collections::HashSet::new();
    for (number, target) in (0..).zip(&kept) {
        let (old, spot) = allocate_at(&pool, 256)?;
        places.insert((spot.segment, spot.offset));
        stamp(&old, number)?;
        old.copy_to(target)?;
    }
    assert_eq!(places.len(), 1, "each took the place of the one before");
    for (number, target) in (0..).zip(&kept) {
        assert_stamp::<S>(target, number);
    }
    Ok(())
}

fn a_large_upload_in_several_pieces_is_complete<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    // Two whole pieces and a remainder that is not a multiple of the copy unit.
    let bytes = (32 << 20) + 1_000_003;
    if !common::adapter::holds(&pool, bytes as u64) {
        return Ok(());
    }
    let storage = pool.allocate(bytes as u64)?;
    let content = pattern(9, bytes);
    storage.write(0, &content)?;
    assert!(read(&storage)? == content);
    Ok(())
}

fn a_write_that_ends_within_a_copy_unit_is_refused_without_effect<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let storage = pool.allocate(100)?;
    stamp(&storage, 1)?;
    let error = storage.write(0, &[9; 6]).expect_err("six bytes are no whole units, and don't end with the storage");
    assert_eq!(error, DeviceError::Misaligned { offset: 0, length: 6, unit: 4 });
    assert_stamp::<S>(&storage, 1);
    Ok(())
}
