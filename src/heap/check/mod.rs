//! The invariants of the heap, as an executable check.
//!
//! All values are computed again from the blocks in each segment, and compared with the redundant data structures: free
//! lists, bitmaps, the idle list, counters.

#[cfg(test)]
mod tests;

use crate::error::InvariantBroken;
use crate::heap::Heap;
use crate::heap::address::SubPool;
use crate::heap::blocks::{Block, Key, NONE, State};
use crate::heap::class::{BINS, Class, OCTAVES};
use crate::heap::lists::{Entry, ListSet};
use crate::heap::segments::Segment;
use crate::heap::stats::SubPoolStats;

/// The sums over all blocks.
#[derive(Default)]
struct Sums {
    requested: u64,
    allocated: u64,
    active: u64,
    inactive_split: u64,
    reserved: u64,
    pinned: u64,
    pinned_blocks: u64,
    blocks: u64,
    active_blocks: u64,
    inactive_blocks: u64,
    pools: [SubPoolStats; 2],
}

impl Heap {
    /// Checks every invariant of the heap.
    ///
    /// - The blocks of a segment tile it without gap or overlap, and refer to their neighbours. Those of a planned segment do not
    ///   overlap.
    /// - No two neighbours are both inactive.
    /// - A block is in exactly one free list iff it is inactive: the list of its class in its segment's sub-pool, where
    ///   blocks that span a whole segment have separate lists. Its record contains its position in the list, and the
    ///   bitmaps show which lists are empty.
    /// - A segment is in the list of idle segments iff it has no active block and is not held.
    /// - A freed block is active only while it is pinned.
    /// - requested ≤ allocated ≤ active ≤ reserved, and active + inactive = reserved.
    /// - Every counter is the sum over the blocks, and allocated − freed = current ≤ peak.
    ///
    /// Offsets are stored in granules, so each is a multiple of the granule.
    ///
    /// Cost: O(blocks + classes). Intended for tests and debugging.
    ///
    /// # Errors
    /// The first broken invariant. This is a bug of the crate, regardless of the caller.
    pub fn check(&self) -> Result<(), InvariantBroken> {
        let sums = self.check_segments()?;
        self.check_records(&sums)?;
        self.check_lists(sums.inactive_blocks)?;
        self.check_idle()?;
        self.check_counters(&sums)
    }

    fn check_segments(&self) -> Result<Sums, InvariantBroken> {
        let mut sums = Sums::default();
        if self.segments.by_number().count() != self.segments.len() {
            return Err(InvariantBroken::Table { segment: self.segments.len() as u64 });
        }
        for (id, slot) in self.segments.by_number() {
            match self.segments.get(slot) {
                Some(segment) if segment.id == id => self.check_segment(slot, segment, &mut sums)?,
                _ => return Err(InvariantBroken::Table { segment: id.number() }),
            }
        }
        Ok(sums)
    }

    /// Walks one segment from its start to its end, and adds it to the sums.
    fn check_segment(&self, slot: u32, segment: &Segment, sums: &mut Sums) -> Result<(), InvariantBroken> {
        if segment.planned {
            return self.check_planned(slot, segment, sums);
        }
        let number = segment.id.number();
        let mut active = 0;
        let pinned = sums.pinned_blocks;
        let mut before: (Key, u64, bool) = (NONE, 0, false);
        let mut key = segment.first;
        while key != NONE {
            let (previous, end, was_inactive) = before;
            let block = self.blocks.get(key).ok_or(InvariantBroken::Neighbours { block: key, segment: number })?;
            if block.before != previous || block.segment != slot {
                return Err(InvariantBroken::Neighbours { block: key, segment: number });
            }
            let offset = u64::from(block.offset);
            if offset != end || end >= u64::from(segment.size) {
                return Err(self.untiled(number, offset, end));
            }
            if block.size == 0 {
                return Err(InvariantBroken::EmptyBlock { segment: number, offset: self.bytes(block.offset) });
            }
            let is_inactive = self.check_block(number, key, block, sums)?;
            if is_inactive && was_inactive {
                return Err(InvariantBroken::Uncoalesced { segment: number, offset: self.bytes(block.offset) });
            }
            if !is_inactive {
                active += self.bytes(block.size);
            }
            before = (key, end + u64::from(block.size), is_inactive);
            key = block.after;
        }
        if before.1 != u64::from(segment.size) {
            return Err(self.untiled(number, u64::from(segment.size), before.1));
        }
        self.count_segment(segment, active, sums.pinned_blocks - pinned, sums)
    }

    /// Checks a planned segment, whose blocks must not overlap, and adds it to the sums.
    fn check_planned(&self, slot: u32, segment: &Segment, sums: &mut Sums) -> Result<(), InvariantBroken> {
        let number = segment.id.number();
        let (mut active, mut end) = (0, 0);
        let pinned = sums.pinned_blocks;
        for key in self.planned_blocks(slot) {
            let block = &self.blocks[key];
            if u64::from(block.offset) < end || segment.first != NONE {
                return Err(self.untiled(number, u64::from(block.offset), end));
            }
            self.check_block(number, key, block, sums)?;
            active += self.bytes(block.size);
            end = u64::from(block.offset) + u64::from(block.size);
        }
        if end > u64::from(segment.size) {
            return Err(self.untiled(number, u64::from(segment.size), end));
        }
        self.count_segment(segment, active, sums.pinned_blocks - pinned, sums)
    }

    /// Adds the bytes of a segment to the sums.
    fn count_segment(
        &self,
        segment: &Segment,
        active: u64,
        pinned: u64,
        sums: &mut Sums,
    ) -> Result<(), InvariantBroken> {
        equal("pinned blocks of a segment", u64::from(segment.pinned), pinned)?;
        equal("active of a segment", self.bytes(segment.active), active)?;
        let size = self.bytes(segment.size);
        sums.active += active;
        sums.reserved += size;
        sums.inactive_split += if active == 0 { 0 } else { size - active };
        let pool = &mut sums.pools[segment.pool.index()];
        pool.active += active;
        pool.reserved += size;
        Ok(())
    }

    /// Checks one block, adds it to the sums, and returns whether it is inactive.
    fn check_block(&self, segment: u64, key: Key, block: &Block, sums: &mut Sums) -> Result<bool, InvariantBroken> {
        let (size, offset) = (self.bytes(block.size), self.bytes(block.offset));
        match block.state {
            State::Vacant { .. } | State::Detached { .. } => Err(InvariantBroken::Neighbours { block: key, segment }),
            State::Inactive { .. } => {
                sums.inactive_blocks += 1;
                Ok(true)
            }
            State::Active { pins, slack, freed } => {
                let slack = u64::from(slack);
                if slack >= self.granule() {
                    return Err(InvariantBroken::Requested {
                        segment,
                        offset,
                        requested: size.wrapping_sub(slack),
                        size,
                    });
                }
                if freed && pins == 0 {
                    return Err(InvariantBroken::Unpinned { segment, offset });
                }
                sums.active_blocks += 1;
                if pins > 0 {
                    sums.pinned += size;
                    sums.pinned_blocks += 1;
                }
                if !freed {
                    sums.blocks += 1;
                    sums.allocated += size;
                    sums.requested += size - slack;
                }
                Ok(false)
            }
        }
    }

    fn check_records(&self, sums: &Sums) -> Result<(), InvariantBroken> {
        let detached = self.detached_blocks().count() as u64;
        let (records, mapped) = (self.blocks.len() as u64, sums.active_blocks + sums.inactive_blocks + detached);
        if records != mapped {
            return Err(InvariantBroken::Records { records, mapped });
        }
        let (vacant, chained) = (u64::from(self.blocks.vacancies()), self.blocks.chained() as u64);
        if vacant != chained {
            return Err(InvariantBroken::Vacancies { vacant, chained });
        }
        Ok(())
    }

    /// Walks every free list. If the number of entries equals the number of inactive blocks, and each entry refers to
    /// an inactive block that refers back to the entry, then each inactive block is in exactly one list.
    fn check_lists(&self, inactive: u64) -> Result<(), InvariantBroken> {
        let mut listed = 0;
        for pool in SubPool::ALL {
            let (split, whole) = self.lists[pool.index()].split_and_whole();
            listed += self.check_set(pool, split, false)? + self.check_set(pool, whole, true)?;
        }
        if listed == inactive { Ok(()) } else { Err(InvariantBroken::Unlisted { inactive, listed }) }
    }

    fn check_set(&self, pool: SubPool, set: &ListSet, whole: bool) -> Result<u64, InvariantBroken> {
        let mut listed = 0;
        for octave in 0..OCTAVES {
            let (bits, filled, octave_agrees) = set.bits(octave);
            let wrong = bits ^ filled;
            if wrong != 0 || !octave_agrees {
                let bin = wrong.trailing_zeros() as usize % BINS;
                let (bit, filled) = (bits >> bin & 1 == 1, filled >> bin & 1 == 1);
                return Err(InvariantBroken::Bitmap { class: Class::at(octave, bin).number(), bit, filled });
            }
            let mut rest = filled;
            while rest != 0 {
                let class = Class::at(octave, rest.trailing_zeros() as usize);
                self.check_list(pool, class, set.list(class), whole)?;
                listed += set.list(class).len() as u64;
                rest &= rest - 1;
            }
        }
        equal("inactive blocks of a pool", set.len() as u64, listed)?;
        Ok(listed)
    }

    fn check_list(&self, pool: SubPool, class: Class, list: &[Entry], whole: bool) -> Result<(), InvariantBroken> {
        for (index, entry) in list.iter().enumerate() {
            let wrong = InvariantBroken::Membership { class: class.number(), block: entry.key };
            let block = self.blocks.get(entry.key).ok_or(wrong)?;
            let State::Inactive { position } = block.state else { return Err(wrong) };
            let segment = self.segments.get(block.segment).ok_or(wrong)?;
            let is_whole = block.before == NONE && block.after == NONE;
            if Class::of(block.size) != class || segment.pool != pool || is_whole != whole {
                return Err(wrong);
            }
            if position as usize != index || entry.size != block.size {
                return Err(InvariantBroken::Entry { class: class.number(), block: entry.key });
            }
        }
        Ok(())
    }

    fn check_idle(&self) -> Result<(), InvariantBroken> {
        let mut last = NONE;
        let mut listed = 0;
        for slot in self.segments.idle() {
            let segment = &self.segments[slot];
            if segment.active != 0 || segment.held || segment.older != last {
                return Err(InvariantBroken::Idle { segment: segment.id.number() });
            }
            listed += 1;
            last = slot;
        }
        let idle = self
            .segments
            .by_number()
            .filter(|&(_, slot)| self.segments[slot].active == 0 && !self.segments[slot].held)
            .count();
        if listed != idle || self.segments.youngest_idle() != last {
            let segment = self.segments.get(last).map_or(u64::MAX, |segment| segment.id.number());
            return Err(InvariantBroken::Idle { segment });
        }
        Ok(())
    }

    fn check_counters(&self, sums: &Sums) -> Result<(), InvariantBroken> {
        let stats = self.stats();
        let (mut spilled, mut spilled_requested, mut spilled_blocks) = (0, 0, 0);
        for (_, block) in self.detached_blocks() {
            spilled += block.size;
            spilled_requested += block.requested.get();
            spilled_blocks += 1;
        }
        let metrics = [
            ("requested", stats.requested, sums.requested),
            ("allocated", stats.allocated, sums.allocated),
            ("active", stats.active, sums.active),
            ("inactive_split", stats.inactive_split, sums.inactive_split),
            ("reserved", stats.reserved, sums.reserved),
            ("pinned", stats.pinned, sums.pinned),
            ("blocks", stats.blocks, sums.blocks),
            ("active_blocks", stats.active_blocks, sums.active_blocks),
            ("segments", stats.segments, self.segments.len() as u64),
            ("spilled", stats.spilled, spilled),
            ("spilled_requested", stats.spilled_requested, spilled_requested),
            ("spilled_blocks", stats.spilled_blocks, spilled_blocks),
        ];
        for (metric, counter, sum) in metrics {
            equal(metric, counter.current, sum)?;
            equal(metric, counter.allocated.wrapping_sub(counter.freed), sum)?;
            ordered(("current", counter.current), ("peak", counter.peak))?;
        }
        equal("holes", stats.holes, sums.inactive_blocks)?;
        equal("active of the small pool", stats.small.active, sums.pools[0].active)?;
        equal("active of the large pool", stats.large.active, sums.pools[1].active)?;
        equal("reserved of the small pool", stats.small.reserved, sums.pools[0].reserved)?;
        equal("reserved of the large pool", stats.large.reserved, sums.pools[1].reserved)?;
        ordered(("requested", sums.requested), ("allocated", sums.allocated))?;
        ordered(("allocated", sums.allocated), ("active", sums.active))?;
        ordered(("active", sums.active), ("reserved", sums.reserved))
    }

    fn untiled(&self, segment: u64, offset: u64, expected: u64) -> InvariantBroken {
        InvariantBroken::Tiling {
            segment,
            offset: offset << self.granule_bits,
            expected: expected << self.granule_bits,
        }
    }
}

fn equal(metric: &'static str, counted: u64, sum: u64) -> Result<(), InvariantBroken> {
    if counted == sum { Ok(()) } else { Err(InvariantBroken::Stats { metric, counted, sum }) }
}

fn ordered((lesser, low): (&'static str, u64), (greater, high): (&'static str, u64)) -> Result<(), InvariantBroken> {
    if low <= high { Ok(()) } else { Err(InvariantBroken::Order { lesser, low, greater, high }) }
}
