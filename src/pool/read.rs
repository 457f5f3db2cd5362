//! Reads of one range of a storage's bytes.

use super::{Download, Storage};
use crate::device::{COPY_UNIT, Gpu, Memory, check_range};
use crate::error::DeviceError;
use std::ops::Range;

/// A recorded read of a range of any bytes of a storage. Copies take whole units, so that up to three more bytes are transferred at
/// each end.
pub(crate) struct RangeRead<M: Memory = Gpu> {
    download: Download<M>,
    /// Bytes of the first unit before the range.
    before: usize,
    length: usize,
}

impl<M: Memory> RangeRead<M> {
    /// Records the read, in program order.
    fn begin(storage: &Storage<M>, offset: u64, length: u64) -> Result<Self, DeviceError> {
        check_range(offset, length, storage.bytes())?;
        // A storage with so many bytes has no copy on the host.
        let in_memory = |bytes: u64| usize::try_from(bytes).map_err(|_| DeviceError::HostRefused { bytes: length });
        let units = units(offset, length);
        let bytes = units.end - units.start;
        let mut download = storage.pool().download(bytes)?;
        if bytes > 0 {
            download.add(storage, units.start, bytes)?;
        }
        Ok(Self { download, before: in_memory(offset - units.start)?, length: in_memory(length)? })
    }

    /// Waits asynchronously for the read, and returns the bytes of the range.
    pub(crate) async fn finish(self) -> Result<Vec<u8>, DeviceError> {
        let Self { download, before, length } = self;
        Ok(within(download.finish().await?, before, length))
    }

    /// Blocks the calling thread until the device has finished the read, and returns the bytes of the range.
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub(crate) fn finish_blocking(self) -> Result<Vec<u8>, DeviceError> {
        let Self { download, before, length } = self;
        Ok(within(download.finish_blocking()?, before, length))
    }
}

/// The units of copies that contain a range within a storage; none for a range without bytes.
fn units(offset: u64, length: u64) -> Range<u64> {
    let end = offset.saturating_add(length);
    if length == 0 { offset..offset } else { offset / COPY_UNIT * COPY_UNIT..end.next_multiple_of(COPY_UNIT) }
}

/// The bytes of a range out of those of its units.
fn within(mut units: Vec<u8>, before: usize, length: usize) -> Vec<u8> {
    units.drain(..before.min(units.len()));
    units.truncate(length);
    units
}

impl<M: Memory> Storage<M> {
    /// Copies the `length` bytes that start at `offset` to the host. Both may have any value within the storage. For several ranges with
    /// one wait, see [`Pool::download`](crate::Pool::download).
    ///
    /// Reads the bytes at the point of the program order at which the future is first polled: after all commands recorded so far, and
    /// before all later ones. Transfers only these bytes, and up to three more at each end, because copies take multiples of
    /// [`COPY_UNIT`]. Submits recorded commands, and waits asynchronously until the device has executed them; a thread that is
    /// submitting is waited for during the first poll.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if the range exceeds [`Storage::bytes`]; [`DeviceError::Refused`] if the memory for the transfer
    /// cannot be allocated, and [`DeviceError::HostRefused`] if the host has no memory for the bytes; [`DeviceError::Lost`], or the error
    /// of a failed batch; [`DeviceError::NoBytes`] if the memory stores no contents; [`DeviceError::DryRun`] in a dry run.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// # pollster::block_on(async {
    /// let pool = Pool::new(HostMemory::default(), PoolOptions::default())?;
    /// let storage = pool.allocate(8)?;
    /// storage.write(0, &[1, 2, 3, 4, 5, 6, 7, 8])?;
    /// assert_eq!(storage.read(3, 2).await?, [4, 5]);
    /// # Ok::<(), wgpu_pool::Error>(())
    /// # })?;
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    pub async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, DeviceError> {
        self.begin_read(offset, length)?.finish().await
    }

    /// Copies the `length` bytes that start at `offset` to the host, as [`Storage::read`], and blocks the calling thread until the device
    /// has executed the commands recorded so far.
    ///
    /// # Errors
    /// As [`Storage::read`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    pub fn read_blocking(&self, offset: u64, length: u64) -> Result<Vec<u8>, DeviceError> {
        self.begin_read(offset, length)?.finish_blocking()
    }

    /// Records a read of a range.
    pub(crate) fn begin_read(&self, offset: u64, length: u64) -> Result<RangeRead<M>, DeviceError> {
        RangeRead::begin(self, offset, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_units_of_a_range_are_transferred() {
        for (offset, length) in (0..9).flat_map(|offset| (0..9).map(move |length| (offset, length))) {
            let Range { start, end } = units(offset, length);
            if length == 0 {
                assert_eq!(start..end, offset..offset);
                continue;
            }
            assert_eq!([start % COPY_UNIT, end % COPY_UNIT], [0, 0]);
            assert!(start <= offset && offset - start < COPY_UNIT, "{offset} {length}");
            assert!(end >= offset + length && end - offset - length < COPY_UNIT, "{offset} {length}");
            let bytes = (start..end).filter_map(|byte| u8::try_from(byte).ok()).collect();
            let wanted: Vec<u8> = (offset..offset + length).filter_map(|byte| u8::try_from(byte).ok()).collect();
            assert_eq!(within(bytes, usize::try_from(offset - start).unwrap_or(usize::MAX), wanted.len()), wanted);
        }
    }
}
