//! Random loops in which steps repeat themselves with random changes: no byte is lost, no invariant is broken, and no request is refused that
//! the guarantee of `Pool::allocate` serves.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp};
use std::time::Duration;
use wgpu_pool::{AllocateError, Memory, Pinned, Pool, PoolOptions, RepeatOptions, Storage};

over_every_memory! {
    random_loops,
}

/// A request or a free in a step.
#[derive(Clone, Copy, Debug)]
enum Action {
    Allocate {
        bytes: u64,
    },
    /// Drops the block at this place among the live ones.
    Drop {
        place: usize,
    },
    /// Keeps the block at this place beyond the step.
    Keep {
        place: usize,
    },
    /// Pins the block, and drops the pin at the end of the step.
    Pin {
        place: usize,
    },
    Compact,
    Trim,
}

fn action(random: &mut Random) -> Action {
    match random.below(40) {
        0..20 => Action::Allocate { bytes: size(random) },
        20..37 => Action::Drop { place: random.below(1000) },
        37 => Action::Keep { place: random.below(1000) },
        38 => Action::Pin { place: random.below(1000) },
        _ if random.below(2) == 0 => Action::Compact,
        _ => Action::Trim,
    }
}

fn size(random: &mut Random) -> u64 {
    let most = [300, 5_000, 60_000][random.below(3)];
    1 + random.below(most) as u64
}

/// A step: mostly requests and frees.
fn script(random: &mut Random, length: usize) -> Vec<Action> {
    (0..length).map(|_| action(random)).collect()
}

/// Changes a few actions of a step.
fn vary(script: &mut Vec<Action>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let place = random.below(script.len());
        match random.below(3) {
            0 => script.insert(place, action(random)),
            1 if script.len() > 5 => drop(script.remove(place)),
            _ => script[place] = action(random),
        }
    }
}

/// A block, and the number that its bytes were computed from.
type Numbered<M> = (Storage<M>, u64);

struct Loop<M: Memory> {
    pool: Pool<M>,
    kept: Vec<Numbered<M>>,
    requests: u64,
    largest: u64,
}

impl<M: Memory> Loop<M> {
    fn step<S: Subject<Memory = M>>(&mut self, script: &[Action]) -> Outcome {
        let mut live: Vec<Numbered<M>> = Vec::new();
        let mut pins: Vec<Pinned<M>> = Vec::new();
        for &action in script {
            match action {
                Action::Allocate { bytes } => {
                    let before = self.pool.stats();
                    self.requests += 1;
                    match self.pool.allocate(bytes) {
                        Ok(storage) => {
                            stamp(&storage, self.requests)?;
                            live.push((storage, self.requests));
                        }
                        Err(AllocateError::OutOfMemory(error)) => {
                            let limit = self.pool.limit().ok_or("without a limit nothing is refused")?;
                            let room = limit.saturating_sub(before.active.current) / 256 * 256;
                            // The guarantee of `Pool::allocate`.
                            let is_due = self.pool.memory().can_block()
                                && pins.is_empty()
                                && bytes.next_multiple_of(256) <= room
                                && bytes <= self.largest;
                            assert!(!is_due, "{bytes} of {room}: {error}");
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Action::Drop { place } if !live.is_empty() => {
                    let (storage, number) = live.swap_remove(place % live.len());
                    assert_stamp::<S>(&storage, number);
                }
                Action::Keep { place } if !live.is_empty() => {
                    let kept = live.swap_remove(place % live.len());
                    self.kept.push(kept);
                    if self.kept.len() > 6 {
                        let (storage, number) = self.kept.remove(0);
                        assert_stamp::<S>(&storage, number);
                    }
                }
                Action::Pin { place } if !live.is_empty() => pins.push(live[place % live.len()].0.pin()?),
                Action::Compact => drop(self.pool.compact()?),
                Action::Trim => drop(self.pool.trim()),
                _ => {}
            }
        }
        for (storage, number) in live.iter().chain(&self.kept) {
            assert_stamp::<S>(storage, *number);
        }
        Ok(())
    }
}

fn random_loops<S: Subject>(mut memory: S::Memory) -> Outcome {
    let (seeds, length) = if S::SHOWS_PLACES { (24, 20) } else { (6, 12) };
    let mut agreeing = 0;
    let mut deviating = 0;
    for seed in 0..seeds {
        let mut random = Random::new(9000 + seed);
        let limit = [None, Some(400 << 10), Some(1 << 20)][random.below(3)];
        let spill = [None, Some(1 << 20)][random.below(2)];
        let compaction_share = [0.1, 1.0][random.below(2)];
        let pool = Pool::new(memory, PoolOptions { limit, spill, compaction_share, ..options() })?;
        let step = pool.repeat(RepeatOptions { kinds: 1 + random.below(4), planning_time: Duration::from_millis(1) });
        let largest = pool.memory().limits().largest_segment;
        let mut looped = Loop { pool, kept: Vec::new(), requests: 0, largest };
        let mut scripts: Vec<_> = (0..=random.below(3)).map(|_| script(&mut random, 10 + 3 * length)).collect();
        for _ in 0..length {
            let which = random.below(scripts.len());
            if random.below(6) == 0 {
                vary(&mut scripts[which], &mut random);
            }
            // Mostly whole steps; some in another order of kinds, some without the plan, some with a block before them.
            let run = |looped: &mut Loop<S::Memory>| looped.step::<S>(&scripts[which]);
            if random.below(8) == 0 {
                run(&mut looped)?;
            } else {
                step.run(|| run(&mut looped))??;
            }
            assert_consistent(&looped.pool);
            assert!(limit.is_none_or(|limit| looped.pool.stats().reserved.peak <= limit));
        }
        let stats = step.stats();
        agreeing += stats.agreeing;
        deviating += stats.deviating;
        drop(step);
        drop(looped.kept);
        assert_consistent(&looped.pool);
        looped.pool.trim();
        assert_eq!(looped.pool.stats().reserved.current, 0, "seed {seed}");
        let Some(next) = S::memory() else { break };
        memory = next;
    }
    assert!(agreeing > 0 && deviating > 0, "{agreeing} and {deviating}");
    Ok(())
}
