//! Counters, compared with sums over the snapshot.

use crate::common::Outcome;
use crate::common::random::Random;
use crate::subjects::{SEGMENT, Subject, assert_consistent, currents, options, over_every_memory};
use wgpu_pool::{BlockState, Pool};

over_every_memory! {
    resetting_peaks_sets_them_to_the_current_values,
    resetting_totals_restarts_them_from_the_current_values,
    counters_equal_the_sums_over_the_snapshot_after_every_step,
    a_snapshot_lists_every_block_with_its_requested_bytes,
}

// Case 23.
fn resetting_peaks_sets_them_to_the_current_values<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let kept = pool.allocate(1000)?;
    drop(pool.allocate(2 * SEGMENT)?);
    let before = pool.stats();
    assert_eq!(before.requested.peak, 1000 + 2 * SEGMENT);
    pool.reset_peaks();
    let after = pool.stats();
    assert_eq!(after.requested.peak, 1000);
    assert_eq!(after.reserved.peak, after.reserved.current);
    assert_eq!(
        (after.requested.allocated, after.requested.freed),
        (before.requested.allocated, before.requested.freed)
    );
    assert_eq!(currents(&after), currents(&before));
    drop(kept);
    assert_consistent(&pool);
    Ok(())
}

// Case 23.
fn resetting_totals_restarts_them_from_the_current_values<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let _kept = pool.allocate(1000)?;
    drop(pool.allocate(2 * SEGMENT)?);
    let before = pool.stats();
    pool.reset_accumulated();
    let after = pool.stats();
    assert_eq!((after.requested.allocated, after.requested.freed), (1000, 0));
    assert_eq!(after.requested.peak, before.requested.peak);
    assert_eq!(currents(&after), currents(&before));
    assert_consistent(&pool);
    Ok(())
}

// Cases 24 and 25.
fn counters_equal_the_sums_over_the_snapshot_after_every_step<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let mut random = Random::new(24);
    let mut live = Vec::new();
    for _ in 0..150 {
        match random.below(10) {
            0 => drop(pool.trim()),
            1 => pool.reset_peaks(),
            2 => pool.reset_accumulated(),
            3..=5 if !live.is_empty() => drop(live.swap_remove(random.below(live.len()))),
            _ => live.push(pool.allocate(random.size(SEGMENT))?),
        }
        assert_consistent(&pool);
    }
    Ok(())
}

// Case 49, as far as the pool reports it.
fn a_snapshot_lists_every_block_with_its_requested_bytes<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    let sizes = [1, 300, 70_000, SEGMENT];
    let storages: Result<Vec<_>, _> = sizes.iter().map(|&bytes| pool.allocate(bytes)).collect();
    let snapshot = pool.snapshot();
    let blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
    let mut requested: Vec<u64> =
        blocks.filter(|block| block.state == BlockState::Allocated).map(|block| block.requested).collect();
    requested.sort_unstable();
    assert_eq!(requested, sizes);
    for segment in &snapshot.segments {
        let ends = segment.blocks.iter().scan(0, |end, block| {
            let fits = block.offset == *end;
            *end += block.size;
            Some((fits, *end))
        });
        let ends: Vec<_> = ends.collect();
        assert!(ends.iter().all(|&(fits, _)| fits), "{segment:?}");
        assert_eq!(ends.last().map(|&(_, end)| end), Some(segment.bytes));
    }
    drop(storages?);
    Ok(())
}
