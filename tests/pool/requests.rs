//! Random programs at a limit and on a device with little memory, in which every refusal is checked against the guarantee of
//! `Pool::allocate`, by the program's own accounting.
//!
//! A program is a list of numbers, one for each step, and every sublist is a valid program, so that a failing program can be
//! reduced to the relevant steps.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::program::{Failure, caught, minimized};
use crate::subjects::{Accounting, Host, Subject, assert_stamp, stamp};
use wgpu_pool::{
    AccountingMemory, AllocateError, BlockState, HostMemory, HostOptions, Memory, MemoryLimits, Pinned, Pool,
    PoolOptions, Storage,
};

/// The number of steps between checks of the heap's invariants, which are slow.
const CHECKED_STEPS: usize = 25;

/// A memory whose budget the test sets.
pub(crate) trait Budgeted: Subject {
    /// Programs run with between one and two times this many bytes, or a fraction of it.
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

/// The state of a program, tracked independently of the pool.
struct Program<S: Budgeted> {
    pool: Pool<S::Memory>,
    /// Decides what the current step does.
    random: Random,
    live: Vec<(u64, Storage<S::Memory>)>,
    pins: Vec<Pinned<S::Memory>>,
    /// The maximum number of simultaneous pins.
    most_pins: usize,
    granule: u64,
    largest: u64,
    limit: Option<u64>,
    budget: u64,
    /// The numbers of correct refusals and of served requests.
    counts: (u64, u64),
    /// What each step does, unless the list is not wanted.
    listing: Option<String>,
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
        let largest = largest_segment / granule * granule;
        let (live, pins) = (Vec::new(), Vec::new());
        Self { pool, random, live, pins, most_pins, granule, largest, limit, budget, counts: (0, 0), listing: None }
    }

    /// Adds a step to the listing.
    fn list(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.listing.is_some() {
            let line = line(self);
            self.listing.iter_mut().for_each(|listing| *listing += &format!("  {line}\n"));
        }
    }

    fn room(&self) -> u64 {
        self.limit.unwrap_or(u64::MAX).min(self.budget)
    }

    /// Returns the bytes that the guarantee counts: the live blocks. With pinned blocks: the segments with a pinned
    /// block, and the active blocks of the other segments.
    fn counted(&self) -> u64 {
        if !self.pins.is_empty() {
            return counted_with_pins(&self.pool);
        }
        self.live.iter().map(|(_, storage)| storage.bytes().next_multiple_of(self.granule)).sum()
    }

    fn free(&mut self) {
        let index = self.random.below(self.live.len());
        let (number, storage) = self.live.swap_remove(index);
        self.list(|_| format!("free {} bytes", storage.bytes()));
        assert_stamp::<S>(&storage, number);
    }

    /// Stamps a storage with a new number and adds it to the live ones.
    fn stamped(&mut self, storage: Storage<S::Memory>) -> Outcome {
        let number = self.random.next() >> 1;
        if S::HOLDS_BYTES {
            stamp(&storage, number)?;
        }
        self.live.push((number, storage));
        Ok(())
    }

    /// Returns the size of a request: usually one that fits, often one that fits exactly, sometimes one byte more than
    /// fits.
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
        self.list(|program| format!("allocate {bytes} bytes, {} counted of {}", program.counted(), program.room()));
        match self.pool.allocate(bytes) {
            Ok(storage) => {
                self.stamped(storage)?;
                self.counts.1 += 1;
                // A hole may have served the request, on a device whose budget fell below the bytes in use.
                self.raise_budget();
            }
            Err(AllocateError::OutOfMemory(numbers)) => {
                self.counts.0 += 1;
                if fits {
                    return Err(
                        format!("{bytes} bytes are refused with {} bytes counted: {numbers}", self.counted()).into()
                    );
                }
                assert_eq!((numbers.requested, numbers.limit), (bytes, self.limit));
            }
            Err(error) => return Err(error.into()),
        }
        let after = self.pool.stats().reserved.current;
        if let Some(limit) = self.limit {
            assert!(after <= limit.max(before), "{after} bytes are reserved, {before} before, of {limit}");
        }
        Ok(())
    }

    /// Sets a budget of at least the counted bytes: with less, the guarantee does not apply, and bytes stay in host
    /// memory.
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
            let (pin, bytes) = (storage.pin()?, storage.bytes());
            self.pins.push(pin);
            self.list(|_| format!("pin {bytes} bytes"));
            // From now on, the holes of the segment count too.
            self.raise_budget();
        } else if !self.pins.is_empty() {
            let index = self.random.below(self.pins.len());
            let pin = self.pins.swap_remove(index);
            self.list(|_| format!("unpin the block at {:?}", pin.place()));
        }
        let places = self.pool.pins();
        let stayed = |pin: &Pinned<S::Memory>| places.iter().any(|place| place.segment == pin.place().0);
        assert!(self.pins.iter().all(stayed), "a pinned block has moved");
        Ok(())
    }

    fn step(&mut self) -> Outcome {
        match self.random.below(64) {
            0 => {
                self.list(|_| "trim".into());
                self.pool.trim();
            }
            29..=34 if self.most_pins > 0 => self.pin_or_unpin()?,
            1 => {
                let most = self.random.next() % self.room().min(1 << 30);
                self.list(|_| format!("compact up to {most} bytes"));
                self.pool.compact_up_to(most)?;
            }
            2 => {
                self.list(|_| "reset the accumulated statistics".into());
                self.pool.reset_accumulated();
            }
            3 => {
                let room = self.room();
                let changed = room / 2 + self.random.next() % room + 1;
                // Keeps a budget that fits the live blocks: a device does not take back memory in use.
                let changed = changed.max(self.counted());
                let is_limit = self.random.below(2) == 0 || self.budget == u64::MAX;
                if let (Some(limit), true) = (&mut self.limit, is_limit) {
                    *limit = changed;
                    self.pool.set_limit(Some(changed));
                    self.list(|_| format!("set the limit to {changed} bytes"));
                } else {
                    self.budget = changed;
                    S::set_budget(self.pool.memory(), changed);
                    self.list(|_| format!("set the device's budget to {changed} bytes"));
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

    fn run(&mut self, steps: &[u64], at: &mut usize) -> Outcome {
        for &number in steps {
            *at += 1;
            self.random = Random::new(number);
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

/// What programs have done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) programs: u64,
    pub(crate) refused: u64,
    pub(crate) served: u64,
    /// Segments that were copied through host memory.
    pub(crate) copied: u64,
}

/// Runs a program for each seed, with at most `most_pins` blocks pinned at a time. The message of a failure contains the seed and a
/// short program that also fails.
///
/// # Panics
/// If a program fails.
pub(crate) fn run_programs<S: Budgeted>(seeds: impl Iterator<Item = u64>, steps: usize, most_pins: usize) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        let mut random = Random::new(!seed);
        let steps: Vec<u64> = std::iter::repeat_with(|| random.next()).take(steps).collect();
        let mut program = Program::<S>::new(seed, most_pins);
        if let Err(first) = caught(|at| program.run(&steps, at)) {
            fail::<S>(seed, most_pins, steps, first);
        }
        counts.programs += 1;
        counts.refused += program.counts.0;
        counts.served += program.counts.1;
        counts.copied += program.pool.remedies().host_copies;
    }
    counts
}

/// Panics with a short program that also fails.
fn fail<S: Budgeted>(seed: u64, most_pins: usize, mut steps: Vec<u64>, first: Failure) -> ! {
    eprintln!("seed {seed}, step {}: {}; looking for a shorter program", first.step, first.reason);
    steps.truncate(first.step);
    let run = |steps: &[u64]| caught(|at| Program::<S>::new(seed, most_pins).run(steps, at)).err();
    let (steps, reason) = minimized(steps, first.reason, run);
    let mut program = Program::<S>::new(seed, most_pins);
    program.listing = Some(String::new());
    let Program { limit, budget, granule, largest, .. } = program;
    let _ = caught(|at| program.run(&steps, at));
    panic!(
        "seed {seed}, step {}, at most {most_pins} pins: {reason}\n{} steps that fail, on segments of at most {largest} bytes with \
         granules of {granule} bytes, a limit of {limit:?} and a device's budget of {budget} bytes:\n{}",
        first.step,
        steps.len(),
        program.listing.unwrap_or_default()
    );
}

/// The bytes of the segments with a pinned block, and of the active blocks of all other segments.
fn counted_with_pins<M: Memory>(pool: &Pool<M>) -> u64 {
    let of_segment = |segment: &wgpu_pool::pool::snapshot::SegmentSnapshot| {
        let is_pinned = segment.blocks.iter().any(|block| block.pins > 0);
        let active = segment.blocks.iter().filter(|block| block.state != BlockState::Inactive);
        if is_pinned { segment.bytes } else { active.map(|block| block.size).sum() }
    };
    pool.snapshot().segments.iter().map(of_segment).sum()
}
