//! Moving blocks to host memory.

use super::super::EventKind;
use super::host_segments::{self, HostSegment};
use super::{HostCopy, Inner, State};
use crate::device::{Commands, Memory};
use crate::error::DeviceError;
use crate::heap::{BlockId, Place, SegmentId};

/// The result of an attempt to move a block to host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MovedOut {
    /// The block is in host memory. Its size in bytes.
    Done(u64),
    /// The device cannot copy to host memory by command: use [`Inner::read_out`].
    NeedsReadback,
    /// The limit on host bytes leaves no room.
    HostLimit,
    /// The host, or the device for a read-back buffer, has no memory.
    HostRefused,
    /// A command has used the block meanwhile.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "only read-backs find this, which wait"))]
    Contended,
    /// The block is pinned, was freed, has no device memory, or is in host memory already.
    Stays,
}

impl<M: Memory> Inner<M> {
    /// Moves a block to host memory by a recorded copy. The caller holds the recorder and the heap. `allowance` is the number
    /// of bytes by which the host may exceed its limit, because blocks return in exchange.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. The block then stays on the device.
    pub(super) fn move_out(
        &self,
        commands: &mut M::Commands<'_>,
        state: &mut State<M>,
        block: BlockId,
        allowance: u64,
    ) -> Result<MovedOut, DeviceError> {
        let Some(place) = state.movable_place(block) else { return Ok(MovedOut::Stays) };
        let is_recorded = self.memory.has_host_segments();
        let room = state.make_host_room(place.size, is_recorded, allowance);
        let Some(room) = room else { return Ok(MovedOut::HostLimit) };
        if !is_recorded {
            return Ok(MovedOut::NeedsReadback);
        }
        let idle = state.spilling.as_mut().and_then(|spilling| spilling.host.take(place.size, room));
        let created = || self.create_host_segment(state, place.size, room);
        let host = match idle.map_or_else(created, Ok) {
            Ok(host) => host,
            Err(DeviceError::Refused { .. }) => return Ok(MovedOut::HostRefused),
            Err(error) => return Err(error),
        };
        let from = state.location(place.segment, place.offset, place.size);
        let copied = commands.copy(&from, &host.location(place.size));
        let copied = copied.and_then(|()| if self.scrubs { commands.clear(&from) } else { Ok(()) });
        if let Err(error) = copied {
            if let Some(spilling) = &mut state.spilling {
                spilling.host.add_idle(host);
            }
            return Err(error);
        }
        state.detach(block, HostCopy::Segment(host));
        Ok(MovedOut::Done(place.size))
    }

    /// Creates a host segment for a block of `size` bytes, of at most `room` bytes, if necessary after freeing the idle ones.
    fn create_host_segment(
        &self,
        state: &mut State<M>,
        size: u64,
        room: u64,
    ) -> Result<HostSegment<M::Segment>, DeviceError> {
        let idle = state.spilling.as_ref().map_or(0, |spilling| spilling.host.idle_bytes());
        let bytes = host_segments::new_bytes(size, room.saturating_sub(idle));
        let create = |bytes| Ok(HostSegment::new(self.memory.create_host_segment(bytes)?, bytes));
        match create(bytes) {
            Err(DeviceError::Refused { .. }) => {
                if let Some(spilling) = &mut state.spilling {
                    spilling.host.take_all_idle();
                }
                create(size)
            }
            created => created,
        }
    }

    /// A browser cannot wait for a read-back.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn read_out(&self, _block: BlockId, _allowance: u64) -> Result<MovedOut, DeviceError> {
        Ok(MovedOut::Stays)
    }
}

impl<M: Memory> State<M> {
    /// Returns the location of a block that may move to host memory: allocated, not pinned, and with device memory that
    /// the device has accepted.
    pub(super) fn movable_place(&self, block: BlockId) -> Option<Place> {
        let place = self.heap.allocated_place(block)?;
        let may_move = self.heap.pins(block) == 0 && self.heap.may_detach(place.size);
        (may_move && self.has_memory(place.segment)).then_some(place)
    }

    /// Whether a segment has device memory that the device has accepted.
    pub(super) fn has_memory(&self, segment: SegmentId) -> bool {
        self.segments.contains_key(&segment) && !self.unanswered.contains(&segment)
    }

    /// Moves a block out of the heap's segments, after its bytes were copied.
    pub(super) fn detach(&mut self, block: BlockId, mut copy: HostCopy<M::Segment>) {
        let place = self.heap.detach(block).expect("the block is allocated and not pinned");
        if let Some(spilling) = &mut self.spilling {
            spilling.transit.retain(|transit| transit.block != block);
            if let HostCopy::Segment(host) = &mut copy {
                spilling.host.put_in_use(host, place.size);
            }
            spilling.copies.insert(block, copy);
            spilling.order.exclude(block);
            spilling.count_detached(block, |bytes| bytes + place.size);
            spilling.counts.moved_out = spilling.counts.moved_out.saturating_add(place.size);
            spilling.counts.blocks_out += 1;
        }
        self.attribution.moved_between(EventKind::Spill, block, place);
    }
}
