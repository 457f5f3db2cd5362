//! The rung of the out-of-memory ladder that moves blocks to host memory.

use super::super::make_room::pause;
use super::move_out::MovedOut;
use super::{Inner, PATIENCE, State};
use crate::device::{Commands, Memory, Submit};
use crate::error::{Bytes, Count, DeviceError};
use crate::heap::{BlockId, Place};
use crate::pool::messages::{Postponed, note};
use rustc_hash::FxHashSet;
use std::num::NonZeroU64;

/// The number of times that a request moves more blocks to host memory after the ladder has failed.
const MAX_ROUNDS: u32 = 256;

/// The part of the blocks, one in so many, among which a victim may be chosen by its location, and for as many changes of which a
/// failed compaction is not repeated.
const PART: u64 = 16;

/// The part of spilling in a climb of the ladder.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pool) struct Effort {
    /// The claim of the command for which a block returns.
    pub(super) claim: Option<u64>,
    /// Bytes to move to host memory in addition to those that the request lacks, because holes were not sufficient.
    extra: u64,
    rounds: u32,
    waits: u32,
    /// The number of blocks that had moved to host memory before this climb.
    blocks_out: u64,
}

impl Effort {
    pub(in crate::pool) fn new(claim: Option<u64>) -> Self {
        Self { claim, ..Self::default() }
    }
}

/// The state of one use of the rung.
pub(super) struct Search {
    /// The rest of [`Effort::extra`].
    extra: u64,
    /// The blocks that have moved, and their bytes.
    blocks: u64,
    bytes: u64,
    /// Blocks that cannot move.
    skipped: FxHashSet<BlockId>,
    /// The size of the smallest block for which the host had no memory.
    refused_from: u64,
}

impl Search {
    pub(super) fn new(extra: u64) -> Self {
        Self { extra, blocks: 0, bytes: 0, skipped: FxHashSet::default(), refused_from: u64::MAX }
    }

    /// Notes the result of an attempt to move a block.
    pub(super) fn note<M: Memory>(&mut self, state: &mut State<M>, victim: BlockId, moved: MovedOut) {
        match moved {
            MovedOut::Done(bytes) => {
                self.blocks += 1;
                self.bytes = self.bytes.saturating_add(bytes);
                self.extra = self.extra.saturating_sub(bytes);
                state.remedies.spilled += 1;
                state.remedies.bytes_spilled = state.remedies.bytes_spilled.saturating_add(bytes);
            }
            MovedOut::HostRefused => {
                // A block that was freed meanwhile has no size.
                if let Some(place) = state.heap.allocated_place(victim) {
                    self.refused_from = self.refused_from.min(place.size);
                }
            }
            MovedOut::NeedsReadback | MovedOut::HostLimit | MovedOut::Contended | MovedOut::Stays => {
                self.skipped.insert(victim);
            }
        }
    }
}

impl<M: Memory> Inner<M> {
    /// Moves blocks to host memory until the request fits, and allocates it. `None` if no hole results: the other rungs
    /// then use the free bytes. Waits only for read-backs. The caller must hold no lock.
    pub(in crate::pool) fn make_space(
        &self,
        requested: NonZeroU64,
        refused: bool,
        effort: &Effort,
    ) -> Result<Option<BlockId>, DeviceError> {
        if !self.spills() {
            return Ok(None);
        }
        let mut search = Search::new(effort.extra);
        loop {
            let _later = Postponed::new();
            let mut commands = self.memory.commands();
            let mut state = self.state();
            if let Some(block) = state.take_hole(requested) {
                return Ok(Some(block));
            }
            let lacking = state.lacking(requested, refused, self.compaction_share > 0.0).max(search.extra);
            // Blocks move out in exchange for those of the command, unless the exchange would fail: it would leave more on the
            // host than the limit.
            let mut allowance = state.returning_bytes(effort.claim);
            let (mut victims, sum) = state.victims(lacking, allowance, effort, &search);
            if allowance > 0 && sum < lacking {
                allowance = 0;
                victims = state.victims(lacking, allowance, effort, &search).0;
            }
            if lacking == 0 && state.is_compaction_futile(requested) {
                victims.extend(state.replaceable(requested, allowance, effort, &search));
            }
            if victims.is_empty() {
                break;
            }
            let mut read_back = None;
            for victim in victims {
                let moved = self.move_out(&mut commands, &mut state, victim, allowance)?;
                if moved == MovedOut::NeedsReadback {
                    read_back = Some(victim);
                    break;
                }
                search.note(&mut state, victim, moved);
            }
            drop(state);
            let due = commands.due();
            drop(commands);
            if due {
                self.memory.submit(Submit::Soon)?;
            }
            if let Some(victim) = read_back {
                let moved = self.read_out(victim, allowance)?;
                search.note(&mut self.state(), victim, moved);
            }
        }
        if search.refused_from < u64::MAX {
            note!(Debug, "wgpu-pool: the host has no memory for a block of {}", Bytes(search.refused_from));
        }
        if search.blocks > 0 {
            note!(
                Debug,
                "wgpu-pool: {} of {} moved to host memory",
                Count(search.blocks, "block"),
                Bytes(search.bytes)
            );
        }
        if self.compaction_share > 0.0 && !self.state().is_compaction_futile(requested) {
            let served = self.move_within_segments(requested)?;
            self.state().note_compaction(requested, served.is_some());
            if served.is_some() {
                return Ok(served);
            }
        }
        self.clear_range(requested, refused, effort, &mut search)
    }

    /// Called before a climb.
    pub(in crate::pool) fn begin_climb(&self, effort: &mut Effort) {
        if let Some(spilling) = &self.state().spilling {
            effort.blocks_out = spilling.counts.blocks_out;
        }
    }

    /// Called after a climb that ended with an out-of-memory error. Returns whether another climb may succeed: with more
    /// blocks in host memory, after other threads with older claims have recorded their commands, or after the moves of other
    /// threads, younger ones too: a block that is being read back, and the location of a block that is about to return, cannot be
    /// moved out.
    pub(in crate::pool) fn may_climb_again(&self, requested: NonZeroU64, effort: &mut Effort) -> bool {
        let state = self.state();
        let Some(spilling) = &state.spilling else { return false };
        let has_moved = spilling.counts.blocks_out != effort.blocks_out;
        if (has_moved || effort.extra == 0) && effort.rounds < MAX_ROUNDS {
            effort.rounds += 1;
            effort.extra = effort.extra.saturating_mul(2).max(state.heap.block_size(requested));
            return true;
        }
        if effort.waits <= PATIENCE && spilling.others_move() {
            effort.waits += 1;
            drop(state);
            pause();
            return true;
        }
        false
    }
}

impl<M: Memory> State<M> {
    /// Allocates a hole of either sub-pool, trying the request's own sub-pool first.
    pub(super) fn take_hole(&mut self, requested: NonZeroU64) -> Option<BlockId> {
        let own = self.heap.pool_for(requested);
        let own_hole = self.heap.allocate_from(own, requested).ok();
        own_hole.or_else(|| {
            let block = self.heap.allocate_from(own.other(), requested).ok()?;
            self.remedies.cross_pool += 1;
            Some(block)
        })
    }

    /// Returns the bytes by which active bytes must fall so that the other rungs can serve the request.
    fn lacking(&self, requested: NonZeroU64, refused: bool, moves: bool) -> u64 {
        let size = self.heap.block_size(requested);
        let stats = self.heap.stats();
        let pinned = self.heap.pinned_segments();
        if !moves {
            // A hole is necessary, or idle segments to release.
            let idle: u64 = self.heap.inactive_segments().map(|(_, bytes)| bytes).sum();
            let room = if refused { 0 } else { self.room() };
            return size.saturating_sub(room.saturating_add(idle));
        }
        let active = stats.active.current - pinned.active + pinned.reserved;
        let limit = if refused { stats.reserved.current } else { self.limit.unwrap_or(stats.reserved.current) };
        let limit = limit - limit % self.heap.granule();
        active.saturating_add(size).saturating_sub(limit)
    }

    /// Returns blocks of `lacking` bytes or more in total to move to host memory, or all that may move: those that are needed
    /// last, and none whose size the others make unnecessary. Also returns their sum. The host has room for all of them, if
    /// it may exceed its limit by `allowance` bytes.
    ///
    /// Cost: O(1) for each victim and for each block before it that must stay, after [`Order::rank`](super::order::Order::rank).
    fn victims(&mut self, lacking: u64, allowance: u64, effort: &Effort, search: &Search) -> (Vec<BlockId>, u64) {
        if lacking == 0 {
            return (Vec::new(), 0);
        }
        let mut host_room = self.host_room(allowance);
        // Next to a pinned block, a hole does not make the segment smaller.
        let has_pins = self.heap.stats().pinned.current > 0 && effort.extra == 0;
        self.rank();
        let mut sum = 0;
        let mut chosen = Vec::new();
        for (block, Place { size, segment, .. }) in self.candidates(effort, search) {
            if sum >= lacking || host_room == 0 {
                break;
            }
            if size <= host_room && !(has_pins && self.heap.has_pinned_block(segment)) {
                sum += size;
                host_room -= size;
                chosen.push((block, size));
            }
        }
        // The last block may be large enough to replace earlier ones. Blocks that are needed soonest stay first.
        let mut excess = sum.saturating_sub(lacking);
        let mut victims = Vec::with_capacity(chosen.len());
        for (block, size) in chosen.into_iter().rev() {
            if size <= excess {
                excess -= size;
                sum -= size;
            } else {
                victims.push(block);
            }
        }
        victims.reverse();
        (victims, sum)
    }

    /// Returns a block whose move leaves a hole for the request, of the blocks that are needed last.
    pub(super) fn replaceable(
        &mut self,
        requested: NonZeroU64,
        allowance: u64,
        effort: &Effort,
        search: &Search,
    ) -> Option<BlockId> {
        let (size, host_room) = (self.heap.block_size(requested), self.host_room(allowance));
        self.rank();
        let few = usize::try_from(self.part_of_blocks()).unwrap_or(usize::MAX);
        let mut last = self.candidates(effort, search).take(few);
        let found = last.find(|(block, place)| place.size <= host_room && self.heap.hole_without(*block) >= size);
        found.map(|(block, _)| block)
    }

    /// Returns whether an attempt to make a hole for the request by moving blocks within the device failed a short time ago. Such
    /// an attempt costs O(blocks), so that it is repeated only after as many changes of the heap as a part of its blocks.
    pub(in crate::pool) fn is_compaction_futile(&self, requested: NonZeroU64) -> bool {
        let futile = self.spilling.as_ref().and_then(|spilling| spilling.futile);
        futile.is_some_and(|(version, bytes)| {
            self.heap.block_size(requested) >= bytes && self.heap.version() - version < self.part_of_blocks()
        })
    }

    pub(super) fn note_compaction(&mut self, requested: NonZeroU64, served: bool) {
        let failed = (self.heap.version(), self.heap.block_size(requested));
        if let Some(spilling) = &mut self.spilling {
            spilling.futile = (!served).then_some(failed);
        }
    }

    /// Returns a part of the number of blocks on the device: none of few blocks.
    fn part_of_blocks(&self) -> u64 {
        self.heap.stats().active_blocks.current / PART
    }

    /// Brings the order of blocks that may move to host memory up to date.
    pub(super) fn rank(&mut self) {
        if let Some(spilling) = &mut self.spilling {
            spilling.order.rank();
        }
    }

    /// Returns the blocks that may move to host memory, as of the last call of [`State::rank`], and their locations: first the
    /// block that is needed last.
    pub(super) fn candidates<'s>(
        &'s self,
        effort: &'s Effort,
        search: &'s Search,
    ) -> impl Iterator<Item = (BlockId, Place)> + 's {
        let ignores_others = effort.waits > PATIENCE;
        self.spilling.iter().flat_map(move |spilling| {
            spilling.order.ranked().filter_map(move |block| {
                let place = self.movable_place(block)?;
                let stays = place.size >= search.refused_from
                    || search.skipped.contains(&block)
                    || spilling.transit.iter().any(|transit| transit.block == block)
                    || spilling.is_claimed(block, effort.claim, ignores_others);
                (!stays).then_some((block, place))
            })
        })
    }
}
