//! The recording of commands, and the checks of their ranges.

use super::{COPY_UNIT, Location};
use crate::error::DeviceError;
use crate::heap::SegmentId;

/// Recording of commands in program order, through the guard that [`Memory::commands`](super::Memory::commands) returns.
///
/// Offsets and lengths must be multiples of [`COPY_UNIT`]. Five methods are required. A memory on top of another one can
/// use the other memory's guard.
pub trait Commands {
    /// The handle to a segment.
    type Segment;
    /// A transfer from the device to the host.
    type Readback;

    /// Writes `bytes` to the start of `to`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], [`DeviceError::OutOfRange`], or [`DeviceError::Refused`] if staging memory cannot
    /// be allocated.
    fn write(&mut self, to: &Location<Self::Segment>, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Fills `to` with zero bytes.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`].
    fn clear(&mut self, to: &Location<Self::Segment>) -> Result<(), DeviceError>;

    /// Creates the bounce buffer for copies of up to `bytes` bytes within one segment, so that none of these copies
    /// fails later for lack of memory. Does nothing for zero bytes.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if the buffer cannot be allocated.
    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let _ = bytes;
        Ok(())
    }

    /// Returns whether the device has accepted the bounce buffer, if there is one. In a browser its answer arrives later; until
    /// then blocks must not move through the buffer, because their contents could be lost.
    fn has_accepted_bounce_buffer(&self) -> bool {
        true
    }

    /// Copies all of `from` to the start of `to`. Both may be in one segment, and they may overlap if `to` begins
    /// before `from`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], [`DeviceError::OutOfRange`], or [`DeviceError::Refused`] if the bounce buffer for a
    /// copy within one segment cannot be allocated.
    fn copy(&mut self, from: &Location<Self::Segment>, to: &Location<Self::Segment>) -> Result<(), DeviceError>;

    /// Copies the first 1 to 3 bytes of the 4-byte unit at `from` to the unit at `to`, and keeps the other bytes of the
    /// target unit. Both locations are one [`COPY_UNIT`] long.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`] if a location is not exactly one unit, or if the memory copies only whole units (the
    /// default implementation); [`DeviceError::Refused`] if memory cannot be allocated.
    fn copy_part_of_unit(
        &mut self,
        from: &Location<Self::Segment>,
        to: &Location<Self::Segment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        Err(DeviceError::Misaligned { offset: to.offset, length: u64::from(bytes), unit: COPY_UNIT })
    }

    /// Records a read of `from`: its bytes at this point of the program order are appended to `into`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], or [`DeviceError::OutOfRange`] if `into` has too little capacity left.
    fn read(&mut self, from: &Location<Self::Segment>, into: &mut Self::Readback) -> Result<(), DeviceError>;

    /// Returns whether the open batch is long enough to be submitted.
    fn due(&self) -> bool {
        false
    }

    /// Destroys a segment of `bytes` bytes after all commands recorded so far.
    fn destroy(&mut self, id: SegmentId, segment: Self::Segment, bytes: u64);
}

/// Checks that a range lies within `size` bytes.
pub(crate) fn check_range(offset: u64, length: u64, size: u64) -> Result<(), DeviceError> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(DeviceError::OutOfRange { offset, length, size }),
    }
}

/// Checks that a transfer consists of whole copy units.
pub(crate) fn check_alignment(offset: u64, length: u64) -> Result<(), DeviceError> {
    if offset.is_multiple_of(COPY_UNIT) && length.is_multiple_of(COPY_UNIT) {
        Ok(())
    } else {
        Err(DeviceError::Misaligned { offset, length, unit: COPY_UNIT })
    }
}

/// Checks a copy of the first `bytes` bytes of a unit.
pub(crate) fn check_part_of_unit<S>(from: &Location<S>, to: &Location<S>, bytes: u32) -> Result<(), DeviceError> {
    for place in [from, to] {
        check_transfer(place, COPY_UNIT)?;
    }
    check_range(0, u64::from(bytes), COPY_UNIT - 1)
}

/// Checks one transfer from or to `place`, of `length` bytes.
pub(crate) fn check_transfer<S>(place: &Location<S>, length: u64) -> Result<(), DeviceError> {
    check_alignment(place.offset, length)?;
    check_range(0, length, place.size)
}
