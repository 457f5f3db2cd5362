//! Making room by emptying and shrinking segments: the last rungs of the ladder, taken when every other answer would be an error.
//!
//! # Why this finds room whenever there is some
//! Let `A` be the active bytes of segments without a pinned block, `P` the bytes of segments with one, `r` the request, and `L` the limit,
//! the last two rounded to the granule. Any segment that has no pinned block can be replaced by one of exactly its active bytes: on the
//! device where there is room for both, by way of host memory where there is not. Each replacement lowers the reserved bytes and none
//! needs room, so in the end they are `A + P`. Then `L - A - P` bytes are left for the request, which gets a segment of its own. Hence a
//! request is served whenever `A + P + r <= L`. The same holds for a device that has room for `L` bytes.
//!
//! Evacuation goes first, because it needs no new segment; it only lowers `A`, where blocks find holes in segments with pinned blocks.
//! Replacing goes from the sparsest segment on, and ends as soon as the request is served.
//!
//! With several threads, another thread may take the room that was made here. So a refusal is final only if the sum above is checked in
//! one step under the heap's lock and exceeds the limit, or if nothing has changed while the device refused.

use super::create::{NoGrowth, Wanted};
use super::{Inner, State};
use crate::device::Memory;
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, SegmentId, SubPool};
use std::num::NonZeroU64;
use std::sync::PoisonError;

/// How often a request tries again because other threads have changed the pool meanwhile.
const MOST_CONFLICTS: u32 = 1000;

/// The outcome of the last rungs.
pub(super) enum Room {
    Served(BlockId),
    /// There is none: because of the limit, or because the device refused a segment of so many bytes.
    None(Option<u64>),
}

/// What moving blocks has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The pool has changed: reserved bytes fell, or segments are idle.
    Made,
    /// Nothing, because other threads kept using the blocks.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "there are no other threads"))]
    Disturbed,
    /// Nothing.
    None,
}

/// What a request lacks. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
struct Lack {
    /// What has to be gained, at least.
    bytes: u64,
    /// Whether replacing segments by smaller ones is known to gain it, or may do so for all that is known of the device.
    replaceable: bool,
}

impl<M: Memory> Inner<M> {
    /// Makes room for a request by whatever moves it takes. Waits for the device. No lock may be held.
    ///
    /// # Errors
    /// What the device found wrong, other than a lack of memory.
    pub(super) fn make_room(&self, requested: NonZeroU64) -> Result<Room, DeviceError> {
        let mut conflicts = 0;
        // The rungs before have waited.
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
                self.memory.drop_caches();
                self.memory.wait()?;
                self.reclaim();
                self.state().remedies.waits += 1;
                waited = true;
                continue;
            }
            if released {
                continue;
            }
            let (lack, has_room) = {
                let state = self.state();
                (state.lack(requested, refused), state.room() >= state.heap.block_size(requested))
            };
            if refused.is_none() && has_room && conflicts < MOST_CONFLICTS {
                // The limit was raised meanwhile, or another thread has released segments.
                conflicts += 1;
                continue;
            }
            let progress = lack.map_or(Ok(Progress::None), |lack| self.empty_or_shrink(lack))?;
            if progress == Progress::Made {
                waited = false;
                continue;
            }
            if refused.is_none() && !lack.is_some_and(|lack| lack.replaceable) {
                // The sum exceeds the limit, whatever other threads have done.
                return Ok(Room::None(None));
            }
            // Nothing could be done. That is final, unless other threads are the reason.
            let changed = self.state().heap.version() != version;
            if !(changed || progress == Progress::Disturbed) || conflicts >= MOST_CONFLICTS {
                return Ok(Room::None(refused));
            }
            conflicts += 1;
            pause();
        }
    }

    /// Serves a request from a hole of either sub-pool, or creates a segment within the room that there is.
    fn create_in_room(&self, requested: NonZeroU64) -> Result<BlockId, NoGrowth> {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = {
            let mut state = self.state();
            if let Some(block) = state.any_hole(requested) {
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

    /// Releases all idle segments. Whether there were any.
    pub(super) fn release_idle(&self) -> Result<bool, DeviceError> {
        let release = |state: &mut State<M>| {
            let segments = state.heap.release_inactive();
            state.remedies.count_released(&segments);
            segments
        };
        let any = self.destroy_idle(release) > 0;
        if any {
            self.memory.submit()?;
        }
        Ok(any)
    }

    /// Empties segments, or replaces one by a smaller one, the cheapest way first.
    fn empty_or_shrink(&self, lack: Lack) -> Result<Progress, DeviceError> {
        // A little more than is lacking, so that the next small request does not have to come here again.
        let goal = lack.bytes.max(self.growth.minimum_segment);
        let mut progress = Progress::None;
        for pool in SubPool::ALL {
            if self.evacuate(pool, goal, u64::MAX)? {
                progress = Progress::Made;
            }
        }
        if progress == Progress::Made || !lack.replaceable {
            return Ok(progress);
        }
        for pool in SubPool::ALL {
            if self.pack_at_any_cost(pool, goal)? {
                return Ok(Progress::Made);
            }
        }
        for segment in self.shrinkable() {
            match self.shrink_through_host(segment)? {
                Progress::Made => return Ok(Progress::Made),
                Progress::Disturbed => progress = Progress::Disturbed,
                Progress::None => log::debug!("wgpu-pool: no memory for a copy of segment {segment} on the host"),
            }
        }
        Ok(progress)
    }

    /// The segments that can become smaller, the sparsest first.
    fn shrinkable(&self) -> Vec<SegmentId> {
        let state = self.state();
        let segments = state.heap.repackable_segments().into_iter().map(|one| one.segment);
        segments.filter(|id| state.segments.contains_key(id)).collect()
    }

    /// Nothing can wait for a copy in a browser: there segments only move on the device.
    #[cfg(target_arch = "wasm32")]
    fn shrink_through_host(&self, _segment: SegmentId) -> Result<Progress, DeviceError> {
        Ok(Progress::None)
    }
}

impl<M: Memory> State<M> {
    /// A hole of either sub-pool, the request's own first.
    pub(super) fn any_hole(&mut self, requested: NonZeroU64) -> Option<BlockId> {
        let own = self.heap.pool_for(requested);
        for pool in [own, own.other()] {
            if let Ok(block) = self.heap.allocate_from(pool, requested) {
                let remedies = &mut self.remedies;
                *(if pool == own { &mut remedies.served_late } else { &mut remedies.cross_pool }) += 1;
                log::debug!("wgpu-pool: a hole of the {pool} sub-pool for a request of {}", Bytes(requested.get()));
                return Some(block);
            }
        }
        None
    }

    /// What a request lacks, or nothing if it cannot be served whatever is moved.
    fn lack(&self, requested: NonZeroU64, refused: Option<u64>) -> Option<Lack> {
        let bytes = self.heap.block_size(requested);
        let stats = self.heap.stats();
        let (active, reserved) = (stats.active.current, stats.reserved.current);
        if refused.is_some() {
            // How much room the device has is unknown: less than the request. It may suffice with all holes.
            return (reserved > active).then_some(Lack { bytes, replaceable: true });
        }
        let limit = self.limit?;
        let limit = limit - limit % self.heap.granule();
        if active.saturating_add(bytes) > limit {
            return None;
        }
        let pinned = self.heap.pinned_segments();
        let least = active - pinned.active + pinned.reserved;
        let lacking = (reserved + bytes).saturating_sub(limit);
        Some(Lack { bytes: lacking, replaceable: least.saturating_add(bytes) <= limit })
    }
}

/// Lets other threads finish what they are doing.
#[cfg(not(target_arch = "wasm32"))]
fn pause() {
    std::thread::sleep(std::time::Duration::from_micros(100));
}

/// There are no other threads.
#[cfg(target_arch = "wasm32")]
const fn pause() {}
