//! Making up for a segment that the pool is about to create, so that it grows by less or not at all.
//!
//! In turns: sparse segments are emptied into the holes of others; idle segments go back, as many as the new one is worth; what
//! finds no hole is packed into a segment of just its size. All of it ends before the new segment is made, so that the pool's peak
//! is lower for it, and none of it waits.

use super::{Inner, State};
use crate::device::Memory;
use crate::error::DeviceError;
use crate::heap::compaction::Gain;
use crate::heap::{Heap, SegmentId, SubPool};
use std::sync::MutexGuard;

/// The most turns that are taken for one segment. Each costs a plan.
const MOST_TURNS: u32 = 8;

/// How far the pool has gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MadeUp {
    turns: u32,
    /// Bytes of the segments that are gone.
    bytes: u64,
    /// Whether nothing is packed, because the block is one that keeps growing: its next step would undo the packing.
    pub(super) packs_nothing: bool,
}

impl<M: Memory> Inner<M> {
    /// Takes a turn to make up for a segment of `bytes` bytes in `pool`. Gives the growth lock back if there is nothing more to
    /// do; otherwise it was released, so that whatever was planned has to be planned anew.
    pub(super) fn make_up<'a>(
        &self,
        growing: MutexGuard<'a, ()>,
        pool: SubPool,
        bytes: u64,
        made_up: &mut MadeUp,
    ) -> Result<Option<MutexGuard<'a, ()>>, DeviceError> {
        if made_up.turns == 0 {
            self.evacuate(pool, bytes, self.move_allowance())?;
        }
        made_up.turns += 1;
        let release = |state: &mut State<M>| {
            let segments = state.release_for(bytes, made_up.bytes);
            state.remedies.count_released(&segments);
            made_up.bytes += segments.iter().map(|&(_, bytes)| bytes).sum::<u64>();
            segments
        };
        if self.destroy_idle(release) > 0 {
            // Their memory should be back before more is asked for. Callbacks may run inside, so no lock is held.
            drop(growing);
            self.memory.submit()?;
            return Ok(None);
        }
        if made_up.bytes >= bytes || made_up.turns >= MOST_TURNS || made_up.packs_nothing {
            return Ok(Some(growing));
        }
        let Some(plan) = self.pack_before_growth(&growing, pool, bytes, self.move_allowance())? else {
            return Ok(Some(growing));
        };
        if let Gain::Idle { bytes, .. } = plan.gain() {
            made_up.bytes += bytes - plan.bytes();
        }
        drop(growing);
        self.give_back(&plan)?;
        Ok(None)
    }
}

impl<M: Memory> State<M> {
    /// Takes idle segments out of the heap, longest idle first, until they and the `made_up` bytes before them make up for a
    /// new one of `bytes` bytes, and until the limit has room for it.
    fn release_for(&mut self, bytes: u64, made_up: u64) -> Vec<(SegmentId, u64)> {
        let mut released = Vec::new();
        let mut sum = made_up;
        let is_above = |heap: &Heap, limit: u64| heap.stats().reserved.current + bytes > limit;
        while sum < bytes || self.limit.is_some_and(|limit| is_above(&self.heap, limit)) {
            let Some((id, size)) = self.heap.inactive_segments().next() else { break };
            self.heap.release_segment(id).expect("an idle segment may leave");
            released.push((id, size));
            sum += size;
        }
        released
    }
}
