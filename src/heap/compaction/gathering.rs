//! Gathering: joins the free bytes of one segment into one hole, if no window can be cleared.
//!
//! Blocks between small holes that fit no hole can still slide to the front of their own segment; its free bytes are
//! then one hole. If these are too few, some blocks of the segment move to holes of other segments. This moves many
//! bytes, so it is a last resort.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::Key;
use super::holes::Holes;
use super::{Gain, Move, Plan};
use std::collections::HashSet;

impl Heap {
    /// Plans a hole of at least `bytes` bytes in the segment for which the fewest bytes move: as few blocks as
    /// necessary move to holes of other segments, and the others slide to the front. `None` if no segment has enough
    /// movable blocks.
    ///
    /// Cost: O(blocks of the pool).
    #[must_use]
    pub fn plan_gathering(&self, pool: SubPool, bytes: u64) -> Option<Plan> {
        let needed = u32::try_from(bytes.div_ceil(self.granule())).ok()?;
        let mut holes = Holes::of(self, pool);
        let slots = self.movable_segments(pool).filter(|&slot| self.segments[slot].size >= needed);
        let plans = slots.filter_map(|slot| {
            let mark = holes.mark();
            let plan = self.gather(&mut holes, slot, needed);
            holes.undo_to(mark);
            plan
        });
        plans.min_by_key(Plan::bytes)
    }

    /// Plans to slide the blocks of one segment to its front: of the segments with several holes, the one whose largest
    /// hole grows the most. `None` if there is no such segment.
    ///
    /// Cost: O(blocks of the pool).
    #[must_use]
    pub fn plan_sliding(&self, pool: SubPool) -> Option<Plan> {
        let growth = |slot: u32| {
            let segment = &self.segments[slot];
            let holes = self.blocks_of(segment.first).filter(|(_, block)| !block.is_active());
            segment.size - segment.active - holes.map(|(_, block)| block.size).max().unwrap_or(0)
        };
        let grown = self.movable_segments(pool).map(|slot| (growth(slot), slot)).filter(|&(growth, _)| growth > 0);
        let (_, slot) = grown.max_by_key(|&(growth, slot)| (growth, self.segments[slot].id))?;
        Some(self.sliding_plan(slot, Vec::new()))
    }

    /// Returns the segments with active blocks, none of which is pinned.
    fn movable_segments(&self, pool: SubPool) -> impl Iterator<Item = u32> {
        self.segments_of(pool).filter(move |&slot| {
            let segment = &self.segments[slot];
            segment.active > 0 && segment.pinned == 0
        })
    }

    /// Moves blocks out of a segment, the largest that fit a hole first, until `needed` granules are free.
    fn gather(&self, holes: &mut Holes, slot: u32, needed: u32) -> Option<Plan> {
        let segment = &self.segments[slot];
        let blocks = || self.blocks_of(segment.first);
        holes.exclude(blocks().map(|(_, block)| block));
        let mut lacking = needed.saturating_sub(segment.size - segment.active);
        let mut keys: Vec<Key> = blocks().filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect();
        keys.sort_unstable_by_key(|&key| std::cmp::Reverse(self.blocks[key].size));
        let mut leaving = Vec::new();
        for key in keys {
            if lacking == 0 {
                break;
            }
            if let Some(moved) = holes.fill_one(self, key) {
                lacking = lacking.saturating_sub(self.blocks[key].size);
                leaving.push(moved);
            }
        }
        (lacking == 0).then(|| self.sliding_plan(slot, leaving))
    }

    /// Returns the plan in which some blocks leave a segment and the others slide to its front.
    fn sliding_plan(&self, slot: u32, leaving: Vec<Move>) -> Plan {
        let segment = &self.segments[slot];
        let gone: HashSet<Key> = leaving.iter().map(|moved| moved.block.key).collect();
        let mut moves = leaving;
        let mut front = 0;
        for (key, block) in self.blocks_of(segment.first) {
            if block.is_active() && !gone.contains(&key) {
                if block.offset != front {
                    moves.push(self.move_of(key, segment.id, self.bytes(front)));
                }
                front += block.size;
            }
        }
        let gain = Gain::Hole { segment: segment.id, bytes: self.bytes(segment.size - front) };
        Plan { moves, pool: segment.pool, gain, version: self.version }
    }
}
