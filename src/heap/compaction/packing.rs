//! Packing: moves the blocks of sparse segments into a new segment of exactly their size.
//!
//! Evacuation leaves sparse segments whose blocks fit no hole of another segment. A new segment of exactly the blocks'
//! size saves memory if the emptied segments are larger.

use super::super::Heap;
use super::super::address::{SegmentId, SubPool};
use super::{Gain, Move, Plan};

/// The limits of packing into one segment. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackingBounds {
    /// The smallest segment that may be created.
    pub least: u64,
    /// The largest segment for the blocks of several segments: the heap temporarily holds this many additional bytes.
    pub usual: u64,
    /// The largest segment that may be created, for the blocks of one segment.
    pub most: u64,
    /// The largest number of bytes to move.
    pub budget: u64,
    /// A segment is not packed if less than 1 / `dense` of its bytes are inactive, because packing would move many
    /// bytes for a small gain. 0 packs no segment.
    pub dense: u32,
    /// No further segment is packed once the segments that become idle exceed the new segment by this many bytes.
    /// `u64::MAX` sets no bound.
    pub goal: u64,
}

/// The segments selected for packing. Sizes are in granules.
#[derive(Debug, Default)]
struct Selection {
    slots: Vec<u32>,
    active: u32,
    size: u64,
}

impl Heap {
    /// Returns the size in bytes of the segment into which the blocks of sparse segments of `pool` can be packed.
    /// `None` if that segment would not be smaller than the segments that become idle.
    ///
    /// Cost: O(blocks of the pool).
    #[must_use]
    pub fn packing_bytes(&self, pool: SubPool, bounds: &PackingBounds) -> Option<u64> {
        let selection = self.select(pool, bounds);
        let needed = self.bytes(selection.active).max(bounds.least);
        (needed <= bounds.most && needed < selection.size << self.granule_bits).then_some(needed)
    }

    /// Plans to move the blocks of the sparsest segments into `into`, an idle segment that was created for these
    /// bounds. `None` if the emptied segments would not exceed its size.
    ///
    /// Cost: O(blocks of the pool).
    #[must_use]
    pub fn plan_packing(&self, into: SegmentId, bounds: &PackingBounds) -> Option<Plan> {
        let target = &self.segments[self.segments.slot(into)?];
        let size = self.bytes(target.size);
        let selection = self.select(target.pool, &PackingBounds { usual: size, most: size, ..*bounds });
        if target.active > 0 || selection.size <= u64::from(target.size) {
            return None;
        }
        let mut moves = Vec::new();
        let mut to_offset = 0;
        for &slot in &selection.slots {
            let active = self.blocks_of(self.segments[slot].first).filter(|(_, block)| block.is_active());
            for (key, block) in active {
                let size = self.bytes(block.size);
                moves.push(Move {
                    block: self.id_of(key),
                    size,
                    from_segment: self.segments[slot].id,
                    from_offset: self.bytes(block.offset),
                    to_segment: into,
                    to_offset,
                });
                to_offset += size;
            }
        }
        let segments = selection.slots.iter().map(|&slot| self.segments[slot].id).collect();
        let gain = Gain::Idle { segments, bytes: selection.size << self.granule_bits };
        Some(Plan { moves, pool: target.pool, gain, version: self.version })
    }

    /// Selects the sparsest segments whose active blocks together satisfy the bounds.
    fn select(&self, pool: SubPool, bounds: &PackingBounds) -> Selection {
        let sparse = |slot: u32| {
            let segment = &self.segments[slot];
            segment.active > 0
                && segment.size.checked_div(bounds.dense).is_some_and(|part| segment.size - segment.active > part)
                && segment.pinned == 0
        };
        let mut candidates: Vec<u32> = self.segments_of(pool).filter(|&slot| sparse(slot)).collect();
        candidates.sort_by_key(|&slot| {
            let segment = &self.segments[slot];
            ((u64::from(segment.active) << 32) / u64::from(segment.size), segment.id)
        });
        let mut selection = Selection::default();
        for slot in candidates {
            let gained = selection.size - u64::from(selection.active);
            if gained << self.granule_bits >= bounds.goal {
                break;
            }
            let segment = &self.segments[slot];
            let Some(active) = selection.active.checked_add(segment.active) else { continue };
            // The first selected segment must justify the new segment by itself; otherwise it would exclude later
            // segments that do.
            let first = selection.slots.is_empty();
            let most = if first { bounds.most } else { bounds.usual.min(bounds.most) };
            let is_worth = !first || self.bytes(segment.size) > bounds.least;
            if is_worth && self.bytes(active) <= most.min(bounds.budget) {
                selection.active = active;
                selection.size += u64::from(segment.size);
                selection.slots.push(slot);
            }
        }
        selection
    }
}
