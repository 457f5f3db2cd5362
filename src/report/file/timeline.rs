//! The memory use at each event of a history, computed backwards from the current counters.

use crate::pool::snapshot::{EventKind, EventSnapshot, Snapshot};

/// The memory use in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryUse {
    pub(super) allocated: u64,
    pub(super) requested: u64,
    pub(super) reserved: u64,
}

/// Returns each event with the memory use directly after it.
pub(super) fn timeline(snapshot: &Snapshot) -> Vec<(&EventSnapshot, MemoryUse)> {
    let stats = &snapshot.stats;
    let mut memory_use = MemoryUse {
        allocated: stats.allocated.current,
        requested: stats.requested.current,
        reserved: stats.reserved.current,
    };
    let mut points = Vec::with_capacity(snapshot.events.len());
    for event in snapshot.events.iter().rev() {
        points.push((event, memory_use));
        // Saturating, because a file may contain an inconsistent history.
        match event.kind {
            // A block in host memory counts neither before nor after.
            EventKind::Free if event.segment.is_none() => {}
            EventKind::Allocate | EventKind::Return => {
                memory_use.allocated = memory_use.allocated.saturating_sub(event.size);
                memory_use.requested = memory_use.requested.saturating_sub(event.requested);
            }
            EventKind::Free | EventKind::Spill => {
                memory_use.allocated = memory_use.allocated.saturating_add(event.size);
                memory_use.requested = memory_use.requested.saturating_add(event.requested);
            }
            EventKind::SegmentCreated => memory_use.reserved = memory_use.reserved.saturating_sub(event.size),
            EventKind::SegmentReleased => memory_use.reserved = memory_use.reserved.saturating_add(event.size),
            EventKind::Move | EventKind::Trim | EventKind::OutOfMemory => {}
        }
    }
    points.reverse();
    points
}
