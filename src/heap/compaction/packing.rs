//! Packing: the blocks of sparse segments side by side in a new one, which is as large as they are.
//!
//! What evacuation leaves behind is sparse because its blocks find no holes elsewhere. A segment of just their size makes up for
//! its cost as soon as the ones they leave are larger.

use super::super::Heap;
use super::super::address::{SegmentId, SubPool};
use super::{Gain, Move, Plan};

/// How much may be packed into one segment, and out of which. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackingBounds {
    /// The smallest segment that may be made.
    pub least: u64,
    /// The most that blocks of several segments are packed into: the heap holds so much more meanwhile.
    pub usual: u64,
    /// The largest segment that may be made, for the blocks of one segment.
    pub most: u64,
    /// The most that may be moved.
    pub budget: u64,
    /// A segment is left alone when less than one part in this many of it is inactive: packing it moves much for little. 0 leaves
    /// all of them alone.
    pub dense: u32,
    /// No further segment is packed once the segments that fall idle exceed the new one by this much. `u64::MAX` packs all that
    /// are worth it.
    pub goal: u64,
}

/// Segments that are worth packing together. Sizes are in granules.
#[derive(Debug, Default)]
struct Selection {
    slots: Vec<u32>,
    active: u32,
    size: u64,
}

impl Heap {
    /// The size of the segment that is worth making so that the blocks of sparse segments of `pool` can be packed into it, in
    /// bytes. None if no such segment is smaller than those that fall idle.
    ///
    /// Cost: O(blocks of the pool).
    #[must_use]
    pub fn packing_bytes(&self, pool: SubPool, bounds: &PackingBounds) -> Option<u64> {
        let selection = self.select(pool, bounds);
        let needed = self.bytes(selection.active).max(bounds.least);
        (needed <= bounds.most && needed < selection.size << self.granule_bits).then_some(needed)
    }

    /// Plans to move the blocks of the sparsest segments of its pool into `into`, an idle segment that was made for these bounds.
    /// None if that would not free more than its size.
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

    /// The sparsest segments whose active blocks fit the bounds together.
    fn select(&self, pool: SubPool, bounds: &PackingBounds) -> Selection {
        let sparse = |slot: u32| {
            let segment = &self.segments[slot];
            segment.pool == pool
                && segment.active > 0
                && segment.size.checked_div(bounds.dense).is_some_and(|part| segment.size - segment.active > part)
                && self.blocks_of(segment.first).all(|(_, block)| block.gives_way())
        };
        let mut candidates: Vec<u32> =
            self.segments.by_number().map(|(_, slot)| slot).filter(|&slot| sparse(slot)).collect();
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
            // The first must be worth a segment by itself, or it would keep those behind it from theirs.
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
