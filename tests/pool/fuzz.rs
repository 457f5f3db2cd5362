//! Random programs. On failure the message names the seed and the step: the steps up to it are the program to look at.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{Accounting, Adapter, Gl, Host, Noop, Subject, assert_books_balance};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wgpu_pool::{AllocateError, HostMemory, Memory, Pool, PoolOptions, Storage};

/// How much a program does.
#[derive(Clone)]
struct Extent {
    seeds: std::ops::Range<u64>,
    steps: usize,
    /// The largest request, in bytes.
    largest: u64,
    /// Requests are served up to this sum, in bytes.
    most_live: u64,
}

/// A live storage, and the number that its bytes follow from.
struct Live<M: Memory> {
    storage: Storage<M>,
    number: u64,
}

/// The bytes of a stamp: pieces of one random text, so that stamping costs no more than a copy.
struct Text(Vec<u8>);

impl Text {
    const PIECE: usize = 64 << 10;

    fn new() -> Self {
        let mut random = Random::new(0);
        Self((0..2 * Self::PIECE / 8).flat_map(|_| random.next().to_le_bytes()).collect())
    }

    fn piece(&self, number: u64, length: usize) -> &[u8] {
        let start = Random::new(number).below(Self::PIECE / 4) * 4;
        &self.0[start..start + length]
    }
}

/// The ranges of a storage that are stamped, as offset and length: all of a small one; start, middle and end of a large one.
fn pieces(bytes: u64) -> Vec<(u64, usize)> {
    let piece = Text::PIECE as u64;
    let starts: Vec<u64> = if bytes <= 4 * piece {
        (0..bytes).step_by(Text::PIECE).collect()
    } else {
        vec![0, bytes / 2 / 4 * 4, (bytes - piece).next_multiple_of(4)]
    };
    let length = |start: u64| usize::try_from(piece.min(bytes - start)).expect("a piece fits the host");
    starts.into_iter().map(|start| (start, length(start))).collect()
}

impl<M: Memory> Live<M> {
    fn stamp(&self, text: &Text) -> Outcome {
        for (start, length) in pieces(self.storage.bytes()) {
            self.storage.write(start, text.piece(self.number + start, length))?;
        }
        Ok(())
    }

    fn verify(&self, text: &Text) -> Outcome {
        let pieces = pieces(self.storage.bytes());
        let room = pieces.iter().map(|&(_, length)| length.next_multiple_of(4) as u64).sum();
        let mut download = self.storage.pool().download(room)?;
        for &(start, length) in &pieces {
            download.add(&self.storage, start, length.next_multiple_of(4) as u64)?;
        }
        let bytes = download.finish_blocking()?;
        let mut rest = bytes.as_slice();
        for &(start, length) in &pieces {
            let (found, after) = rest.split_at(length.next_multiple_of(4));
            rest = after;
            if found[..length] != *text.piece(self.number + start, length) {
                return Err(format!(
                    "storage {} of {} bytes lost the bytes from {start}",
                    self.number,
                    self.storage.bytes()
                )
                .into());
            }
        }
        Ok(())
    }
}

/// One program. `fault` plans a failure of the memory, where it can.
fn run<S: Subject>(
    memory: S::Memory,
    seed: u64,
    extent: &Extent,
    text: &Text,
    fault: fn(&S::Memory, u64),
    at: &mut usize,
) -> Outcome {
    let options = PoolOptions { smallest_segment: Some(extent.largest / 4), ..PoolOptions::default() };
    let pool = Pool::new(memory, options)?;
    let mut random = Random::new(seed);
    let mut live: Vec<Live<S::Memory>> = Vec::new();
    while *at < extent.steps {
        *at += 1;
        match random.below(100) {
            0 => drop(pool.trim()),
            1 => pool.set_limit(random.below(2).checked_sub(1).map(|_| extent.most_live / 2)),
            2 => fault(pool.memory(), random.next() % 3),
            3 => pool.reset_peaks(),
            4 => pool.submit()?,
            5..=45 if !live.is_empty() => {
                let one = live.swap_remove(random.below(live.len()));
                if S::HOLDS_BYTES {
                    one.verify(text)?;
                }
                match random.below(8) {
                    0 => std::thread::spawn(move || drop(one)).join().map_err(|_| "a thread that frees panicked")?,
                    _ => drop(one),
                }
            }
            _ => {
                let bytes = random.size(extent.largest);
                if pool.stats().requested.current + bytes > extent.most_live {
                    live.truncate(live.len() / 2);
                }
                let before = pool.stats().requested;
                match pool.allocate(bytes) {
                    Ok(storage) => {
                        let one = Live { storage, number: random.next() >> 1 };
                        one.stamp(text)?;
                        live.push(one);
                    }
                    Err(AllocateError::OutOfMemory(_)) => assert_eq!(pool.stats().requested, before),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if (*at).is_multiple_of(16) || *at == extent.steps {
            assert_books_balance(&pool);
        } else {
            pool.check()?;
        }
        let requested: u64 = live.iter().map(|one| one.storage.bytes()).sum();
        assert_eq!(pool.stats().requested.current, requested);
        assert_eq!(pool.stats().blocks.current, live.len() as u64);
    }
    for one in &live {
        if S::HOLDS_BYTES {
            one.verify(text)?;
        }
    }
    live.clear();
    pool.trim();
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}

/// Every seed; says which one failed, and where.
fn run_all<S: Subject>(extent: Extent, fault: fn(&S::Memory, u64)) {
    let text = Text::new();
    for seed in extent.seeds.clone() {
        let Some(memory) = S::memory() else { return };
        let mut at = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| run::<S>(memory, seed, &extent, &text, fault, &mut at)));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("seed {seed}, step {at}: {error}"),
            Err(panic) => {
                eprintln!("seed {seed}, step {at}");
                resume_unwind(panic);
            }
        }
    }
}

fn no_fault<M>(_: &M, _: u64) {}

// Case 50, and 24 and 25 on the way.
#[test]
fn random_programs_keep_every_law_on_a_memory_that_counts() {
    let extent = Extent { seeds: 0..2, steps: 10_000, largest: 32 << 20, most_live: 512 << 20 };
    run_all::<Accounting>(extent, no_fault);
}

#[test]
fn random_programs_keep_every_law_and_every_byte_on_the_host() {
    let extent = Extent { seeds: 0..2, steps: 10_000, largest: 32 << 20, most_live: 256 << 20 };
    run_all::<Host>(extent, HostMemory::fail_at);
}

#[test]
fn random_programs_keep_every_law_and_every_byte_without_a_driver() {
    let extent = Extent { seeds: 0..2, steps: 1_000, largest: 512 << 10, most_live: 8 << 20 };
    run_all::<Noop>(extent, no_fault);
}

#[test]
fn random_programs_keep_every_law_and_every_byte_on_the_adapter() {
    let extent = Extent { seeds: 0..3, steps: 1_500, largest: 32 << 20, most_live: 256 << 20 };
    run_all::<Adapter>(extent, no_fault);
}

#[test]
fn random_programs_keep_every_law_and_every_byte_on_gl() {
    let extent = Extent { seeds: 0..1, steps: 1_000, largest: 1 << 20, most_live: 16 << 20 };
    run_all::<Gl>(extent, no_fault);
}
