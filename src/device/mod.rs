//! Where segments come from, and how commands reach them.
//!
//! One small trait, [`Memory`], and three memories behind it:
//! - [`AccountingMemory`] counts and holds no bytes: any size runs anywhere;
//! - [`HostMemory`] holds its bytes in the program's own memory, with a budget and planned failures, for tests and for
//!   machines without a GPU;
//! - [`Gpu`] holds them in wgpu buffers.
//!
//! # Commands
//! All commands of a memory are in one order, the order in which they were recorded, as on a CUDA stream. They are
//! recorded through [`Memory::commands`], which hands out a guard: while one thread holds it, no other records. Whoever
//! turns a block into a [`Location`] does so with the guard in hand, so that no move can slip in between. Destroying a
//! segment is a command too: it takes effect after everything that was recorded before it.

mod accounting;
pub(crate) mod gpu;
mod host;

pub use accounting::{AccountingMemory, NoCommands, NoReadback};
pub use gpu::{Fault, Gpu, GpuCommands, GpuOptions, GpuReadback, GpuSegment};
pub use host::{HostCommands, HostMemory, HostOptions, HostReadback, HostSegment};

use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use wgpu::WasmNotSendSync;

/// The unit of offsets and lengths of transfers, in bytes: that of WebGPU's buffer copies.
pub const COPY_UNIT: u64 = 4;

/// Where some bytes lie at the moment: a range of one segment. It holds until the next command is recorded.
#[derive(Clone, Debug)]
pub struct Location<S> {
    /// The segment's id in the heap.
    pub id: SegmentId,
    /// The segment.
    pub segment: S,
    /// First byte, from the segment's start.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl<S: Clone> Location<S> {
    /// The part of it that starts at `offset` and is `size` bytes long.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if the part reaches beyond the whole.
    pub fn part(&self, offset: u64, size: u64) -> Result<Self, DeviceError> {
        check_range(offset, size, self.size)?;
        Ok(Self { offset: self.offset + offset, size, ..self.clone() })
    }
}

/// What a memory can do. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Every binding's offset must be a multiple of this; the heap's granule is at least this.
    pub alignment: u64,
    /// The largest segment.
    pub largest_segment: u64,
    /// The largest range that a shader can be bound to.
    pub largest_binding: u64,
    /// A segment above this size goes back to the driver whole when it is destroyed; one up to it may share the
    /// driver's own block with others.
    pub shared_below: u64,
}

/// What became of destroyed segments since [`Memory::reclaim`] was last called. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Given back by now.
    pub freed: u64,
    /// Still held: commands that are not finished name them.
    pub pending: u64,
}

/// What the driver holds for a device. Sizes are in bytes.
///
/// Law: segments + own + foreign + unused = reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DriverHoldings {
    /// All of it: the driver's own blocks.
    pub reserved: u64,
    /// Segments of pools on this device, those on their way back included, with what alignment adds.
    pub segments: u64,
    /// Other buffers of this crate: staging, read-back, parameters.
    pub own: u64,
    /// Buffers and textures of the rest of the program, and wgpu's own.
    pub foreign: u64,
    /// Parts of the driver's blocks that nothing is in.
    pub unused: u64,
}

/// How full one of the caches is. What a cache holds can be made again, at a cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CacheUse {
    /// What the cache holds, such as `pipelines`.
    pub name: Cow<'static, str>,
    /// Entries that it holds now.
    pub entries: u64,
    /// The most entries that it ever holds, where its bound is one of entries.
    pub most_entries: Option<u64>,
    /// Bytes that it holds now, where they are known.
    pub bytes: Option<u64>,
    /// The most bytes that it ever holds, where its bound is one of bytes.
    pub most_bytes: Option<u64>,
    /// Entries made so far. For pipelines, compilations.
    pub made: u64,
}

impl CacheUse {
    /// An empty cache of this name, with no bound yet.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), ..Self::default() }
    }
}

/// A source of segments. The methods whose documentation says so wait for the device; the others do not.
pub trait Memory: WasmNotSendSync + fmt::Debug + 'static {
    /// A segment: a cheap handle to its bytes.
    type Segment: Clone + fmt::Debug + WasmNotSendSync;
    /// The guard through which commands are recorded.
    type Commands<'a>: Commands<Self>
    where
        Self: 'a;
    /// Bytes on their way to the host.
    type Readback: fmt::Debug;

    /// What the memory can do.
    fn limits(&self) -> MemoryLimits;

    /// Checks that the memory is not known to have failed. Must be cheap: every allocation calls it.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], or the error of a batch of commands.
    fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// Makes a segment of `bytes` bytes.
    ///
    /// # Errors
    /// [`DeviceError::TooLarge`] above the largest segment, [`DeviceError::Refused`] when there is no room, and
    /// [`DeviceError::Lost`]. The memory stays usable, except when lost.
    fn create_segment(&self, bytes: u64) -> Result<Self::Segment, DeviceError>;

    /// The right to record. Held by one thread at a time; hold it briefly, and take no lock but the heap's meanwhile.
    fn commands(&self) -> Self::Commands<'_>;

    /// Hands what was recorded to the device, in order. Waits for other threads that are handing over some of it, and while the device
    /// is more than a bounded number of batches behind (32 on a GPU).
    ///
    /// # Errors
    /// What the device found wrong with it.
    fn submit(&self) -> Result<(), DeviceError>;

    /// Has what was recorded handed to the device, in order, but not necessarily before this returns: another thread may do it. Waits
    /// while the device is more than a bounded number of batches behind (32 on a GPU).
    ///
    /// # Errors
    /// As [`Memory::submit`]. What another thread finds wrong, the next call returns.
    fn submit_soon(&self) -> Result<(), DeviceError> {
        self.submit()
    }

    /// Has what was recorded handed to the device, in order, and destroyed segments given back, without waiting for the device or for
    /// another thread: what would have to wait is left to a thread of the memory, which does it without a further call. A memory
    /// without threads submits.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn try_submit(&self) -> Result<(), DeviceError> {
        self.submit()
    }

    /// Submits, then waits until the device has finished everything. In a browser, where nothing can wait, it only submits.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn wait(&self) -> Result<(), DeviceError>;

    /// What is behind a failure, asked of the device: a device that is lost fails in all kinds of ways, and says that it is lost
    /// only when it is asked. Callbacks may run inside, so no lock may be held.
    fn explain(&self, error: DeviceError) -> DeviceError {
        error
    }

    /// Takes note of destroyed segments that are back with the driver. Each byte is reported as freed once. Costs next to
    /// nothing while none is on its way.
    fn reclaim(&self) -> Reclaimed;

    /// Whether the memory holds bytes. One that only counts has none to read, and none that a move could lose.
    fn holds_bytes(&self) -> bool {
        true
    }

    /// Makes room on the host's side for `bytes` bytes to be read.
    ///
    /// # Errors
    /// As [`Memory::create_segment`].
    fn readback(&self, bytes: u64) -> Result<Self::Readback, DeviceError>;

    /// Submits, and gives the bytes that were read, in the order in which they were recorded, once the device is there.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    fn collect(
        &self,
        readback: Self::Readback,
    ) -> impl Future<Output = Result<Vec<u8>, DeviceError>> + wgpu::WasmNotSend;

    /// The same, waiting on this thread.
    ///
    /// # Errors
    /// As [`Memory::submit`].
    #[cfg(not(target_arch = "wasm32"))]
    fn collect_blocking(&self, readback: Self::Readback) -> Result<Vec<u8>, DeviceError> {
        pollster::block_on(self.collect(readback))
    }

    /// Bytes that the driver holds for this device, where the backend can tell.
    fn driver_bytes(&self) -> Option<u64>;

    /// The same, told apart by what it is for. Cost: the driver's allocations are gone through.
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        None
    }

    /// What the memory is called: for a GPU its adapter and backend.
    fn name(&self) -> String;

    /// Gives up what the memory keeps for its own speed (staging, caches) and can make again.
    fn drop_caches(&self) {}

    /// The same, with what is dear to make again: everything that isn't needed to go on.
    fn drop_all_caches(&self) {
        self.drop_caches();
    }

    /// Empties every cache, with compiled kernels too, which take milliseconds each to make again. What is in use stays until it is
    /// no longer.
    fn clear_caches(&self) {
        self.drop_all_caches();
    }

    /// The caches and how full they are. Each is bounded.
    fn caches(&self) -> Vec<CacheUse> {
        Vec::new()
    }

    /// All memory that the device has, in bytes, where that is known.
    fn total_bytes(&self) -> Option<u64> {
        None
    }

    /// Lets the callbacks of finished work run. Doesn't wait.
    fn poll(&self) {}
}

/// Commands in program order, recorded through the guard that [`Memory::commands`] hands out.
///
/// Offsets and lengths must be multiples of [`COPY_UNIT`].
pub trait Commands<M: Memory + ?Sized> {
    /// Writes `bytes` to the start of `to`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], [`DeviceError::OutOfRange`], or a lack of staging memory.
    fn write(&mut self, to: &Location<M::Segment>, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Fills `to` with zero bytes.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`].
    fn clear(&mut self, to: &Location<M::Segment>) -> Result<(), DeviceError>;

    /// Creates the bounce buffer that copies of up to `bytes` bytes within one segment go through, so that none of them fails for lack
    /// of it. Does nothing for zero bytes.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] when there is no room for the buffer.
    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let _ = bytes;
        Ok(())
    }

    /// Copies all of `from` to the start of `to`. The two may lie in one segment; they may overlap if `to` begins before `from`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], [`DeviceError::OutOfRange`], or a lack of memory for the bounce buffer of a copy within
    /// one segment.
    fn copy(&mut self, from: &Location<M::Segment>, to: &Location<M::Segment>) -> Result<(), DeviceError>;

    /// Copies the first `bytes` bytes, 1 to 3, of the unit at `from` over those of the unit at `to`, whose other bytes stay as
    /// they are. Both locations are of one [`COPY_UNIT`].
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`] where a location is no unit, and always in a memory that only copies whole units, which is
    /// the default; a lack of memory.
    fn copy_part_of_unit(
        &mut self,
        from: &Location<M::Segment>,
        to: &Location<M::Segment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        Err(DeviceError::Misaligned { offset: to.offset, length: u64::from(bytes), unit: COPY_UNIT })
    }

    /// Appends the bytes of `from`, as they are at this point of the order, to `into`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`], or [`DeviceError::OutOfRange`] when `into` has no room left.
    fn read(&mut self, from: &Location<M::Segment>, into: &mut M::Readback) -> Result<(), DeviceError>;

    /// Whether enough is recorded that submitting it now pays.
    fn due(&self) -> bool {
        false
    }

    /// Destroys a segment of `bytes` bytes after everything recorded so far.
    fn destroy(&mut self, id: SegmentId, segment: M::Segment, bytes: u64);
}

/// Checks that a part lies within a whole of `size` bytes.
pub(crate) fn check_range(offset: u64, length: u64, size: u64) -> Result<(), DeviceError> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(DeviceError::OutOfRange { offset, length, size }),
    }
}

/// Checks that a transfer is made of whole copy units.
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
