//! Clearing a range of addresses by moving its blocks to host memory.
//!
//! When as many bytes are free as a request needs, but not in one place, and blocks cannot move between holes, the cheapest
//! range of one segment is cleared. If no segment is large enough, whole segments are cleared, which the next rungs of the
//! ladder release in exchange for a new one. The copies are recorded, so nothing waits; the rungs below would wait for the
//! device. Every block that moves has to return, so a range costs its bytes, weighted by 1 for the block that is needed last
//! up to 2 for the block that is needed first.

use super::make_space::{Effort, Search};
use super::move_out::MovedOut;
use super::{Inner, State};
use crate::device::{Commands, Memory, Submit};
use crate::error::DeviceError;
use crate::heap::{BlockId, BlockView, Place, SegmentView};
use crate::pool::messages::Postponed;
use rustc_hash::FxHashMap;
use std::num::NonZeroU64;
use std::ops::Range;

/// Blocks that leave a range of addresses empty, their bytes, and the cost of moving them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Clearance {
    blocks: Vec<BlockId>,
    bytes: u64,
    cost: u128,
}

/// The cost of moving each block that may move.
struct Costs(FxHashMap<BlockId, u128>);

impl<M: Memory> Inner<M> {
    /// Moves the blocks of a range to host memory by recorded copies, and allocates the request there. `None` if no range
    /// may be cleared, if segments were cleared that have to be released first, or if the device needs read-backs.
    pub(super) fn clear_range(
        &self,
        requested: NonZeroU64,
        refused: bool,
        effort: &Effort,
        search: &mut Search,
    ) -> Result<Option<BlockId>, DeviceError> {
        let _later = Postponed::new();
        let mut commands = self.memory.commands();
        let mut state = self.state();
        let allowance = state.returning_bytes(effort.claim);
        state.rank();
        for block in state.clearance(requested, refused, state.host_room(allowance), effort, search).blocks {
            let moved = self.move_out(&mut commands, &mut state, block, allowance)?;
            if moved == MovedOut::NeedsReadback {
                break;
            }
            search.note(&mut state, block, moved);
        }
        let served = state.take_hole(requested);
        drop(state);
        let due = commands.due();
        drop(commands);
        if due {
            self.memory.submit(Submit::Soon)?;
        }
        Ok(served)
    }
}

impl<M: Memory> State<M> {
    /// Returns the cheapest way to make room for a request by moving at most `host_room` bytes to host memory. O(blocks · log
    /// blocks).
    fn clearance(
        &self,
        requested: NonZeroU64,
        refused: bool,
        host_room: u64,
        effort: &Effort,
        search: &Search,
    ) -> Clearance {
        let size = self.heap.block_size(requested);
        let costs = Costs::of(self, effort, search);
        let segments = || self.heap.segments().filter(|segment| self.has_memory(segment.id));
        let ranges = segments()
            .filter(|segment| segment.bytes >= size)
            .filter_map(|segment| costs.range(&segment, size, host_room));
        if let Some(range) = ranges.min_by_key(|range| range.cost) {
            return range;
        }
        // A new segment needs the bytes of others.
        let room = if refused { 0 } else { self.room() };
        let mut missing = size.saturating_sub(room);
        let whole =
            segments().filter_map(|segment| Some((costs.range(&segment, segment.bytes, host_room)?, segment.bytes)));
        let mut whole: Vec<_> = whole.collect();
        // By the cost of a byte gained.
        whole.sort_by(|(one, bytes), (other, more)| {
            (one.cost * u128::from(*more)).cmp(&(other.cost * u128::from(*bytes)))
        });
        let mut all = Clearance::default();
        for (range, bytes) in whole {
            if missing > 0 && all.bytes + range.bytes <= host_room {
                missing = missing.saturating_sub(bytes);
                all.add(range);
            }
        }
        if missing == 0 { all } else { Clearance::default() }
    }
}

impl Costs {
    fn of<M: Memory>(state: &State<M>, effort: &Effort, search: &Search) -> Self {
        let candidates: Vec<(BlockId, Place)> = state.candidates(effort, search).collect();
        let weighted = candidates.iter().zip(candidates.len() as u128..);
        let costs = weighted.map(|(&(block, place), weight)| (block, u128::from(place.size) * weight));
        Self(costs.collect())
    }

    /// Returns the cheapest range of a segment of at least `size` bytes whose blocks may all move, and have at most `host_room`
    /// bytes. O(blocks of the segment).
    fn range(&self, segment: &SegmentView<'_>, size: u64, host_room: u64) -> Option<Clearance> {
        let blocks: Vec<BlockView> = segment.blocks().collect();
        // The bytes that move and their cost: none of an inactive block. `None` for a block that stays.
        let moved = |block: &BlockView| match block.id {
            None => Some((0, 0)),
            Some(id) => self.0.get(&id).map(|&cost| (block.size, cost)),
        };
        let (mut range, mut length, mut bytes, mut cost) = (0..0, 0, 0, 0);
        let mut best: Option<(u128, u64, Range<usize>)> = None;
        for (number, block) in blocks.iter().enumerate() {
            let Some((added, cost_added)) = moved(block) else {
                (range, length, bytes, cost) = (number + 1..number + 1, 0, 0, 0);
                continue;
            };
            range.end = number + 1;
            (length, bytes, cost) = (length + block.size, bytes + added, cost + cost_added);
            // The shortest range that ends at this block.
            while length - blocks[range.start].size >= size {
                let first = &blocks[range.start];
                let (removed, cost_removed) = moved(first).unwrap_or_default();
                (length, bytes, cost) = (length - first.size, bytes - removed, cost - cost_removed);
                range.start += 1;
            }
            if length >= size && bytes <= host_room && best.as_ref().is_none_or(|&(least, ..)| cost < least) {
                best = Some((cost, bytes, range.clone()));
            }
        }
        let (cost, bytes, range) = best?;
        Some(Clearance { blocks: blocks[range].iter().filter_map(|block| block.id).collect(), bytes, cost })
    }
}

impl Clearance {
    fn add(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.bytes += other.bytes;
        self.cost += other.cost;
    }
}
