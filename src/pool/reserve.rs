//! Reservation of memory, verified on the device.

use super::Pool;
use crate::device::Memory;
use crate::error::{AllocateError, DeviceError};

/// The bytes that are written to the reserved block and read back. Memory that does not exist reads as zeros.
const PROBE: [u8; 4] = *b"room";

impl<M: Memory> Pool<M> {
    /// Ensures that a block of `bytes` bytes can be allocated without growing the pool, and verifies that the memory
    /// exists on the device.
    ///
    /// In a browser a refused buffer is reported later, and until then behaves like any other buffer. Therefore a word
    /// is written to the block and read back through the normal command path. If the word is lost, the memory is
    /// released and an error is returned. Submits, and waits asynchronously for the device.
    ///
    /// Another thread may allocate the reserved block first.
    ///
    /// # Errors
    /// As [`Pool::allocate`]; [`DeviceError::Refused`] if the memory does not exist on the device.
    pub async fn reserve(&self, bytes: u64) -> Result<(), AllocateError> {
        let room = self.allocate(bytes)?;
        let length = PROBE.len() as u64;
        if bytes < length {
            return Ok(());
        }
        room.write(0, &PROBE)?;
        let mut download = match self.download(length) {
            // A memory that only counts bytes has nothing to verify.
            Err(DeviceError::NoBytes) => return Ok(()),
            other => other?,
        };
        download.add(&room, 0, length)?;
        if download.finish().await? == PROBE {
            return Ok(());
        }
        drop(room);
        self.trim();
        Err(DeviceError::Refused { bytes }.into())
    }

    /// As [`Pool::reserve`], but blocks the calling thread.
    ///
    /// # Errors
    /// As [`Pool::reserve`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn reserve_blocking(&self, bytes: u64) -> Result<(), AllocateError> {
        pollster::block_on(self.reserve(bytes))
    }
}
