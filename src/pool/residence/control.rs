//! Manual control of the place of a block.

use super::super::Storage;
use super::super::dry_run::Target;
use super::move_out::MovedOut;
use super::{Inner, State};
use crate::device::{Commands, Memory, Submit};
use crate::error::DeviceError;
use crate::heap::BlockId;
use crate::pool::messages::Postponed;
use std::fmt;

/// The number of read-backs of a block that other threads keep using, before [`Storage::offload`] fails.
const MAX_ATTEMPTS: u32 = 8;

/// The place of a storage's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Residence {
    /// In device memory.
    Device,
    /// In host memory. A command that uses the storage returns the bytes first.
    Host,
    /// On the way between the two: a copy is being made, on another thread or by a thread that waits for the device.
    InTransit,
}

impl fmt::Display for Residence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Device => "device",
            Self::Host => "host",
            Self::InTransit => "in transit",
        })
    }
}

impl<M: Memory> Storage<M> {
    /// Moves the bytes to host memory and returns the device memory to the pool. All handles and views remain valid; the
    /// next command that uses one of them returns the bytes first. Does nothing if the bytes are in host memory, and
    /// for a storage of zero bytes. Undoes [`Storage::keep_on_device`].
    ///
    /// With wgpu's feature `MAPPABLE_PRIMARY_BUFFERS`, which [`Pool::request`](crate::Pool::request) enables for a pool with
    /// spilling where the adapter has it, this records a copy and does not wait. Otherwise it waits until the device has
    /// executed the commands recorded so far and the bytes have been read back.
    ///
    /// # Errors
    /// [`DeviceError::SpillingOff`] unless [`PoolOptions::spill`](crate::PoolOptions::spill) is set;
    /// [`DeviceError::Pinned`] for a pinned storage; [`DeviceError::HostLimit`] if the limit on host bytes has no room;
    /// [`DeviceError::HostRefused`] if the host has no memory; [`DeviceError::InUse`] if other threads keep using the
    /// storage during read-backs; [`DeviceError::Lost`]. The bytes stay on the device.
    pub fn offload(&self) -> Result<(), DeviceError> {
        match self.target()? {
            Target::Device(inner, block) => inner.offload(block, self.bytes()),
            Target::Shadow(shadow, block) => shadow.with_room(shadow.inner().offload(block, self.bytes())),
            Target::Nothing if self.inner().spills() => Ok(()),
            Target::Nothing => Err(DeviceError::SpillingOff),
        }
    }

    /// Returns the bytes to the device if they are in host memory, so that the next command need not. May move other blocks
    /// to host memory. Does nothing for a storage on the device.
    ///
    /// One queue overlaps no copies with kernels (measured on an H100), so this does not hide the time of the copy; it moves
    /// the host's part, and in a pool without recorded copies the upload, out of the critical section of a program.
    ///
    /// # Errors
    /// [`DeviceError::WorkingSet`] if the device has no room; [`DeviceError::Refused`] if staging memory cannot be
    /// allocated; [`DeviceError::Lost`]. The bytes stay in host memory.
    pub fn prefetch(&self) -> Result<(), DeviceError> {
        if let Target::Device(inner, _) = self.target()? {
            // For a block on the device no step below would return the error.
            inner.memory.check()?;
        }
        drop(self.inner().resolve([self])?);
        Ok(())
    }

    /// Returns the place of the bytes. Other threads, and requests of this one, may change it at any time.
    #[must_use]
    pub fn residence(&self) -> Residence {
        match self.target() {
            Ok(Target::Device(inner, block)) => inner.state().residence_of(block),
            Ok(Target::Shadow(shadow, block)) => shadow.inner().state().residence_of(block),
            // A storage without a block, or of a dry run that has ended.
            Ok(Target::Nothing) | Err(_) => Residence::Device,
        }
    }

    /// Returns the bytes to the device if necessary, and keeps them there until [`Storage::offload`] is called or the memory
    /// is freed. No effect in a pool without spilling. Unlike a pinned block, the block may move within the device.
    ///
    /// # Errors
    /// As [`Storage::prefetch`].
    pub fn keep_on_device(&self) -> Result<(), DeviceError> {
        match self.target()? {
            Target::Device(inner, block) => {
                inner.memory.check()?;
                inner.keep_on_device(block)
            }
            Target::Shadow(shadow, block) => shadow.with_room(shadow.inner().keep_on_device(block)),
            Target::Nothing => Ok(()),
        }
    }
}

impl<M: Memory> State<M> {
    /// Returns the place of an allocated block's bytes.
    pub(in crate::pool) fn residence_of(&self, block: BlockId) -> Residence {
        if self.heap.detached(block).is_some() {
            return Residence::Host;
        }
        let is_read = self.spilling.iter().flat_map(|spilling| &spilling.transit).any(|transit| transit.block == block);
        let is_restored = |segment| self.spilled.contains_key(&segment);
        if is_read || self.heap.allocated_place(block).is_some_and(|place| is_restored(place.segment)) {
            return Residence::InTransit;
        }
        Residence::Device
    }

    fn host_limit_error(&self, bytes: u64) -> DeviceError {
        let limit = self.spilling.as_ref().map_or(0, |spilling| spilling.limit);
        DeviceError::HostLimit { bytes, held: self.host_bytes(), limit }
    }
}

impl<M: Memory> Inner<M> {
    /// Moves the bytes of a block to host memory: [`Storage::offload`].
    fn offload(&self, block: BlockId, bytes: u64) -> Result<(), DeviceError> {
        if !self.spills() {
            return Err(DeviceError::SpillingOff);
        }
        self.memory.check()?;
        for _ in 0..MAX_ATTEMPTS {
            let _later = Postponed::new();
            let mut commands = self.memory.commands();
            let mut state = self.state();
            if let Some(spilling) = &mut state.spilling {
                spilling.keep(block, false);
            }
            let Some(place) = state.heap.allocated_place(block) else { return Ok(()) };
            let pins = state.heap.pins(block);
            if pins > 0 {
                return Err(DeviceError::Pinned { bytes, pins });
            }
            if !state.has_memory(place.segment) {
                drop(state);
                drop(commands);
                // Creates the memory of the block's segment.
                drop(self.resolve_blocks(std::iter::once(block))?);
                continue;
            }
            let mut moved = self.move_out(&mut commands, &mut state, block, 0)?;
            drop(state);
            let due = commands.due();
            drop(commands);
            if due {
                self.memory.submit(Submit::Soon)?;
            }
            if moved == MovedOut::NeedsReadback {
                if !self.memory.can_block() {
                    return Err(DeviceError::Unsupported { feature: "MAPPABLE_PRIMARY_BUFFERS" });
                }
                moved = self.read_out(block, 0)?;
            }
            match moved {
                MovedOut::Done(_) => return Ok(()),
                MovedOut::HostLimit => return Err(self.state().host_limit_error(place.size)),
                MovedOut::HostRefused => return Err(DeviceError::HostRefused { bytes: place.size }),
                // Used, pinned or moved by another thread.
                MovedOut::Contended | MovedOut::Stays | MovedOut::NeedsReadback => {}
            }
        }
        Err(DeviceError::InUse { bytes })
    }

    /// Returns the bytes of a block to the device and keeps them there: [`Storage::keep_on_device`].
    fn keep_on_device(&self, block: BlockId) -> Result<(), DeviceError> {
        if !self.spills() {
            return Ok(());
        }
        // While the recorder is held, no block moves to host memory.
        let (commands, _) = self.resolve_blocks(std::iter::once(block))?;
        if let Some(spilling) = &mut self.state().spilling {
            spilling.keep(block, true);
        }
        drop(commands);
        Ok(())
    }

    /// Counts a command that had to wait until a block had returned.
    pub(in crate::pool) fn count_stall(&self) {
        if let Some(spilling) = &mut self.state().spilling {
            spilling.counts.stalls += 1;
        }
    }
}
