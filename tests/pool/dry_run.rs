//! Dry runs: the same peaks as the real program, on every memory, and nothing changes in the pool.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{Subject, assert_consistent, assert_stamp, currents, options, over_every_memory, stamp};
use proptest::prelude::*;
use std::collections::HashMap;
use wgpu_pool::plan::PlanOptions;
use wgpu_pool::{
    AccountingMemory, AllocateError, EventKind, HostMemory, Memory, Pool, PoolOptions, Remedies, Stats, Storage,
};

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

/// Allocates blocks and drops some of them. Returns those that are left.
fn churn<M: Memory>(pool: &Pool<M>, random: &mut Random) -> Result<Vec<Storage<M>>, AllocateError> {
    let mut live = Vec::new();
    for _ in 0..400 {
        if live.is_empty() || random.below(5) < 3 {
            live.push(pool.allocate(random.size(256 << 10))?);
        } else {
            live.swap_remove(random.below(live.len()));
        }
    }
    Ok(live)
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
        let _live = churn(&pool, &mut random)?;
        let dry = repeated(&pool.history(), AccountingMemory::with_limits(limits), options);
        let real = (pool.stats(), pool.remedies());
        assert_eq!(dry.0.reserved.peak, real.0.reserved.peak, "seed {seed}");
        assert_eq!(dry, real, "seed {seed}");
        assert!(real.1.segments_created > 2, "seed {seed}: the program needs several segments");
        // The same sequence, in a dry run and then in the program, from the state that the first part has left.
        let sequence = || churn(&pool, &mut Random::new(seed + 1000)).map(drop);
        let (predicted, dry_run) = pool.dry_run(sequence)?;
        predicted?;
        pool.reset_peaks();
        let before = pool.stats().reserved.peak;
        sequence()?;
        let peaks = (pool.stats().requested.peak, pool.stats().reserved.peak);
        assert_eq!((dry_run.requested_peak().bytes, dry_run.reserved_peak().bytes), peaks, "seed {seed}");
        assert!(peaks.1 > before, "seed {seed}: the sequence needs more segments");
    }
    Ok(())
}

/// The size of the largest block of random programs.
pub(crate) const MOST: u64 = 256 << 10;

/// A random program, which begins with the storages `live` and returns the rest.
fn program<M: Memory>(pool: &Pool<M>, mut live: Vec<Storage<M>>, seed: u64) -> Vec<Storage<M>> {
    let mut random = Random::new(seed);
    for step in 0..250 {
        let _scope = (random.below(3) == 0).then(|| pool.scope("part"));
        match random.below(40) {
            0 => drop(pool.trim()),
            1 => drop(pool.compact().expect("no device fails")),
            2 => pool.reset_peaks(),
            3 => drop(pool.reserve_blocking(random.size(MOST))),
            4 => drop(pool.trim_to(random.size(4 * MOST))),
            5 if !live.is_empty() => {
                let one = &live[random.below(live.len())];
                one.set_label("labelled");
                one.clear().expect("the storage is of this run");
            }
            6 if live.len() > 1 => {
                let (from, to) = (random.below(live.len()), random.below(live.len()));
                let fits = live[from].bytes() <= live[to].bytes();
                assert_eq!(live[from].copy_to(&live[to]).is_ok(), fits, "step {step}");
            }
            7 if !live.is_empty() => {
                let weak = live.swap_remove(random.below(live.len())).downgrade();
                assert!(weak.upgrade().is_none());
            }
            number if number < 25 || live.is_empty() => {
                if let Ok(storage) = pool.allocate(random.size(MOST)) {
                    live.push(storage);
                }
            }
            _ => drop(live.swap_remove(random.below(live.len()))),
        }
    }
    live
}

/// What a program does to a pool: the counters that do not depend on the speed of the device.
fn effect<M: Memory>(pool: &Pool<M>) -> (Stats, Remedies) {
    let mut remedies = pool.remedies();
    remedies.waits = 0;
    (pool.stats(), remedies)
}

fn is_exact<S: Subject>(memory: S::Memory, seed: u64) {
    let mut random = Random::new(seed);
    let share = [0.0, 0.1, 1.0][random.below(3)];
    let limit = [None, Some(2 << 20), Some(4 << 20)][random.below(3)];
    let options = PoolOptions { compaction_share: share, limit, ..options() };
    let real = S::memory().expect("there was one before");
    let pools = [memory, real].map(|memory| Pool::new(memory, options.clone()).expect("the options suit"));
    let [mut before, mut before_real] = [&pools[0], &pools[1]].map(|pool| program(pool, Vec::new(), seed + 1));
    let [pool, real] = &pools;
    assert_eq!(effect(pool), effect(real), "the programs before are the same");
    // A part stays with the caller, and the closure takes the rest.
    let (taken, taken_real) = (before.split_off(before.len() / 2), before_real.split_off(before_real.len() / 2));
    for live in [&before, &before_real] {
        (0..).zip(live).for_each(|(number, storage)| stamp(storage, number).expect("it is of this pool"));
    }
    real.reset_peaks();
    let run = |pool: &Pool<S::Memory>, taken| {
        let rest = program(pool, taken, seed + 2);
        (rest.iter().map(Storage::bytes).sum::<u64>(), effect(pool))
    };
    let limits = (pool.limit(), pool.remedies());
    let ((rest, dry_effect), dry_run) = pool.dry_run(|| run(pool, taken)).expect("it is the first one");
    let (real_rest, real_effect) = run(real, taken_real);
    assert_eq!((rest, dry_effect), (real_rest, real_effect), "seed {seed}");
    assert_eq!((pool.limit(), pool.remedies()), limits, "seed {seed}: the dry run is no part of the pool");
    (0..).zip(&before).for_each(|(number, storage)| assert_stamp::<S>(storage, number));
    assert_consistent(pool);
    let left: u64 = before.iter().map(Storage::bytes).sum();
    let stats = pool.stats();
    let requested = stats.requested.current + stats.spilled_requested.current;
    assert_eq!(requested, left, "seed {seed}: the closure has dropped what it took");
    let holders: u64 = dry_run.holders().iter().map(|holder| holder.bytes).sum();
    assert_eq!(holders, dry_run.requested_peak().bytes, "seed {seed}");
    assert_eq!(most_live(dry_run.trace()), holders, "seed {seed}");
}

/// The largest sum of the sizes of buffers that are live at the same time.
fn most_live(trace: &wgpu_pool::plan::Trace) -> u64 {
    let problem = trace.problem().expect("it is far below 2^64 bytes");
    let live_at = |moment| -> u64 {
        let is_live = |buffer: &&wgpu_pool::plan::Buffer| (buffer.lower..buffer.upper).contains(&moment);
        problem.buffers().iter().filter(is_live).map(|buffer| buffer.bytes).sum()
    };
    problem.buffers().iter().map(|buffer| live_at(buffer.lower)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_dry_run_does_to_its_copy_what_the_program_does_to_a_pool(seed in any::<u32>()) {
        is_exact::<crate::subjects::Accounting>(AccountingMemory::new(), u64::from(seed));
    }
}

fn a_dry_run_is_exact_and_changes_nothing<S: Subject>(mut memory: S::Memory) -> Outcome {
    for seed in 0..12 {
        is_exact::<S>(memory, 1000 + seed);
        let Some(next) = S::memory() else { break };
        memory = next;
    }
    Ok(())
}

/// The peaks of a program that changes neither peaks nor limit: the same numbers as the counters of the real pool.
fn the_peaks_are_those_of_the_real_program<S: Subject>(memory: S::Memory) -> Outcome {
    for limit in [None, Some(3 << 20)] {
        let memory = S::memory().ok_or("there was one before")?;
        let pool = Pool::new(memory, PoolOptions { limit, ..options() })?;
        let weights = pool.allocate(300_001)?;
        let step = || -> Result<(), AllocateError> {
            let _step = pool.scope("step");
            let activations: Vec<_> = (1..8).map(|layer| pool.allocate(layer * 50_001)).collect::<Result<_, _>>()?;
            let gradient = pool.allocate(weights.bytes())?;
            drop(activations);
            gradient.copy_to(&weights).expect("they have one size");
            pool.allocate(100_000).map(drop)
        };
        let state = currents(&pool.stats());
        let (result, first) = pool.dry_run(step)?;
        result?;
        let (result, second) = pool.dry_run(step)?;
        result?;
        assert_eq!(first.to_string(), second.to_string(), "the first one has left no trace");
        assert_eq!(currents(&pool.stats()), state);
        step()?;
        let stats = pool.stats();
        assert_eq!(first.requested_peak().bytes, stats.requested.peak);
        assert_eq!(first.reserved_peak().bytes, stats.reserved.peak);
        assert!(first.requested_peak().site.as_ref().is_some_and(|site| site.file.ends_with("dry_run.rs")));
        let [activations, rest @ ..] = first.holders() else { panic!("there are holders") };
        assert_eq!((activations.blocks, activations.bytes), (7, 28 * 50_001));
        assert_eq!(activations.scope.as_deref(), Some("step"));
        assert_eq!(rest.iter().map(|holder| holder.bytes).collect::<Vec<_>>(), [300_001; 2]);
        let height = first.trace().plan(&PlanOptions::default())?.height();
        assert!(height >= stats.requested.peak && first.fits() && first.limit() == limit);
    }
    drop(memory);
    Ok(())
}

over_every_memory! {
    a_dry_run_is_exact_and_changes_nothing,
    the_peaks_are_those_of_the_real_program,
}
