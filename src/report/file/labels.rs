//! Labels of a history's events: a block has its label now, and its events happened before.

use crate::pool::snapshot::{EventKind, Snapshot};
use std::collections::HashMap;

/// For each event that put a block somewhere, the label of that block if it is still there, or was moved on to where it is now.
/// O(blocks and events).
pub(super) fn event_labels(snapshot: &Snapshot) -> Vec<Option<&str>> {
    let mut labels = HashMap::new();
    for segment in &snapshot.segments {
        for block in segment.blocks.iter().filter(|block| block.state.is_active()) {
            if let Some(label) = block.origin.as_ref().and_then(|origin| origin.label.as_deref()) {
                labels.insert((segment.id.number(), block.offset), label);
            }
        }
    }
    // Backwards, so that a place's latest block comes first, and takes the label with it.
    let mut found = vec![None; snapshot.events.len()];
    for (event, found) in snapshot.events.iter().zip(&mut found).rev() {
        let Some(segment) = event.segment else { continue };
        let place = (segment.number(), event.offset);
        match event.kind {
            EventKind::Allocate => *found = labels.remove(&place),
            EventKind::Move => {
                let label = event.to.and_then(|(segment, offset)| labels.remove(&(segment.number(), offset)));
                *found = label;
                label.map(|label| labels.insert(place, label));
            }
            EventKind::Free
            | EventKind::SegmentMade
            | EventKind::SegmentReleased
            | EventKind::Trim
            | EventKind::OutOfMemory => {}
        }
    }
    found
}
