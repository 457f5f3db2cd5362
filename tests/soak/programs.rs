//! Random programs that check all invariants and all contents.

use crate::budget::Budget;
use crate::program::{Extent, Text, World, run_seed};
use crate::subjects::{Accounting, Adapter, Gl, Host, Noop, Subject, assert_consistent};
use wgpu_pool::HostMemory;

/// Returns the extent for a seed: from small pools to large ones.
fn extent(seed: u64, steps: usize, largest: u64, faults: bool) -> Extent {
    let largest = (largest >> (seed / 3 % 4 * 3)).max(2048);
    Extent { steps, largest, most_live: 16 * largest, limits: seed.is_multiple_of(2), faults }
}

/// Runs the programs of a budget. Prints the number of steps, and whether a long run reached its target.
fn soak<S: Subject>(budget: &Budget, goal: u64, extent: impl Fn(u64) -> Extent, fault: fn(&S::Memory, u64)) {
    let text = Text::new();
    let (mut programs, mut steps) = (0, 0);
    for seed in budget.seeds() {
        let extent = extent(seed);
        let world = || Some(World::new(S::memory()?, seed, extent, S::abilities(), &text, fault, assert_consistent));
        if S::memory().is_none() {
            return;
        }
        run_seed(seed, extent, &world);
        (programs, steps) = (programs + 1, steps + extent.steps as u64);
    }
    budget.report(&format!("{steps} steps of {programs} programs{}", budget.compared(steps, goal)));
}

fn no_fault<M>(_: &M, _: u64) {}

#[test]
fn programs_on_an_accounting_memory_preserve_every_invariant() {
    let budget = Budget::new("accounting", 4);
    soak::<Accounting>(&budget, 10_000_000, |seed| extent(seed, 1000, 32 << 20, false), no_fault);
}

#[test]
fn programs_on_the_host_preserve_every_invariant_and_byte() {
    let budget = Budget::new("host", 6);
    soak::<Host>(&budget, 1_000_000, |seed| extent(seed, 1000, 4 << 20, true), HostMemory::fail_at);
}

#[test]
fn programs_on_the_noop_device_preserve_every_invariant_and_byte() {
    let budget = Budget::new("noop", 2);
    soak::<Noop>(&budget, 0, |seed| extent(seed, 400, 512 << 10, false), no_fault);
}

#[test]
fn programs_on_the_adapter_preserve_every_invariant_and_byte() {
    let budget = Budget::new("adapter", 2);
    soak::<Adapter>(&budget, 100_000, |seed| extent(seed, 500, 2 << 20, false), no_fault);
}

#[test]
fn programs_on_gl_preserve_every_invariant_and_byte() {
    let budget = Budget::new("gl", 1);
    soak::<Gl>(&budget, 0, |seed| extent(seed, 300, 1 << 20, false), no_fault);
}
