//! The trait that every memory implements.

use super::{Commands, DeviceResources, DeviceStatus, MemoryLimits};
use crate::error::DeviceError;
use std::fmt;
use std::future::Future;
use wgpu::WasmNotSendSync;

/// When [`Memory::submit`] submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submit {
    /// Before the call returns. Waits for other threads that are submitting some of the commands, and while the device is
    /// more than a fixed number of batches behind (32 on a GPU).
    Now,
    /// Possibly on another thread, after the call. Waits only while the device is more than a fixed number of batches behind.
    Soon,
    /// Possibly on another thread, after the call. Never waits, neither for the device nor for another thread.
    WithoutWaiting,
}

/// A source of segments.
///
/// Seven methods are required. The supertraits [`DeviceStatus`] and
/// [`DeviceResources`] have only methods with a default, so that an implementation for a device that answers at once
/// has two empty blocks. Methods wait for the device only where their documentation says so.
///
/// # Examples
/// A memory that refuses segments above 1 MiB, on top of host memory:
///
/// ```
/// use wgpu_pool::device::{DeviceResources, DeviceStatus, HostCommands, HostReadback, HostSegment};
/// use wgpu_pool::{AllocateError, DeviceError, HostMemory, Memory, MemoryLimits, Pool, PoolOptions, Submit};
///
/// #[derive(Debug, Default)]
/// struct SmallSegments(HostMemory);
///
/// impl Memory for SmallSegments {
///     type Segment = HostSegment;
///     type Commands<'a> = HostCommands<'a>;
///     type Readback = HostReadback;
///
///     fn limits(&self) -> MemoryLimits {
///         self.0.limits()
///     }
///     fn create_segment(&self, bytes: u64) -> Result<HostSegment, DeviceError> {
///         if bytes > 1 << 20 { Err(DeviceError::Refused { bytes }) } else { self.0.create_segment(bytes) }
///     }
///     fn commands(&self) -> HostCommands<'_> {
///         self.0.commands()
///     }
///     fn submit(&self, when: Submit) -> Result<(), DeviceError> {
///         self.0.submit(when)
///     }
///     fn wait_blocking(&self) -> Result<(), DeviceError> {
///         self.0.wait_blocking()
///     }
///     fn readback(&self, bytes: u64) -> Result<HostReadback, DeviceError> {
///         self.0.readback(bytes)
///     }
///     async fn collect(&self, readback: HostReadback) -> Result<Vec<u8>, DeviceError> {
///         self.0.collect(readback).await
///     }
/// }
///
/// impl DeviceStatus for SmallSegments {}
/// impl DeviceResources for SmallSegments {}
///
/// let pool = Pool::new(SmallSegments::default(), PoolOptions::default())?;
/// let block = pool.allocate(1000)?;
/// block.write(0, b"four")?;
/// assert!(matches!(pool.allocate(2 << 20), Err(AllocateError::OutOfMemory(_))));
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
pub trait Memory: DeviceStatus + DeviceResources {
    /// A cheap handle to a segment.
    type Segment: Clone + fmt::Debug + WasmNotSendSync;
    /// The guard through which commands are recorded.
    type Commands<'a>: Commands<Segment = Self::Segment, Readback = Self::Readback>
    where
        Self: 'a;
    /// A transfer from the device to the host.
    type Readback: fmt::Debug;

    /// Whether the memory stores bytes. A memory that only counts bytes has no contents to read or to move.
    const HOLDS_BYTES: bool = true;

    /// Returns the limits of the memory.
    fn limits(&self) -> MemoryLimits;

    /// Creates a segment of `bytes` bytes.
    ///
    /// # Errors
    /// [`DeviceError::TooLarge`] above the largest segment, [`DeviceError::Refused`] when there is no room, and
    /// [`DeviceError::Lost`]. The memory stays usable, except when lost.
    fn create_segment(&self, bytes: u64) -> Result<Self::Segment, DeviceError>;

    /// Returns the guard for recording commands. One thread at a time can hold the guard. Hold it briefly, and take no
    /// lock except the heap's while holding it.
    fn commands(&self) -> Self::Commands<'_>;

    /// Submits all recorded commands, in order, and carries out the destructions between them. `when` determines what is done
    /// when the call returns. A memory without threads submits before it returns.
    ///
    /// # Errors
    /// The error of a failed batch. The error of a batch that another thread submits is returned by the next call.
    fn submit(&self, when: Submit) -> Result<(), DeviceError>;

    /// Submits, then waits until the device has finished all commands. Only submits where
    /// [`can_block`](DeviceStatus::can_block) is false.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn wait_blocking(&self) -> Result<(), DeviceError>;

    /// Submits, and waits asynchronously until the device has finished all commands. By default, calls
    /// [`Memory::wait_blocking`].
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn wait(&self) -> impl Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend {
        std::future::ready(self.wait_blocking())
    }

    /// Creates a host-visible buffer for reads of `bytes` bytes in total.
    ///
    /// # Errors
    /// As [`Memory::create_segment`].
    fn readback(&self, bytes: u64) -> Result<Self::Readback, DeviceError>;

    /// Submits, and returns the bytes of all reads into `readback`, in the order in which they were recorded, when the
    /// device has finished them.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn collect(
        &self,
        readback: Self::Readback,
    ) -> impl Future<Output = Result<Vec<u8>, DeviceError>> + wgpu::WasmNotSend;

    /// Submits, blocks the calling thread until the device has finished all reads into `readback`, and returns their bytes.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    fn collect_blocking(&self, readback: Self::Readback) -> Result<Vec<u8>, DeviceError> {
        super::block_on(self.collect(readback))
    }
}
