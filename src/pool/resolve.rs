//! Resolution of storages to addresses, for recording commands.
//!
//! An address is valid until the recorder's guard is released. A block of a spilled segment is written to the device
//! first ([`spill`](super::spill)).

use super::spill::RESTORE_ATTEMPTS;
use super::{Inner, State, Storage};
use crate::device::{Location, Memory};
use crate::error::DeviceError;
use crate::heap::{BlockId, Place, SegmentId};
use crate::pool::messages::Postponed;

/// The locations of the storages of a command, if all of them are on the device.
enum Located<S> {
    Places(Vec<Location<S>>),
    /// A block is in host memory, and has to return first.
    Detached,
}

/// The reason why a block has no location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The block is in host memory.
    Detached,
    /// The block's segment has no device memory.
    Spilled(SegmentId),
}

/// The recorder's guard, and the locations of storages while the guard is held.
type Resolved<'a, M> = (<M as Memory>::Commands<'a>, Vec<Location<<M as Memory>::Segment>>);

impl<M: Memory> Inner<M> {
    /// Returns the recorder's guard, and the locations of the storages while it is held. Storages of zero bytes have no
    /// location and are omitted. `None` in a dry run of this thread, in which no command is recorded.
    ///
    /// Returns blocks in host memory to the device first ([`residence`](super::residence)). Waits only if the device has no
    /// room for them.
    ///
    /// # Errors
    /// [`DeviceError::WorkingSet`] if the device has no room for all storages together, [`DeviceError::Refused`] if it
    /// refuses memory; the bytes stay in host memory. [`DeviceError::DryStorage`] for a storage of another dry run.
    pub(crate) fn resolve<'s>(
        &self,
        storages: impl IntoIterator<Item = &'s Storage<M>, IntoIter: Clone> + Clone,
    ) -> Result<Option<Resolved<'_, M>>, DeviceError> {
        if !self.records(storages.clone())? {
            return Ok(None);
        }
        self.resolve_blocks(storages.into_iter().filter_map(Storage::block)).map(Some)
    }

    /// Locks the recorder and returns the locations of blocks of this heap. See [`Inner::resolve`].
    pub(super) fn resolve_blocks(
        &self,
        blocks: impl Iterator<Item = BlockId> + Clone,
    ) -> Result<Resolved<'_, M>, DeviceError> {
        let mut refusals = 0;
        let mut claim = None;
        loop {
            #[cfg(not(target_arch = "wasm32"))]
            self.wait_for_host_copy();
            // Dropped after the recorder.
            let mut later = None;
            let mut commands = self.memory.commands();
            match self.locate(&mut commands, &mut later, blocks.clone()) {
                Ok(Located::Places(places)) if Postponed::end_if_empty(&mut later) => return Ok((commands, places)),
                // The messages are logged without the recorder, which the caller would hold.
                Ok(Located::Places(_)) => {}
                Ok(Located::Detached) => {
                    drop(commands);
                    if claim.is_none() {
                        self.count_stall();
                    }
                    // Dropped when the command can be recorded: until then the blocks stay on the device.
                    let claim = claim.get_or_insert_with(|| self.claim(blocks.clone()));
                    self.return_blocks(claim, blocks.clone())?;
                }
                Err(DeviceError::Refused { .. }) if refusals < RESTORE_ATTEMPTS => {
                    refusals += 1;
                    drop(commands);
                    self.memory.wait_blocking()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the current locations of the blocks. The caller holds the recorder, so that no block moves before the
    /// caller's command is recorded. Sets `later` before anything that may log.
    fn locate(
        &self,
        commands: &mut M::Commands<'_>,
        later: &mut Option<Postponed>,
        blocks: impl Iterator<Item = BlockId> + Clone,
    ) -> Result<Located<M::Segment>, DeviceError> {
        loop {
            let mut state = self.state();
            if !state.unanswered.is_empty() {
                // Taken again by the call.
                drop(state);
                later.get_or_insert_with(Postponed::new);
                self.settle_with(commands);
                state = self.state();
            }
            let places: Result<Vec<_>, NoPlace> = blocks.clone().map(|block| state.place(block)).collect();
            match places {
                Ok(places) => {
                    if let Some(spilling) = &mut state.spilling {
                        blocks.for_each(|block| spilling.used(block));
                    }
                    return Ok(Located::Places(places));
                }
                Err(NoPlace::Detached) => return Ok(Located::Detached),
                Err(NoPlace::Spilled(segment)) => {
                    drop(state);
                    later.get_or_insert_with(Postponed::new);
                    self.restore(commands, segment)?;
                }
            }
        }
    }
}

impl<M: Memory> State<M> {
    /// Returns the current location of a block.
    ///
    /// # Errors
    /// [`NoPlace`], if its bytes are in host memory.
    pub(super) fn place(&mut self, block: BlockId) -> Result<Location<M::Segment>, NoPlace> {
        let Some(place) = self.heap.allocated_place(block) else {
            self.heap.detached(block).expect("a storage holds its block until its last handle is dropped");
            return Err(NoPlace::Detached);
        };
        self.invalidate_host_copy(place.segment);
        if let Some(spilling) = &mut self.spilling {
            spilling.invalidate(block);
        }
        let segment = self.segments.get(&place.segment).ok_or(NoPlace::Spilled(place.segment))?;
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
