//! The rung of the out-of-memory ladder that moves blocks to host memory.

use super::super::make_room::pause;
use super::move_out::MovedOut;
use super::order::NextUse;
use super::{Inner, PATIENCE, State};
use crate::device::{Commands, Memory, Submit};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, SegmentView, SubPool};
use rustc_hash::FxHashSet;
use std::num::NonZeroU64;

/// The number of times that a request moves more blocks to host memory after the ladder has failed.
const MAX_ROUNDS: u32 = 256;

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

/// A block that may move to host memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) block: BlockId,
    pub(super) size: u64,
    next_use: NextUse,
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
    fn new(extra: u64) -> Self {
        Self { extra, blocks: 0, bytes: 0, skipped: FxHashSet::default(), refused_from: u64::MAX }
    }

    /// Notes the result of an attempt to move a block.
    pub(super) fn note<M: Memory>(&mut self, state: &mut State<M>, victim: BlockId, moved: MovedOut) {
        match moved {
            MovedOut::Done(bytes) => {
                self.blocks += 1;
                self.bytes += bytes;
                self.extra = self.extra.saturating_sub(bytes);
                state.remedies.spilled += 1;
                state.remedies.bytes_spilled += bytes;
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
            log::debug!("wgpu-pool: the host has no memory for a block of {}", Bytes(search.refused_from));
        }
        if search.blocks > 0 {
            log::debug!("wgpu-pool: {} blocks of {} moved to host memory", search.blocks, Bytes(search.bytes));
        }
        if self.compaction_share > 0.0
            && let Some(block) = self.move_within_segments(requested)?
        {
            return Ok(Some(block));
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
    /// blocks in host memory, or after other threads have recorded their commands.
    pub(in crate::pool) fn may_climb_again(&self, requested: NonZeroU64, effort: &mut Effort) -> bool {
        let state = self.state();
        let Some(spilling) = &state.spilling else { return false };
        let has_moved = spilling.counts.blocks_out != effort.blocks_out;
        if (has_moved || effort.extra == 0) && effort.rounds < MAX_ROUNDS {
            effort.rounds += 1;
            effort.extra = effort.extra.saturating_mul(2).max(state.heap.block_size(requested));
            return true;
        }
        if effort.waits <= PATIENCE && spilling.has_older_claims(effort.claim) {
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
        [own, own.other()].into_iter().find_map(|pool: SubPool| self.heap.allocate_from(pool, requested).ok())
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
    /// it may exceed its limit by `allowance` bytes. O(blocks).
    fn victims(&self, lacking: u64, allowance: u64, effort: &Effort, search: &Search) -> (Vec<BlockId>, u64) {
        if lacking == 0 {
            return (Vec::new(), 0);
        }
        let mut host_room = self.host_room(allowance);
        // Next to a pinned block, a hole does not make the segment smaller.
        let has_pins = self.heap.stats().pinned.current > 0 && effort.extra == 0;
        let is_useful = |segment: &SegmentView<'_>| !has_pins || segment.blocks().all(|block| block.pins == 0);
        let mut candidates = self.candidates(is_useful, effort, search);
        let mut sum = 0;
        candidates.retain(|candidate| {
            let is_chosen = sum < lacking && candidate.size <= host_room;
            if is_chosen {
                sum += candidate.size;
                host_room -= candidate.size;
            }
            is_chosen
        });
        // The last block may be large enough to replace earlier ones. Blocks that are needed soonest stay first.
        let mut excess = sum.saturating_sub(lacking);
        let mut victims = Vec::with_capacity(candidates.len());
        for candidate in candidates.into_iter().rev() {
            if candidate.size <= excess {
                excess -= candidate.size;
                sum -= candidate.size;
            } else {
                victims.push(candidate.block);
            }
        }
        victims.reverse();
        (victims, sum)
    }

    /// Returns the blocks that may move to host memory, in segments for which `is_useful` holds: first the block that is needed
    /// last. O(blocks).
    pub(super) fn candidates(
        &self,
        is_useful: impl Fn(&SegmentView<'_>) -> bool,
        effort: &Effort,
        search: &Search,
    ) -> Vec<Candidate> {
        let Some(spilling) = &self.spilling else { return Vec::new() };
        let ignores_others = effort.waits > PATIENCE;
        let forecast = spilling.order.forecast();
        let mut candidates = Vec::new();
        for segment in self.heap.segments().filter(|segment| self.has_memory(segment.id) && is_useful(segment)) {
            for block in segment.blocks().filter(|block| block.state.is_allocated() && block.pins == 0) {
                let Some(id) = block.id else { continue };
                let stays = block.size >= search.refused_from
                    || search.skipped.contains(&id)
                    || spilling.kept.contains(&id)
                    || spilling.transit.iter().any(|transit| transit.block == id)
                    || spilling.is_claimed(id, effort.claim, ignores_others);
                if !stays {
                    let next_use = forecast.next_use(id.key());
                    candidates.push(Candidate { block: id, size: block.size, next_use });
                }
            }
        }
        candidates.sort_by_key(|candidate| (candidate.next_use, candidate.block.key()));
        candidates
    }
}
