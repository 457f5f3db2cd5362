//! Sources of segments, and the recording of commands on them.
//!
//! The trait [`Memory`] has seven required methods, and two supertraits for what only some devices have: [`DeviceStatus`]
//! and [`DeviceResources`]. There are three implementations:
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
mod commands;
mod context;
mod driver_model;
pub(crate) mod gpu;
mod host;
pub(crate) mod lock;
mod memory;
mod received;
mod resources;
mod status;
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
pub use commands::Commands;
pub(crate) use commands::{check_alignment, check_part_of_unit, check_range, check_transfer};
pub use context::ContextGuard;
pub use memory::{Memory, Submit};
pub use resources::{CacheLevel, CacheUse, DeviceResources, DriverHoldings};
pub use status::{Acceptance, Deferred, DeviceStatus, Reclaimed};

use crate::error::DeviceError;
use crate::heap::SegmentId;

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
