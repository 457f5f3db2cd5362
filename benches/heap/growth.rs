//! The cost of each operation as events, live blocks and segments grow: the measurements for the cost model in the docs
//! of `wgpu_pool::heap`.

use crate::contenders::GRANULE;
use crate::pairs::log_uniform;
use crate::random::Random;
use crate::rounds::median;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::time::Instant;
use wgpu_pool::heap::{BlockId, Heap, HeapOptions, SubPool};

/// The largest block in granules: 256 KiB.
const MOST: u32 = 1024;
/// The number of segments while the number of blocks grows.
const SEGMENTS: u32 = 64;
/// The number of live blocks while the number of segments grows.
const LIVE: u32 = 100_000;
/// The number of live blocks while the number of events grows.
const LIVE_OF_EVENTS: u32 = 10_000;
/// Repetitions of operations that take nanoseconds.
const QUICK: usize = 10_000;
/// The number of idle segments in a trim.
const IDLE: usize = 64;

pub(crate) fn print(most_live: u32, rounds: u32) {
    println!("\ncosts as the heap grows, medians of {rounds}");
    println!(
        "pair: one of the 1,000 youngest blocks is freed and one is allocated; segment: added and released; trim: each segment \
         of {IDLE};\nhole, idle: to plan a hole, an idle segment; commit: each move of a planned hole"
    );
    print_head();
    let mut live = 1000;
    while live <= most_live {
        costs(live, SEGMENTS, rounds);
        live *= 10;
    }
    print_head();
    for segments in [16, 256, 4096] {
        costs(LIVE, segments, rounds);
    }
    println!("\nas events grow, with {LIVE_OF_EVENTS} live blocks");
    let mut program = Program::new(LIVE_OF_EVENTS, SEGMENTS);
    let mut events = 0;
    for next in [100_000, 1_000_000, 10_000_000] {
        let measured = rounds as usize * QUICK;
        while events + measured * 2 < next {
            program.run();
            events += QUICK * 2;
        }
        let pair = median((0..rounds).map(|_| program.run()));
        events += measured * 2;
        println!("{next:>10} events: {pair:>6.1} ns a pair, {:>6} holes", program.heap.holes());
    }
}

fn print_head() {
    println!(
        "\n{:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>11}",
        "live",
        "segments",
        "holes",
        "pair ns",
        "resolve",
        "stats",
        "largest",
        "segment",
        "trim",
        "commit",
        "hole µs",
        "idle µs",
        "all blocks µs",
    );
}

/// One line of the table.
fn costs(live: u32, segments: u32, rounds: u32) {
    let mut program = Program::new(live, segments);
    let rounds = 0..rounds;
    program.run();
    let pair = median(rounds.clone().map(|_| program.run()));
    let ids = program.live.clone();
    let heap = &mut program.heap;
    let _ = heap.release_inactive();
    let holes = heap.holes();
    let held = heap.stats().segments.current;
    let resolve = median(rounds.clone().map(|_| {
        each(QUICK, |turn| {
            black_box(heap.allocated_place(ids[turn % 1000]));
        })
    }));
    let stats = median(rounds.clone().map(|_| {
        each(QUICK, |_| {
            black_box(heap.stats());
        })
    }));
    let largest = median(rounds.clone().map(|_| {
        each(QUICK, |_| {
            black_box(heap.largest_hole());
        })
    }));
    let bytes = u64::from(MOST) * GRANULE;
    let segment = median(rounds.clone().map(|_| {
        each(QUICK, |_| {
            let id = heap.add_segment(SubPool::Large, bytes).expect("the size is a multiple of the granule");
            heap.release_segment(id).expect("it is idle");
        })
    }));
    let trim = median(rounds.clone().map(|_| {
        for _ in 0..IDLE {
            heap.add_segment(SubPool::Large, bytes).expect("the size is a multiple of the granule");
        }
        each(1, |_| {
            black_box(heap.release_inactive());
        }) / IDLE as f64
    }));
    let idle = median(rounds.clone().map(|_| {
        each(1, |_| {
            black_box(heap.plan_evacuation(SubPool::Large, 1, u64::MAX));
        }) / 1e3
    }));
    let map = median(rounds.clone().map(|_| {
        each(1, |_| {
            black_box(heap.segments().flat_map(|segment| segment.blocks()).count());
        }) / 1e3
    }));
    let (mut plans, mut commits) = (Vec::new(), Vec::new());
    for _ in rounds {
        // Slightly more than the largest hole, so that blocks have to move.
        let wanted = heap.largest_hole() + GRANULE;
        let start = Instant::now();
        let plan = heap.plan_hole(SubPool::Large, wanted, u64::MAX);
        plans.push(start.elapsed().as_secs_f64() * 1e6);
        let Some(plan) = plan else { break };
        let time = each(1, |_| heap.commit(&plan).expect("nothing has changed since it was planned"));
        commits.push(time / plan.moves().len() as f64);
    }
    let (plan, commit) = (median(plans.into_iter()), median(commits.into_iter()));
    println!(
        "{live:>9} {held:>8} {holes:>8} {pair:>8.1} {resolve:>8.1} {stats:>8.1} {largest:>8.1} {segment:>8.1} {trim:>8.1} {commit:>9.0} {plan:>9.0} {idle:>9.0} {map:>11.0}"
    );
}

/// Returns the nanoseconds per call.
fn each(turns: usize, mut act: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for turn in 0..turns {
        act(turn);
    }
    start.elapsed().as_secs_f64() * 1e9 / turns as f64
}

/// A heap with holes in all segments, and a program that continues to run in the heap.
struct Program {
    heap: Heap,
    live: Vec<BlockId>,
    random: Random,
}

impl Program {
    fn new(live: u32, segments: u32) -> Self {
        let mut random = Random::new(u64::from(live) + u64::from(segments));
        let mut heap =
            Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("the granule is a power of two");
        // A third more than the final number of live blocks: a quarter of the memory is freed afterwards.
        let sizes: Vec<u32> = (0..live * 4 / 3).map(|_| log_uniform(&mut random, MOST)).collect();
        let sum: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
        for _ in 0..segments {
            let granules = sum / u64::from(segments) + u64::from(MOST);
            heap.add_segment(SubPool::Large, granules * GRANULE).expect("the size is a multiple of the granule");
        }
        let mut blocks: Vec<BlockId> = sizes.iter().map(|&size| allocate(&mut heap, size)).collect();
        while blocks.len() > live as usize {
            let id = blocks.swap_remove(random.below(blocks.len()));
            heap.free(id).expect("every block is freed once");
        }
        Self { heap, live: blocks, random }
    }

    /// Repeatedly frees one of a thousand blocks and allocates another. Returns the nanoseconds per repetition.
    fn run(&mut self) -> f64 {
        let first = self.live.len() - 1000;
        let pairs: Vec<(usize, u32)> =
            (0..QUICK).map(|_| (first + self.random.below(1000), log_uniform(&mut self.random, MOST))).collect();
        each(QUICK, |turn| {
            let (victim, granules) = pairs[turn];
            self.heap.free(self.live[victim]).expect("every block is freed once");
            self.live[victim] = allocate(&mut self.heap, granules);
        })
    }
}

fn allocate(heap: &mut Heap, granules: u32) -> BlockId {
    let bytes = NonZeroU64::new(u64::from(granules) * GRANULE).expect("no size is 0");
    heap.allocate(bytes).expect("a quarter of the heap is free")
}
