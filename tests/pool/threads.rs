//! Many threads that share one pool.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::common::watchdog;
use crate::subjects::{SEGMENT, Subject, assert_consistent, assert_stamp, options, over_every_memory, stamp};
use std::sync::{Barrier, mpsc};
use wgpu_pool::{AccountingMemory, Pool, Storage};

over_every_memory! {
    blocks_allocated_on_one_thread_are_freed_on_another,
    trimming_and_allocating_threads_can_run_concurrently,
}

// Case 50: each thread verifies and frees blocks that another thread allocated and stamped.
fn blocks_allocated_on_one_thread_are_freed_on_another<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let seen = pool.clone();
    watchdog::guarded("threads that pass blocks on", move || {
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let (sender, receiver) = mpsc::sync_channel::<(Storage<S::Memory>, u64)>(8);
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..60 {
                        let storage = pool.allocate(random.size(SEGMENT / 4)).expect("there is no limit");
                        let number = random.next();
                        stamp(&storage, number).expect("it can be written");
                        sender.send((storage, number)).expect("the other thread takes all");
                    }
                });
                scope.spawn(move || {
                    for (storage, number) in receiver {
                        assert_stamp::<S>(&storage, number);
                    }
                });
            }
        });
    });
    assert_eq!(seen.stats().blocks.current, 0);
    assert_eq!(seen.stats().blocks.allocated, 180);
    assert_consistent(&seen);
    Ok(())
}

fn trimming_and_allocating_threads_can_run_concurrently<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let seen = pool.clone();
    watchdog::guarded("threads that trim", move || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    pool.trim();
                    pool.check().expect("the invariants hold at any time");
                    std::thread::yield_now();
                }
            });
            for seed in 0..2 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..60 {
                        let storage = pool.allocate(random.size(2 * SEGMENT)).expect("there is no limit");
                        let number = random.next();
                        // Only the last bytes, so that little is transferred.
                        let start = (storage.bytes() - 1) / 4 * 4;
                        let end = number.to_le_bytes();
                        let tail = &end[..usize::try_from(storage.bytes() - start).expect("at most four")];
                        storage.write(start, tail).expect("it can be written");
                        if S::HOLDS_BYTES {
                            let mut download = pool.download(4).expect("there is room");
                            download.add(&storage, start, 4).expect("it is within");
                            assert_eq!(download.finish_blocking().expect("it arrives")[..tail.len()], *tail);
                        }
                    }
                });
            }
        });
    });
    assert_eq!(seen.stats().blocks.current, 0);
    assert_consistent(&seen);
    Ok(())
}

/// A program for one thread: it first allocates only, then frees and allocates at random.
struct Program {
    random: Random,
    live: Vec<Storage<AccountingMemory>>,
}

impl Program {
    const BLOCKS: usize = 60;

    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), live: Vec::new() }
    }

    fn step(&mut self, pool: &Pool<AccountingMemory>) {
        if self.live.len() >= Self::BLOCKS {
            self.live.swap_remove(self.random.below(Self::BLOCKS));
        }
        self.live.push(pool.allocate(self.random.size(8 << 20)).expect("there is no limit"));
    }
}

const PROGRAMS: usize = 8;
const STEPS: usize = 2000;

/// Returns the peak of reserved bytes while eight programs run concurrently, divided by the peak while one thread
/// interleaves their steps.
fn reserved_by_threads_over_one_thread(seed: u64) -> Result<f64, Box<dyn std::error::Error>> {
    let programs = || (0..PROGRAMS).map(move |program| Program::new(seed * PROGRAMS as u64 + program as u64));
    let one = Pool::new(AccountingMemory::new(), crate::common::options())?;
    let mut in_turn: Vec<Program> = programs().collect();
    for _ in 0..STEPS {
        in_turn.iter_mut().for_each(|program| program.step(&one));
    }
    let many = Pool::new(AccountingMemory::new(), crate::common::options())?;
    let start = Barrier::new(PROGRAMS);
    let side_by_side: Vec<Program> = std::thread::scope(|scope| {
        let run = |mut program: Program| {
            let (many, start) = (&many, &start);
            scope.spawn(move || {
                start.wait();
                (0..STEPS).for_each(|_| program.step(many));
                program
            })
        };
        let threads: Vec<_> = programs().map(run).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    assert_eq!(one.stats().requested.current, many.stats().requested.current, "they end alike");
    assert_consistent(&many);
    let ratio = many.stats().reserved.peak as f64 / one.stats().reserved.peak as f64;
    drop((in_turn, side_by_side));
    Ok(ratio)
}

#[test]
fn eight_threads_reserve_little_more_than_one_thread_with_the_same_requests() -> Outcome {
    // The number of live blocks depends on the thread schedule, so the median of several runs is used.
    let mut ratios = (0..5).map(reserved_by_threads_over_one_thread).collect::<Result<Vec<_>, _>>()?;
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[2] <= 1.1, "{ratios:?}");
    Ok(())
}
