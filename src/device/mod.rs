//! Sources of segments, and the recording of commands on them.
//!
//! The trait [`Memory`] has three implementations:
//! - [`AccountingMemory`] counts bytes and stores none, so that any size works on any machine;
//! - [`HostMemory`] stores its bytes in host RAM, with a budget and injected failures, for tests and for machines
//!   without a GPU;
//! - [`Gpu`] stores its bytes in wgpu buffers.
//!
//! # Commands
//! All commands of a memory execute in the order in which they were recorded, as on a CUDA stream. They are recorded
//! through the guard that [`Memory::commands`] returns; one thread at a time holds it. A block is resolved to a
//! [`Location`] only while the guard is held, so that the block cannot move before the command is recorded. Destroying
//! a segment is also a command: it takes effect after all previously recorded commands.

mod accounting;
#[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
mod block_on;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod choice;
mod context;
mod driver_model;
pub(crate) mod gpu;
mod host;
mod received;
mod sync;
mod teardown;

pub use accounting::{AccountingMemory, AccountingSegment, NoCommands, NoReadback};
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use choice::with_choice;
pub use gpu::{Fault, Gpu, GpuCommands, GpuOptions, GpuReadback, GpuSegment, Startup};
pub use host::{HostCommands, HostMemory, HostOptions, HostReadback, HostSegment};
#[cfg(all(test, feature = "tensor", not(target_arch = "wasm32")))]
pub(crate) use received::most as most_received;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use block_on::block_on;
#[cfg(all(target_arch = "wasm32", wgpu_pool_suspend))]
#[doc(hidden)]
pub use block_on::block_on;
pub use context::ContextGuard;

use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;
use wgpu::WasmNotSendSync;

/// The unit of offsets and lengths of transfers, in bytes: WebGPU's buffer copies require multiples of 4.
pub const COPY_UNIT: u64 = 4;

/// The current location of some bytes: a range of one segment. Valid until the next command is recorded.
#[derive(Clone, Debug)]
pub struct Location<S> {
    /// The segment's id in the heap.
    pub id: SegmentId,
    /// The segment's handle.
    pub segment: S,
    /// The first byte, relative to the segment's start.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl<S: Clone> Location<S> {
    /// Returns the part that starts at `offset` within this location and is `size` bytes long.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if the part extends past the end of this location.
    pub fn part(&self, offset: u64, size: u64) -> Result<Self, DeviceError> {
        check_range(offset, size, self.size)?;
        Ok(Self { offset: self.offset + offset, size, ..self.clone() })
    }
}

/// The limits of a memory. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The alignment of binding offsets. The heap's granule is at least this.
    pub alignment: u64,
    /// The largest size of a segment.
    pub largest_segment: u64,
    /// The largest range of a segment that a shader can bind.
    pub largest_binding: u64,
    /// The driver frees a segment above this size separately when it is destroyed. A smaller segment may share one of
    /// the driver's own allocations with other segments.
    pub shared_below: u64,
}

/// The bytes of destroyed segments since the last call of [`Memory::reclaim`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes that the driver has freed.
    pub freed: u64,
    /// Bytes that are still in use by unfinished commands.
    pub pending: u64,
}

/// The bytes that the driver holds for a device.
///
/// Invariant: segments + own + foreign + unused = reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DriverHoldings {
    /// Total size of the driver's allocations.
    pub reserved: u64,
    /// Segments of all pools on this device, including destroyed segments that are not freed yet, with alignment
    /// padding.
    pub segments: u64,
    /// Other buffers of this crate: staging, readback, parameters.
    pub own: u64,
    /// Buffers and textures of the application, and wgpu's own.
    pub foreign: u64,
    /// Unused parts of the driver's allocations.
    pub unused: u64,
}

/// The usage of one cache. Every cached object can be created again, at a cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CacheUse {
    /// The kind of the cached objects, such as `pipelines`.
    pub name: Cow<'static, str>,
    /// Entries in the cache now.
    pub entries: u64,
    /// The capacity in entries, if the cache is bounded by entries.
    pub most_entries: Option<u64>,
    /// Bytes in the cache now, where known.
    pub bytes: Option<u64>,
    /// The capacity in bytes, if the cache is bounded by bytes.
    pub most_bytes: Option<u64>,
    /// Entries created so far. For pipelines, this counts compilations.
    pub made: u64,
}

impl CacheUse {
    /// Creates an entry for an empty cache with this name and no capacity.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), ..Self::default() }
    }
}

/// Whether the device has accepted a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The device has not answered yet. Only in browsers.
    Pending,
    /// The segment can be used.
    Accepted,
    /// The segment does not exist: commands on it fail with this error.
    Refused(DeviceError),
}

/// The errors of objects that a section of a program created, in a browser, where they arrive later. Ready when the
/// device has answered for each object. Created by [`Memory::defer_refusals`].
pub struct Deferred(Option<Pin<Box<dyn Outcome>>>);

/// A future that is `Send` where wgpu's types are, as is the future that awaits it. In a browser that depends on wgpu's feature
/// `fragile-send-sync-non-atomic-wasm`.
trait Outcome: Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend {}

impl<F: Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend> Outcome for F {}

impl Deferred {
    /// For a memory that returns errors at once.
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(outcome: impl Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend + 'static) -> Self {
        Self(Some(Box::pin(outcome)))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").finish_non_exhaustive()
    }
}

impl Future for Deferred {
    type Output = Result<(), DeviceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |outcome| outcome.as_mut().poll(context))
    }
}

/// When [`Memory::submit`] submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submit {
    /// Before the call returns. Waits for other threads that are submitting some of the commands, and while the device is
    /// more than a fixed number of batches behind (32 on a GPU).
    Now,
    /// Possibly on another thread, after the call. Waits only while the device is more than a fixed number of batches behind.
    Soon,
    /// As `Soon`, but never waits, neither for the device nor for another thread.
    WithoutWaiting,
}

/// Caches of a memory, from those that are cheap to fill again to those that are expensive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheLevel {
    /// Staging buffers and other buffers of the memory's own.
    Buffers,
    /// Bindings of kernels.
    Bindings,
    /// Compiled kernels, which take milliseconds each to compile again.
    Kernels,
}

/// A source of segments. Methods wait for the device only where their documentation says so.
pub trait Memory: WasmNotSendSync + fmt::Debug + 'static {
    /// A cheap handle to a segment.
    type Segment: Clone + fmt::Debug + WasmNotSendSync;
    /// The guard through which commands are recorded.
    type Commands<'a>: Commands<Self>
    where
        Self: 'a;
    /// A transfer from the device to the host.
    type Readback: fmt::Debug;

    /// Returns the limits of the memory.
    fn limits(&self) -> MemoryLimits;

    /// Checks that the memory is not known to have failed. Must be cheap, because every allocation calls this.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a failed batch of commands.
    fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Creates a segment of `bytes` bytes.
    ///
    /// # Errors
    /// [`DeviceError::TooLarge`] above the largest segment, [`DeviceError::Refused`] when there is no room, and
    /// [`DeviceError::Lost`]. The memory stays usable, except when lost.
    fn create_segment(&self, bytes: u64) -> Result<Self::Segment, DeviceError>;

    /// Creates a segment of `bytes` bytes in host memory that [`Commands::copy`] and [`Commands::clear`] accept, with the
    /// id [`SegmentId::NEVER`]. It does not count as a segment of the device, and is freed when
    /// the last handle is dropped and the device has finished with it.
    ///
    /// `None` if the device cannot copy to host memory by command, which is the default. Bytes then reach the host
    /// through [`Memory::readback`].
    ///
    /// # Errors
    /// [`DeviceError::Refused`] when the host has no room. The memory stays usable.
    fn create_host_segment(&self, bytes: u64) -> Result<Option<Self::Segment>, DeviceError> {
        let _ = bytes;
        Ok(None)
    }

    /// Returns whether the device has accepted a segment of [`Memory::create_segment`].
    fn acceptance(&self, segment: &Self::Segment) -> Acceptance {
        let _ = segment;
        Acceptance::Accepted
    }

    /// Calls `act`. Where errors arrive later, the future returns the first error of the objects that `act` created,
    /// which is then not a fault.
    fn defer_refusals<R>(&self, act: impl FnOnce() -> R) -> (R, Deferred) {
        (act(), Deferred::NONE)
    }

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
    /// [`can_wait`](Memory::can_wait) is false.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn wait(&self) -> Result<(), DeviceError>;

    /// Returns whether the calling thread can wait for the device. False in browsers, where the device's answers arrive
    /// after the program has returned to the event loop.
    fn can_wait(&self) -> bool {
        true
    }

    /// As [`Memory::wait`], but asynchronous, and possible in browsers.
    fn finished(&self) -> impl Future<Output = Result<(), DeviceError>> + wgpu::WasmNotSend {
        std::future::ready(self.wait())
    }

    /// Returns the cause of a failure, after querying the device. A lost device can fail in many ways and reports its
    /// loss only when queried. Application callbacks may run inside, so the caller must hold no lock.
    fn explain(&self, error: DeviceError) -> DeviceError {
        error
    }

    /// Returns the bytes of destroyed segments that the driver has freed since the last call, and those still in use.
    /// Cheap if no destruction is pending.
    fn reclaim(&self) -> Reclaimed;

    /// Returns whether the memory stores bytes. A memory that only counts bytes has no contents to read or to move.
    fn holds_bytes(&self) -> bool {
        true
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

    /// As [`Memory::collect`], but blocks the calling thread.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    #[cfg(any(not(target_arch = "wasm32"), wgpu_pool_suspend))]
    fn collect_blocking(&self, readback: Self::Readback) -> Result<Vec<u8>, DeviceError> {
        block_on(self.collect(readback))
    }

    /// Returns what the driver holds for this device, by purpose, where the backend reports it. Cost: O(driver allocations).
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        None
    }

    /// Returns the name of the memory: for a GPU, its adapter and backend.
    fn name(&self) -> String;

    /// Empties the caches of this level and of those below it. Objects in use are freed when they are no longer used.
    fn drop_caches(&self, level: CacheLevel) {
        let _ = level;
    }

    /// Returns the usage of each cache. Every cache is bounded.
    fn caches(&self) -> Vec<CacheUse> {
        Vec::new()
    }

    /// Returns the total memory of the device in bytes, where known.
    fn total_bytes(&self) -> Option<u64> {
        None
    }

    /// Calls `act` once after `delay` on a thread of the memory. Replaces an earlier call that is still pending, and makes no
    /// call after the memory is dropped. Returns false and drops `act` if the memory has no threads, which is the default.
    /// Application callbacks may run inside `act`.
    #[cfg(not(target_arch = "wasm32"))]
    fn call_after(&self, delay: Duration, act: impl FnOnce() + Send + 'static) -> bool {
        let _ = (delay, act);
        false
    }

    /// Runs the callbacks of finished work. Does not wait.
    fn poll(&self) {}

    /// Where one thread at a time can use the memory (GL), waits for the others, and excludes them until the guard is
    /// dropped. Called before a lock is acquired that is held during calls of the memory, because callbacks of the
    /// application run with the others excluded and may need that lock.
    #[doc(hidden)]
    fn exclude_threads(&self) -> ContextGuard<'_> {
        ContextGuard::default()
    }
}

/// Recording of commands in program order, through the guard that [`Memory::commands`] returns.
///
/// Offsets and lengths must be multiples of [`COPY_UNIT`].
pub trait Commands<M: Memory + ?Sized> {
    /// Writes `bytes` to the start of `to`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], [`DeviceError::OutOfRange`], or [`DeviceError::Refused`] if staging memory cannot
    /// be allocated.
    fn write(&mut self, to: &Location<M::Segment>, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Fills `to` with zero bytes.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`].
    fn clear(&mut self, to: &Location<M::Segment>) -> Result<(), DeviceError>;

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
    fn copy(&mut self, from: &Location<M::Segment>, to: &Location<M::Segment>) -> Result<(), DeviceError>;

    /// Copies the first 1 to 3 bytes of the 4-byte unit at `from` to the unit at `to`, and keeps the other bytes of the
    /// target unit. Both locations are one [`COPY_UNIT`] long.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`] if a location is not exactly one unit, or if the memory copies only whole units (the
    /// default implementation); [`DeviceError::Refused`] if memory cannot be allocated.
    fn copy_part_of_unit(
        &mut self,
        from: &Location<M::Segment>,
        to: &Location<M::Segment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        Err(DeviceError::Misaligned { offset: to.offset, length: u64::from(bytes), unit: COPY_UNIT })
    }

    /// Records a read of `from`: its bytes at this point of the program order are appended to `into`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], or [`DeviceError::OutOfRange`] if `into` has too little capacity left.
    fn read(&mut self, from: &Location<M::Segment>, into: &mut M::Readback) -> Result<(), DeviceError>;

    /// Returns whether the open batch is long enough to be submitted.
    fn due(&self) -> bool {
        false
    }

    /// Destroys a segment of `bytes` bytes after all commands recorded so far.
    fn destroy(&mut self, id: SegmentId, segment: M::Segment, bytes: u64);
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
