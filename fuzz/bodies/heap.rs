//! Compares the heap with a model that stores one word per granule. Compaction plans are executed as copies in the
//! plan's order.

use crate::input::Input;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use wgpu_pool::heap::compaction::{PackingBounds, Plan};
use wgpu_pool::heap::{BlockId, Heap, HeapOptions, Place, SegmentId, SubPool};

/// The maximum number of segments at a time.
const MOST_SEGMENTS: usize = 10;

struct Live {
    id: BlockId,
    tag: u64,
    requested: u64,
    pins: u32,
    freed: bool,
}

struct World {
    heap: Heap,
    granule: u64,
    /// The words that were written to each granule of each segment.
    words: BTreeMap<SegmentId, Vec<u64>>,
    live: Vec<Live>,
    stale: Vec<BlockId>,
    tag: u64,
}

const fn sub_pool(byte: u8) -> SubPool {
    if byte & 1 == 0 { SubPool::Small } else { SubPool::Large }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("sizes here are small")
}

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let head = input.byte();
    let granule = [16, 32, 256, 4096][usize::from(head & 3)];
    let small_limit = [0, granule, 16 * granule, 64 * granule, u64::MAX][usize::from(head >> 2) % 5];
    let heap = Heap::new(HeapOptions { granule, small_limit }).expect("a valid granule");
    let (words, live, stale) = Default::default();
    let mut world = World { heap, granule, words, live, stale, tag: 1 };
    while !input.is_empty() {
        let (op, argument) = (input.byte(), input.two());
        if !world.step(op, argument) {
            return;
        }
        world.check();
    }
}

impl World {
    /// Runs a step. Returns whether the program continues.
    fn step(&mut self, op: u8, argument: u64) -> bool {
        match op % 16 {
            0..=4 => self.allocate(op, argument),
            5..=7 if !self.live.is_empty() => self.free(index(argument) % self.live.len()),
            8 if !self.live.is_empty() => self.pin(index(argument) % self.live.len()),
            9 if !self.live.is_empty() => self.unpin(index(argument) % self.live.len()),
            10 => self.segments(op, argument),
            11..=15 => {
                if let Some(plan) = self.plan(op, argument) {
                    return self.carry_out(&plan, op & 0x80 != 0 && argument.is_multiple_of(7));
                }
            }
            _ => {}
        }
        true
    }

    fn range(&self, place: Place) -> std::ops::Range<usize> {
        index(place.offset / self.granule)..index((place.offset + place.size) / self.granule)
    }

    fn add_segment(&mut self, pool: SubPool, bytes: u64) -> SegmentId {
        let id = self.heap.add_segment(pool, bytes).expect("a whole number of granules");
        self.words.insert(id, vec![0; index(bytes / self.granule)]);
        id
    }

    fn allocate(&mut self, op: u8, argument: u64) {
        let granule = self.granule;
        let requested = match (argument % 97, op / 16 % 4) {
            (96, _) => u64::MAX - argument * granule / 2,
            (_, 0) => argument + 1,
            (_, 1) => argument * granule / 16 + 1,
            (_, 2) => (argument % 64 + 1) * granule,
            _ => (argument % 300 + 1) * granule + argument % 3,
        };
        let request = NonZeroU64::new(requested).expect("at least one");
        let answer = if op & 0x80 == 0 {
            self.heap.allocate(request)
        } else {
            self.heap.allocate_from(sub_pool(op >> 4), request)
        };
        match answer {
            Ok(id) => {
                assert!(self.live.iter().all(|one| one.id != id) && !self.stale.contains(&id));
                let place = self.heap.allocated_place(id).expect("just allocated");
                assert_eq!(place.requested, requested);
                assert!(place.size >= requested && place.size - requested < granule);
                let range = self.range(place);
                let words = self.words.get_mut(&place.segment).expect("a segment that there is");
                words[range].iter_mut().zip(self.tag << 20..).for_each(|(word, stamp)| *word = stamp);
                self.live.push(Live { id, tag: self.tag, requested, pins: 0, freed: false });
                self.tag += 1;
            }
            Err(shortfall) => {
                if self.words.len() < MOST_SEGMENTS && shortfall.bytes <= 4096 * granule {
                    self.add_segment(shortfall.pool, shortfall.bytes + argument % 5 * 64 * granule);
                }
            }
        }
    }

    fn free(&mut self, at: usize) {
        let one = &mut self.live[at];
        assert_eq!(self.heap.free(one.id).is_ok(), !one.freed);
        one.freed = true;
        if one.pins == 0 {
            self.stale.push(self.live.swap_remove(at).id);
        }
    }

    fn pin(&mut self, at: usize) {
        let one = &mut self.live[at];
        assert_eq!(self.heap.pin(one.id).is_ok(), !one.freed);
        one.pins += u32::from(!one.freed);
    }

    fn unpin(&mut self, at: usize) {
        let one = &mut self.live[at];
        assert_eq!(self.heap.unpin(one.id).is_ok(), one.pins > 0);
        if one.pins == 0 {
            return;
        }
        one.pins -= 1;
        if one.pins == 0 && one.freed {
            self.stale.push(self.live.swap_remove(at).id);
        }
    }

    fn segments(&mut self, op: u8, argument: u64) {
        let granule = self.granule;
        let chosen = self.words.keys().nth(index(argument / 5) % self.words.len().max(1)).copied();
        match (argument % 5, chosen) {
            (0, _) => {
                for (id, bytes) in self.heap.release_inactive() {
                    assert_eq!(self.words.remove(&id).map(|words| words.len() as u64 * granule), Some(bytes));
                }
            }
            (1, Some(id)) => {
                if let Ok(bytes) = self.heap.release_segment(id) {
                    assert_eq!(self.words.remove(&id).map(|words| words.len() as u64 * granule), Some(bytes));
                }
            }
            (2, Some(id)) => drop(self.heap.adopt(id, sub_pool(op >> 4))),
            (3, _) => {
                for &id in self.stale.iter().rev().take(4) {
                    assert!(self.heap.allocated_place(id).is_none() && self.heap.active_place(id).is_none());
                    assert!(self.heap.free(id).is_err() && self.heap.pin(id).is_err() && self.heap.unpin(id).is_err());
                }
            }
            _ => {
                for bytes in [0, 1, granule - 1, granule + 1, u64::MAX, self.heap.largest_segment() + granule] {
                    assert!(self.heap.add_segment(sub_pool(op), bytes).is_err(), "{bytes}");
                }
            }
        }
    }

    fn plan(&mut self, op: u8, argument: u64) -> Option<Plan> {
        let (pool, granule) = (sub_pool(op >> 4), self.granule);
        let budget = if op & 0x40 == 0 { (argument & 0xff) * granule } else { u64::MAX };
        match op % 16 {
            11 => self.heap.plan_hole(pool, ((argument >> 4) * granule + (argument & 1)).max(1), budget),
            12 => self.heap.plan_evacuation(pool, if op & 0x20 == 0 { argument * granule } else { u64::MAX }, budget),
            13 => self.heap.plan_gathering(pool, (argument >> 4) * granule),
            14 => self.heap.plan_sliding(pool),
            _ => {
                let bounds = PackingBounds {
                    least: granule,
                    usual: (argument >> 4) * granule,
                    most: (argument >> 2) * granule,
                    budget,
                    dense: [1, 2, 4, 64, 3][index(argument % 5)],
                    goal: if op & 0x20 == 0 { u64::MAX } else { argument * granule },
                };
                let bytes = self.heap.packing_bytes(pool, &bounds)?;
                if bytes > 8192 * granule || self.words.len() >= MOST_SEGMENTS {
                    return None;
                }
                let id = self.add_segment(pool, bytes);
                self.heap.plan_packing(id, &bounds)
            }
        }
    }

    /// Executes a plan's copies and commits the plan, or checks that a stale plan is refused. Returns whether the
    /// program continues.
    fn carry_out(&mut self, plan: &Plan, stale: bool) -> bool {
        assert!(!plan.to_string().is_empty());
        if stale {
            if let Some(one) = self.live.iter().find(|one| !one.freed) {
                self.heap.pin(one.id).expect("it is allocated");
                assert!(self.heap.commit(plan).is_err());
                self.heap.unpin(one.id).expect("it is pinned");
            }
            return true;
        }
        for one in plan.moves() {
            let block = self.live.iter().find(|live| live.id == one.block).expect("a plan moves active blocks");
            assert_eq!(block.pins, 0, "a pinned block moves");
            let range = |offset: u64| index(offset / self.granule)..index((offset + one.size) / self.granule);
            let words = self.words[&one.from_segment][range(one.from_offset)].to_vec();
            // The contract of `Memory`: a copy within one segment overlaps only downwards.
            let overlaps = one.to_offset < one.from_offset + one.size && one.from_offset < one.to_offset + one.size;
            assert!(one.from_segment != one.to_segment || !overlaps || one.to_offset < one.from_offset);
            let target = self.words.get_mut(&one.to_segment).expect("a segment that there is");
            target[range(one.to_offset)].copy_from_slice(&words);
        }
        self.heap.commit(plan).expect("nothing has changed since");
        true
    }

    fn check(&self) {
        self.heap.check().unwrap_or_else(|broken| panic!("{broken}"));
        let mut sums = (0, 0, 0);
        for one in &self.live {
            let place = self.heap.active_place(one.id).expect("it is active");
            assert_eq!(self.heap.allocated_place(one.id).is_some(), !one.freed);
            assert_eq!((self.heap.pins(one.id), place.requested), (one.pins, one.requested));
            let words = &self.words[&place.segment][self.range(place)];
            assert!(
                words.iter().copied().eq((one.tag << 20..).take(words.len())),
                "block {} lost its content",
                one.tag
            );
            sums.0 += if one.freed { 0 } else { one.requested };
            sums.1 += place.size;
            sums.2 += if one.pins > 0 { place.size } else { 0 };
        }
        let stats = self.heap.stats();
        assert_eq!((stats.requested.current, stats.active.current, stats.pinned.current), sums);
        let reserved: u64 = self.words.values().map(|words| words.len() as u64 * self.granule).sum();
        assert_eq!(stats.reserved.current, reserved);
    }
}
