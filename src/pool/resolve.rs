//! Resolution of storages to addresses, for recording commands.
//!
//! An address is valid until the recorder's guard is released. A block of a spilled segment is written to the device
//! first ([`spill`](super::spill)).

use super::spill::RESTORE_ATTEMPTS;
use super::{Inner, State, Storage};
use crate::device::{Location, Memory};
use crate::error::DeviceError;
use crate::heap::{BlockId, Place, SegmentId};

/// The recorder's guard, and the locations of storages while the guard is held.
type Resolved<'a, M> = (<M as Memory>::Commands<'a>, Vec<Location<<M as Memory>::Segment>>);

impl<M: Memory> Inner<M> {
    /// Returns the recorder's guard, and the locations of the storages while it is held. Storages of zero bytes have no
    /// location and are omitted.
    ///
    /// Waits only if a block's bytes are in host memory because the device had no room for them.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if the device still has no room for such a block; its bytes stay in host memory.
    pub(crate) fn resolve<'s>(
        &self,
        storages: impl IntoIterator<Item = &'s Storage<M>> + Clone,
    ) -> Result<Resolved<'_, M>, DeviceError> {
        for attempt in 0.. {
            #[cfg(not(target_arch = "wasm32"))]
            self.wait_for_host_copy();
            let mut commands = self.memory.commands();
            match self.locate(&mut commands, storages.clone()) {
                Ok(places) => return Ok((commands, places)),
                Err(DeviceError::Refused { .. }) if attempt < RESTORE_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
            drop(commands);
            self.memory.wait()?;
        }
        unreachable!("the last attempt returns");
    }

    /// Returns the current locations of the storages. The caller holds the recorder, so that no block moves before the
    /// caller's command is recorded.
    fn locate<'s>(
        &self,
        commands: &mut M::Commands<'_>,
        storages: impl IntoIterator<Item = &'s Storage<M>> + Clone,
    ) -> Result<Vec<Location<M::Segment>>, DeviceError> {
        loop {
            let mut state = self.state();
            if !state.unanswered.is_empty() {
                // Taken again by the call.
                drop(state);
                self.settle_with(commands);
                state = self.state();
            }
            let blocks = storages.clone().into_iter().filter_map(Storage::block);
            let places: Result<Vec<_>, SegmentId> = blocks.map(|block| state.place(block)).collect();
            drop(state);
            match places {
                Ok(places) => return Ok(places),
                Err(spilled) => self.restore(commands, spilled)?,
            }
        }
    }
}

impl<M: Memory> State<M> {
    /// Returns the current location of a block.
    ///
    /// # Errors
    /// The block's segment, if its bytes are in host memory.
    pub(super) fn place(&mut self, block: BlockId) -> Result<Location<M::Segment>, SegmentId> {
        let place =
            self.heap.allocated_place(block).expect("a storage holds its block until its last handle is dropped");
        self.invalidate_host_copy(place.segment);
        let segment = self.segments.get(&place.segment).ok_or(place.segment)?;
        Ok(Location { id: place.segment, segment: segment.clone(), offset: place.offset, size: place.size })
    }

    /// Returns the location of a block that is about to be freed, if it may have bytes on the device. The bytes of a
    /// spilled segment are in host memory.
    pub(super) fn location_before_free(&mut self, place: Place) -> Option<Location<M::Segment>> {
        let Place { segment: id, offset, size, .. } = place;
        self.invalidate_host_copy(id);
        let spilled = || self.spilled.get(&id)?.memory();
        let segment = self.segments.get(&id).or_else(spilled)?.clone();
        Some(Location { id, segment, offset, size })
    }

    /// Returns a range of a segment, for a command.
    pub(super) fn location(&mut self, id: SegmentId, offset: u64, size: u64) -> Location<M::Segment> {
        self.invalidate_host_copy(id);
        let segment = self.segments.get(&id).expect("no plan names a spilled segment").clone();
        Location { id, segment, offset, size }
    }
}
