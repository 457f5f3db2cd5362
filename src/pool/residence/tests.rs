//! The list of blocks that may move, in random programs.

use crate::device::{HostMemory, HostOptions};
use crate::pool::{Pool, PoolOptions, Storage};
use proptest::prelude::*;

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
