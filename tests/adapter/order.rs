//! All commands of a pool run in program order.

use crate::common::{Outcome, adapter};
use wgpu_pool::{BlockState, DType, Pool, PoolOptions, Tensor};

/// Returns the offsets of the live blocks, if there is one segment.
fn offsets(pool: &Pool) -> Vec<u64> {
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.segments.len(), 1, "the test means blocks of one segment");
    let blocks = snapshot.segments[0].blocks.iter().filter(|block| block.state == BlockState::Allocated);
    blocks.map(|block| block.offset).collect()
}

/// Pools of the crate's own device and of an application's, if these have buffers of this many bytes.
fn large_pools(bytes: u64) -> impl Iterator<Item = Pool> {
    let pools = [adapter::fresh(), adapter::foreign_pool()].into_iter().flatten();
    pools.filter(move |pool| adapter::holds(pool, bytes))
}

/// Returns the new offset among sorted offsets.
fn new_offset(before: &[u64], after: &[u64]) -> u64 {
    let new: Vec<u64> = after.iter().copied().filter(|offset| !before.contains(offset)).collect();
    assert_eq!(new.len(), 1, "{before:?}, {after:?}");
    new[0]
}

// Case 46, too: all tensors are in one wgpu buffer.
#[test]
fn temporaries_of_a_batch_reuse_memory_and_results_are_correct() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let ones = Tensor::full(&pool, [1000], 1.0_f32)?;
    let mut x = Tensor::zeros(&pool, [1000], DType::F32)?;
    pool.synchronize_blocking()?;
    for _ in 0..40 {
        // Not submitted in between: the batch is far from its size limit.
        x = x.add(&ones)?.mul(2.0_f32)?.sub(&x)?;
    }
    assert_eq!(pool.stats().segments.current, 1);
    assert!(pool.stats().blocks.peak <= 6, "temporaries stayed: {:?}", pool.stats().blocks);
    // x -> 2 (x + 1) - x = x + 2.
    assert_eq!(x.read_blocking::<f32>()?, [80.0; 1000]);
    Ok(())
}

#[test]
fn a_chain_longer_than_a_batch_is_in_order() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::full(pool, [300], 1_u32)?;
        for step in 0..1000_u32 {
            if step % 7 == 3 {
                x.add_(&x)?;
            } else {
                x.copy_(&x.add(step)?)?;
            }
        }
        let wanted =
            (0..1000_u32).fold(1_u32, |x, step| if step % 7 == 3 { x.wrapping_mul(2) } else { x.wrapping_add(step) });
        assert_eq!(x.read_blocking::<u32>()?, [wanted; 300]);
    }
    Ok(())
}

// Case 47.
#[test]
fn an_upload_to_a_reused_block_does_not_affect_queued_kernels_that_read_the_previous_block() -> Outcome {
    for pool in [adapter::fresh(), adapter::foreign_pool()].into_iter().flatten() {
        let empty = offsets_or_none(&pool);
        let old = Tensor::full(&pool, [1000], 1.0_f32)?;
        let place = new_offset(&empty, &offsets(&pool));
        let sum = old.add(1.0_f32)?;
        let before = offsets(&pool);
        drop(old);
        let without: Vec<u64> = before.into_iter().filter(|&offset| offset != place).collect();
        let new = Tensor::from_slice(&pool, &[100.0_f32; 1000], [1000])?;
        assert_eq!(new_offset(&without, &offsets(&pool)), place, "the new tensor took the freed place");
        assert_eq!(sum.read_blocking::<f32>()?, [2.0; 1000]);
        assert_eq!(new.read_blocking::<f32>()?, [100.0; 1000]);
    }
    Ok(())
}

fn offsets_or_none(pool: &Pool) -> Vec<u64> {
    if pool.stats().segments.current == 0 { Vec::new() } else { offsets(pool) }
}

#[test]
fn clears_fills_copies_and_reads_execute_in_program_order() -> Outcome {
    for pool in adapter::all_shared() {
        let (x, y) = (Tensor::full(pool, [64], 1_u32)?, Tensor::full(pool, [64], 10_u32)?);
        x.storage()?.copy_to(y.storage()?)?;
        let first = y.add(1_u32)?;
        x.storage()?.clear()?;
        let second = x.add(&y)?;
        x.storage()?.write(0, bytemuck::cast_slice(&[7_u32; 64]))?;
        y.fill_(5_u32)?;
        let third = x.mul(&y)?;
        let mut download = pool.download(3 * 256)?;
        download.add(first.storage()?, 0, 256)?;
        first.fill_(0_u32)?;
        download.add(second.storage()?, 0, 256)?;
        download.add(third.storage()?, 0, 256)?;
        let bytes = download.finish_blocking()?;
        let mut found = [0_u32; 192];
        bytemuck::cast_slice_mut(&mut found).copy_from_slice(&bytes);
        assert_eq!(found, *[[2; 64], [1; 64], [35; 64]].as_flattened());
    }
    Ok(())
}

#[test]
fn a_segment_is_destroyed_after_the_commands_that_use_it() -> Outcome {
    for pool in large_pools(12 << 20) {
        for round in 0..5_u8 {
            let x = Tensor::full(&pool, [3 << 20], f32::from(round))?;
            let sum = x.sum(..)?;
            drop(x);
            assert!(pool.trim().segments >= 1);
            assert_eq!(sum.read_blocking::<f32>()?, [f32::from(round) * 3_145_728.0]);
            pool.synchronize_blocking()?;
        }
        pool.memory().check()?;
    }
    Ok(())
}

/// The bind group cache removes the entries of a destroyed segment: the next segment has the same offsets.
#[test]
fn a_new_segment_is_not_mistaken_for_one_that_was_destroyed() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    for round in 0..20_u32 {
        let (x, y) = (Tensor::full(&pool, [1000], round)?, Tensor::full(&pool, [1000], 1_u32)?);
        assert_eq!(x.add(&y)?.read_blocking::<u32>()?, [round + 1; 1000]);
        drop((x, y));
        assert_eq!(pool.trim().segments, 1);
    }
    Ok(())
}

#[test]
fn more_bind_groups_than_the_cache_holds_give_correct_results() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let tensors: Result<Vec<_>, _> = (0..4500_u32).map(|number| Tensor::full(&pool, [2], number)).collect();
    let tensors = tensors?;
    for tensor in &tensors {
        tensor.add_scaled_(tensor, 2_u32)?;
    }
    let mut download = pool.download(8 * 4500)?;
    for tensor in &tensors {
        download.add(tensor.storage()?, 0, 8)?;
    }
    let bytes = download.finish_blocking()?;
    let found: Vec<u32> =
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four"))).collect();
    let wanted: Vec<u32> = (0..4500).flat_map(|number| [3 * number; 2]).collect();
    assert_eq!(found, wanted);
    Ok(())
}

#[test]
fn a_large_upload_is_in_order_with_the_kernels_around_it() -> Outcome {
    for pool in large_pools(49 << 20) {
        // Three pieces and a remainder.
        let elements: Vec<u32> = (0..(12 << 20) + 3).collect();
        let x = Tensor::full(&pool, [elements.len()], 9_u32)?;
        let before = x.narrow(0, elements.len() - 5, 5)?.add(1_u32)?;
        x.storage()?.write(0, bytemuck::cast_slice(&elements))?;
        let after = x.mul(2_u32)?;
        x.fill_(0_u32)?;
        assert_eq!(before.read_blocking::<u32>()?, [10; 5]);
        let found = after.read_blocking::<u32>()?;
        assert!(found.iter().zip(&elements).all(|(found, x)| *found == 2 * x));
        assert_eq!(found.len(), elements.len());
    }
    Ok(())
}

/// A copy within one wgpu buffer goes through a bounce buffer, in pieces.
#[test]
fn copies_within_a_segment_are_in_order_with_kernels() -> Outcome {
    if large_pools(64 << 20).count() < 2 {
        return Ok(());
    }
    let options = || PoolOptions { smallest_segment: Some(64 << 20), ..crate::common::options() };
    let embedded = adapter::foreign().map(|(device, queue)| Pool::from_device(device, queue, options()));
    for pool in adapter::open(options()).map(Ok).into_iter().chain(embedded) {
        let pool = pool?;
        // More than the size of the bounce buffer, and not a multiple of it.
        let elements = (5 << 20) + 1;
        let x = Tensor::full(&pool, [elements], 1_u32)?;
        let y = Tensor::zeros(&pool, [elements], DType::U32)?;
        assert_eq!(offsets(&pool).len(), 2);
        for _ in 0..3 {
            x.storage()?.copy_to(y.storage()?)?;
            x.add_(&y)?;
        }
        let found = x.read_blocking::<u32>()?;
        assert!(found.len() == elements && found.iter().all(|&element| element == 8));
    }
    Ok(())
}

/// The keys of the bind group cache include the segment, not only the offset.
#[test]
fn tensors_at_the_same_offset_of_two_segments_are_distinguished() -> Outcome {
    let Some(pool) = adapter::open(PoolOptions { smallest_segment: Some(1 << 20), ..crate::common::options() }) else {
        return Ok(());
    };
    let output = Tensor::zeros(&pool, [1 << 17], DType::U32)?;
    let mut tensors = Vec::new();
    while pool.stats().segments.current < 4 {
        let number = u32::try_from(tensors.len())?;
        tensors.push(Tensor::full(&pool, [1 << 17], number)?);
    }
    for (number, tensor) in (0..).zip(&tensors) {
        output.copy_(tensor)?;
        assert_eq!(output.narrow(0, 1000, 2)?.read_blocking::<u32>()?, [number; 2]);
    }
    Ok(())
}
