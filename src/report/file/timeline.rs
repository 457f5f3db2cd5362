//! What the pool held at each event of its history, reckoned back from what it holds now.

use crate::pool::snapshot::{EventKind, EventSnapshot, Snapshot};

/// What the pool held. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) allocated: u64,
    pub(super) requested: u64,
    pub(super) reserved: u64,
}

/// Each event, with what the pool held right after it.
pub(super) fn timeline(snapshot: &Snapshot) -> Vec<(&EventSnapshot, Held)> {
    let stats = &snapshot.stats;
    let mut held = Held {
        allocated: stats.allocated.current,
        requested: stats.requested.current,
        reserved: stats.reserved.current,
    };
    let mut points = Vec::with_capacity(snapshot.events.len());
    for event in snapshot.events.iter().rev() {
        points.push((event, held));
        // A file may say anything; a history that doesn't add up ends at nothing, not in a wrap.
        match event.kind {
            EventKind::Allocate => {
                held.allocated = held.allocated.saturating_sub(event.size);
                held.requested = held.requested.saturating_sub(event.requested);
            }
            EventKind::Free => {
                held.allocated = held.allocated.saturating_add(event.size);
                held.requested = held.requested.saturating_add(event.requested);
            }
            EventKind::SegmentMade => held.reserved = held.reserved.saturating_sub(event.size),
            EventKind::SegmentReleased => held.reserved = held.reserved.saturating_add(event.size),
            EventKind::Move | EventKind::Trim | EventKind::OutOfMemory => {}
        }
    }
    points.reverse();
    points
}
