//! The list of blocks that may move, in random programs, and the choice of one by its place.

use super::make_space::{Effort, Search};
use crate::device::{AccountingMemory, HostMemory, HostOptions};
use crate::error::Error;
use crate::pool::{Pool, PoolOptions, Storage};
use proptest::prelude::*;
use std::num::NonZeroU64;

#[derive(Clone, Debug)]
enum Step {
    Allocate(u64),
    Free(usize),
    Use(Vec<usize>),
    Offload(usize),
    Prefetch(usize),
    Keep(usize),
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let block = || 0..64_usize;
    prop_oneof![
        3 => (1..5000_u64).prop_map(Step::Allocate),
        2 => block().prop_map(Step::Free),
        6 => prop::collection::vec(block(), 1..4).prop_map(Step::Use),
        1 => block().prop_map(Step::Offload),
        1 => block().prop_map(Step::Prefetch),
        1 => block().prop_map(Step::Keep),
        1 => Just(Step::Compact),
    ]
}

fn run(pool: &Pool<HostMemory>, storages: &mut Vec<Storage<HostMemory>>, step: Step) {
    // A refusal changes nothing: the list is checked after each step.
    match step {
        Step::Allocate(bytes) => storages.extend(pool.allocate(bytes)),
        _ if storages.is_empty() => {}
        Step::Free(number) => drop(storages.swap_remove(number % storages.len())),
        Step::Use(numbers) => {
            let used: Vec<_> = numbers.iter().map(|number| &storages[number % storages.len()]).collect();
            drop(pool.inner.resolve(used.iter().copied()));
        }
        Step::Offload(number) => drop(storages[number % storages.len()].offload()),
        Step::Prefetch(number) => drop(storages[number % storages.len()].prefetch()),
        Step::Keep(number) => drop(storages[number % storages.len()].keep_on_device()),
        Step::Compact => drop(pool.compact()),
    }
}

proptest! {
    #[test]
    fn every_block_on_the_device_that_is_not_kept_there_may_move(steps in prop::collection::vec(step(), 1..80)) {
        let (limit, spill) = (Some(32 << 10), Some(64 << 10));
        let options = PoolOptions { limit, spill, ..PoolOptions::default() };
        let pool = Pool::new(HostMemory::new(HostOptions::default()), options)?;
        let mut storages = Vec::new();
        for step in steps {
            run(&pool, &mut storages, step);
            pool.check()?;
            let state = pool.inner.state();
            let spilling = state.spilling.as_ref().expect("the pool spills");
            let listed = spilling.order.slots().iter().filter(|slot| slot.block.is_some()).count();
            let kept = spilling.kept.iter().filter(|&&block| state.heap.allocated_place(block).is_some()).count();
            prop_assert_eq!(listed + kept, usize::try_from(state.heap.stats().blocks.current)?);
        }
    }
}

/// After a compaction that failed, until a sixteenth of the blocks has changed.
#[test]
fn a_block_next_to_a_hole_makes_room_in_place_of_another_attempt_to_compact() -> Result<(), Error> {
    const BLOCK: u64 = 4096;
    let (limit, spill) = (Some(64 * BLOCK), Some(u64::MAX));
    let options = PoolOptions { limit, spill, ..PoolOptions::default() };
    let pool = Pool::new(AccountingMemory::new(), options)?;
    let mut storages = Vec::new();
    for _ in 0..64 {
        storages.push(pool.allocate(BLOCK)?);
    }
    storages.iter().try_for_each(Storage::clear)?;
    drop(storages.remove(2));
    // A hole of two blocks, next to blocks that are needed sooner.
    drop([storages.remove(40), storages.remove(40)]);
    let request = |blocks: u64| NonZeroU64::new(blocks * BLOCK).expect("not zero");
    let mut state = pool.inner.state();
    let mut replaceable = |blocks| {
        let found = state.replaceable(request(blocks), 0, &Effort::new(None), &Search::new(0));
        found.and_then(|block| storages.iter().position(|storage| storage.block() == Some(block)))
    };
    // The least recently used block leaves a hole of its own size; the second one is next to the hole; the third and last one of a
    // sixteenth of the blocks, too. None has two holes.
    assert_eq!([replaceable(1), replaceable(2), replaceable(3)], [Some(0), Some(1), None]);

    assert!(!state.is_compaction_futile(request(2)));
    state.note_compaction(request(2), false);
    assert_eq!([1, 2, 3].map(|blocks| state.is_compaction_futile(request(blocks))), [false, true, true]);
    drop(state);
    for _ in 0..3 {
        drop(storages.pop());
    }
    assert!(!pool.inner.state().is_compaction_futile(request(2)), "blocks were freed");
    Ok(())
}
