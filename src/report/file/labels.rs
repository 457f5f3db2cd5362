//! Labels for the events of a history. Snapshots store the labels of current blocks only; this assigns them to the
//! earlier events.

use crate::pool::snapshot::{EventKind, Snapshot};
use std::collections::HashMap;

/// For each event that placed a block: the label of that block, if the block still exists, also after moves. O(blocks +
/// events).
pub(super) fn event_labels(snapshot: &Snapshot) -> Vec<Option<&str>> {
    let mut labels = HashMap::new();
    for segment in &snapshot.segments {
        for block in segment.blocks.iter().filter(|block| block.state.is_active()) {
            if let Some(label) = block.origin.as_ref().and_then(|origin| origin.label.as_deref()) {
                labels.insert((segment.id.number(), block.offset), label);
            }
        }
    }
    // Newest event first: the first allocation or move found for an address created the current block there.
    let mut found = vec![None; snapshot.events.len()];
    for (event, found) in snapshot.events.iter().zip(&mut found).rev() {
        let Some(segment) = event.segment else { continue };
        let place = (segment.number(), event.offset);
        match event.kind {
            EventKind::Allocate | EventKind::Return => *found = labels.remove(&place),
            EventKind::Move => {
                let label = event.to.and_then(|(segment, offset)| labels.remove(&(segment.number(), offset)));
                *found = label;
                label.map(|label| labels.insert(place, label));
            }
            EventKind::Free
            | EventKind::Spill
            | EventKind::SegmentCreated
            | EventKind::SegmentReleased
            | EventKind::Trim
            | EventKind::OutOfMemory => {}
        }
    }
    found
}
