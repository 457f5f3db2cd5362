//! Creating segments within the limit.
//!
//! Only this module makes the heap larger. The limit is checked under the heap's lock in the step that adds the segment,
//! so that reserved bytes do not exceed the limit, also with several threads and when the limit is lowered while a segment
//! is being created. The growth lock is held throughout, so that at most one segment is not counted yet.

use super::{EventKind, GrowthGuard, Inner, State};
use crate::device::{Commands, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, Place, SegmentId, SubPool};
use crate::pool::messages::note;
use std::num::NonZeroU64;

/// The reason why no segment was created.
pub(super) enum NoGrowth {
    /// The limit leaves no room.
    Limit,
    /// The device refused this many bytes.
    Refused(u64),
    Failed(DeviceError),
}

/// The segment for a request, and its sub-pool. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) pool: SubPool,
    /// The size that the growth policy chose.
    pub(super) bytes: u64,
    /// The smallest size that serves the request.
    pub(super) least: u64,
}

impl<M: Memory> Inner<M> {
    /// Creates a segment of the planned size, or of the smallest size that serves the request if the device refuses the
    /// planned size, and allocates the request's block in the segment. `None` if the limit no longer has room: the limit was
    /// lowered, or another thread uses a segment that was idle.
    pub(super) fn create_for(
        &self,
        _growing: &GrowthGuard<'_>,
        wanted: Wanted,
        requested: NonZeroU64,
    ) -> Result<Option<BlockId>, NoGrowth> {
        for bytes in [wanted.bytes, wanted.least] {
            if bytes > self.refreshed_room() {
                return Ok(None);
            }
            let segment = match self.memory.create_segment(bytes) {
                Ok(segment) => segment,
                Err(DeviceError::Refused { .. }) => {
                    self.state().remedies.refusals += 1;
                    note!(Debug, "wgpu-pool: the device refused a segment of {}", Bytes(bytes));
                    continue;
                }
                Err(error) => return Err(NoGrowth::Failed(error)),
            };
            // In the same critical section, so that no other thread takes the new segment.
            let serve = |state: &mut State<M>, id| {
                let block = state.heap.allocate_from(wanted.pool, requested).expect("the new segment is large enough");
                (id, block, state.heap.stats().reserved.current)
            };
            let added = self.add(wanted.pool, bytes, segment, serve).map_err(NoGrowth::Failed)?;
            let Some((id, block, reserved)) = added else { return Ok(None) };
            let sizes = [bytes, requested.get(), reserved].map(Bytes);
            note!(
                Debug,
                "wgpu-pool: segment {id} of {} for a request of {}, reserved {}",
                sizes[0],
                sizes[1],
                sizes[2]
            );
            return Ok(Some(block));
        }
        Err(NoGrowth::Refused(wanted.least))
    }

    /// Adds a new segment to the heap and calls `then`, which uses the segment before any other thread. If the limit has no
    /// room for the segment, destroys its memory and returns `None`.
    pub(super) fn add<R>(
        &self,
        pool: SubPool,
        bytes: u64,
        segment: M::Segment,
        then: impl FnOnce(&mut State<M>, SegmentId) -> R,
    ) -> Result<Option<R>, DeviceError> {
        let mut state = self.state();
        if bytes > state.room() {
            drop(state);
            self.memory.commands().destroy(SegmentId::NEVER, segment, bytes);
            return Ok(None);
        }
        let added = state.heap.add_segment(pool, bytes);
        let id = added.map_err(|error| DeviceError::Validation { message: error.to_string() })?;
        state.insert_segment(&self.memory, id, segment);
        let whole = Place { segment: id, offset: 0, size: bytes, requested: 0 };
        state.attribution.record(EventKind::SegmentCreated, whole);
        state.remedies.segments_created += 1;
        Ok(Some(then(&mut state, id)))
    }
}

impl<M: Memory> Inner<M> {
    /// Returns the room below the limit, after querying which released segments the device has finished with. See [`State::room`].
    pub(super) fn refreshed_room(&self) -> u64 {
        if !self.memory.can_block() {
            let unfinished = self.reclaim();
            self.state().unfinished = unfinished;
        }
        self.state().room()
    }
}

impl<M: Memory> State<M> {
    /// Returns the bytes that the limit permits in addition to the existing segments.
    pub(super) fn room(&self) -> u64 {
        self.room_above(self.heap.stats().reserved.current)
    }

    /// Returns the bytes that the limit permits in addition to segments of `reserved` bytes. In browsers, where no thread can
    /// wait for the device, released segments count until the device has finished with them.
    pub(super) fn room_above(&self, reserved: u64) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(reserved).saturating_sub(self.unfinished))
    }
}
