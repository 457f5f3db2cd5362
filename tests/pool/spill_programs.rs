//! Random programs with spilling: verified contents on every memory and by both methods, with limits that change, blocks
//! that are pinned or kept, and faults of the device and of the host.

use crate::program::{Extent, Step, Text, World, run_program, spilling_steps};
use crate::spill::{AdapterMapped, NoopMapped};
use crate::subjects::{Accounting, Adapter, Gl, Host, HostReadback, Noop, Subject, assert_consistent};
use std::ops::Range;
use wgpu_pool::{HostMemory, Memory, Pool, PoolOptions};

/// Runs the programs of a range of seeds. Every third program has a limit on host bytes that it reaches.
fn run_all<S: Subject>(seeds: Range<u64>, extent: Extent, fault: fn(&S::Memory, u64)) {
    let text = Text::new();
    let Some(largest) = S::memory().map(|memory| memory.limits().largest_segment) else { return };
    let extent = Extent { largest: extent.largest.min(largest), ..extent };
    for seed in seeds {
        let is_bounded = seed % 3 == 2;
        let options = PoolOptions {
            limit: Some(extent.most_live / 4),
            smallest_segment: Some(extent.largest / 4),
            compaction_share: [0.1, 1.0, 0.1, 0.0][usize::try_from(seed % 4).expect("below four")],
            scrub_on_free: seed % 5 == 3,
            spill: Some(if is_bounded { extent.most_live / 4 } else { u64::MAX }),
            ..crate::common::options()
        };
        let world = || {
            let pool = Pool::new(S::memory()?, options.clone()).expect("the options suit the memory");
            let world = World::over(pool, extent, S::abilities(), &text, fault, assert_consistent);
            Some(world.spilling(&options, is_bounded))
        };
        let program: Vec<Step> = spilling_steps(seed, extent).take(extent.steps).collect();
        run_program(seed, extent, program, &world);
    }
}

fn no_fault<M>(_: &M, _: u64) {}

/// Makes the device refuse a segment, or makes the host refuse memory until the next fault.
fn host_fault(memory: &HostMemory, after: u64) {
    memory.fail_at(after);
    memory.refuse_host_segments(after == 0);
}

#[test]
fn random_programs_that_spill_preserve_every_invariant_on_an_accounting_memory() {
    let extent = Extent { steps: 1_500, largest: 16 << 20, most_live: 256 << 20, limits: true, faults: false };
    run_all::<Accounting>(0..6, extent, no_fault);
}

#[test]
fn random_programs_that_spill_preserve_every_byte_on_the_host() {
    let extent = Extent { steps: 700, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: false };
    run_all::<Host>(0..6, extent, no_fault);
}

#[test]
fn random_programs_that_spill_preserve_every_byte_when_device_and_host_refuse_memory() {
    let extent = Extent { steps: 700, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: true };
    run_all::<Host>(12..20, extent, host_fault);
}

#[test]
fn random_programs_that_spill_by_read_backs_preserve_every_byte_on_the_host() {
    let extent = Extent { steps: 700, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: false };
    run_all::<HostReadback>(24..28, extent, no_fault);
    let extent = Extent { faults: true, ..extent };
    run_all::<HostReadback>(36..40, extent, host_fault);
}

#[test]
fn random_programs_that_spill_preserve_every_byte_on_the_noop_device() {
    let extent = Extent { steps: 600, largest: 128 << 10, most_live: 2 << 20, limits: true, faults: false };
    run_all::<Noop>(0..3, extent, no_fault);
    run_all::<NoopMapped>(3..6, extent, no_fault);
}

#[test]
fn random_programs_that_spill_preserve_every_byte_on_the_adapter() {
    let extent = Extent { steps: 600, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: false };
    run_all::<Adapter>(0..3, extent, no_fault);
    run_all::<AdapterMapped>(3..6, extent, no_fault);
}

#[test]
fn random_programs_that_spill_preserve_every_byte_on_gl() {
    let extent = Extent { steps: 300, largest: 512 << 10, most_live: 8 << 20, limits: true, faults: false };
    run_all::<Gl>(0..3, extent, no_fault);
}
