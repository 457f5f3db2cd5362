//! Reads of several ranges with a single wait.

use super::storage::finish;
use super::{Inner, Pool, Storage};
use crate::device::{Commands, Gpu, Memory, check_alignment, check_range};
use crate::error::DeviceError;
use std::fmt;
use std::sync::Arc;

/// A read of several ranges. Each range is read in program order, at the time of its [`Download::add`]; a single wait
/// at the end returns all bytes.
pub struct Download<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    readback: M::Readback,
}

impl<M: Memory> Pool<M> {
    /// Starts a download with room for `bytes` bytes: reads of several ranges with one wait. See [`Storage::read`] for one range.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let storage = pool.allocate(8)?;
    /// storage.write(0, &[1, 2, 3, 4, 5, 6, 7, 8])?;
    /// let mut download = pool.download(4)?;
    /// download.add(&storage, 4, 4)?; // offset and length in bytes
    /// assert_eq!(download.finish_blocking()?, [5, 6, 7, 8]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if the memory cannot be allocated; [`DeviceError::DryRun`] in a dry run.
    pub fn download(&self, bytes: u64) -> Result<Download<M>, DeviceError> {
        if self.inner.shadow().is_some() {
            return Err(DeviceError::DryRun { bytes });
        }
        Ok(Download { inner: Arc::clone(&self.inner), readback: self.inner.memory.readback(bytes)? })
    }
}

impl<M: Memory> Download<M> {
    /// Adds the `length` bytes of a storage that start at `offset`. Both must be multiples of
    /// [`COPY_UNIT`](crate::COPY_UNIT). Does not wait for the read; waits as [`Storage::write`].
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if the range exceeds the storage or the remaining room; [`DeviceError::Misaligned`];
    /// [`DeviceError::DryRun`] in a dry run; [`DeviceError::DryStorage`] for a storage of a dry run that has ended.
    /// [`DeviceError::Pools`] if the storage belongs to a different pool.
    pub fn add(&mut self, storage: &Storage<M>, offset: u64, length: u64) -> Result<(), DeviceError> {
        if !Arc::ptr_eq(&self.inner, storage.inner()) {
            return Err(DeviceError::Pools);
        }
        check_alignment(offset, length)?;
        check_range(offset, length, storage.bytes().next_multiple_of(crate::device::COPY_UNIT))?;
        let Some((mut commands, places)) = self.inner.resolve([storage])? else {
            return Err(DeviceError::DryRun { bytes: length });
        };
        if let Some(place) = places.first() {
            commands.read(&place.part(offset, length)?, &mut self.readback)?;
        }
        finish(&self.inner, commands)
    }

    /// Submits, waits asynchronously until the device has finished the reads, and returns the bytes of all ranges,
    /// concatenated. A thread that is submitting is waited for during the first poll.
    ///
    /// # Errors
    /// [`DeviceError::HostRefused`] if the host has no memory for the bytes; [`DeviceError::Lost`], or the error of a
    /// failed batch.
    pub async fn finish(self) -> Result<Vec<u8>, DeviceError> {
        self.inner.memory.collect(self.readback).await
    }

    /// Submits, blocks the calling thread until the device has finished the reads, and returns the bytes of all ranges,
    /// concatenated.
    ///
    /// # Errors
    /// As [`Download::finish`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
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
