//! Allocations that were recorded with one pool, repeated with an accounting memory: a dry run without bytes.

use crate::common::Outcome;
use crate::common::random::Random;
use std::collections::HashMap;
use wgpu_pool::{AccountingMemory, EventKind, HostMemory, Memory, Pool, PoolOptions, Remedies, Stats};

/// Repeats the allocations and frees of a history, and returns the counters of the pool with the blocks that are left.
fn repeated(events: &[wgpu_pool::Event], memory: AccountingMemory, options: PoolOptions) -> (Stats, Remedies) {
    let pool = Pool::new(memory, options).expect("the options suited the other memory");
    let mut live = HashMap::new();
    for event in events {
        let place = (event.segment, event.offset);
        match event.kind {
            EventKind::Allocate => {
                live.insert(place, pool.allocate(event.requested).expect("the other pool served the request"));
            }
            EventKind::Free => drop(live.remove(&place).expect("the block was allocated here or moved here")),
            EventKind::Move => {
                let block = live.remove(&place).expect("the block was allocated here or moved here");
                live.insert(
                    event.to.map(|(segment, offset)| (Some(segment), offset)).expect("a move has a target"),
                    block,
                );
            }
            _ => {}
        }
    }
    (pool.stats(), pool.remedies())
}

// Case 52.
#[test]
fn a_dry_run_of_a_recorded_sequence_predicts_the_peak_of_reserved_bytes_exactly() -> Outcome {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let options = PoolOptions { compaction_share: [0.0, 0.1, 1.0][random.below(3)], ..crate::common::options() };
        let memory = HostMemory::default();
        let limits = memory.limits();
        let pool = Pool::new(memory, options.clone())?;
        pool.start_history(10_000);
        let mut live = Vec::new();
        for _ in 0..400 {
            if live.is_empty() || random.below(5) < 3 {
                live.push(pool.allocate(random.size(256 << 10))?);
            } else {
                live.swap_remove(random.below(live.len()));
            }
        }
        let dry = repeated(&pool.history(), AccountingMemory::with_limits(limits), options);
        let real = (pool.stats(), pool.remedies());
        assert_eq!(dry.0.reserved.peak, real.0.reserved.peak, "seed {seed}");
        assert_eq!(dry, real, "seed {seed}");
        assert!(real.1.segments_created > 2, "seed {seed}: the program needs several segments");
    }
    Ok(())
}
