//! Compaction plans that are made and committed within random programs: ids resolve to the planned places, the
//! invariants hold, and the planned bytes are freed.

use std::collections::HashMap;
use std::num::NonZeroU64;
use wgpu_pool::error::HeapError;
use wgpu_pool::heap::compaction::{Gain, Plan};
use wgpu_pool::heap::{BlockId, Heap, HeapOptions, Place, SegmentId, SubPool};

const GRANULE: u64 = 64;

/// Seeded random numbers: xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

fn heap() -> Heap {
    Heap::new(HeapOptions { granule: GRANULE, small_limit: 0 }).expect("a valid granule")
}

fn bytes(size: u64) -> NonZeroU64 {
    NonZeroU64::new(size).expect("not zero")
}

fn place(heap: &Heap, id: BlockId) -> Place {
    heap.allocated_place(id).expect("a live block")
}

/// Commits a plan, and checks that its effects are exactly the planned ones.
fn commit(heap: &mut Heap, live: &[BlockId], plan: &Plan) {
    let before: HashMap<BlockId, Place> = live.iter().map(|&id| (id, place(heap, id))).collect();
    let stats = heap.stats();
    heap.commit(plan).expect("nothing happened in between");
    heap.check().unwrap_or_else(|broken| panic!("{broken}\n{plan}"));
    let moves: HashMap<BlockId, _> = plan.moves().iter().map(|one| (one.block, one)).collect();
    assert_eq!(moves.len(), plan.moves().len(), "no block moves twice");
    for (&id, old) in &before {
        let new = place(heap, id);
        match moves.get(&id) {
            None => assert_eq!(new, *old, "{id:?} was not to move"),
            Some(one) => {
                assert_eq!((old.segment, old.offset, old.size), (one.from_segment, one.from_offset, one.size));
                assert_eq!((new.segment, new.offset, new.size), (one.to_segment, one.to_offset, one.size));
                assert_eq!(new.requested, old.requested);
            }
        }
    }
    // Copies may run at any time between planning and the next change: no place is read after it is written.
    for one in plan.moves() {
        let written = one.to_offset..one.to_offset + one.size;
        for other in before.values().filter(|other| other.segment == one.to_segment) {
            let overlaps = other.offset < written.end && written.start < other.offset + other.size;
            assert!(!overlaps, "a move goes over a block that was live when it was planned\n{plan}");
        }
    }
    let after = heap.stats();
    assert_eq!((stats.allocated, stats.active, stats.reserved), (after.allocated, after.active, after.reserved));
}

/// Commits a plan whose moves may overlap the source ranges of other moves, and checks on simulated bytes that copies
/// in the plan's order lose nothing.
fn commit_in_order(heap: &mut Heap, live: &[BlockId], plan: &Plan) {
    let mut memory: HashMap<(SegmentId, u64), (BlockId, u64)> = HashMap::new();
    let granules = |place: &Place| (0..place.size / GRANULE).map(|index| index * GRANULE);
    for &id in live {
        let place = place(heap, id);
        memory.extend(granules(&place).map(|at| ((place.segment, place.offset + at), (id, at))));
    }
    for one in plan.moves() {
        let from = (0..one.size / GRANULE).map(|index| (one.from_segment, one.from_offset + index * GRANULE));
        let copied: Vec<_> = from.map(|at| memory[&at]).collect();
        let to = (0..one.size / GRANULE).map(|index| (one.to_segment, one.to_offset + index * GRANULE));
        memory.extend(to.zip(copied));
    }
    let stats = heap.stats();
    heap.commit(plan).expect("nothing happened in between");
    heap.check().unwrap_or_else(|broken| panic!("{broken}\n{plan}"));
    for &id in live {
        let place = place(heap, id);
        for at in granules(&place) {
            assert_eq!(memory[&(place.segment, place.offset + at)], (id, at), "{plan}");
        }
    }
    let after = heap.stats();
    assert_eq!((stats.allocated, stats.active, stats.reserved), (after.allocated, after.active, after.reserved));
}

/// Fills segments with random blocks and frees some, so that free space is spread over many holes.
fn shattered(random: &mut Random, segments: u64, pinned: bool) -> (Heap, Vec<BlockId>) {
    let mut heap = heap();
    for _ in 0..segments {
        let size = GRANULE * (64 + random.below(128));
        heap.add_segment(SubPool::Large, size).expect("a valid size");
    }
    let mut live = Vec::new();
    while let Ok(id) = heap.allocate(bytes(1 + random.below(GRANULE * 12))) {
        live.push(id);
    }
    let kept = live.iter().copied().filter(|_| random.below(100) < 55).collect::<Vec<_>>();
    for id in live {
        if !kept.contains(&id) {
            heap.free(id).expect("live");
        } else if pinned && random.below(10) == 0 {
            heap.pin(id).expect("live");
        }
    }
    (heap, kept)
}

#[test]
fn a_planned_hole_exists_after_the_commit_for_any_heap() {
    let (mut made, mut refused) = (0, 0);
    for seed in 1..400 {
        let mut random = Random(seed);
        let segments = 1 + random.below(4);
        let (mut heap, live) = shattered(&mut random, segments, seed % 2 == 0);
        let wanted = heap.largest_hole() + GRANULE * (1 + random.below(24));
        assert!(heap.allocate(bytes(wanted)).is_err(), "no hole is large enough");
        let Some(plan) = heap.plan_hole(SubPool::Large, wanted, u64::MAX) else {
            refused += 1;
            continue;
        };
        made += 1;
        let Gain::Hole { bytes: hole, .. } = *plan.gain() else { panic!("a hole was asked for") };
        assert!(hole >= wanted);
        commit(&mut heap, &live, &plan);
        heap.allocate(bytes(wanted)).unwrap_or_else(|_| panic!("seed {seed}: no hole of {wanted}\n{plan}"));
        heap.check().expect("the invariants hold");
    }
    assert!(made > 200 && refused > 0, "{made} plans and {refused} refusals");
}

#[test]
fn the_free_bytes_of_a_segment_can_be_gathered_in_one_hole() {
    let (mut made, mut only_so, mut refused) = (0, 0, 0);
    for seed in 1..400 {
        let mut random = Random(seed * 104_729);
        let segments = 1 + random.below(4);
        let (mut heap, live) = shattered(&mut random, segments, seed % 4 == 0);
        let wanted = heap.largest_hole() + GRANULE * (1 + random.below(80));
        let Some(plan) = heap.plan_gathering(SubPool::Large, wanted) else {
            refused += 1;
            continue;
        };
        made += 1;
        only_so += usize::from(heap.plan_hole(SubPool::Large, wanted, u64::MAX).is_none());
        let Gain::Hole { bytes: hole, .. } = *plan.gain() else { panic!("a hole was asked for") };
        assert!(hole >= wanted);
        commit_in_order(&mut heap, &live, &plan);
        assert!(heap.largest_hole() >= hole, "seed {seed}\n{plan}");
    }
    assert!(made > 150 && only_so > 0 && refused > 20, "{made} plans, {only_so} only so, {refused} refusals");
}

#[test]
fn sliding_leaves_one_hole_in_every_segment_without_pins() {
    for seed in 1..100 {
        let mut random = Random(seed * 7907);
        let segments = 1 + random.below(6);
        let (mut heap, live) = shattered(&mut random, segments, seed % 2 == 0);
        let mut turns = 0;
        while let Some(plan) = heap.plan_sliding(SubPool::Large) {
            commit_in_order(&mut heap, &live, &plan);
            turns += 1;
            assert!(turns <= segments, "each segment is slid once");
        }
        for segment in heap.segments() {
            let holes = segment.blocks().filter(|block| block.id.is_none()).count();
            let pinned = segment.blocks().any(|block| block.pins > 0);
            assert!(holes <= 1 || pinned, "seed {seed}: {holes} holes in segment {}", segment.id);
        }
    }
}

#[test]
fn evacuated_segments_are_idle_after_the_commit() {
    let mut made = 0;
    for seed in 1..300 {
        let mut random = Random(seed * 7919);
        let segments = 2 + random.below(6);
        let (mut heap, live) = shattered(&mut random, segments, seed % 3 == 0);
        let Some(plan) = heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX) else { continue };
        made += 1;
        commit(&mut heap, &live, &plan);
        let Gain::Idle { segments, bytes } = plan.gain() else { panic!("idle segments were asked for") };
        let idle: Vec<_> = heap.inactive_segments().collect();
        assert!(segments.iter().all(|id| idle.iter().any(|(other, _)| other == id)), "seed {seed}\n{plan}");
        assert!(heap.release_inactive().iter().map(|(_, size)| size).sum::<u64>() >= *bytes);
        heap.check().expect("the invariants hold");
    }
    assert!(made > 200, "{made} plans");
}

#[test]
fn compaction_moves_alternate_blocks_of_two_segments_into_one() {
    // CASES 41.
    let mut heap = heap();
    let size = GRANULE * 16;
    for _ in 0..2 {
        heap.add_segment(SubPool::Large, size * 8).expect("a valid size");
    }
    let all: Vec<BlockId> = (0..16).map(|_| heap.allocate(bytes(size)).expect("room")).collect();
    for odd in all.iter().skip(1).step_by(2) {
        heap.free(*odd).expect("live");
    }
    let even: Vec<BlockId> = all.into_iter().step_by(2).collect();
    let plan =
        heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX).expect("one segment's blocks fit the other's holes");
    assert_eq!(plan.bytes(), size * 4);
    commit(&mut heap, &even, &plan);
    assert_eq!(heap.release_inactive().len(), 1);
}

#[test]
fn a_pinned_block_never_moves_and_all_others_may() {
    // CASES 44.
    let mut heap = heap();
    let size = GRANULE * 16;
    heap.add_segment(SubPool::Large, size * 8).expect("a valid size");
    heap.add_segment(SubPool::Large, size * 4).expect("a valid size");
    let all: Vec<BlockId> = (0..12).map(|_| heap.allocate(bytes(size)).expect("room")).collect();
    for id in all.iter().skip(1).step_by(2) {
        heap.free(*id).expect("live");
    }
    let kept: Vec<BlockId> = all.into_iter().step_by(2).collect();
    let wanted = size * 3;
    let cheapest = heap.plan_hole(SubPool::Large, wanted, u64::MAX).expect("room for what is in the way");
    let pinned: Vec<BlockId> = cheapest.moves().iter().map(|one| one.block).collect();
    for &id in &pinned {
        heap.pin(id).expect("live");
    }
    let other = heap.plan_hole(SubPool::Large, wanted, u64::MAX).expect("there is another window");
    assert!(other.moves().iter().all(|one| !pinned.contains(&one.block)), "{other}");
    for &id in &kept {
        heap.pin(id).expect("live");
    }
    assert_eq!(heap.plan_hole(SubPool::Large, wanted, u64::MAX), None);
    assert_eq!(heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX), None);
}

#[test]
fn no_plan_moves_more_than_its_budget() {
    // CASES 43.
    for seed in 1..100 {
        let mut random = Random(seed);
        let (heap, _) = shattered(&mut random, 4, false);
        let budget = GRANULE * random.below(40);
        let wanted = heap.largest_hole() + GRANULE * 4;
        let plans =
            [heap.plan_hole(SubPool::Large, wanted, budget), heap.plan_evacuation(SubPool::Large, u64::MAX, budget)];
        for plan in plans.into_iter().flatten() {
            assert!(plan.bytes() <= budget, "{} of {budget}\n{plan}", plan.bytes());
        }
    }
}

#[test]
fn a_plan_for_a_changed_heap_is_refused_without_effect() {
    let (mut heap, live) = shattered(&mut Random(5), 3, false);
    let plan = heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX).expect("a plan");
    heap.free(live[0]).expect("live");
    let map = |heap: &Heap| format!("{:?}", heap.segments().collect::<Vec<_>>());
    let before = map(&heap);
    assert!(matches!(heap.commit(&plan), Err(HeapError::StalePlan { .. })));
    assert_eq!(map(&heap), before);
}

#[test]
fn a_plan_displays_its_moves() {
    let mut heap = heap();
    let size = GRANULE * 16;
    heap.add_segment(SubPool::Large, size * 2).expect("a valid size");
    heap.add_segment(SubPool::Large, size * 4).expect("a valid size");
    let all: Vec<BlockId> = (0..6).map(|_| heap.allocate(bytes(size)).expect("room")).collect();
    let in_first: Vec<&BlockId> = all.iter().filter(|&&id| place(&heap, id).segment.number() == 0).collect();
    let (kept, freed) = (*in_first[0], *in_first[1]);
    let other = all.iter().copied().find(|&id| place(&heap, id).segment.number() == 1).expect("the second segment");
    heap.free(freed).expect("live");
    heap.free(other).expect("live");
    let text = heap.plan_evacuation(SubPool::Large, u64::MAX, u64::MAX).expect("one block to move").to_string();
    assert!(text.starts_with("1 idle segment of 2.0 KiB for 1 move of 1.0 KiB\n"), "{text}");
    assert!(text.contains(&format!("{kept:?} 1.0 KiB: 0+0x")) && text.contains(" -> 1+0x"), "{text}");
}
