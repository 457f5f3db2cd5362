//! Allocating and freeing allocate no host memory in the steady state.
//!
//! A separate binary, because its counting allocator is global. Only allocations of the measuring thread count.

use std::num::NonZeroU64;
use wgpu_pool::heap::{Heap, HeapOptions, SubPool};
use wgpu_pool::{AccountingMemory, HostMemory, Memory, Pool, PoolOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Sizes of all kinds in an irregular order.
fn sizes() -> impl Iterator<Item = u64> {
    (0..1000u64).map(|step| 1 + (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % (1 << (8 + step % 13)))
}

/// Calls `turn` until it needs no new host memory, then once more, and returns the number of host allocations in the
/// last call.
fn requests_in_steady_state(mut turn: impl FnMut()) -> u64 {
    (0..3).for_each(|_| turn());
    allocation_counter::measure(turn).count_total
}

#[test]
fn the_allocation_counter_counts() {
    assert_eq!(requests_in_steady_state(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_heap_in_steady_state_allocates_no_host_memory() -> Outcome {
    let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
    for pool in [SubPool::Small, SubPool::Large] {
        heap.add_segment(pool, 1 << 30)?;
    }
    let mut blocks = Vec::with_capacity(1000);
    let requests = requests_in_steady_state(|| {
        for bytes in sizes() {
            let bytes = NonZeroU64::new(bytes).expect("sizes start at 1");
            blocks.push(heap.allocate(bytes).expect("there is room"));
            if blocks.len() % 3 == 0 {
                heap.free(blocks.swap_remove(blocks.len() / 2)).expect("it is allocated");
            }
        }
        blocks.drain(..).for_each(|block| heap.free(block).expect("it is allocated"));
    });
    assert_eq!(requests, 0);
    Ok(())
}

fn assert_steady(memory: impl Memory) -> Outcome {
    let pool = Pool::new(memory, PoolOptions::default())?;
    let mut storages = Vec::with_capacity(1000);
    let requests = requests_in_steady_state(|| {
        for bytes in sizes() {
            storages.push(pool.allocate(bytes).expect("there is room"));
            if storages.len() % 3 == 0 {
                storages.swap_remove(storages.len() / 2);
            }
        }
        storages.clear();
    });
    assert_eq!(requests, 0);
    Ok(())
}

#[test]
fn a_pool_in_steady_state_allocates_no_host_memory() -> Outcome {
    assert_steady(AccountingMemory::new())?;
    assert_steady(HostMemory::default())
}
