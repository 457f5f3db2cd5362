//! Moving blocks to host memory where the device cannot copy there by command. Not in browsers, where nothing can wait.

use super::super::host_copy::{Granted, READBACK_BYTES, host_buffer};
use super::move_out::MovedOut;
use super::{HostCopy, Inner, State, Transit};
use crate::device::{Commands, Location, Memory};
use crate::error::DeviceError;
use crate::heap::{BlockId, Place};
use crate::pool::messages::Postponed;
use std::sync::Arc;

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

impl<M: Memory> Inner<M> {
    /// Moves a block to host memory through a read-back. Waits for the device; the caller must hold no lock.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch. The block then stays on the device.
    pub(super) fn read_out(&self, block: BlockId, allowance: u64) -> Result<MovedOut, DeviceError> {
        let size = {
            let mut state = self.state();
            let Some(place) = state.movable_place(block).filter(|_| self.memory.can_block()) else {
                return Ok(MovedOut::Stays);
            };
            if state.spilling.iter().flat_map(|spilling| &spilling.transit).any(|transit| transit.block == block) {
                return Ok(MovedOut::Contended);
            }
            if state.make_host_room(place.size, false, allowance).is_none() {
                return Ok(MovedOut::HostLimit);
            }
            let transit = Transit { block, size: place.size, valid: true };
            if let Some(spilling) = &mut state.spilling {
                spilling.transit.push(transit);
            }
            place.size
        };
        let _in_transit = InTransit { inner: self, block };
        let bytes = match self.read_block(block, if M::HOLDS_BYTES { size } else { 0 })? {
            Ok(bytes) => bytes,
            Err(moved) => return Ok(moved),
        };
        let _later = Postponed::new();
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

    /// Reads the first `size` bytes of a block in transit, in pieces. An inner error is the reason why the block stays.
    fn read_block(&self, block: BlockId, size: u64) -> Result<Result<Vec<u8>, MovedOut>, DeviceError> {
        let Some(mut bytes) = host_buffer(size) else { return Ok(Err(MovedOut::HostRefused)) };
        let mut piece_bytes = READBACK_BYTES;
        let mut offset = 0;
        while offset < size {
            let length = piece_bytes.min(size - offset);
            let mut readback = match self.readback_or_halve(length, &mut piece_bytes)? {
                Granted::Readback(readback) => readback,
                Granted::Halved => continue,
                Granted::Refused => return Ok(Err(MovedOut::HostRefused)),
            };
            {
                let _later = Postponed::new();
                let mut commands = self.memory.commands();
                let state = self.state();
                let Some(place) = state.valid_transit(block) else { return Ok(Err(MovedOut::Contended)) };
                let Some(segment) = state.segments.get(&place.segment) else { return Ok(Err(MovedOut::Contended)) };
                let offset = place.offset + offset;
                let from = Location { id: place.segment, segment: segment.clone(), offset, size: length };
                commands.read(&from, &mut readback)?;
            }
            match self.memory.collect_blocking(readback) {
                Ok(read) if read.len() as u64 == length => bytes.extend_from_slice(&read),
                Ok(read) => {
                    let message = format!("a readback of {length} B returned {} B", read.len());
                    return Err(DeviceError::Validation { message });
                }
                Err(DeviceError::Refused { .. } | DeviceError::HostRefused { .. }) => {
                    return Ok(Err(MovedOut::HostRefused));
                }
                Err(error) => return Err(error),
            }
            offset += length;
        }
        Ok(Ok(bytes))
    }
}

impl<M: Memory> State<M> {
    /// Returns the location of a block that is being read back, if no command has used the block since.
    fn valid_transit(&self, block: BlockId) -> Option<Place> {
        let spilling = self.spilling.as_ref()?;
        spilling.transit.iter().find(|transit| transit.block == block && transit.valid)?;
        self.heap.allocated_place(block)
    }
}
