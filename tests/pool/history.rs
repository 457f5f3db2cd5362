//! The events of a pool, in a ring buffer.

use crate::common::Outcome;
use crate::subjects::{SEGMENT, Subject, options, over_every_memory};
use wgpu_pool::{EventKind, Pool, PoolOptions};

over_every_memory! {
    nothing_is_recorded_until_recording_is_enabled,
    a_full_ring_buffer_overwrites_the_oldest_events_and_counts_them,
    replaying_the_events_yields_the_counters;
    without spilling:
    every_kind_of_event_is_recorded_in_order,
}

fn nothing_is_recorded_until_recording_is_enabled<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    drop(pool.allocate(10)?);
    assert_eq!(pool.history(), []);
    pool.start_history(10);
    assert_eq!(pool.history(), []);
    drop(pool.allocate(10)?);
    assert_eq!(pool.history().len(), 2);
    pool.stop_history();
    drop(pool.allocate(10)?);
    assert_eq!(pool.history(), []);
    Ok(())
}

fn every_kind_of_event_is_recorded_in_order<S: Subject>(memory: S::Memory) -> Outcome {
    use EventKind::{Allocate, Free, Move, OutOfMemory, SegmentCreated, SegmentReleased, Trim};
    let pool = Pool::new(memory, PoolOptions { compaction_share: 1.0, limit: Some(2 * SEGMENT), ..options() })?;
    pool.start_history(100);
    let scope = pool.scope("filling");
    let mut live = (0..8).map(|_| pool.allocate(SEGMENT / 4)).collect::<Result<Vec<_>, _>>()?;
    let at = line!() - 1;
    drop(scope);
    for index in [6, 4, 2, 0] {
        live.swap_remove(index);
    }
    let half = pool.allocate(SEGMENT / 2)?;
    pool.allocate(SEGMENT).expect_err("the limit leaves no room");
    live.clear();
    drop(half);
    pool.trim();
    let events = pool.history();
    let mut kinds: Vec<(EventKind, usize)> = Vec::new();
    for event in &events {
        match kinds.last_mut() {
            Some((kind, count)) if *kind == event.kind => *count += 1,
            _ => kinds.push((event.kind, 1)),
        }
    }
    let first =
        [(SegmentCreated, 1), (Allocate, 4), (SegmentCreated, 1), (Allocate, 4), (Free, 4), (Move, 1), (Allocate, 1)];
    assert_eq!(kinds[..7], first, "{kinds:?}");
    assert!(kinds[7..].contains(&(OutOfMemory, 1)), "{kinds:?}");
    assert_eq!(kinds[kinds.len() - 3..], [(Free, 5), (SegmentReleased, 2), (Trim, 1)], "{kinds:?}");
    assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));

    let one = |kind| events.iter().find(|event| event.kind == kind).ok_or("it was recorded");
    let allocated = one(Allocate)?;
    assert_eq!(
        (allocated.requested, allocated.scope, allocated.site.map(std::panic::Location::line)),
        (SEGMENT / 4, Some(0), Some(at))
    );
    let moved = one(Move)?;
    assert_eq!((moved.size, moved.site.map(std::panic::Location::line)), (SEGMENT / 4, Some(at)));
    assert_ne!(moved.to, moved.segment.map(|segment| (segment, moved.offset)));
    assert_eq!(one(Trim)?.size, 2 * SEGMENT);
    assert_eq!(one(OutOfMemory)?.size, SEGMENT);
    Ok(())
}

fn a_full_ring_buffer_overwrites_the_oldest_events_and_counts_them<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    pool.start_history(4);
    for bytes in 1..=10 {
        drop(pool.allocate(bytes)?);
    }
    let requested: Vec<u64> = pool.history().iter().map(|event| event.requested).collect();
    assert_eq!(requested, [9, 9, 10, 10]);
    assert_eq!(pool.snapshot().events_dropped, 1 + 20 - 4, "a segment was made, too");
    Ok(())
}

fn replaying_the_events_yields_the_counters<S: Subject>(memory: S::Memory) -> Outcome {
    let pool = Pool::new(memory, options())?;
    pool.start_history(10_000);
    let mut random = crate::common::random::Random::new(5);
    let mut live = Vec::new();
    for _ in 0..300 {
        match random.below(10) {
            0 => drop(pool.trim()),
            1 => drop(pool.compact()?),
            2..=4 if !live.is_empty() => drop(live.swap_remove(random.below(live.len()))),
            _ => live.push(pool.allocate(random.size(SEGMENT))?),
        }
    }
    let (mut allocated, mut requested, mut reserved) = (0, 0, 0);
    for event in pool.history() {
        match event.kind {
            EventKind::Allocate | EventKind::Return => {
                (allocated, requested) = (allocated + event.size, requested + event.requested);
            }
            EventKind::Free | EventKind::Spill => {
                (allocated, requested) = (allocated - event.size, requested - event.requested);
            }
            EventKind::SegmentCreated => reserved += event.size,
            EventKind::SegmentReleased => reserved -= event.size,
            EventKind::Move | EventKind::Trim | EventKind::OutOfMemory => {}
            kind => panic!("the effect of {kind:?} on the totals is not stated"),
        }
    }
    let stats = pool.stats();
    let counters = [stats.allocated, stats.requested, stats.reserved].map(|counter| counter.current);
    assert_eq!([allocated, requested, reserved], counters);
    Ok(())
}

/// The ring buffer is bounded, and grows as events are recorded.
#[test]
fn a_history_with_more_events_than_fit_in_memory_records_as_many_as_fit() -> Outcome {
    for events in [usize::MAX, usize::MAX / 64, usize::MAX / 256, 20_000] {
        let pool = Pool::new(wgpu_pool::HostMemory::default(), options())?;
        pool.start_history(events);
        for bytes in 1..=9_999 {
            drop(pool.allocate(bytes % 100 + 1)?);
        }
        let history = pool.history();
        assert_eq!((history.len(), pool.snapshot().events_dropped), (2 * 9_999 + 1, 0), "{events} asked for");
        assert_eq!(history.last().map(|event| event.requested), Some(100));
    }
    Ok(())
}
