//! Compensating for a segment that the pool is about to create, so that it grows by less or not at all.
//!
//! In rounds: sparse segments are evacuated into the holes of others; idle segments are released, as many as the new one is large;
//! blocks that find no hole are packed into a segment of exactly their size. All of it ends before the new segment is created, which
//! keeps the pool's peak low, and none of it waits.

use super::{Inner, State};
use crate::device::Memory;
use crate::error::DeviceError;
use crate::heap::compaction::Gain;
use crate::heap::{Heap, SegmentId, SubPool};
use std::sync::MutexGuard;

/// The most rounds for one segment. Each costs a plan.
const MOST_ROUNDS: u32 = 8;

/// What was done so far to compensate for one new segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensation {
    rounds: u32,
    /// Bytes of the segments that were released.
    released: u64,
    /// Whether nothing is packed, because the block is one that keeps growing: its next step would undo the packing.
    pub(super) packs_nothing: bool,
}

impl<M: Memory> Inner<M> {
    /// Takes one round to compensate for a segment of `bytes` bytes in `pool`. Gives the growth lock back if there is nothing more to
    /// do; otherwise the lock was released, and the growth has to be planned anew.
    pub(super) fn compensate<'a>(
        &self,
        growing: MutexGuard<'a, ()>,
        pool: SubPool,
        bytes: u64,
        compensation: &mut Compensation,
    ) -> Result<Option<MutexGuard<'a, ()>>, DeviceError> {
        if compensation.rounds == 0 {
            self.evacuate(pool, bytes, self.move_allowance())?;
        }
        compensation.rounds += 1;
        let release = |state: &mut State<M>| {
            let segments = state.release_for(bytes, compensation.released);
            state.remedies.count_released(&segments);
            compensation.released += segments.iter().map(|&(_, bytes)| bytes).sum::<u64>();
            segments
        };
        if self.destroy_idle(release) > 0 {
            // Their memory should be back before more is asked for. Callbacks may run inside, so no lock is held.
            drop(growing);
            self.memory.submit()?;
            return Ok(None);
        }
        if compensation.released >= bytes || compensation.rounds >= MOST_ROUNDS || compensation.packs_nothing {
            return Ok(Some(growing));
        }
        let Some(plan) = self.pack_before_growth(&growing, pool, bytes, self.move_allowance())? else {
            return Ok(Some(growing));
        };
        if let Gain::Idle { bytes, .. } = plan.gain() {
            compensation.released += bytes - plan.bytes();
        }
        drop(growing);
        self.give_back(&plan)?;
        Ok(None)
    }
}

impl<M: Memory> State<M> {
    /// Takes idle segments out of the heap, longest idle first, until they and the `released` bytes before them are as many as a new
    /// segment of `bytes` bytes, and until the limit has room for it.
    fn release_for(&mut self, bytes: u64, released: u64) -> Vec<(SegmentId, u64)> {
        let mut segments = Vec::new();
        let mut sum = released;
        let is_above = |heap: &Heap, limit: u64| heap.stats().reserved.current + bytes > limit;
        while sum < bytes || self.limit.is_some_and(|limit| is_above(&self.heap, limit)) {
            let Some((id, size)) = self.heap.inactive_segments().next() else { break };
            self.heap.release_segment(id).expect("an idle segment may leave");
            segments.push((id, size));
            sum += size;
        }
        segments
    }
}
