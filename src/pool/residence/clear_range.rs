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
use crate::heap::{BlockId, BlockView, SegmentView};
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
        let mut commands = self.memory.commands();
        let mut state = self.state();
        let allowance = state.returning_bytes(effort.claim);
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
        let ranges =
            segments().filter(|segment| segment.bytes >= size).filter_map(|segment| costs.range(&segment, size));
        if let Some(range) = ranges.filter(|range| range.bytes <= host_room).min_by_key(|range| range.cost) {
            return range;
        }
        // A new segment needs the bytes of others.
        let room = if refused { 0 } else { self.room() };
        let mut missing = size.saturating_sub(room);
        let whole = segments().filter_map(|segment| Some((costs.range(&segment, segment.bytes)?, segment.bytes)));
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
        let candidates = state.candidates(|_| true, effort, search);
        let count = candidates.len() as u128;
        let costs = candidates.iter().zip(count..).map(|(one, weight)| (one.block, u128::from(one.size) * weight));
        Self(costs.collect())
    }

    /// Returns the cheapest range of a segment of at least `size` bytes whose blocks may all move. O(blocks of the segment).
    fn range(&self, segment: &SegmentView<'_>, size: u64) -> Option<Clearance> {
        let blocks: Vec<BlockView> = segment.blocks().collect();
        // The cost of an inactive block is 0; a block without a cost stays.
        let cost_of = |block: &BlockView| block.id.map_or(Some(0), |id| self.0.get(&id).copied());
        let (mut range, mut length, mut cost) = (0..0, 0, 0);
        let mut best: Option<(u128, Range<usize>)> = None;
        for (number, block) in blocks.iter().enumerate() {
            let Some(added) = cost_of(block) else {
                (range, length, cost) = (number + 1..number + 1, 0, 0);
                continue;
            };
            range.end = number + 1;
            length += block.size;
            cost += added;
            // The shortest range that ends at this block.
            while length - blocks[range.start].size >= size {
                length -= blocks[range.start].size;
                cost -= cost_of(&blocks[range.start]).unwrap_or(0);
                range.start += 1;
            }
            if length >= size && best.as_ref().is_none_or(|&(least, _)| cost < least) {
                best = Some((cost, range.clone()));
            }
        }
        let (cost, range) = best?;
        let moved = || blocks[range.clone()].iter().filter_map(|block| Some((block.id?, block.size)));
        Some(Clearance {
            blocks: moved().map(|(id, _)| id).collect(),
            bytes: moved().map(|(_, size)| size).sum(),
            cost,
        })
    }
}

impl Clearance {
    fn add(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.bytes += other.bytes;
        self.cost += other.cost;
    }
}
