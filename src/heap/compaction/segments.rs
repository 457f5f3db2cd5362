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
        let mut candidates: Vec<u32> = self
            .segments
            .by_number()
            .map(|(_, slot)| slot)
            .filter(|&slot| self.segments[slot].pool == pool && self.segments[slot].active > 0)
            .collect();
        // The gain is the segment's size and the cost its active bytes: ordered by the ratio, then youngest first.
        candidates.sort_by_key(|&slot| {
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
            let Some(keys) = self.movable_blocks(segment.first) else { continue };
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

    /// Returns the active blocks of a segment, or `None` if one is pinned.
    fn movable_blocks(&self, first: Key) -> Option<Vec<Key>> {
        let blocks = || self.blocks_of(first);
        blocks()
            .all(|(_, block)| block.is_movable_or_inactive())
            .then(|| blocks().filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect())
    }
}
