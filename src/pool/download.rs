//! Several ranges on their way to the host, with one wait.

use super::storage::finish;
use super::{Inner, Pool, Storage};
use crate::device::{Commands, Memory, check_alignment, check_range};
use crate::error::DeviceError;
use std::fmt;
use std::sync::Arc;

/// Bytes on their way to the host: each range is taken, in program order, as it is when it is added; one wait at the end
/// brings them all.
pub struct Download<M: Memory> {
    inner: Arc<Inner<M>>,
    readback: M::Readback,
}

impl<M: Memory> Pool<M> {
    /// Makes room to read up to `bytes` bytes.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] when there is no memory for it.
    pub fn download(&self, bytes: u64) -> Result<Download<M>, DeviceError> {
        Ok(Download { inner: Arc::clone(&self.inner), readback: self.inner.memory.readback(bytes)? })
    }
}

impl<M: Memory> Download<M> {
    /// Adds `length` bytes of a storage from `offset` on. Both must be multiples of [`COPY_UNIT`](crate::COPY_UNIT).
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] beyond the storage or the room that is left, [`DeviceError::Misaligned`].
    ///
    /// # Panics
    /// When the storage belongs to another pool.
    pub fn add(&mut self, storage: &Storage<M>, offset: u64, length: u64) -> Result<(), DeviceError> {
        assert!(Arc::ptr_eq(&self.inner, storage.inner()), "a storage of a different pool");
        check_alignment(offset, length)?;
        check_range(offset, length, storage.bytes().next_multiple_of(crate::device::COPY_UNIT))?;
        let memory = &self.inner.memory;
        let (mut commands, places) = self.inner.resolve([storage])?;
        if let Some(place) = places.first() {
            commands.read(&place.part(offset, length)?, &mut self.readback)?;
        }
        finish(memory, commands)
    }

    /// The bytes of all ranges, one after the other. Submits, and is ready once the device is there.
    ///
    /// # Errors
    /// What the device found wrong.
    pub async fn finish(self) -> Result<Vec<u8>, DeviceError> {
        self.inner.memory.collect(self.readback).await
    }

    /// As [`Download::finish`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Download::finish`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn finish_blocking(self) -> Result<Vec<u8>, DeviceError> {
        self.inner.memory.collect_blocking(self.readback)
    }
}

impl<M: Memory> fmt::Debug for Download<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, readback } = self;
        f.debug_struct("Download").field("readback", readback).finish_non_exhaustive()
    }
}
