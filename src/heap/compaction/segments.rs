//! Evacuation: empties the segments that are cheapest to empty.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::Key;
use super::holes::Holes;
use super::{Gain, Plan};
use std::collections::HashSet;

impl Heap {
    /// Plans to move all blocks out of segments of `pool`, sparsest first, until the emptied segments have `goal` bytes
    /// in total, moving at most `budget` bytes. `None` if no segment can be emptied.
    ///
    /// Cost: O(blocks of the pool), times the segments that are evacuated.
    #[must_use]
    pub fn plan_evacuation(&self, pool: SubPool, goal: u64, budget: u64) -> Option<Plan> {
        let mut candidates: Vec<u32> = self.segments_of(pool).filter(|&slot| self.segments[slot].active > 0).collect();
        // The gain is the segment's size and the cost its active bytes: ordered by the ratio, then youngest first.
        candidates.sort_by_cached_key(|&slot| {
            let segment = &self.segments[slot];
            let share = (u64::from(segment.active) << 32) / u64::from(segment.size);
            (share, std::cmp::Reverse(segment.id))
        });
        let mut plan = Plan {
            moves: Vec::new(),
            pool,
            gain: Gain::Idle { segments: Vec::new(), bytes: 0 },
            version: self.version,
        };
        let mut holes = Holes::of(self, pool);
        let mut filled = HashSet::new();
        let mut left = budget;
        for slot in candidates {
            if matches!(&plan.gain, Gain::Idle { bytes, .. } if *bytes >= goal) {
                break;
            }
            let segment = &self.segments[slot];
            let active = self.bytes(segment.active);
            // A segment that receives blocks is not evacuated by the same plan.
            if active > left || filled.contains(&segment.id) {
                continue;
            }
            // Most segments that cannot be emptied are recognized without trying.
            if !self.largest_movable(segment.first).is_some_and(|largest| holes.may_hold(segment, slot, largest)) {
                continue;
            }
            let keys = self.active_blocks(segment.first);
            let mark = holes.mark();
            holes.exclude(self.blocks_of(segment.first).map(|(_, block)| block));
            let Some(moves) = holes.fill(self, keys) else {
                holes.undo_to(mark);
                continue;
            };
            left -= active;
            filled.extend(moves.iter().map(|moved| moved.to_segment));
            plan.moves.extend(moves);
            if let Gain::Idle { segments, bytes } = &mut plan.gain {
                segments.push(segment.id);
                *bytes += self.bytes(segment.size);
            }
        }
        (!plan.moves.is_empty()).then_some(plan)
    }

    /// Returns the size of a segment's largest active block in granules, or `None` if a block is pinned.
    fn largest_movable(&self, first: Key) -> Option<u32> {
        self.blocks_of(first).try_fold(0, |largest, (_, block)| {
            let size = if block.is_active() { block.size } else { 0 };
            block.is_movable_or_inactive().then_some(largest.max(size))
        })
    }

    fn active_blocks(&self, first: Key) -> Vec<Key> {
        self.blocks_of(first).filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect()
    }
}
