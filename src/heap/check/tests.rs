//! Tests of the check: each test breaks one invariant of a valid heap, and expects `Heap::check` to report that invariant.

use crate::error::InvariantBroken;
use crate::heap::address::{BlockId, SegmentId, SubPool};
use crate::heap::blocks::{Key, NONE, State};
use crate::heap::class::Class;
use crate::heap::{Heap, HeapOptions};
use std::num::NonZeroU64;

const GRANULE: u64 = 64;

/// A heap that has one of everything.
struct Sound {
    heap: Heap,
    /// Allocated, at a segment's start, before `hole`.
    first: Key,
    /// Inactive, between two active blocks.
    hole: Key,
    /// Allocated and pinned, behind `hole`.
    pinned: Key,
    /// Freed, and active for a pin.
    pending: Key,
    /// The slot of the segment of all those.
    busy: u32,
    /// The slot of an idle segment.
    idle: u32,
}

fn sound() -> Sound {
    let mut heap = Heap::new(HeapOptions { granule: GRANULE, small_limit: 1024 }).expect("a valid granule");
    let allocate = |heap: &mut Heap, bytes| -> BlockId {
        heap.allocate(NonZeroU64::new(bytes).expect("not zero")).expect("there is room")
    };
    let busy = heap.add_segment(SubPool::Large, 1 << 16).expect("a multiple of the granule");
    let first = allocate(&mut heap, 5000);
    let hole = allocate(&mut heap, 7000);
    let pinned = allocate(&mut heap, 3001);
    let pending = allocate(&mut heap, 2000);
    heap.free(hole).expect("active");
    heap.pin(pinned).expect("active");
    heap.pin(pending).expect("active");
    heap.free(pending).expect("active");
    // Their records are vacant afterwards.
    let joined = [(); 3].map(|()| allocate(&mut heap, 1500));
    joined.into_iter().for_each(|id| heap.free(id).expect("active"));
    heap.add_segment(SubPool::Small, 1 << 12).expect("a multiple of the granule");
    allocate(&mut heap, 100);
    let detached = allocate(&mut heap, 70);
    heap.detach(detached).expect("active and not pinned");
    let idle = heap.add_segment(SubPool::Small, 1 << 14).expect("a multiple of the granule");
    assert_eq!(heap.check(), Ok(()));
    let [busy, idle] = [busy, idle].map(|id| heap.segments.slot(id).expect("it is in the heap"));
    let hole = heap.blocks[first.key].after;
    Sound { heap, first: first.key, hole, pinned: pinned.key, pending: pending.key, busy, idle }
}

/// Breaks a valid heap, and checks which invariant is reported.
#[track_caller]
fn expect(expected: &str, broken: impl FnOnce(&mut Sound)) {
    let mut sound = sound();
    broken(&mut sound);
    let broken = sound.heap.check().expect_err(expected);
    assert!(format!("{broken:?}").starts_with(expected), "expected {expected}, got {broken:?}");
}

#[test]
fn a_gap_an_overlap_and_a_wrong_end_break_the_tiling() {
    expect("Tiling", |s| s.heap.blocks[s.pinned].offset += 1);
    expect("Tiling", |s| s.heap.blocks[s.first].offset += 1);
    expect("Tiling", |s| s.heap.blocks[s.first].size -= 1);
    expect("Tiling", |s| s.heap.blocks[s.first].size += 1);
    expect("Tiling", |s| s.heap.segments[s.busy].size += 1);
    expect("Tiling", |s| s.heap.segments[s.busy].size -= 1);
    expect("EmptyBlock", |s| s.heap.blocks[s.pinned].size = 0);
}

#[test]
fn two_adjacent_inactive_blocks_are_found() {
    expect("Uncoalesced", |s| s.heap.blocks[s.pinned].state = State::Inactive { position: 0 });
}

#[test]
fn a_wrong_neighbour_or_segment_is_found() {
    expect("Neighbours", |s| s.heap.blocks[s.pinned].before = s.first);
    expect("Neighbours", |s| s.heap.blocks[s.first].after = s.pinned);
    expect("Neighbours", |s| s.heap.blocks[s.first].after = 1000);
    expect("Neighbours", |s| s.heap.blocks[s.pinned].segment = s.idle);
    expect("Neighbours", |s| s.heap.segments[s.busy].first = s.hole);
    expect("Neighbours", |s| s.heap.blocks.remove(s.pinned));
}

#[test]
fn an_unreachable_record_and_a_broken_chain_are_found() {
    expect("Records", |s| {
        let copy = s.heap.blocks[s.first];
        s.heap.blocks.insert(copy);
    });
    expect("Vacancies", |s| {
        let copy = s.heap.blocks[s.first];
        let keys = [(); 2].map(|()| s.heap.blocks.insert(copy));
        keys.into_iter().for_each(|key| s.heap.blocks.remove(key));
        s.heap.blocks[keys[0]].state = copy.state;
    });
    expect("Vacancies", |s| {
        let copy = s.heap.blocks[s.first];
        let key = s.heap.blocks.insert(copy);
        s.heap.blocks.remove(key);
        s.heap.blocks[key].state = State::Vacant { next: key };
    });
}

#[test]
fn an_oversized_request_and_a_freed_block_without_a_pin_are_found() {
    expect("Requested", |s| s.heap.blocks[s.first].state = State::Active { pins: 0, slack: 64, freed: false });
    expect("Unpinned", |s| s.heap.blocks[s.pending].state = State::Active { pins: 0, slack: 0, freed: true });
}

#[test]
fn a_block_in_the_wrong_list_or_in_none_is_found() {
    expect("Membership", |s| s.heap.segments[s.busy].pool = SubPool::Small);
    expect("Entry", |s| s.heap.blocks[s.hole].state = State::Inactive { position: 99 });
    expect("Unlisted", |s| s.heap.lists[SubPool::Large.index()].remove(&mut s.heap.blocks, s.hole));
    // A hole marked as a whole segment, and a whole segment that is not.
    expect("Membership", |s| {
        let large = &mut s.heap.lists[SubPool::Large.index()];
        large.remove(&mut s.heap.blocks, s.hole);
        let before = std::mem::replace(&mut s.heap.blocks[s.hole].before, NONE);
        let after = std::mem::replace(&mut s.heap.blocks[s.hole].after, NONE);
        large.insert(&mut s.heap.blocks, s.hole);
        (s.heap.blocks[s.hole].before, s.heap.blocks[s.hole].after) = (before, after);
    });
    // In two lists at once: the second entry is not the one that the block names.
    expect("Entry", |s| {
        s.heap.lists[SubPool::Large.index()].insert(&mut s.heap.blocks, s.hole);
    });
    expect("Membership", |s| {
        // The block's size, and therefore its class, is wrong; a neighbour compensates in the sum.
        s.heap.blocks[s.hole].size += 30;
        s.heap.blocks[s.pinned].offset += 30;
        s.heap.blocks[s.pinned].size -= 30;
        s.heap.segments[s.busy].active -= 30;
    });
}

#[test]
fn a_wrong_bitmap_bit_is_found() {
    let large = SubPool::Large.index();
    expect("Bitmap", |s| {
        let class = Class::of(s.heap.blocks[s.hole].size);
        s.heap.lists[large].split_mut().flip_bit(class);
    });
    expect("Bitmap", |s| s.heap.lists[large].split_mut().flip_bit(Class::of(7)));
    expect("Bitmap", |s| s.heap.lists[large].split_mut().flip_octave(Class::of(1 << 20)));
}

#[test]
fn a_wrong_idle_state_of_a_segment_is_found() {
    expect("Idle", |s| s.heap.segments.unlink_idle(s.idle));
    expect("Idle", |s| s.heap.segments.push_idle(s.busy));
    expect("Idle", |s| s.heap.segments[s.idle].older = s.busy);
}

#[test]
fn a_wrong_segment_table_is_found() {
    expect("Table", |s| s.heap.segments[s.busy].id = SegmentId(99));
}

#[test]
fn every_wrong_counter_is_found() {
    for metric in 0..sound().heap.tallies.each().len() {
        expect("Stats", |s| s.heap.tallies.each()[metric].add(1));
        expect("Order", |s| s.heap.tallies.each()[metric].peak = 0);
    }
    for pool in SubPool::ALL {
        expect("Stats", |s| s.heap.tallies.pools[pool.index()].active += 1);
        expect("Stats", |s| s.heap.tallies.pools[pool.index()].reserved += 1);
    }
    expect("Stats", |s| s.heap.segments[s.busy].active -= 1);
}

#[test]
fn a_broken_invariant_reports_its_position_in_bytes() {
    let mut sound = sound();
    sound.heap.blocks[sound.pinned].offset += 1;
    let offset = sound.heap.bytes(sound.heap.blocks[sound.pinned].offset);
    let broken = InvariantBroken::Tiling { segment: 0, offset, expected: offset - GRANULE };
    assert_eq!(sound.heap.check(), Err(broken));
}
