//! Compares the heap with a simple model in random programs. After every step, the invariants of the heap must hold and
//! the heap must agree with the model.
//!
//! A program is derived from its seed. The message of a failure contains the seed, the first step at which the two
//! differ (the shortest failing prefix), and the last steps before it.

#[path = "../common/random.rs"]
#[expect(dead_code, reason = "this test needs no numbers for kernels")]
mod random;
mod shadow;

use random::Random;
use shadow::Shadow;
use std::fmt::Write;
use std::num::NonZeroU64;
use wgpu_pool::heap::{Heap, HeapOptions};

const STEPS: usize = 10_000;

/// The distribution of request sizes.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    /// Each order of magnitude is equally likely.
    Mixed,
    /// A few sizes that repeat, as in training.
    Recurring,
    /// Each slightly larger than the previous one, as in decoding.
    Growing,
    /// Around the small limit, the granule and their multiples.
    Edges,
}

fn draw(sizes: Sizes, granule: u64, small_limit: u64, step: usize, random: &mut Random) -> NonZeroU64 {
    let size = match sizes {
        Sizes::Mixed => random.size(2048 * granule),
        Sizes::Recurring => [3, 40, 700, 1000, 4096, 6000, 65_000][random.below(7)] * granule / 64,
        Sizes::Growing => (step as u64 % 1000 + 1) * granule / 2,
        Sizes::Edges => {
            let edge = [granule, small_limit, 64 * granule, 128 * granule, 256 * granule][random.below(5)];
            edge * (1 + random.next() % 2) - 1 + random.next() % 3
        }
    };
    NonZeroU64::new(size).unwrap_or(NonZeroU64::MIN)
}

/// Runs one program, and panics with its shortest failing prefix.
fn run(seed: u64, granule: u64, sizes: Sizes) {
    let small_limit = 16 * granule;
    let mut heap = Heap::new(HeapOptions { granule, small_limit }).expect("a valid granule");
    let mut shadow = Shadow::new(granule, small_limit);
    let mut random = Random::new(seed);
    for step in 0..STEPS {
        let request = draw(sizes, granule, small_limit, step, &mut random);
        let taken = shadow.step(&mut heap, &mut random, request).and_then(|()| shadow.compare(&heap));
        if let Err(difference) = taken {
            let mut prefix = String::new();
            for (number, line) in shadow.log().iter().enumerate().rev().take(20) {
                let _ = writeln!(prefix, "  {number}: {line}");
            }
            panic!("seed {seed}, granule {granule}, {sizes:?}, step {step}: {difference}\nlast steps first:\n{prefix}");
        }
    }
    // At the end all blocks are freed: every segment is one hole again.
    shadow.empty(&mut heap).unwrap_or_else(|difference| panic!("seed {seed}, at the end: {difference}"));
    assert_eq!(heap.holes(), heap.stats().segments.current);
}

#[test]
fn random_programs_of_mixed_sizes_agree_with_the_shadow() {
    for (seed, granule) in [(1, 32), (2, 64), (3, 256)] {
        run(seed, granule, Sizes::Mixed);
    }
}

#[test]
fn random_programs_of_recurring_sizes_agree_with_the_shadow() {
    for (seed, granule) in [(4, 32), (5, 64), (6, 256)] {
        run(seed, granule, Sizes::Recurring);
    }
}

#[test]
fn random_programs_of_growing_sizes_agree_with_the_shadow() {
    for (seed, granule) in [(7, 32), (8, 64), (9, 256)] {
        run(seed, granule, Sizes::Growing);
    }
}

#[test]
fn random_programs_at_the_edges_agree_with_the_shadow() {
    for (seed, granule) in [(10, 32), (11, 64), (12, 256)] {
        run(seed, granule, Sizes::Edges);
    }
}
