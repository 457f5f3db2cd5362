//! Room made ahead, with the device's verdict on it.

use super::Pool;
use crate::device::Memory;
use crate::error::{AllocateError, DeviceError};

/// What is written at the start of the room and must be read back. Memory that isn't there reads as zeros.
const WITNESS: [u8; 4] = *b"room";

impl<M: Memory> Pool<M> {
    /// Makes room for a block of `bytes` bytes, so that the next request of that size is served without growing, and proves that
    /// the device really holds it.
    ///
    /// In a browser a buffer that the device refuses is only known later, and until then looks like any other. So a word is
    /// written to the room and read back, through the whole chain of commands; room that lost it is given back, and the
    /// caller gets the error. Submits, and is ready once the device is there.
    ///
    /// Another thread may take the room before this one does.
    ///
    /// # Errors
    /// As [`Pool::allocate`]; [`DeviceError::Refused`] when the room turned out not to be there.
    pub async fn reserve(&self, bytes: u64) -> Result<(), AllocateError> {
        let room = self.allocate(bytes)?;
        let length = WITNESS.len() as u64;
        if bytes < length {
            return Ok(());
        }
        room.write(0, &WITNESS)?;
        let mut download = match self.download(length) {
            // A memory that only counts has nothing to prove.
            Err(DeviceError::NoBytes) => return Ok(()),
            other => other?,
        };
        download.add(&room, 0, length)?;
        if download.finish().await? == WITNESS {
            return Ok(());
        }
        drop(room);
        self.trim();
        Err(DeviceError::Refused { bytes }.into())
    }

    /// As [`Pool::reserve`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Pool::reserve`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn reserve_blocking(&self, bytes: u64) -> Result<(), AllocateError> {
        pollster::block_on(self.reserve(bytes))
    }
}
