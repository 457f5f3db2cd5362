//! Random programs on every memory, with verified contents. `cargo xtask soak` runs longer ones.

use crate::program::{Extent, Text, World, run_seed};
use crate::subjects::{Accounting, Adapter, Gl, Host, Noop, Subject, assert_consistent};
use std::ops::Range;
use wgpu_pool::{HostMemory, Memory};

/// Runs the programs of a range of seeds.
fn run_all<S: Subject>(seeds: Range<u64>, extent: Extent, fault: fn(&S::Memory, u64)) {
    let text = Text::new();
    let Some(largest) = S::memory().map(|memory| memory.limits().largest_segment) else { return };
    let extent = Extent { largest: extent.largest.min(largest), ..extent };
    for seed in seeds {
        let world = || {
            let memory = S::memory()?;
            Some(World::new(memory, seed, extent, S::abilities(), &text, fault, assert_consistent))
        };
        run_seed(seed, extent, &world);
    }
}

fn no_fault<M>(_: &M, _: u64) {}

// Case 50, and 24, 25 and 57 within the programs.
#[test]
fn random_programs_preserve_every_invariant_on_an_accounting_memory() {
    let extent = Extent { steps: 4_000, largest: 32 << 20, most_live: 512 << 20, limits: true, faults: true };
    run_all::<Accounting>(0..4, extent, no_fault);
}

#[test]
fn random_programs_preserve_every_invariant_and_byte_on_the_host() {
    let extent = Extent { steps: 4_000, largest: 8 << 20, most_live: 128 << 20, limits: true, faults: true };
    run_all::<Host>(0..4, extent, HostMemory::fail_at);
}

#[test]
fn random_programs_preserve_every_invariant_and_byte_on_the_noop_device() {
    let extent = Extent { steps: 1_000, largest: 512 << 10, most_live: 8 << 20, limits: true, faults: true };
    run_all::<Noop>(2..4, extent, no_fault);
}

#[test]
fn random_programs_preserve_every_invariant_and_byte_on_the_adapter() {
    let extent = Extent { steps: 1_500, largest: 8 << 20, most_live: 64 << 20, limits: true, faults: true };
    run_all::<Adapter>(1..4, extent, no_fault);
}

#[test]
fn random_programs_preserve_every_invariant_and_byte_on_gl() {
    let extent = Extent { steps: 700, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: true };
    run_all::<Gl>(3..5, extent, no_fault);
}
