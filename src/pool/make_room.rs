//! Making room by emptying and shrinking segments: the last steps of the out-of-memory ladder, before an error is
//! returned.
//!
//! # Why this succeeds whenever the limit permits
//! Let `A` be the active bytes of segments without a pinned block, `P` the bytes of segments with a pinned block, `r`
//! the request, and `L` the limit, the last two rounded to the granule. Any segment without a pinned block can be
//! replaced by a segment of exactly its active bytes: on the device if there is room for both, otherwise through host
//! memory. Each replacement lowers the reserved bytes and needs no room, so in the end the reserved bytes are `A + P`.
//! Then `L - A - P` bytes are available for the request, which gets a separate segment. Hence a request succeeds
//! whenever `A + P + r <= L`. The same holds for a device with room for `L` bytes.
//!
//! `P` counts whole segments: a sum of the pinned bytes alone bounds nothing. A segment with a pinned block can neither be released nor
//! shrink, since its buffer must stay, and a pinned block in its middle leaves two halves, each for requests of at most that size. Whether
//! other blocks fill such holes exactly is a packing problem, which no sum of sizes decides. Moves into the holes are therefore tried, and not
//! promised.
//!
//! Evacuation goes first, because it needs no new segment. It can only lower `A`, when blocks move into holes of
//! segments with pinned blocks. Replacement starts with the sparsest segment and stops as soon as the request succeeds.
//!
//! With several threads, another thread may take the room that was made here. Therefore a refusal is final only if the
//! inequality is checked in one step under the heap's lock and fails, or if the pool did not change while the device
//! refused.

use super::create::{NoGrowth, Wanted};
use super::{Inner, State};
use crate::device::{CacheLevel, Memory, Submit};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, SegmentId, SubPool};
use crate::pool::messages::note;
use std::num::NonZeroU64;

/// The number of retries after other threads have changed the pool.
const MAX_CONFLICTS: u32 = 1000;

/// The result of [`Inner::make_room`].
pub(super) enum Room {
    Served(BlockId),
    /// No room: `None` because of the limit, `Some` if the device refused a segment of this size.
    None(Option<u64>),
}

/// The effect of moving blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The pool has changed: reserved bytes fell, or segments became idle.
    Made,
    /// No effect, because other threads kept using the blocks.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there are no other threads"))]
    Contended,
    /// No effect.
    None,
}

/// The bytes that a request lacks.
#[derive(Clone, Copy, Debug)]
struct Shortfall {
    /// The bytes that must be gained, at least.
    bytes: u64,
    /// Whether replacing segments by smaller ones gains these bytes. Also true if the device's free memory is unknown.
    replaceable: bool,
}

impl<M: Memory> Inner<M> {
    /// Makes room for a request with all moves that are necessary. Waits for the device. The caller must hold no lock.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. Refused allocations are not errors here.
    pub(super) fn make_room(&self, requested: NonZeroU64) -> Result<Room, DeviceError> {
        let mut conflicts = 0;
        // The previous steps of the ladder have waited for the device.
        let mut waited = true;
        loop {
            let all_have_memory = self.restore_all()?;
            let version = self.state().heap.version();
            let refused = if all_have_memory {
                match self.create_in_room(requested) {
                    Ok(block) => return Ok(Room::Served(block)),
                    Err(NoGrowth::Limit) => None,
                    Err(NoGrowth::Refused(bytes)) => Some(bytes),
                    Err(NoGrowth::Failed(error)) => return Err(error),
                }
            } else {
                Some(self.state().heap.block_size(requested))
            };
            let released = self.release_idle()?;
            if refused.is_some() && (released || !waited) {
                self.memory.drop_caches(CacheLevel::Buffers);
                self.memory.wait_blocking()?;
                self.reclaim();
                self.count_wait();
                waited = true;
                continue;
            }
            if released {
                continue;
            }
            self.refreshed_room();
            let (shortfall, has_room) = {
                let state = self.state();
                (state.shortfall(requested, refused), state.room() >= state.heap.block_size(requested))
            };
            if refused.is_none() && has_room && conflicts < MAX_CONFLICTS {
                // The limit was raised, or another thread has released segments.
                conflicts += 1;
                continue;
            }
            let progress = shortfall.map_or(Ok(Progress::None), |shortfall| self.empty_or_shrink(shortfall))?;
            if progress == Progress::Made {
                waited = false;
                continue;
            }
            if refused.is_none() && !shortfall.is_some_and(|shortfall| shortfall.replaceable) {
                // The inequality fails regardless of other threads.
                return Ok(Room::None(None));
            }
            // No progress. Final, unless other threads caused it.
            let changed = self.state().heap.version() != version;
            if !(changed || progress == Progress::Contended) || conflicts >= MAX_CONFLICTS {
                return Ok(Room::None(refused));
            }
            conflicts += 1;
            pause();
        }
    }

    /// Serves a request from a hole of either sub-pool, or creates a segment within the limit.
    fn create_in_room(&self, requested: NonZeroU64) -> Result<BlockId, NoGrowth> {
        let growing = self.lock_growth();
        let wanted = {
            let mut state = self.state();
            if let Some((block, pool)) = state.any_hole(requested) {
                drop(state);
                drop(growing);
                log_hole(pool, requested);
                return Ok(block);
            }
            let (pool, least) = (state.heap.pool_for(requested), state.heap.block_size(requested));
            let room = state.room();
            let demand = state.demand_of(pool, least, Some(room), self.compaction_share);
            let bytes = self.growth.segment_bytes(&demand).ok_or(NoGrowth::Limit)?;
            Wanted { pool, bytes, least }
        };
        self.create_for(&growing, wanted, requested)?.ok_or(NoGrowth::Limit)
    }

    /// Releases all idle segments. Returns whether there were any.
    pub(super) fn release_idle(&self) -> Result<bool, DeviceError> {
        self.release_segments(State::release_idle_segments)
    }

    /// Removes segments from the heap by `release`, counts and destroys them, and submits. Returns whether there was one.
    pub(super) fn release_segments(
        &self,
        release: impl FnOnce(&mut State<M>) -> Vec<(SegmentId, u64)>,
    ) -> Result<bool, DeviceError> {
        let any = self.destroy_idle(|state| {
            let segments = release(state);
            state.remedies.count_released(&segments);
            segments
        });
        if any > 0 {
            self.memory.submit(Submit::Now)?;
        }
        Ok(any > 0)
    }

    /// Empties segments, or replaces a segment by a smaller one, with the cheapest method first.
    fn empty_or_shrink(&self, shortfall: Shortfall) -> Result<Progress, DeviceError> {
        // Gains a little more than necessary, so that the next small request does not repeat this.
        let goal = shortfall.bytes.max(self.growth.minimum_segment);
        let mut progress = Progress::None;
        for pool in SubPool::ALL {
            if self.evacuate(pool, goal, u64::MAX)? {
                progress = Progress::Made;
            }
        }
        if progress == Progress::Made || !shortfall.replaceable {
            return Ok(progress);
        }
        for pool in SubPool::ALL {
            if self.pack_regardless_of_density(pool, goal)? {
                return Ok(Progress::Made);
            }
        }
        if !self.memory.can_block() {
            return Ok(progress);
        }
        for segment in self.shrinkable() {
            match self.shrink_through_host(segment)? {
                Progress::Made => return Ok(Progress::Made),
                Progress::Contended => progress = Progress::Contended,
                Progress::None => note!(Debug, "wgpu-pool: no memory for a copy of segment {segment} on the host"),
            }
        }
        Ok(progress)
    }

    /// Returns the segments that can shrink, sparsest first.
    fn shrinkable(&self) -> Vec<SegmentId> {
        let state = self.state();
        let segments = state.heap.repackable_segments().into_iter().map(|one| one.segment);
        segments.filter(|id| state.segments.contains_key(id)).collect()
    }

    /// A browser cannot wait for a host copy, so segments are only moved on the device.
    #[cfg(target_arch = "wasm32")]
    fn shrink_through_host(&self, _segment: SegmentId) -> Result<Progress, DeviceError> {
        Ok(Progress::None)
    }
}

impl<M: Memory> Inner<M> {
    /// Allocates a hole of either sub-pool, trying the request's own sub-pool first.
    pub(super) fn any_hole(&self, requested: NonZeroU64) -> Option<BlockId> {
        let (block, pool) = self.state().any_hole(requested)?;
        log_hole(pool, requested);
        Some(block)
    }
}

fn log_hole(pool: SubPool, requested: NonZeroU64) {
    note!(Debug, "wgpu-pool: served from a hole of the {pool} sub-pool: a request of {}", Bytes(requested.get()));
}

impl<M: Memory> State<M> {
    /// Allocates a hole of either sub-pool, trying the request's own sub-pool first. Also returns the sub-pool.
    fn any_hole(&mut self, requested: NonZeroU64) -> Option<(BlockId, SubPool)> {
        let own = self.heap.pool_for(requested);
        for pool in [own, own.other()] {
            if let Ok(block) = self.heap.allocate_from(pool, requested) {
                let remedies = &mut self.remedies;
                *(if pool == own { &mut remedies.served_late } else { &mut remedies.cross_pool }) += 1;
                return Some((block, pool));
            }
        }
        None
    }

    /// Returns what a request lacks, or `None` if no moves can make it succeed.
    fn shortfall(&self, requested: NonZeroU64, refused: Option<u64>) -> Option<Shortfall> {
        let bytes = self.heap.block_size(requested);
        let stats = self.heap.stats();
        let (active, reserved) = (stats.active.current, stats.reserved.current);
        if refused.is_some() {
            // The device's free memory is unknown: less than the request. Together with all holes it may suffice.
            return (reserved > active).then_some(Shortfall { bytes, replaceable: true });
        }
        let limit = self.limit?;
        let limit = limit - limit % self.heap.granule();
        if active.saturating_add(bytes) > limit {
            return None;
        }
        let pinned = self.heap.pinned_segments();
        let least = active - pinned.active + pinned.reserved;
        let lacking = reserved.saturating_add(bytes).saturating_sub(limit);
        Some(Shortfall { bytes: lacking, replaceable: least.saturating_add(bytes) <= limit })
    }
}

/// Gives other threads time to finish.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn pause() {
    std::thread::sleep(std::time::Duration::from_micros(100));
}

/// There are no other threads.
#[cfg(target_arch = "wasm32")]
pub(super) const fn pause() {}
