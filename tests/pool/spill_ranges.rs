//! Ranges that are cleared by moving blocks to host memory: programs with varying sizes wait for nothing.

use crate::common::Outcome;
use crate::spill::{AdapterMapped, NoopMapped};
use crate::subjects::{SEGMENT, Subject, assert_consistent, assert_stamp, options, stamp};
use wgpu_pool::{HostMemory, Pool, PoolOptions, Residence, Storage};

/// Training steps whose sizes differ: parameters that every step uses, and activations that are used in the reverse order.
/// Verifies all contents, and returns the pool's peak of allocated bytes.
fn train<S: Subject>(pool: &Pool<S::Memory>, steps: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let size = |step: u64, layer: u64| SEGMENT / 16 + (step * 7 + layer * 5) % 13 * (SEGMENT / 40) + step % 3 * 100;
    let parameters: Vec<_> = (0..6).map(|_| pool.allocate(SEGMENT / 5)).collect::<Result<_, _>>()?;
    for (parameter, number) in parameters.iter().zip(0..) {
        stamp(parameter, number)?;
    }
    for step in 0..steps {
        let mut activations = Vec::new();
        for (parameter, layer) in parameters.iter().zip(0..) {
            assert_stamp::<S>(parameter, layer);
            for part in 0..3 {
                let activation = pool.allocate(size(step, 3 * layer + part))?;
                stamp(&activation, 100 * layer + part)?;
                activations.push((activation, 100 * layer + part));
            }
        }
        while let Some((activation, number)) = activations.pop() {
            assert_stamp::<S>(&activation, number);
        }
    }
    assert_consistent(pool);
    Ok(pool.stats().allocated.peak)
}

fn varying_sizes_move_by_recorded_copies_only<S: Subject>(memory: S::Memory, small: S::Memory) -> Outcome {
    let need = train::<S>(&Pool::new(memory, options())?, 12)?;
    let limited = PoolOptions { limit: Some(need / 2), spill: Some(u64::MAX), ..options() };
    let pool = Pool::new(small, limited)?;
    train::<S>(&pool, 12)?;
    let remedies = pool.remedies();
    assert!(remedies.spilled > 0, "{remedies:?}");
    assert_eq!((remedies.waits, remedies.host_copies), (0, 0), "{remedies:?}");
    assert!(pool.stats().reserved.peak <= need / 2);
    Ok(())
}

macro_rules! on {
    ($($name:ident $subject:ty),*) => {
        $(
            #[test]
            fn $name() -> Outcome {
                let (Some(memory), Some(small)) = (<$subject>::memory(), <$subject>::memory()) else { return Ok(()) };
                varying_sizes_move_by_recorded_copies_only::<$subject>(memory, small)
            }
        )*
    };
}

on! {
    varying_sizes_on_an_accounting_memory crate::subjects::Accounting,
    varying_sizes_on_the_host crate::subjects::Host,
    varying_sizes_without_a_driver NoopMapped
}

#[test]
fn varying_sizes_on_the_adapter() -> Outcome {
    let (Some(memory), Some(small)) = (AdapterMapped::memory(), AdapterMapped::memory()) else { return Ok(()) };
    // Without the feature, the device copies to host memory by read-backs, which wait.
    if !memory.device().features().contains(wgpu_pool::wgpu::Features::MAPPABLE_PRIMARY_BUFFERS) {
        return Ok(());
    }
    varying_sizes_move_by_recorded_copies_only::<AdapterMapped>(memory, small)
}

/// Host buffers are reused although no size occurs twice, so host memory does not grow with the number of sizes.
#[test]
fn host_buffers_serve_other_sizes() -> Outcome {
    let pool =
        Pool::new(HostMemory::default(), PoolOptions { limit: Some(8 * SEGMENT), spill: Some(u64::MAX), ..options() })?;
    for step in 0..400 {
        let storage = pool.allocate(SEGMENT - step % 250 * 1000)?;
        stamp(&storage, step)?;
        storage.offload()?;
        assert_stamp::<crate::subjects::Host>(&storage, step);
    }
    let stats = pool.spill_stats();
    assert!(stats.host == 0 && stats.idle <= 2 * (SEGMENT + SEGMENT / 8), "{stats:?}");
    let cache = || pool.caches().into_iter().find(|cache| cache.name == "idle host buffers").expect("it is listed");
    assert!(cache().entries > 0 && cache().bytes == Some(stats.idle) && cache().bytes <= cache().most_bytes);
    pool.clear_caches();
    assert_eq!((cache().entries, pool.spill_stats().idle), (0, 0));
    Ok(())
}

/// A range ends at a block that may not move, and the other blocks of the segment stay.
#[test]
fn a_range_lies_between_blocks_that_stay() -> Outcome {
    const BLOCK: u64 = SEGMENT / 8;
    let limited = PoolOptions { limit: Some(SEGMENT), spill: Some(u64::MAX), compaction_share: 0.0, ..options() };
    let pool = Pool::new(HostMemory::default(), limited)?;
    let blocks = (0..8).map(|_| pool.allocate(BLOCK)).collect::<Result<Vec<_>, _>>()?;
    for (block, number) in blocks.iter().zip(0..) {
        stamp(block, number)?;
    }
    // 0 1 [2] 3 4 5 [6] 7: only 3, 4 and 5 are three in sequence.
    let pinned = blocks[2].pin()?;
    blocks[6].keep_on_device()?;
    let request = pool.allocate(3 * BLOCK)?;
    let away: Vec<usize> = (0..8).filter(|&number| blocks[number].residence() == Residence::Host).collect();
    assert_eq!(away, [3, 4, 5]);
    stamp(&request, 100)?;
    drop(pinned);
    assert_stamp::<crate::subjects::Host>(&request, 100);
    drop(request);
    for (block, number) in blocks.iter().zip(0..) {
        assert_stamp::<crate::subjects::Host>(block, number);
    }
    assert_consistent(&pool);
    Ok(())
}

/// Returns a pool of so many full segments, and its blocks: in each segment those of so many units.
fn full(segments: u64, host: u64, units: &[u64]) -> Result<(Pool<HostMemory>, Vec<Storage<HostMemory>>), Failure> {
    let pool = Pool::new(HostMemory::default(), PoolOptions { spill: Some(host), ..options() })?;
    let mut blocks = Vec::new();
    for segment in 1..=segments {
        pool.set_limit(Some(segment * SEGMENT));
        for units in units {
            blocks.push(pool.allocate(units * UNIT)?);
        }
    }
    let stats = pool.stats();
    assert_eq!((stats.allocated.current, stats.segments.current), (segments * SEGMENT, segments), "all are full");
    Ok((pool, blocks))
}

/// Uses blocks in an order, and requests so many units. Returns the blocks that have moved to host memory.
fn away(
    pool: &Pool<HostMemory>,
    blocks: &[Storage<HostMemory>],
    order: &[usize],
    units: u64,
) -> Result<Vec<usize>, Failure> {
    for &number in order {
        blocks[number].clear()?;
    }
    let request = pool.allocate(units * UNIT)?;
    drop(request);
    Ok((0..blocks.len()).filter(|&number| blocks[number].residence() == Residence::Host).collect())
}

type Failure = Box<dyn std::error::Error>;
const UNIT: u64 = SEGMENT / 16;

/// All ranges of four units have two blocks of two units: those that are needed last move.
#[test]
fn of_equal_ranges_the_one_that_is_needed_last_is_cleared() -> Outcome {
    for (order, wanted) in [
        ([4, 5, 0, 1, 2, 6, 7], [4, 5]),
        ([7, 0, 6, 1, 2, 4, 5], [6, 7]),
        ([2, 6, 1, 5, 0, 4, 7], [1, 2]),
        ([6, 0, 5, 2, 1, 4, 7], [5, 6]),
    ] {
        let (pool, blocks) = full(1, u64::MAX, &[2; 8])?;
        let pinned = blocks[3].pin()?;
        assert_eq!(away(&pool, &blocks, &order, 4)?, wanted, "used in the order {order:?}");
        drop(pinned);
    }
    Ok(())
}

/// The cheapest range exceeds the room of the host, so the next one is cleared.
#[test]
fn a_range_has_room_in_host_memory() -> Outcome {
    for (host, wanted) in [(5, [0, 1]), (4, [3, 4])] {
        let (pool, blocks) = full(1, host * UNIT, &[3, 2, 2, 2, 2, 5])?;
        let pinned = [blocks[2].pin()?, blocks[5].pin()?];
        assert_eq!(away(&pool, &blocks, &[0, 1, 3, 4], 4)?, wanted, "with {host} units of host memory");
        drop(pinned);
    }
    Ok(())
}

/// No segment is large enough: the least recently used blocks move, and then the rest of the two segments with the least
/// bytes. The other segment stays as it is.
#[test]
fn segments_are_cleared_for_a_larger_one() -> Outcome {
    let (pool, blocks) = full(3, u64::MAX, &[8, 8])?;
    // Blocks 0 and 1 are in one segment.
    assert_eq!(away(&pool, &blocks, &[0, 2, 1, 4, 3, 5], 24)?, [0, 1, 2, 3]);
    Ok(())
}
