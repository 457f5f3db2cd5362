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
use crate::heap::{BlockId, SegmentView};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::num::NonZeroU64;

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
    /// Returns the cheapest way to make room for a request by moving at most `host_room` bytes to host memory. O(blocks).
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

    /// Returns the cheapest range of a segment of at least `size` bytes whose blocks may all move.
    fn range(&self, segment: &SegmentView<'_>, size: u64) -> Option<Clearance> {
        // The blocks of the range that ends at the current block: the size, and the id and the cost of an active block.
        let mut range: VecDeque<(u64, Option<(BlockId, u128)>)> = VecDeque::new();
        let (mut length, mut cost, mut best) = (0, 0, None::<Clearance>);
        for block in segment.blocks() {
            let moved = match block.id {
                None => None,
                Some(id) => match self.0.get(&id) {
                    Some(&cost) => Some((id, cost)),
                    None => {
                        (length, cost) = (0, 0);
                        range.clear();
                        continue;
                    }
                },
            };
            range.push_back((block.size, moved));
            length += block.size;
            cost += moved.map_or(0, |(_, cost)| cost);
            while let Some(&(first, moved)) = range.front()
                && length - first >= size
            {
                range.pop_front();
                length -= first;
                cost -= moved.map_or(0, |(_, cost)| cost);
            }
            if length >= size && best.as_ref().is_none_or(|best| cost < best.cost) {
                let moved = || range.iter().filter_map(|&(size, moved)| Some((size, moved?.0)));
                let blocks = moved().map(|(_, block)| block).collect();
                best = Some(Clearance { blocks, bytes: moved().map(|(size, _)| size).sum(), cost });
            }
        }
        best
    }
}

impl Clearance {
    fn add(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.bytes += other.bytes;
        self.cost += other.cost;
    }
}
