//! The share of an arena that is in use when a request fails for the first time.

use crate::contenders::{Contender, GRANULE, Offsets, OurHeap};
use crate::pairs::log_uniform;
use crate::random::Random;
use crate::rounds::mean;
use std::error::Error;
use std::time::Instant;
use wgpu_pool::{AccountingMemory, Pool, PoolOptions};

/// 4 GiB.
const ARENA: u32 = 1 << 24;
/// 16 MiB.
const MOST: u32 = 1 << 16;
/// The steady occupancy in tenths.
const STEADY: u64 = 8;
/// The number of allocations before the arena is filled. A long run at a steady occupancy fragments the arena; with
/// this length, offset-allocator reaches the share that others have measured (91%).
const STEADY_EVENTS: usize = 8000;
/// The largest segment of the pool in this benchmark.
const SEGMENT: u64 = 64 << 20;
/// The number of requests close to the limit.
const EDGE_REQUESTS: usize = 4000;

pub(crate) fn compare(seeds: u32) -> Result<(), Box<dyn Error>> {
    println!("\npacking of 4 GiB: in use at the first failure, after a steady 80 %; {seeds} seeds, mean (least)");
    fn line<C: Contender>(seeds: u32) {
        let (mut shares, mut times) = (Vec::new(), Vec::new());
        for seed in 0..seeds {
            let (share, time) = fill::<C>(u64::from(seed) + 1);
            shares.push(share * 100.0);
            times.push(time);
        }
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{:<34} {:>8.2} % ({least:.2})   {:>6.1} ns an operation", C::NAME, mean(&shares), mean(&times));
    }
    line::<OurHeap>(seeds);
    line::<Offsets>(seeds);
    Ok(())
}

/// Returns the share in use at the first failure, and the nanoseconds per operation.
fn fill<C: Contender>(seed: u64) -> (f64, f64) {
    let mut random = Random::new(seed);
    let mut contender = C::new(ARENA, 1 << 17);
    let mut live: Vec<(C::Block, u32)> = Vec::new();
    let mut used = 0;
    let steady = u64::from(ARENA) * STEADY / 10;
    let (mut events, mut operations) = (0, 0_u64);
    let start = Instant::now();
    loop {
        let size = log_uniform(&mut random, MOST);
        if events < STEADY_EVENTS {
            while used + u64::from(size) > steady {
                let (block, size) = live.swap_remove(random.below(live.len()));
                contender.free(block);
                used -= u64::from(size);
                operations += 1;
            }
        }
        let Some(block) = contender.allocate(size) else { break };
        live.push((block, size));
        used += u64::from(size);
        events += 1;
        operations += 1;
    }
    let time = start.elapsed().as_secs_f64() * 1e9 / operations as f64;
    (used as f64 / f64::from(ARENA), time)
}

/// A pool whose limit is the size of the arena, kept within one segment of the limit.
pub(crate) fn compact(seeds: u32) -> Result<(), Box<dyn Error>> {
    let limit = u64::from(ARENA) * GRANULE;
    let (mut failures, mut requests, mut shares) = (0, 0, Vec::new());
    let mut first = None;
    for seed in 0..u64::from(seeds) {
        let mut random = Random::new(seed + 1);
        let options = PoolOptions { limit: Some(limit), granule: Some(GRANULE), ..PoolOptions::default() };
        let pool = Pool::new(AccountingMemory::new(), options)?;
        let mut live = Vec::new();
        for _ in 0..EDGE_REQUESTS {
            let bytes = u64::from(log_uniform(&mut random, MOST)) * GRANULE;
            while pool.stats().allocated.current + bytes > limit - SEGMENT {
                live.swap_remove(random.below(live.len()));
            }
            requests += 1;
            match pool.allocate(bytes) {
                Ok(storage) => live.push(storage),
                Err(error) => {
                    failures += 1;
                    first.get_or_insert_with(|| error.to_string());
                }
            }
        }
        shares.push(pool.remedies().bytes_moved as f64 / pool.stats().allocated.allocated as f64);
    }
    let moved = mean(&shares) * 100.0;
    println!(
        "\ncompaction: {failures} of {requests} requests failed within a segment of the limit; {moved:.1} % were moved"
    );
    if let Some(first) = first {
        println!("the first: {first}");
    }
    Ok(())
}
