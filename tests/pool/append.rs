//! Append loops: blocks are repeatedly replaced by slightly larger ones; the previous block is dropped each time.

use crate::common::Outcome;
use wgpu_pool::{AccountingMemory, Pool, PoolOptions, Storage};

const MIB: u64 = 1 << 20;

type Block = Storage<AccountingMemory>;

/// Two pools: one with compaction and one without.
fn pools() -> Result<[Pool<AccountingMemory>; 2], Box<dyn std::error::Error>> {
    let rigid = PoolOptions { compaction_share: 0.0, ..crate::common::options() };
    Ok([Pool::new(AccountingMemory::new(), crate::common::options())?, Pool::new(AccountingMemory::new(), rigid)?])
}

/// Grows `tensors` blocks in a round-robin from one row to `steps` rows, and returns the final blocks.
fn append(
    pool: &Pool<AccountingMemory>,
    tensors: usize,
    row: u64,
    steps: u64,
) -> Result<Vec<Block>, Box<dyn std::error::Error>> {
    let mut live = Vec::new();
    for _ in 0..tensors {
        live.push(pool.allocate(row)?);
    }
    for step in 2..=steps {
        for block in &mut live {
            *block = pool.allocate(step * row)?;
        }
    }
    Ok(live)
}

/// The maximum number of segments that growing `tensors` blocks to `bytes` bytes each may create: logarithmic in
/// `bytes`. Blocks below 64 KiB share segments.
fn bound(tensors: u64, bytes: u64) -> u64 {
    let steps = std::iter::successors(Some(65_536), |size| Some(size * 9 / 8)).take_while(|&size: &u64| size < bytes);
    (tensors + 1) * (4 + steps.count() as u64)
}

fn created(pool: &Pool<AccountingMemory>) -> u64 {
    pool.remedies().segments_created
}

/// The row size in bytes and the number of steps.
const LOOPS: [(u64, u64); 7] =
    [(16_384, 1200), (4096, 4000), (MIB, 1000), (100_000, 2000), (MIB + 1, 200), (1000, 1500), (7 * MIB, 300)];

// Case 56.
#[test]
fn an_append_loop_creates_a_number_of_segments_logarithmic_in_its_final_size() -> Outcome {
    for (row, steps) in LOOPS {
        for pool in pools()? {
            drop(append(&pool, 1, row, steps)?);
            let bound = bound(1, row * steps);
            assert!(
                created(&pool) <= bound,
                "{} segments for {steps} steps of {row} bytes, not {bound}",
                created(&pool)
            );
            pool.check()?;
        }
    }
    Ok(())
}

// Case 56.
#[test]
fn two_tensors_that_grow_in_turn_create_a_logarithmic_number_of_segments() -> Outcome {
    for (row, steps) in LOOPS {
        for pool in pools()? {
            drop(append(&pool, 2, row, steps)?);
            let bound = bound(2, row * steps);
            assert!(
                created(&pool) <= bound,
                "{} segments for {steps} steps of {row} bytes, not {bound}",
                created(&pool)
            );
        }
    }
    Ok(())
}

// Case 56.
#[test]
fn interleaved_loops_of_different_sizes_create_a_logarithmic_number_of_segments() -> Outcome {
    for pool in pools()? {
        let rows = [3 * MIB, MIB / 2, 40_000];
        let mut live = Vec::new();
        for row in rows {
            live.push(pool.allocate(row)?);
        }
        for step in 2..=500 {
            for (block, row) in live.iter_mut().zip(rows) {
                *block = pool.allocate(step * row)?;
            }
        }
        let bound: u64 = rows.iter().map(|row| bound(1, row * 500)).sum();
        assert!(created(&pool) <= bound, "{} segments, not {bound}", created(&pool));
    }
    Ok(())
}

// Case 56.
#[test]
fn other_live_blocks_add_at_most_one_segment_each_to_an_append_loop() -> Outcome {
    for (row, steps) in LOOPS {
        for pool in pools()? {
            let mut others = Vec::new();
            for number in 0..50 {
                others.push(pool.allocate(row * (number * 7 % 50 + 1))?);
            }
            let mut number = 0;
            others.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            let before = created(&pool);
            let mut block = pool.allocate(row)?;
            for step in 2..=steps {
                block = pool.allocate(step * row)?;
                if step % 50 == 0 {
                    others.push(pool.allocate(3 * row)?);
                }
            }
            let bound = bound(1, block.bytes()) + others.len() as u64;
            let created = created(&pool) - before;
            assert!(created <= bound, "{created} segments for {steps} steps of {row} bytes, not {bound}");
        }
    }
    Ok(())
}

#[test]
fn a_shrinking_loop_creates_no_segments_and_a_second_growing_loop_no_more_than_the_first() -> Outcome {
    for (row, steps) in [(16_384, 1200), (MIB, 300)] {
        for pool in pools()? {
            let mut live = append(&pool, 1, row, steps)?;
            let grown = created(&pool);
            for step in (1..steps).rev() {
                live[0] = pool.allocate(step * row)?;
            }
            let shrunk = created(&pool);
            assert!(shrunk <= grown + 1, "{shrunk} segments after {grown}");
            drop(live);
            drop(append(&pool, 1, row, steps)?);
            assert!(created(&pool) - shrunk <= grown, "{} segments after {grown} and {shrunk}", created(&pool));
        }
    }
    Ok(())
}

#[test]
fn the_spare_room_of_an_append_loop_is_at_most_an_eighth_of_its_blocks() -> Outcome {
    for (row, steps) in LOOPS {
        for pool in pools()? {
            let mut block = pool.allocate(row)?;
            for step in 2..=steps {
                let next = pool.allocate(step * row)?;
                let (reserved, needed) = (pool.stats().reserved.current, block.bytes() + next.bytes());
                // The first segment has 8 MiB for small blocks and 16 MiB for large ones.
                assert!(reserved <= needed + needed / 8 + 24 * MIB, "{reserved} for {needed}");
                block = next;
            }
        }
    }
    Ok(())
}

#[test]
fn an_append_loop_at_a_limit_gets_no_spare_room_above_the_limit() -> Outcome {
    for pool in pools()? {
        pool.set_limit(Some(144 * MIB));
        let mut block = pool.allocate(MIB)?;
        for step in 2..=64 {
            block = pool.allocate(step * MIB)?;
            assert!(pool.stats().reserved.current <= 144 * MIB);
        }
        assert_eq!(block.bytes(), 64 * MIB);
    }
    Ok(())
}
