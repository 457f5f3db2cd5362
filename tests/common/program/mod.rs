//! Random programs as data: a seed produces a list of steps, and every sublist is a valid program, so that a failing
//! program can be reduced to the relevant steps.
//!
//! A step identifies a block, a weak handle or a pin by a random number, modulo their number when the step runs.

mod content;
mod world;

pub(crate) use content::Text;
pub(crate) use world::{Abilities, World};

use crate::common::Outcome;
use crate::common::random::Random;
use quanta::Instant;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wgpu_pool::Memory;

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Allocate {
        bytes: u64,
    },
    /// Clones a handle of a block.
    Clone {
        block: u64,
    },
    /// Drops a handle of a block, on another thread or on this one.
    Drop {
        block: u64,
        on_another_thread: bool,
    },
    /// Drops all handles of a block.
    Free {
        block: u64,
    },
    Downgrade {
        block: u64,
    },
    Upgrade {
        weak: u64,
    },
    DropWeak {
        weak: u64,
    },
    Pin {
        block: u64,
    },
    Unpin {
        pin: u64,
    },
    /// Writes new bytes.
    Write {
        block: u64,
        number: u64,
    },
    Clear {
        block: u64,
    },
    Copy {
        from: u64,
        to: u64,
    },
    Verify {
        block: u64,
    },
    /// Moves a block to host memory.
    #[allow(dead_code, reason = "not every user of the module tests spilling")]
    Offload {
        block: u64,
    },
    /// Returns a block to the device.
    #[allow(dead_code, reason = "not every user of the module tests spilling")]
    Prefetch {
        block: u64,
    },
    /// Keeps a block on the device.
    #[allow(dead_code, reason = "not every user of the module tests spilling")]
    Keep {
        block: u64,
    },
    Trim,
    TrimTo {
        bytes: u64,
    },
    Compact {
        bytes: u64,
    },
    /// Sets the limit to this share of the largest number of live bytes, in eighths; 0 removes the limit.
    Limit {
        eighths: u64,
    },
    /// Makes the memory refuse the creation of a segment, if it can.
    Fault {
        after: u64,
    },
    Submit,
    Synchronize,
    ResetPeaks,
    ResetAccumulated,
}

/// The extent of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) steps: usize,
    /// The largest request in bytes.
    pub(crate) largest: u64,
    /// The maximum number of live bytes.
    pub(crate) most_live: u64,
    /// Whether the program sets limits.
    pub(crate) limits: bool,
    /// Whether the memory injects failures.
    pub(crate) faults: bool,
}

/// The steps of a program, an infinite sequence.
pub(crate) fn steps(seed: u64, extent: Extent) -> impl Iterator<Item = Step> {
    let mut random = Random::new(seed);
    std::iter::from_fn(move || Some(step(&mut random, &extent)))
}

fn step(random: &mut Random, extent: &Extent) -> Step {
    let (choice, block) = (random.below(1000), random.next() >> 1);
    match choice {
        0..10 => Step::Trim,
        10..14 => Step::TrimTo { bytes: random.next() % extent.most_live },
        14..22 => Step::Compact { bytes: random.size(extent.most_live) },
        22..30 if extent.limits => Step::Limit { eighths: (random.next() % 10).saturating_sub(1) },
        30..38 if extent.faults => Step::Fault { after: random.next() % 3 },
        38..46 => Step::Submit,
        46..48 => Step::Synchronize,
        48..52 => Step::ResetPeaks,
        52..56 => Step::ResetAccumulated,
        56..80 => Step::Pin { block },
        80..110 => Step::Unpin { pin: block },
        110..150 => Step::Downgrade { block },
        150..190 => Step::Upgrade { weak: block },
        190..225 => Step::DropWeak { weak: block },
        225..260 => Step::Clone { block },
        260..300 => Step::Write { block, number: random.next() },
        300..310 => Step::Clear { block },
        310..330 => Step::Copy { from: block, to: random.next() >> 1 },
        330..350 => Step::Verify { block },
        350..390 => Step::Free { block },
        390..590 => Step::Drop { block, on_another_thread: random.below(8) == 0 },
        _ => Step::Allocate { bytes: random.size(extent.largest) },
    }
}

/// The reason of a failure, and the number of steps before it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) reason: String,
}

/// The steps of a program, with moves between the device and the host in between.
#[allow(dead_code, reason = "not every user of the module tests spilling")]
pub(crate) fn spilling_steps(seed: u64, extent: Extent) -> impl Iterator<Item = Step> {
    let mut random = Random::new(!seed);
    steps(seed, extent).flat_map(move |step| {
        let block = random.next() >> 1;
        let more = match random.below(100) {
            0..8 => Some(Step::Offload { block }),
            8..12 => Some(Step::Prefetch { block }),
            12 if seed.is_multiple_of(2) => Some(Step::Keep { block }),
            _ => None,
        };
        [Some(step), more].into_iter().flatten()
    })
}

/// Runs a program in a new world. A panic is a failure.
pub(crate) fn run<M: Memory>(
    world: &dyn Fn() -> Option<World<M>>,
    steps: impl Iterator<Item = Step>,
) -> Result<(), Failure> {
    caught(|done| {
        let Some(mut world) = world() else { return Ok(()) };
        for step in steps {
            *done += 1;
            world.take(step)?;
        }
        world.end()
    })
}

/// Calls `act`, which counts its steps in its argument. A panic is a failure.
pub(crate) fn caught(act: impl FnOnce(&mut usize) -> Outcome) -> Result<(), Failure> {
    let mut done = 0;
    match catch_unwind(AssertUnwindSafe(|| act(&mut done))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure { step: done, reason: error.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(Failure { step: done, reason: text.unwrap_or("a panic").to_string() })
        }
    }
}

/// Runs the program of a seed. The message of a failure contains the seed and a short program that also fails.
///
/// # Panics
/// If the program fails.
pub(crate) fn run_seed<M: Memory>(seed: u64, extent: Extent, world: &dyn Fn() -> Option<World<M>>) {
    run_program(seed, extent, steps(seed, extent).take(extent.steps).collect(), world);
}

/// As [`run_seed`], with the steps of the program.
///
/// # Panics
/// If the program fails.
pub(crate) fn run_program<M: Memory>(
    seed: u64,
    extent: Extent,
    mut program: Vec<Step>,
    world: &dyn Fn() -> Option<World<M>>,
) {
    let Err(first) = run(world, program.iter().copied()) else { return };
    eprintln!("seed {seed}, step {}: {}; looking for a shorter program", first.step, first.reason);
    program.truncate(first.step);
    let (program, reason) = minimized(program, first.reason, |program| run(world, program.iter().copied()).err());
    let mut listing = String::new();
    for step in &program {
        let _ = writeln!(listing, "  {step:?}");
    }
    panic!("seed {seed}, step {} of {extent:?}: {reason}\n{} steps that fail:\n{listing}", first.step, program.len());
}

/// The time limit of the reduction.
const PATIENCE: Duration = Duration::from_secs(60);

/// Removes parts of a failing program as long as the rest still fails: halves first, single steps last.
pub(crate) fn minimized<T: Copy>(
    mut program: Vec<T>,
    mut reason: String,
    fails: impl Fn(&[T]) -> Option<Failure>,
) -> (Vec<T>, String) {
    let began = Instant::now();
    let mut length = program.len().div_ceil(2);
    while length > 0 {
        let (before, mut start) = (program.len(), 0);
        while start < program.len() && began.elapsed() < PATIENCE {
            let end = program.len().min(start + length);
            let rest: Vec<T> = program[..start].iter().chain(&program[end..]).copied().collect();
            match fails(&rest) {
                Some(failure) => {
                    // Steps after the failing one are irrelevant.
                    program = rest;
                    program.truncate(failure.step);
                    reason = failure.reason;
                }
                None => start = end,
            }
        }
        if began.elapsed() >= PATIENCE {
            break;
        }
        // Removes single steps until none can be removed.
        length = if length == 1 && program.len() < before { 1 } else { length / 2 };
    }
    (program, reason)
}

#[test]
fn a_program_that_fails_is_cut_down_to_the_steps_that_matter() {
    let extent = Extent { steps: 3000, largest: 1000, most_live: 10_000, limits: true, faults: true };
    let program: Vec<Step> = steps(7, extent).take(extent.steps).collect();
    // Fails if a trim follows a compaction that follows a pin.
    let fails = |program: &[Step]| {
        let mut wanted = 0;
        for (index, step) in program.iter().enumerate() {
            wanted += usize::from(matches!(
                (wanted, step),
                (0, Step::Pin { .. }) | (1, Step::Compact { .. }) | (2, Step::Trim)
            ));
            if wanted == 3 {
                return Some(Failure { step: index + 1, reason: "so it is".into() });
            }
        }
        None
    };
    let (program, reason) = minimized(program, String::new(), fails);
    assert!(matches!(program[..], [Step::Pin { .. }, Step::Compact { .. }, Step::Trim]), "{program:?}");
    assert_eq!(reason, "so it is");
}
