//! Moving blocks to host memory.

use super::super::EventKind;
#[cfg(not(target_arch = "wasm32"))]
use super::super::host_copy::{Granted, READBACK_BYTES, host_buffer};
use super::{HostCopy, Inner, State, Transit, host_location};
use crate::device::{Commands, Location, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, Place, SegmentId};
use std::sync::Arc;

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
        if !self.memory.holds_bytes() {
            if !state.make_host_room(place.size, false, allowance) {
                return Ok(MovedOut::HostLimit);
            }
            state.detach(block, HostCopy::Bytes(Arc::default()));
            return Ok(MovedOut::Done(place.size));
        }
        if !state.make_host_room(place.size, true, allowance) {
            return Ok(MovedOut::HostLimit);
        }
        let idle = state.spilling.as_mut().and_then(|spilling| spilling.take_idle(place.size));
        let host = match idle.map_or_else(|| self.create_host_segment(state, place.size), |idle| Ok(Some(idle))) {
            Ok(Some(host)) => host,
            Ok(None) => return Ok(MovedOut::NeedsReadback),
            Err(DeviceError::Refused { .. }) => {
                log::debug!("wgpu-pool: the host has no memory for a block of {}", Bytes(place.size));
                return Ok(MovedOut::HostRefused);
            }
            Err(error) => return Err(error),
        };
        let from = state.location(place.segment, place.offset, place.size);
        let copied = commands.copy(&from, &host_location(host.clone(), place.size));
        let copied = copied.and_then(|()| if self.scrubs { commands.clear(&from) } else { Ok(()) });
        if let Err(error) = copied {
            if let Some(spilling) = &mut state.spilling {
                spilling.keep_idle(place.size, host);
            }
            return Err(error);
        }
        state.detach(block, HostCopy::Segment(host));
        Ok(MovedOut::Done(place.size))
    }

    /// Creates a host segment, if necessary after freeing the idle ones.
    fn create_host_segment(&self, state: &mut State<M>, bytes: u64) -> Result<Option<M::Segment>, DeviceError> {
        match self.memory.create_host_segment(bytes) {
            Err(DeviceError::Refused { .. }) => {
                if let Some(spilling) = &mut state.spilling {
                    spilling.drop_idle();
                }
                self.memory.create_host_segment(bytes)
            }
            created => created,
        }
    }

    /// A browser cannot wait for a read-back.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn read_out(&self, _block: BlockId, _allowance: u64) -> Result<MovedOut, DeviceError> {
        Ok(MovedOut::Stays)
    }

    /// Moves a block to host memory through a read-back. Waits for the device; the caller must hold no lock.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. The block then stays on the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn read_out(&self, block: BlockId, allowance: u64) -> Result<MovedOut, DeviceError> {
        let size = {
            let mut state = self.state();
            let Some(place) = state.movable_place(block).filter(|_| self.memory.can_wait()) else {
                return Ok(MovedOut::Stays);
            };
            if state.spilling.iter().flat_map(|spilling| &spilling.transit).any(|transit| transit.block == block) {
                return Ok(MovedOut::Contended);
            }
            if !state.make_host_room(place.size, false, allowance) {
                return Ok(MovedOut::HostLimit);
            }
            let transit = Transit { block, size: place.size, valid: true };
            if let Some(spilling) = &mut state.spilling {
                spilling.transit.push(transit);
            }
            place.size
        };
        let _in_transit = InTransit { inner: self, block };
        let Some(mut bytes) = host_buffer(size) else { return Ok(MovedOut::HostRefused) };
        let mut piece_bytes = READBACK_BYTES;
        let mut offset = 0;
        while offset < size {
            let length = piece_bytes.min(size - offset);
            let mut readback = match self.readback_or_halve(length, &mut piece_bytes)? {
                Granted::Readback(readback) => readback,
                Granted::Halved => continue,
                Granted::Refused => return Ok(MovedOut::HostRefused),
            };
            {
                let mut commands = self.memory.commands();
                let state = self.state();
                let Some(place) = state.valid_transit(block) else { return Ok(MovedOut::Contended) };
                let Some(segment) = state.segments.get(&place.segment) else { return Ok(MovedOut::Contended) };
                let offset = place.offset + offset;
                let from = Location { id: place.segment, segment: segment.clone(), offset, size: length };
                commands.read(&from, &mut readback)?;
            }
            match self.memory.collect_blocking(readback) {
                Ok(read) if read.len() as u64 == length => bytes.extend_from_slice(&read),
                Ok(read) => {
                    let message = format!("a readback of {length} bytes returned {} bytes", read.len());
                    return Err(DeviceError::Validation { message });
                }
                Err(DeviceError::Refused { .. }) => return Ok(MovedOut::HostRefused),
                Err(error) => return Err(error),
            }
            offset += length;
        }
        let mut commands = self.memory.commands();
        let mut state = self.state();
        // A move within the device does not change the bytes, so the block may be at another location.
        let Some(place) = state.valid_transit(block) else { return Ok(MovedOut::Contended) };
        if state.movable_place(block).is_none() {
            return Ok(MovedOut::Stays);
        }
        if self.scrubs {
            let from = state.location(place.segment, place.offset, place.size);
            commands.clear(&from)?;
        }
        state.detach(block, HostCopy::Bytes(Arc::new(bytes)));
        Ok(MovedOut::Done(size))
    }
}

/// Removes the entry of a block that is being read back, when dropped.
struct InTransit<'a, M: Memory> {
    inner: &'a Inner<M>,
    block: BlockId,
}

impl<M: Memory> Drop for InTransit<'_, M> {
    fn drop(&mut self) {
        if let Some(spilling) = &mut self.inner.state().spilling {
            spilling.transit.retain(|transit| transit.block != self.block);
        }
    }
}

impl<M: Memory> State<M> {
    /// Returns the location of a block that may move to host memory: allocated, not pinned, and with device memory that
    /// the device has accepted.
    pub(super) fn movable_place(&self, block: BlockId) -> Option<Place> {
        let place = self.heap.allocated_place(block)?;
        (self.heap.pins(block) == 0 && self.has_memory(place.segment)).then_some(place)
    }

    /// Whether a segment has device memory that the device has accepted.
    pub(super) fn has_memory(&self, segment: SegmentId) -> bool {
        self.segments.contains_key(&segment) && !self.unanswered.contains(&segment)
    }

    /// Returns the location of a block that is being read back, if no command has used the block since.
    fn valid_transit(&self, block: BlockId) -> Option<Place> {
        let spilling = self.spilling.as_ref()?;
        spilling.transit.iter().find(|transit| transit.block == block && transit.valid)?;
        self.heap.allocated_place(block)
    }

    /// Returns whether the limit on host bytes has room for a block, and frees idle host segments that are in the way. With
    /// `reuses`, an idle segment of the size serves the block.
    fn make_host_room(&mut self, size: u64, reuses: bool, allowance: u64) -> bool {
        let used = self.host_bytes();
        let Some(spilling) = &mut self.spilling else { return false };
        if used.saturating_add(size) > spilling.limit.saturating_add(allowance) {
            return false;
        }
        if !reuses || !spilling.idle.contains_key(&size) {
            spilling.trim_idle(used + size);
        }
        true
    }

    /// Moves a block out of the heap's segments, after its bytes were copied.
    fn detach(&mut self, block: BlockId, copy: HostCopy<M::Segment>) {
        let place = self.heap.detach(block).expect("the block is allocated and not pinned");
        if let Some(spilling) = &mut self.spilling {
            spilling.transit.retain(|transit| transit.block != block);
            spilling.copies.insert(block, copy);
            spilling.counts.moved_out += place.size;
            spilling.counts.blocks_out += 1;
        }
        self.attribution.moved_between(EventKind::Spill, block, place);
    }
}
