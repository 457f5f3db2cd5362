//! Threads that share blocks, weak handles and pins of one pool.

use crate::budget::Budget;
use crate::common::Outcome;
use crate::common::random::Random;
use crate::common::watchdog;
use crate::subjects::{Accounting, Adapter, Host, Subject, assert_consistent, assert_stamp, options, stamp};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wgpu_pool::{AllocateError, Memory, Pool, PoolOptions, Storage, WeakStorage};

const THREADS: u64 = 4;
/// The maximum number of shared blocks.
const MOST_SHARED: usize = 24;

/// Blocks and weak handles that any thread may take.
struct Shared<M: Memory> {
    blocks: Mutex<Vec<(Storage<M>, u64)>>,
    weak: Mutex<Vec<(WeakStorage<M>, u64, u64)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_thread<S: Subject>(pool: &Pool<S::Memory>, shared: &Shared<S::Memory>, seed: u64, steps: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut pins = Vec::new();
    for _ in 0..steps {
        match random.below(20) {
            0 => drop(pool.trim()),
            1 => drop(pool.compact_up_to(1 << 20)?),
            2 => pool.submit()?,
            3 | 4 => pins.truncate(random.below(4)),
            5..=8 => {
                let taken = lock(&shared.blocks).pop();
                let Some((storage, number)) = taken else { continue };
                assert_stamp::<S>(&storage, number);
                match random.below(3) {
                    0 => pins.push(storage.pin()?),
                    1 => lock(&shared.weak).push((storage.downgrade(), number, storage.bytes())),
                    _ => {}
                }
            }
            9..=11 => {
                let taken = lock(&shared.weak).pop();
                let Some((weak, number, bytes)) = taken else { continue };
                if let Some(storage) = weak.upgrade() {
                    if storage.bytes() != bytes {
                        return Err("a weak handle upgraded to another block".into());
                    }
                    assert_stamp::<S>(&storage, number);
                }
            }
            _ => {
                let storage = match pool.allocate(random.size(1 << 18)) {
                    Ok(storage) => storage,
                    Err(AllocateError::OutOfMemory(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                let number = random.next() >> 1;
                if S::HOLDS_BYTES {
                    stamp(&storage, number)?;
                }
                if random.below(3) == 0 {
                    lock(&shared.weak).push((storage.downgrade(), number, storage.bytes()));
                }
                let mut blocks = lock(&shared.blocks);
                let place = random.below(blocks.len() + 1);
                blocks.insert(place, (storage, number));
                let surplus = blocks.len().saturating_sub(MOST_SHARED);
                let surplus: Vec<_> = blocks.drain(..surplus).collect();
                drop(blocks);
                drop(surplus);
            }
        }
    }
    Ok(())
}

fn soak<S: Subject>(budget: &Budget, steps: u64)
where
    S::Memory: Send + Sync,
{
    let mut rounds = 0;
    for seed in budget.seeds() {
        let Some(memory) = S::memory() else { return };
        // The pool's own thread moves blocks and releases segments meanwhile.
        let options = PoolOptions { release_after: Some(Duration::from_millis(2)), ..options() };
        let pool = Pool::new(memory, options).expect("the options suit the memory");
        pool.set_limit((seed % 2 == 1).then_some(4 << 20));
        let seen = pool.clone();
        let run = move || {
            let shared = Shared { blocks: Mutex::default(), weak: Mutex::default() };
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (pool, shared) = (&pool, &shared);
                    let seed = seed * THREADS + thread;
                    scope.spawn(move || {
                        one_thread::<S>(pool, shared, seed, steps)
                            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    });
                }
            });
        };
        watchdog::guarded("threads that share blocks", run);
        assert_eq!(seen.stats().blocks.current, 0, "seed {seed}");
        assert_eq!(seen.stats().active.current, 0, "seed {seed}");
        if seed % 2 == 1 {
            assert!(seen.stats().reserved.peak <= 4 << 20, "seed {seed}: {}", seen.stats().reserved.peak);
        }
        assert_consistent(&seen);
        rounds += 1;
    }
    budget.report(&format!("{} steps of {THREADS} threads in {rounds} rounds", rounds * steps * THREADS));
}

#[test]
fn threads_on_an_accounting_memory_share_blocks_and_lose_none() {
    soak::<Accounting>(&Budget::new("threads, accounting", 4), 2000);
}

#[test]
fn threads_on_the_host_share_blocks_and_lose_none() {
    soak::<Host>(&Budget::new("threads, host", 2), 500);
}

#[test]
fn threads_on_the_adapter_share_blocks_and_lose_none() {
    soak::<Adapter>(&Budget::new("threads, adapter", 1), 100);
}
