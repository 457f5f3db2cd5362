//! Compaction: moved blocks keep their contents, no call waits for the device, and requests that did not fit succeed.

use crate::common::adapter as opener;
use crate::common::{Outcome, random::Random};
use crate::subjects::{
    SEGMENT, Subject, assert_consistent, assert_stamp, options, over_every_memory, over_kernel_copies, spots, stamp,
};
use wgpu_pool::{AccountingMemory, AllocateError, Memory, Pool, PoolOptions, Storage};

over_every_memory! {
    compaction_moves_alternate_blocks_of_two_segments_into_one,
    a_single_segment_is_compacted,
    random_programs_with_compaction_preserve_all_bytes,
    a_pool_moves_no_more_than_its_share_before_it_grows,
    a_single_block_in_a_large_segment_is_packed_into_a_segment_of_its_size,
    packing_is_skipped_when_the_limit_permits_no_new_segment,
    a_sparse_segment_is_packed_and_released_before_the_pool_grows,
    a_pool_whose_move_budget_is_too_small_grows_without_packing;
    without spilling:
    a_request_that_fits_no_hole_succeeds_with_compaction_and_fails_without,
    blocks_that_fit_no_hole_slide_to_the_front_of_their_segment,
    fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum,
}

over_kernel_copies! {
    compaction_moves_alternate_blocks_of_two_segments_into_one,
    random_programs_with_compaction_preserve_all_bytes,
    blocks_that_fit_no_hole_slide_to_the_front_of_their_segment,
    fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum,
}

const BLOCK: u64 = SEGMENT / 8;

/// Storages, each with the number of its stamp.
type Numbered<M> = Vec<(u64, Storage<M>)>;

/// Creates eight blocks in each of two segments, stamped with their numbers, and frees the odd ones. Waits for the device: in a
/// browser blocks are moved once it has accepted their segments.
fn two_half_empty_segments<M: Memory>(pool: &Pool<M>) -> Result<Numbered<M>, Box<dyn std::error::Error>> {
    let mut storages = Vec::new();
    for number in 0..16 {
        let storage = pool.allocate(BLOCK)?;
        stamp(&storage, number)?;
        storages.push((number, storage));
    }
    assert_eq!(pool.stats().segments.current, 2);
    pool.synchronize_blocking()?;
    storages.retain(|(number, _)| number % 2 == 0);
    Ok(storages)
}

// Case 41.
fn compaction_moves_alternate_blocks_of_two_segments_into_one<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let live = two_half_empty_segments(&pool)?;
    assert_eq!(pool.trim().segments, 0, "each segment holds live blocks");
    let compacted = pool.compact()?;
    assert_eq!((compacted.moves, compacted.bytes), (4, 4 * BLOCK));
    assert_consistent(&pool);
    assert_eq!(pool.trim().segments, 1);
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    assert_eq!(pool.compact()?.moves, 0, "there is nothing left to gain");
    Ok(())
}

// Case 42.
fn a_request_that_fits_no_hole_succeeds_with_compaction_and_fails_without<S: Subject>(memory: S::Memory) -> Outcome {
    let limit = Some(2 * SEGMENT);
    let rigid = PoolOptions { limit, compaction_share: 0.0, ..options() };
    let pool = Pool::new(S::memory().ok_or("it opened before")?, rigid)?;
    let live = two_half_empty_segments(&pool)?;
    assert!(matches!(pool.allocate(SEGMENT), Err(AllocateError::OutOfMemory(_))));
    drop(live);

    let pool = Pool::new(memory, PoolOptions { limit, ..options() })?;
    let live = two_half_empty_segments(&pool)?;
    let large = pool.allocate(SEGMENT)?;
    stamp(&large, 99)?;
    assert_eq!(pool.stats().reserved.peak, 2 * SEGMENT);
    assert_eq!(pool.stats().allocated.current, 2 * SEGMENT, "not a byte is left over");
    assert_consistent(&pool);
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    assert_stamp::<S>(&large, 99);
    assert!(pool.remedies().compactions > 0);
    Ok(())
}

fn a_single_segment_is_compacted<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(SEGMENT), ..options() })?;
    let mut live = Vec::new();
    for number in 0..8 {
        let storage = pool.allocate(BLOCK)?;
        stamp(&storage, number)?;
        live.push((number, storage));
    }
    pool.synchronize_blocking()?;
    // The holes have one block each, and the request needs two: a block has to move within the segment.
    live.retain(|(number, _)| ![1, 3].contains(number));
    let large = pool.allocate(2 * BLOCK)?;
    stamp(&large, 99)?;
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    assert_stamp::<S>(&large, 99);
    Ok(())
}

fn random_programs_with_compaction_preserve_all_bytes<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(6 * SEGMENT), ..options() })?;
    let mut random = Random::new(41);
    let mut live: Vec<(u64, Storage<S::Memory>)> = Vec::new();
    for number in 0..600 {
        let bytes = random.next() % (SEGMENT / 2) + 1;
        match pool.allocate(bytes) {
            Ok(storage) => {
                stamp(&storage, number)?;
                live.push((number, storage));
            }
            Err(AllocateError::OutOfMemory(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if number % 50 == 0 {
            pool.compact_up_to(random.next() % (2 * SEGMENT))?;
            pool.trim();
            assert_consistent(&pool);
        }
        while pool.stats().allocated.current > 4 * SEGMENT || (random.below(3) == 0 && !live.is_empty()) {
            let index = random.below(live.len());
            let (stamped, storage) = live.swap_remove(index);
            assert_stamp::<S>(&storage, stamped);
        }
    }
    let remedies = pool.remedies();
    assert!(remedies.compactions > 5, "{remedies:?}");
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    Ok(())
}

// Case 43.
fn a_pool_moves_no_more_than_its_share_before_it_grows<S: Subject>(memory: S::Memory) -> Outcome {
    let share = 0.05;
    let pool = Pool::new(memory, PoolOptions { compaction_share: share, ..options() })?;
    let mut random = Random::new(43);
    let mut live = Vec::new();
    for _ in 0..1500 {
        live.push(pool.allocate(random.next() % (SEGMENT / 3) + 1)?);
        if live.len() > 20 {
            live.swap_remove(random.below(20));
        }
        let allocated = pool.stats().allocated.allocated;
        #[expect(clippy::cast_precision_loss, reason = "a test's bytes are few")]
        let allowed = allocated as f64 * share;
        #[expect(clippy::cast_precision_loss, reason = "a test's bytes are few")]
        let moved = pool.remedies().bytes_moved as f64;
        assert!(moved <= allowed, "{moved} of {allowed}");
    }
    Ok(())
}

// Case 44.
#[test]
fn a_pinned_block_does_not_move_and_other_blocks_may() -> Outcome {
    let Some(pool) = opener::open(options()) else { return Ok(()) };
    let live = two_half_empty_segments(&pool)?;
    let guards: Result<Vec<_>, _> = live.iter().map(|(_, storage)| storage.pin()).collect();
    let before = spots(&pool);
    assert_eq!(pool.compact()?.moves, 0);
    assert_eq!(spots(&pool), before);
    drop(guards);
    assert_eq!(pool.compact()?.moves, 4);
    Ok(())
}

// Case 45.
#[cfg(feature = "tensor")]
#[test]
fn kernels_recorded_before_a_compaction_use_the_old_location_and_later_kernels_the_new() -> Outcome {
    use wgpu_pool::{DType, Tensor};

    let Some(pool) = opener::open(options()) else { return Ok(()) };
    let elements = usize::try_from(BLOCK / 4)?;
    let mut tensors: Vec<Tensor> = Vec::new();
    for number in 0..16_u32 {
        tensors.push(Tensor::full(&pool, [elements], number)?);
    }
    pool.synchronize_blocking()?;
    let mut index = 0;
    tensors.retain(|_| {
        index += 1;
        index % 2 == 1
    });
    for tensor in &tensors {
        tensor.add_(&Tensor::full(&pool, [elements], 100_u32)?)?;
    }
    let moved = pool.compact()?;
    assert!(moved.moves > 0);
    // The former ranges of the moved blocks are allocated and written immediately, before anything is submitted.
    let over = Tensor::full(&pool, [elements * 4], 7_u32)?;
    for tensor in &tensors {
        tensor.add_(tensor)?;
    }
    for (tensor, number) in tensors.iter().zip((0..16).step_by(2)) {
        assert_eq!(tensor.dtype(), DType::U32);
        assert_eq!(tensor.read_blocking::<u32>()?, vec![2 * (100 + number); elements]);
    }
    assert_eq!(over.read_blocking::<u32>()?, vec![7; elements * 4]);
    Ok(())
}

fn one_block_in_a_segment_of_eight<M: Memory>(pool: &Pool<M>) -> Result<Storage<M>, Box<dyn std::error::Error>> {
    let large = pool.allocate(8 * SEGMENT)?;
    drop(large);
    let live = pool.allocate(SEGMENT)?;
    stamp(&live, 7)?;
    assert_eq!(pool.stats().reserved.current, 8 * SEGMENT);
    Ok(live)
}

fn a_single_block_in_a_large_segment_is_packed_into_a_segment_of_its_size<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let live = one_block_in_a_segment_of_eight(&pool)?;
    assert_eq!(pool.compact_up_to(SEGMENT - 1)?.moves, 0, "it may not move so much");
    let compacted = pool.compact_up_to(SEGMENT)?;
    assert_eq!((compacted.moves, compacted.bytes), (1, SEGMENT));
    assert_eq!(pool.stats().reserved.current, SEGMENT, "what it left went back at once");
    assert_consistent(&pool);
    assert_stamp::<S>(&live, 7);
    assert_eq!(pool.compact()?.moves, 0, "there is nothing left to gain");
    Ok(())
}

fn packing_is_skipped_when_the_limit_permits_no_new_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { limit: Some(9 * SEGMENT - 1), ..options() })?;
    let live = one_block_in_a_segment_of_eight(&pool)?;
    assert_eq!(pool.compact()?.moves, 0);
    pool.set_limit(Some(9 * SEGMENT));
    assert_eq!(pool.compact()?.moves, 1);
    assert_stamp::<S>(&live, 7);
    Ok(())
}

fn a_sparse_segment_is_packed_and_released_before_the_pool_grows<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 0.5, ..options() })?;
    let live = one_block_in_a_segment_of_eight(&pool)?;
    let large = pool.allocate(8 * SEGMENT)?;
    let reserved = pool.stats().reserved;
    assert_eq!((reserved.current, reserved.peak), (9 * SEGMENT, 9 * SEGMENT), "the two were not held side by side");
    assert_eq!(pool.remedies().bytes_moved, SEGMENT);
    assert_consistent(&pool);
    assert_stamp::<S>(&live, 7);
    drop(large);
    Ok(())
}

fn a_pool_whose_move_budget_is_too_small_grows_without_packing<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions { compaction_share: 0.1, ..options() })?;
    let live = one_block_in_a_segment_of_eight(&pool)?;
    let large = pool.allocate(8 * SEGMENT)?;
    assert_eq!(pool.stats().reserved.current, 16 * SEGMENT);
    assert_eq!(pool.remedies().bytes_moved, 0);
    assert_stamp::<S>(&live, 7);
    drop(large);
    Ok(())
}

/// Two segments at the limit. In each, four blocks of 3/16 of the segment lie between holes of 1/16.
fn blocks_between_small_holes<M: Memory>(pool: &Pool<M>) -> Result<Numbered<M>, Box<dyn std::error::Error>> {
    let mut storages = Vec::new();
    for number in 0..16 {
        let storage = pool.allocate(if number % 2 == 0 { PART } else { 3 * PART })?;
        stamp(&storage, number)?;
        storages.push((number, storage));
    }
    assert_eq!(pool.stats().reserved.current, 2 * SEGMENT);
    pool.synchronize_blocking()?;
    storages.retain(|(number, _)| number % 2 == 1);
    Ok(storages)
}

const PART: u64 = SEGMENT / 16;

fn at_two_segments() -> PoolOptions {
    PoolOptions { limit: Some(2 * SEGMENT), small_limit: 0, ..options() }
}

fn blocks_that_fit_no_hole_slide_to_the_front_of_their_segment<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, at_two_segments())?;
    let live = blocks_between_small_holes(&pool)?;
    let (first, second) = (pool.allocate(4 * PART)?, pool.allocate(4 * PART)?);
    stamp(&first, 98)?;
    stamp(&second, 99)?;
    assert!(pool.allocate(1).is_err(), "the pool is full to the last byte");
    assert_consistent(&pool);
    assert_stamp::<S>(&first, 98);
    assert_stamp::<S>(&second, 99);
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    Ok(())
}

// Within one segment, no hole can exceed 7/16: blocks have to move to the other segment.
fn fragmented_free_bytes_of_two_segments_serve_a_request_of_their_sum<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, at_two_segments())?;
    let live = blocks_between_small_holes(&pool)?;
    let large = pool.allocate(8 * PART)?;
    stamp(&large, 99)?;
    assert_eq!(pool.stats().reserved.peak, 2 * SEGMENT);
    assert!(pool.allocate(1).is_err(), "the pool is full to the last byte");
    assert_consistent(&pool);
    assert_stamp::<S>(&large, 99);
    for (number, storage) in &live {
        assert_stamp::<S>(storage, *number);
    }
    Ok(())
}

#[test]
fn sparse_large_segments_shrink_to_their_live_blocks() -> Outcome {
    const MIB: u64 = 1 << 20;
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { small_limit: 0, ..crate::common::options() })?;
    let mut live = Vec::new();
    for _ in 0..32 {
        // Each pair fills one segment.
        let rest = pool.allocate(64 * MIB)?;
        live.push((pool.allocate(MIB)?, rest));
    }
    assert!(pool.stats().reserved.current >= 32 * 65 * MIB);
    let kept: Vec<_> = live.into_iter().map(|(small, _)| small).collect();
    pool.compact()?;
    pool.trim();
    let reserved = pool.stats().reserved.current;
    assert!(reserved <= 40 * MIB, "{reserved} bytes for {} of 1 MiB", kept.len());
    Ok(())
}

/// A device with bindings of 64 KiB, so that a copy takes several dispatches.
#[test]
fn blocks_above_the_largest_binding_move_in_pieces_and_keep_their_bytes() -> Outcome {
    for smallest in [Some(0), Some(4096), None] {
        let limit = 2 * SEGMENT;
        let one_segment =
            PoolOptions { limit: Some(limit), smallest_segment: Some(limit), small_limit: 0, ..options() };
        let required_limits = wgpu::Limits { max_storage_buffer_binding_size: 64 << 10, ..wgpu::Limits::default() };
        let Some((device, queue)) = opener::foreign_with(required_limits) else { return Ok(()) };
        let pool = Pool::from_device(device, queue, one_segment)?;
        pool.memory().set_kernel_copies(smallest);
        // Two blocks of odd lengths slide by 1 KiB, by less than a piece, and by more.
        for hole in [1 << 10, 40 << 10, 150 << 10] {
            let first = pool.allocate(hole)?;
            let blocks = [pool.allocate(200_001)?, pool.allocate(77_777)?];
            (0..).zip(&blocks).try_for_each(|(number, block)| stamp(block, number))?;
            pool.synchronize_blocking()?;
            drop(first);
            let rest = pool.allocate(limit - pool.stats().active.current)?;
            assert!(pool.remedies().compactions > 0, "{hole}");
            for (number, block) in (0..).zip(&blocks) {
                assert_stamp::<crate::subjects::KernelCopies>(block, number);
            }
            drop(rest);
            let copy = pool.allocate(200_001)?;
            blocks[0].copy_to(&copy)?;
            assert_stamp::<crate::subjects::KernelCopies>(&copy, 0);
        }
    }
    Ok(())
}
