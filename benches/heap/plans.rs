//! The cost of a compaction plan as the pool grows, in segments and in blocks.

use crate::contenders::GRANULE;
use crate::random::Random;
use crate::rounds::median;
use std::num::NonZeroU64;
use std::time::Instant;
use wgpu_pool::heap::compaction::Plan;
use wgpu_pool::heap::{Heap, HeapOptions, SubPool};

/// The bytes of a segment.
const SEGMENT: u64 = 64 << 20;

pub(crate) fn measure(rounds: u32) {
    println!(
        "\n{:<34} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "plans, µs", "blocks", "hole", "evacuation", "gathering", "sliding"
    );
    for (segments, blocks_each) in [(10, 100), (100, 100), (1000, 100), (10, 1000), (100, 1000), (10, 10_000)] {
        let heap = shattered(segments, blocks_each);
        let times = [
            time(rounds, || heap.plan_hole(SubPool::Large, SEGMENT / 4, u64::MAX)),
            time(rounds, || heap.plan_evacuation(SubPool::Large, SEGMENT, u64::MAX)),
            time(rounds, || heap.plan_gathering(SubPool::Large, SEGMENT / 4)),
            time(rounds, || heap.plan_sliding(SubPool::Large)),
        ];
        let [hole, evacuation, gathering, sliding] = times;
        let blocks = heap.stats().blocks.current + heap.stats().holes;
        println!(
            "{:<34} {blocks:>10} {hole:>12.1} {evacuation:>12.1} {gathering:>12.1} {sliding:>12.1}",
            format!("{segments} segments")
        );
    }
}

/// Segments with blocks of about one size, of which every fourth is freed.
fn shattered(segments: u64, blocks_each: u64) -> Heap {
    let mut heap = Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("the granule is a power of two");
    let mut random = Random::new(segments * blocks_each);
    let usual = SEGMENT / blocks_each;
    let mut live = Vec::new();
    for _ in 0..segments {
        heap.add_segment(SubPool::Large, SEGMENT).expect("a segment holds 2^32 granules");
        while let Some(bytes) = NonZeroU64::new(usual / 2 + random.next() % usual) {
            let Ok(block) = heap.allocate(bytes) else { break };
            live.push(block);
        }
    }
    for block in live.into_iter().filter(|_| random.below(4) == 0) {
        heap.free(block).expect("every block is freed once");
    }
    heap
}

/// The median in microseconds.
fn time(rounds: u32, plan: impl Fn() -> Option<Plan>) -> f64 {
    let rounds = (0..rounds).map(|_| {
        let start = Instant::now();
        std::hint::black_box(plan());
        start.elapsed().as_secs_f64() * 1e6
    });
    median(rounds)
}
