//! The invariants of a snapshot file.

use super::SnapshotFileError;
use crate::pool::snapshot::{
    BlockState, EventSnapshot, PlanSnapshot, PlannedRequest, SegmentSnapshot, Snapshot, SubPool,
};
use std::collections::HashSet;

/// Integers from here on are not exact in programs that store them as floating point, such as JavaScript programs.
pub(super) const EXACT: u64 = 1 << 53;

pub(super) fn check(snapshot: &Snapshot) -> Result<(), SnapshotFileError> {
    if !snapshot.granule.is_power_of_two() {
        return Err(SnapshotFileError::Granule { granule: snapshot.granule });
    }
    let mut numbers = HashSet::new();
    let mut reserved = 0u64;
    for segment in &snapshot.segments {
        let number = segment.id.number();
        if !numbers.insert(number) {
            return Err(SnapshotFileError::SegmentTwice { segment: number });
        }
        let sum = reserved.checked_add(segment.bytes).filter(|sum| *sum < EXACT);
        reserved = sum.ok_or(SnapshotFileError::TooLarge { segment: number, bytes: segment.bytes })?;
        check_blocks(segment)?;
    }
    let mut host = 0u64;
    for (index, block) in snapshot.host_blocks.iter().enumerate() {
        host = host.saturating_add(block.size);
        if block.size == 0 || block.requested > block.size || host >= EXACT {
            return Err(SnapshotFileError::HostBlock { index, size: block.size, requested: block.requested });
        }
    }
    check_numbers(snapshot)?;
    check_pins(snapshot)?;
    snapshot.plans.iter().enumerate().try_for_each(|(number, plan)| check_plan(number, plan))?;
    snapshot.events.iter().enumerate().try_for_each(|(place, event)| check_event(place, event))?;
    check_counters(snapshot)
}

/// Checks that the blocks tile the segment.
fn check_blocks(segment: &SegmentSnapshot) -> Result<(), SnapshotFileError> {
    let number = segment.id.number();
    let mut end = 0;
    for block in &segment.blocks {
        let (offset, size, requested) = (block.offset, block.size, block.requested);
        if size == 0 || requested > size || (requested > 0 && !block.state.is_active()) {
            return Err(SnapshotFileError::BlockSize { segment: number, offset, size, requested });
        }
        if offset < end {
            return Err(SnapshotFileError::Overlap { segment: number, offset, end });
        }
        if offset > end {
            return Err(SnapshotFileError::Gap { segment: number, start: end, end: offset });
        }
        let next = offset.checked_add(size).filter(|next| *next <= segment.bytes);
        end = next.ok_or(SnapshotFileError::BeyondEnd { segment: number, offset, bytes: segment.bytes })?;
    }
    if end < segment.bytes {
        return Err(SnapshotFileError::Gap { segment: number, start: end, end: segment.bytes });
    }
    // Cannot overflow: the blocks tile the segment.
    let active = segment.blocks.iter().filter(|block| block.state.is_active()).map(|block| block.size).sum();
    if segment.active == active {
        Ok(())
    } else {
        Err(SnapshotFileError::Active { segment: number, stated: segment.active, sum: active })
    }
}

/// Checks that every site number and scope number exists, and that a scope comes after its parent.
fn check_numbers(snapshot: &Snapshot) -> Result<(), SnapshotFileError> {
    let listed = |what, number: Option<u32>, listed: usize| match number {
        Some(number) if number as usize >= listed => Err(SnapshotFileError::Unlisted { what, number, listed }),
        _ => Ok(()),
    };
    let site = |number| listed("site", number, snapshot.sites.len());
    let scope = |number| listed("scope", number, snapshot.scopes.len());
    let blocks = snapshot.segments.iter().flat_map(|segment| &segment.blocks);
    let on_device = blocks.filter_map(|block| block.origin.as_ref());
    for origin in on_device.chain(snapshot.host_blocks.iter().filter_map(|block| block.origin.as_ref())) {
        site(Some(origin.site))?;
        scope(origin.scope)?;
    }
    snapshot.pins.iter().try_for_each(|pin| site(Some(pin.site)))?;
    let planned = snapshot.plans.iter().flat_map(|plan| &plan.requests);
    planned.map(|request| Some(request.site)).try_for_each(site)?;
    for event in &snapshot.events {
        site(event.site)?;
        scope(event.scope)?;
    }
    snapshot.scopes.iter().enumerate().try_for_each(|(place, one)| listed("scope", one.parent, place))
}

/// Checks that every pin refers to an active block.
fn check_pins(snapshot: &Snapshot) -> Result<(), SnapshotFileError> {
    let active = |segment: &SegmentSnapshot| {
        let blocks = segment.blocks.iter().filter(|block| block.state.is_active());
        blocks.map(|block| (segment.id, block.offset)).collect::<Vec<_>>()
    };
    let places: HashSet<_> =
        if snapshot.pins.is_empty() { HashSet::new() } else { snapshot.segments.iter().flat_map(active).collect() };
    for pin in &snapshot.pins {
        if !places.contains(&(pin.segment, pin.offset)) {
            return Err(SnapshotFileError::Pin { segment: pin.segment.number(), offset: pin.offset });
        }
    }
    Ok(())
}

/// Checks that every planned request lies in a segment of the plan.
fn check_plan(number: usize, plan: &PlanSnapshot) -> Result<(), SnapshotFileError> {
    let is_exact = plan.segments.iter().try_fold(plan.lower_bound, |sum, &size| sum.checked_add(size));
    let fits = |request: &PlannedRequest| {
        let end = request.offset.checked_add(request.size).filter(|&end| end < EXACT);
        let inside = match request.segment.map(|segment| plan.segments.get(segment as usize)) {
            None => true,
            Some(size) => size.zip(end).is_some_and(|(&size, end)| end <= size) && request.upper.is_some(),
        };
        inside
            && end.is_some()
            && request.bytes <= request.size
            && request.upper.is_none_or(|upper| request.lower < upper)
    };
    let wrong = plan.requests.iter().position(|request| !fits(request));
    match wrong {
        None if is_exact.is_some_and(|sum| sum < EXACT) => Ok(()),
        wrong => Err(SnapshotFileError::Plan { plan: number, request: wrong.unwrap_or(0) }),
    }
}

fn check_event(place: usize, event: &EventSnapshot) -> Result<(), SnapshotFileError> {
    // Times above 2^53 ns, those of a pool of more than 104 days, are rounded by such programs, which changes no order.
    let &EventSnapshot { offset, size, requested, to, .. } = event;
    let ends = [Some(offset), to.map(|(_, offset)| offset)].into_iter().flatten();
    let mut ends = ends.map(|offset| offset.checked_add(size));
    let fits = ends.all(|end| end.is_some_and(|end| end < EXACT)) && requested < EXACT;
    if fits { Ok(()) } else { Err(SnapshotFileError::Event { event: place }) }
}

fn check_counters(snapshot: &Snapshot) -> Result<(), SnapshotFileError> {
    let stats = &snapshot.stats;
    let of = |pool| snapshot.segments.iter().filter(move |segment| segment.pool == pool);
    let all = || snapshot.segments.iter();
    let blocks = || all().flat_map(|segment| &segment.blocks);
    let count = |is: fn(BlockState) -> bool| blocks().filter(|block| is(block.state)).count() as u64;
    let split = all().filter(|segment| segment.active > 0).map(|segment| segment.bytes - segment.active).sum();
    let host_requested = snapshot.host_blocks.iter().map(|block| block.requested).sum();
    let sums = [
        ("requested", stats.requested.current, snapshot.allocated_blocks().map(|block| block.requested).sum()),
        ("allocated", stats.allocated.current, snapshot.allocated_blocks().map(|block| block.size).sum()),
        ("active", stats.active.current, all().map(|segment| segment.active).sum()),
        ("inactive split", stats.inactive_split.current, split),
        ("reserved", stats.reserved.current, all().map(|segment| segment.bytes).sum()),
        ("pinned", stats.pinned.current, blocks().filter(|block| block.pins > 0).map(|block| block.size).sum()),
        ("small active", stats.small.active, of(SubPool::Small).map(|segment| segment.active).sum()),
        ("small reserved", stats.small.reserved, of(SubPool::Small).map(|segment| segment.bytes).sum()),
        ("large active", stats.large.active, of(SubPool::Large).map(|segment| segment.active).sum()),
        ("large reserved", stats.large.reserved, of(SubPool::Large).map(|segment| segment.bytes).sum()),
        ("blocks", stats.blocks.current, count(BlockState::is_allocated)),
        ("active blocks", stats.active_blocks.current, count(BlockState::is_active)),
        ("segments", stats.segments.current, all().count() as u64),
        ("spilled", stats.spilled.current, snapshot.host_blocks.iter().map(|block| block.size).sum()),
        ("spilled requested", stats.spilled_requested.current, host_requested),
        ("spilled blocks", stats.spilled_blocks.current, snapshot.host_blocks.len() as u64),
        ("holes", stats.holes, snapshot.holes().count() as u64),
    ];
    for (counter, stated, sum) in sums {
        if stated != sum {
            return Err(SnapshotFileError::Counter { counter, stated, sum });
        }
    }
    Ok(())
}
