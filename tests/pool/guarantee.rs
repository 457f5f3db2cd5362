//! The promise of `Pool::allocate`: with compaction on, a request is served whenever the live blocks, the segments with pinned
//! blocks and the request together are within the limit, or within what the device has room for. Random programs at the limit, in
//! which every refusal is checked by a sum of the test's own, and arrangements made to be as bad as can be.
//!
//! `WGPU_POOL_SEEDS` sets how many programs run, and `WGPU_POOL_FIRST_SEED` the first of them. A failure names its seed; running
//! that seed alone shows the whole program with `WGPU_POOL_TELL=1`.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{Accounting, Host, Subject, assert_stamp, stamp};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wgpu_pool::{
    AccountingMemory, AllocateError, BlockState, HostMemory, HostOptions, Memory, MemoryLimits, Pinned, Pool,
    PoolOptions, Storage,
};

/// The laws of the heap are checked after so many steps: that is slow.
const CHECKED_STEPS: usize = 25;

/// A memory with a budget that the test sets.
trait Budgeted: Subject {
    /// Programs run in room for up to this many bytes, times two.
    const LARGEST_SCALE: u64;

    fn with(limits: MemoryLimits) -> Self::Memory;
    fn set_budget(memory: &Self::Memory, bytes: u64);
    fn used_bytes(memory: &Self::Memory) -> u64;
}

impl Budgeted for Accounting {
    const LARGEST_SCALE: u64 = 1 << 20;

    fn with(limits: MemoryLimits) -> AccountingMemory {
        AccountingMemory::with_limits(limits)
    }

    fn set_budget(memory: &AccountingMemory, bytes: u64) {
        memory.set_budget(bytes);
    }

    fn used_bytes(memory: &AccountingMemory) -> u64 {
        memory.used_bytes()
    }
}

impl Budgeted for Host {
    const LARGEST_SCALE: u64 = 1 << 14;

    fn with(limits: MemoryLimits) -> HostMemory {
        HostMemory::new(HostOptions { budget: u64::MAX, limits })
    }

    fn set_budget(memory: &HostMemory, bytes: u64) {
        memory.set_budget(bytes);
    }

    fn used_bytes(memory: &HostMemory) -> u64 {
        memory.used_bytes()
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a program knows of itself, without asking the pool.
struct Program<S: Budgeted> {
    pool: Pool<S::Memory>,
    random: Random,
    live: Vec<(u64, Storage<S::Memory>)>,
    pins: Vec<Pinned<S::Memory>>,
    /// Pins that there may be at a time.
    most_pins: usize,
    granule: u64,
    largest: u64,
    limit: Option<u64>,
    budget: u64,
    /// Refusals that were right, and requests that were served.
    counts: (u64, u64),
    tells: bool,
}

impl<S: Budgeted> Program<S> {
    fn new(seed: u64, most_pins: usize) -> Self {
        let mut random = Random::new(seed);
        let alignment = 16 << random.below(4);
        let scale = S::LARGEST_SCALE >> random.below(4);
        let largest_segment = if random.below(3) == 0 { scale / 2 + 16 + random.next() % scale } else { 1 << 36 };
        let limits = MemoryLimits { alignment, largest_segment, largest_binding: 1 << 36, shared_below: scale / 16 };
        let memory = S::with(limits);
        let room = scale + random.next() % scale;
        let (limit, budget) = match random.below(3) {
            0 => (Some(room), u64::MAX),
            1 => (None, room),
            _ => (Some(room), scale + random.next() % scale),
        };
        S::set_budget(&memory, budget);
        let smallest = [alignment, scale / 64, scale / 8, scale / 2][random.below(4)];
        let options = PoolOptions {
            limit,
            small_limit: [0, scale / 256, scale / 16, scale][random.below(4)],
            smallest_segment: Some(smallest.next_multiple_of(alignment).min(largest_segment / alignment * alignment)),
            compaction_share: [0.1, 1.0, 1e-9][random.below(3)],
            ..crate::common::options()
        };
        let pool = Pool::new(memory, options).expect("the options suit");
        let granule = pool.snapshot().granule;
        let tells = std::env::var_os("WGPU_POOL_TELL").is_some();
        let largest = largest_segment / granule * granule;
        let (live, pins) = (Vec::new(), Vec::new());
        Self { pool, random, live, pins, most_pins, granule, largest, limit, budget, counts: (0, 0), tells }
    }

    fn room(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX).min(self.budget)
    }

    /// What the promise counts: the live blocks, or, where blocks are pinned, the segments with a pinned block and the active blocks of
    /// the others.
    fn counted(&self) -> u64 {
        if !self.pins.is_empty() {
            return counted_with_pins(&self.pool);
        }
        self.live.iter().map(|(_, storage)| storage.bytes().next_multiple_of(self.granule)).sum()
    }

    fn free(&mut self) {
        let index = self.random.below(self.live.len());
        let (number, storage) = self.live.swap_remove(index);
        if self.tells {
            eprintln!("free {} bytes", storage.bytes());
        }
        assert_stamp::<S>(&storage, number);
    }

    /// A storage with the number that its bytes follow from.
    fn stamped(&mut self, storage: Storage<S::Memory>) -> Outcome {
        let number = self.random.next() >> 1;
        if S::HOLDS_BYTES {
            stamp(&storage, number)?;
        }
        self.live.push((number, storage));
        Ok(())
    }

    /// Mostly what fits, often exactly what fits, sometimes one byte more.
    fn size(&mut self) -> u64 {
        let room = self.room().saturating_sub(self.counted()) / self.granule * self.granule;
        let scale = self.room();
        let bytes = match self.random.below(8) {
            0 => room,
            1 => room + 1,
            2 => room / 2,
            3 => room.saturating_sub(self.random.next() % self.granule),
            4 => self.random.size(scale),
            5 => self.random.size(scale / 64 + 1),
            _ => self.random.size(scale / 8 + 1),
        };
        bytes.clamp(1, self.largest)
    }

    fn allocate(&mut self) -> Outcome {
        let bytes = self.size();
        let fits = self.counted() + bytes.next_multiple_of(self.granule) <= self.room();
        let before = self.pool.stats().reserved.current;
        match self.pool.allocate(bytes) {
            Ok(storage) => {
                self.stamped(storage)?;
                self.counts.1 += 1;
                // A hole may have served it on a device that took back room that was in use.
                self.raise_budget();
            }
            Err(AllocateError::OutOfMemory(numbers)) => {
                self.counts.0 += 1;
                if fits {
                    return Err(format!("{bytes} bytes are refused beside {}: {numbers}", self.counted()).into());
                }
                assert_eq!((numbers.requested, numbers.limit), (bytes, self.limit));
            }
            Err(error) => return Err(error.into()),
        }
        if self.tells {
            eprintln!("allocate {bytes} bytes of {}: {:?}", self.room(), self.pool.remedies());
        }
        let after = self.pool.stats().reserved.current;
        if let Some(limit) = self.limit {
            assert!(after <= limit.max(before), "{after} bytes are reserved, {before} before, of {limit}");
        }
        Ok(())
    }

    /// Gives the device at least the room that is counted: one that has less keeps no promise, and leaves bytes in host memory.
    fn raise_budget(&mut self) {
        let counted = self.counted();
        if counted > self.budget {
            self.budget = counted;
            S::set_budget(self.pool.memory(), counted);
        }
    }

    fn pin_or_unpin(&mut self) -> Outcome {
        if self.pins.len() < self.most_pins && !self.live.is_empty() && self.random.below(2) == 0 {
            let storage = &self.live[self.random.below(self.live.len())].1;
            self.pins.extend(storage.pin()?);
            // The holes of its segment count from now on.
            self.raise_budget();
        } else if !self.pins.is_empty() {
            let index = self.random.below(self.pins.len());
            self.pins.swap_remove(index);
        }
        let places = self.pool.pins();
        let stayed = |pin: &Pinned<S::Memory>| places.iter().any(|place| place.segment == pin.place().0);
        assert!(self.pins.iter().all(stayed), "a pinned block has moved");
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        match self.random.below(64) {
            0 => drop(self.pool.trim()),
            29..=34 if self.most_pins > 0 => self.pin_or_unpin()?,
            1 => drop(self.pool.compact(self.random.next() % self.room().min(1 << 30))?),
            2 => self.pool.reset_accumulated(),
            3 => {
                let room = self.room();
                let changed = room / 2 + self.random.next() % room + 1;
                // What lives fits: a device does not take back what is in use.
                let changed = changed.max(self.counted());
                if self.tells {
                    eprintln!("room for {changed} bytes");
                }
                if let (Some(limit), true) = (&mut self.limit, self.random.below(2) == 0 || self.budget == u64::MAX) {
                    *limit = changed;
                    self.pool.set_limit(Some(changed));
                } else {
                    self.budget = changed;
                    S::set_budget(self.pool.memory(), changed);
                }
            }
            4..=8 => {
                let kept = self.live.len() / (1 + self.random.below(8));
                while self.live.len() > kept {
                    self.free();
                }
            }
            9..=28 if !self.live.is_empty() => self.free(),
            _ => self.allocate()?,
        }
        assert_eq!(S::used_bytes(self.pool.memory()), self.pool.stats().reserved.current);
        Ok(())
    }

    fn run(&mut self, steps: usize, at: &mut usize) -> Outcome {
        while *at < steps {
            *at += 1;
            self.step()?;
            if at.is_multiple_of(CHECKED_STEPS) {
                self.pool.check()?;
            }
        }
        self.pins.clear();
        for (number, storage) in self.live.drain(..) {
            assert_stamp::<S>(&storage, number);
        }
        self.pool.trim();
        assert_eq!(self.pool.stats().reserved.current, 0);
        Ok(())
    }
}

/// Many programs. Tells how many requests were refused, served, and served by way of host memory.
fn run_programs<S: Budgeted>(seeds: u64, steps: usize, most_pins: usize) -> (u64, u64, u64) {
    let first = setting("WGPU_POOL_FIRST_SEED", 0);
    let mut counts = (0, 0, 0);
    for seed in first..first + setting("WGPU_POOL_SEEDS", seeds) {
        let mut at = 0;
        let mut program = Program::<S>::new(seed, most_pins);
        match catch_unwind(AssertUnwindSafe(|| program.run(steps, &mut at))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("seed {seed}, step {at}: {error}"),
            Err(panic) => {
                eprintln!("seed {seed}, step {at}");
                resume_unwind(panic);
            }
        }
        counts =
            (counts.0 + program.counts.0, counts.1 + program.counts.1, counts.2 + program.pool.remedies().host_copies);
    }
    eprintln!("refused, served, copied through the host: {counts:?}");
    counts
}

// Case 53.
#[test]
fn no_request_that_fits_is_refused_on_an_accounting_memory() {
    let (refused, served, copied) = run_programs::<Accounting>(1500, 100, 0);
    assert!(
        refused > served / 50 && copied > 500 || setting("WGPU_POOL_SEEDS", 0) > 0,
        "{refused}, {served}, {copied}"
    );
}

// Case 53.
#[test]
fn no_request_that_fits_is_refused_and_no_byte_is_lost_on_the_host() {
    let (refused, served, copied) = run_programs::<Host>(400, 100, 0);
    assert!(refused > served / 50 && copied > 20 || setting("WGPU_POOL_SEEDS", 0) > 0, "{refused}, {served}, {copied}");
}

// Case 53, and 44: pinned blocks stay, and the segments that hold them are counted.
#[test]
fn no_request_that_fits_next_to_pinned_segments_is_refused_on_an_accounting_memory() {
    let (refused, served, copied) = run_programs::<Accounting>(500, 100, 4);
    assert!(refused > served / 50 && copied > 50 || setting("WGPU_POOL_SEEDS", 0) > 0, "{refused}, {served}, {copied}");
}

// Case 53 and 44.
#[test]
fn no_request_that_fits_next_to_pinned_segments_is_refused_and_no_byte_is_lost_on_the_host() {
    let (refused, served, copied) = run_programs::<Host>(200, 100, 4);
    assert!(refused > served / 50 && copied > 10 || setting("WGPU_POOL_SEEDS", 0) > 0, "{refused}, {served}, {copied}");
}

/// Bytes of the segments with a pinned block, and of the active blocks of all others.
fn counted_with_pins<M: Memory>(pool: &Pool<M>) -> u64 {
    let of_segment = |segment: &wgpu_pool::pool::snapshot::SegmentSnapshot| {
        let is_pinned = segment.blocks.iter().any(|block| block.pins > 0);
        let active = segment.blocks.iter().filter(|block| block.state != BlockState::Inactive);
        if is_pinned { segment.bytes } else { active.map(|block| block.size).sum() }
    };
    pool.snapshot().segments.iter().map(of_segment).sum()
}
