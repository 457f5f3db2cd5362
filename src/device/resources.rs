//! The resources of a device apart from segments: host memory, caches, a timer, and figures for reports.

use super::Memory;
use super::context::ContextGuard;
use crate::error::DeviceError;
use std::borrow::Cow;
use std::fmt;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;
use wgpu::WasmNotSendSync;

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
    /// Bytes of the objects of this kind that recorded or submitted commands use, where known. These objects are not in the
    /// cache now: they return to it, or are freed, when the device has finished with them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub in_use: Option<u64>,
    /// Entries created so far. For pipelines, this counts compilations.
    pub made: u64,
}

impl CacheUse {
    /// Creates an entry for an empty cache with this name and no capacity.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), ..Self::default() }
    }
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

/// The resources of a device apart from its segments: host memory that commands can reach, caches, a timer, and figures for reports.
///
/// Each method has a default, which stands for a device that has none of these.
pub trait DeviceResources: WasmNotSendSync + fmt::Debug + 'static {
    /// Returns the name of the memory for reports: for a GPU, its adapter and backend. By default, the name of the type.
    fn name(&self) -> String {
        std::any::type_name::<Self>().into()
    }

    /// Returns the total memory of the device in bytes, where known.
    fn total_bytes(&self) -> Option<u64> {
        None
    }

    /// Returns what the driver holds for this device, by purpose, where the backend reports it. Cost: O(driver allocations).
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        None
    }

    /// Returns whether commands can copy to host memory: whether [`DeviceResources::create_host_segment`] is supported. Bytes reach
    /// the host through [`Memory::readback`] otherwise, which is the default.
    fn has_host_segments(&self) -> bool {
        false
    }

    /// Creates a segment of `bytes` bytes in host memory that [`Commands::copy`](super::Commands::copy) and
    /// [`Commands::clear`](super::Commands::clear) accept, with the id
    /// [`SegmentId::NEVER`](crate::heap::SegmentId::NEVER). It does not count as a segment of the device, and is freed when
    /// the last handle is dropped and the device has finished with it.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] when the host has no room. The memory stays usable. [`DeviceError::Unsupported`] without
    /// [`DeviceResources::has_host_segments`], which is the default.
    fn create_host_segment(&self, bytes: u64) -> Result<Self::Segment, DeviceError>
    where
        Self: Memory,
    {
        let _ = bytes;
        Err(DeviceError::Unsupported { feature: "copies to host memory by command" })
    }

    /// Returns the usage of each cache. Every cache is bounded.
    fn caches(&self) -> Vec<CacheUse> {
        Vec::new()
    }

    /// Empties the caches of this level and of those below it. Objects in use are freed when they are no longer used.
    fn drop_caches(&self, level: CacheLevel) {
        let _ = level;
    }

    /// Calls `act` once after `delay` on a thread of the memory. Replaces an earlier call that is still pending, and makes no
    /// call after the memory is dropped. Returns false and drops `act` if the memory has no threads, which is the default.
    /// Application callbacks may run inside `act`.
    #[cfg(not(target_arch = "wasm32"))]
    fn call_after(&self, delay: Duration, act: impl FnOnce() + Send + 'static) -> bool {
        let _ = (delay, act);
        false
    }

    /// On a memory that one thread at a time can use (GL), waits for the others, and excludes them until the guard is
    /// dropped. Called before a lock is acquired that is held during calls of the memory, because callbacks of the
    /// application run with the others excluded and may need that lock.
    #[doc(hidden)]
    fn exclude_threads(&self) -> ContextGuard<'_> {
        ContextGuard::default()
    }
}
