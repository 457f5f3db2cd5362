//! Compensation for a segment that the pool is about to create, so that the pool grows by less or not at all.
//!
//! Works in rounds. Sparse segments are evacuated into holes of other segments; idle segments are released, up to the
//! size of the new segment; blocks that fit no hole are packed into a segment of exactly their size. All of this ends
//! before the new segment is created, which keeps the pool's peak low: what is released is submitted first, which waits for
//! another thread that is submitting, and for the device while it is too many batches behind.

use super::growth::share_of;
use super::{GrowthGuard, Inner, State};
use crate::device::{Memory, Submit};
use crate::error::DeviceError;
use crate::heap::compaction::Gain;
use crate::heap::{Heap, SegmentId, SubPool};

/// The largest number of rounds for one new segment. Each round costs a plan.
const MAX_ROUNDS: u32 = 8;

/// The compensation for one new segment so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensation {
    rounds: u32,
    /// Bytes of the released segments.
    released: u64,
    /// Whether packing is skipped, because the block belongs to an append loop, whose next step would undo the packing.
    pub(super) skips_packing: bool,
}

impl Compensation {
    fn add(&mut self, released: u64) {
        self.released = self.released.saturating_add(released);
    }
}

impl<M: Memory> Inner<M> {
    /// Executes one round of compensation for a segment of `bytes` bytes in `pool`. Returns the growth lock if no round
    /// is left to do. Otherwise the lock was released, and the caller must plan the growth again.
    pub(super) fn compensate<'a>(
        &self,
        growing: GrowthGuard<'a>,
        pool: SubPool,
        bytes: u64,
        compensation: &mut Compensation,
    ) -> Result<Option<GrowthGuard<'a>>, DeviceError> {
        if compensation.rounds == 0 {
            self.evacuate(pool, bytes, self.move_allowance())?;
        }
        compensation.rounds += 1;
        let release_above = self.release_above;
        let release = |state: &mut State<M>| {
            let segments = state.release_for(bytes, compensation.released, release_above);
            state.remedies.count_released(&segments);
            compensation.add(segments.iter().map(|&(_, bytes)| bytes).sum());
            segments
        };
        if self.destroy_idle(release) > 0 {
            // The memory should be freed before more is allocated. Application callbacks may run inside, so no lock is
            // held.
            drop(growing);
            self.memory.submit(Submit::Now)?;
            return Ok(None);
        }
        if compensation.released >= bytes || compensation.rounds >= MAX_ROUNDS || compensation.skips_packing {
            return Ok(Some(growing));
        }
        let Some(plan) = self.pack_before_growth(&growing, pool, bytes, self.move_allowance())? else {
            return Ok(Some(growing));
        };
        if let Gain::Idle { bytes, .. } = plan.gain() {
            compensation.add(bytes - plan.bytes());
        }
        drop(growing);
        self.release_emptied(&plan, Submit::Now)?;
        Ok(None)
    }
}

impl<M: Memory> State<M> {
    /// Releases idle segments from the heap, longest idle first, until their sum with the `released` bytes reaches the
    /// `bytes` bytes of the new segment and the fraction `share` of the limit has room for the new segment.
    fn release_for(&mut self, bytes: u64, released: u64, share: f64) -> Vec<(SegmentId, u64)> {
        let mut segments = Vec::new();
        let mut sum = released;
        let limit = self.limit.map(|limit| share_of(limit, share));
        let is_above = |heap: &Heap, limit: u64| heap.held().reserved.saturating_add(bytes) > limit;
        while sum < bytes || limit.is_some_and(|limit| is_above(&self.heap, limit)) {
            let Some((id, size)) = self.heap.inactive_segments().next() else { break };
            self.heap.release_segment(id).expect("an idle segment may leave");
            segments.push((id, size));
            sum = sum.saturating_add(size);
        }
        segments
    }
}
