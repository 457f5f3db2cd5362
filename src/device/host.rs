//! The memory in host RAM.

use super::lock::{Guard, Lock, rank};
use super::{
    Commands, DeviceResources, DeviceStatus, DriverHoldings, Location, Memory, MemoryLimits, Reclaimed, Submit,
    check_alignment, check_part_of_unit, check_range, check_transfer, received,
};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The options of a [`HostMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOptions {
    /// The upper limit on the bytes of all segments together; a segment that would exceed the budget is refused.
    /// Unlimited by default.
    pub budget: u64,
    /// The limits that the memory reports.
    pub limits: MemoryLimits,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            budget: u64::MAX,
            limits: MemoryLimits {
                alignment: 32,
                largest_segment: 1 << 36,
                largest_binding: 1 << 36,
                shared_below: 4 << 20,
            },
        }
    }
}

/// A memory in host RAM, for tests and for machines without a GPU.
///
/// Commands take effect immediately. A budget and injected failures (of the n-th segment, or of every k-th segment)
/// simulate a full device. Pages of a segment that were never written cost nothing where the operating system commits
/// memory lazily.
#[derive(Debug)]
pub struct HostMemory {
    options: HostOptions,
    budget: AtomicU64,
    used: AtomicU64,
    created: AtomicU64,
    fail_at: AtomicU64,
    fail_each: AtomicU64,
    freed: AtomicU64,
    /// Whether segments in host memory are refused.
    refuses_host_segments: AtomicBool,
    /// Whether there are no segments in host memory, as on GL.
    lacks_host_segments: AtomicBool,
    order: Lock<(), rank::Recorder>,
}

impl HostMemory {
    /// Creates a memory with these options.
    #[must_use]
    pub fn new(options: HostOptions) -> Self {
        Self {
            options,
            budget: AtomicU64::new(options.budget),
            used: AtomicU64::new(0),
            created: AtomicU64::new(0),
            fail_at: AtomicU64::new(u64::MAX),
            fail_each: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            refuses_host_segments: AtomicBool::new(false),
            lacks_host_segments: AtomicBool::new(false),
            order: Lock::new(()),
        }
    }

    /// Changes the budget, which simulates other programs on the same device. A budget below the bytes in use destroys
    /// no segment; new segments are refused.
    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Injects one failure: the `n`-th segment creation from now on, counted from 0, is refused.
    pub fn fail_at(&self, n: u64) {
        let created = self.created.load(Ordering::Relaxed);
        self.fail_at.store(created.saturating_add(n), Ordering::Relaxed);
    }

    /// Injects periodic failures: every `k`-th segment creation is refused, counted from the first creation of the
    /// memory. 0 disables the failures.
    pub fn fail_each(&self, k: u64) {
        self.fail_each.store(k, Ordering::Relaxed);
    }

    /// Injects failures of the host: while `refuses` is true, [`DeviceResources::create_host_segment`] fails, as if the host had no
    /// room.
    pub fn refuse_host_segments(&self, refuses: bool) {
        self.refuses_host_segments.store(refuses, Ordering::Relaxed);
    }

    /// Sets whether [`DeviceResources::has_host_segments`] is false, as on a device that cannot copy to host memory by
    /// command. Bytes then move through read-backs and uploads.
    pub fn lack_host_segments(&self, lacks: bool) {
        self.lacks_host_segments.store(lacks, Ordering::Relaxed);
    }

    /// Returns whether the creation with this number, counted from 0, has an injected failure.
    fn fails(&self, number: u64) -> bool {
        let each = self.fail_each.load(Ordering::Relaxed);
        number == self.fail_at.load(Ordering::Relaxed) || (each > 0 && (number + 1).is_multiple_of(each))
    }

    /// Returns the bytes of all segments that exist.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Default for HostMemory {
    fn default() -> Self {
        Self::new(HostOptions::default())
    }
}

/// A segment in host RAM, shared by its handles.
#[derive(Clone, Debug)]
pub struct HostSegment(Arc<Lock<Vec<u8>>>);

impl HostSegment {
    fn bytes(&self) -> Guard<'_, Vec<u8>> {
        self.0.lock()
    }
}

impl Memory for HostMemory {
    type Segment = HostSegment;
    type Commands<'a> = HostCommands<'a>;
    type Readback = HostReadback;

    fn limits(&self) -> MemoryLimits {
        self.options.limits
    }

    fn create_segment(&self, bytes: u64) -> Result<HostSegment, DeviceError> {
        let limit = self.options.limits.largest_segment;
        if bytes > limit {
            return Err(DeviceError::TooLarge { bytes, limit });
        }
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        let refused = DeviceError::Refused { bytes };
        if self.fails(number) {
            return Err(refused);
        }
        let budget = self.budget.load(Ordering::Relaxed);
        let room = |used: u64| used.checked_add(bytes).filter(|&after| after <= budget);
        if self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(refused);
        }
        let content = usize::try_from(bytes).ok().and_then(zeroed);
        content.map(|content| HostSegment(Arc::new(Lock::new(content)))).ok_or_else(|| {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            refused
        })
    }

    fn commands(&self) -> HostCommands<'_> {
        HostCommands { memory: self, _order: self.order.lock() }
    }

    fn submit(&self, _when: Submit) -> Result<(), DeviceError> {
        Ok(())
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn readback(&self, bytes: u64) -> Result<HostReadback, DeviceError> {
        let capacity = usize::try_from(bytes).map_err(|_| DeviceError::Refused { bytes })?;
        let mut content = Vec::new();
        content.try_reserve_exact(capacity).map_err(|_| DeviceError::Refused { bytes })?;
        Ok(HostReadback { content, capacity: bytes })
    }

    async fn collect(&self, readback: HostReadback) -> Result<Vec<u8>, DeviceError> {
        Ok(readback.content)
    }
}

impl DeviceStatus for HostMemory {
    fn reclaim(&self) -> Reclaimed {
        Reclaimed { freed: self.freed.swap(0, Ordering::Relaxed), pending: 0 }
    }
}

impl DeviceResources for HostMemory {
    fn has_host_segments(&self) -> bool {
        !self.lacks_host_segments.load(Ordering::Relaxed)
    }

    /// Not counted in the budget, which is that of the simulated device.
    fn create_host_segment(&self, bytes: u64) -> Result<HostSegment, DeviceError> {
        let refused = DeviceError::Refused { bytes };
        if self.refuses_host_segments.load(Ordering::Relaxed) {
            return Err(refused);
        }
        let content = usize::try_from(bytes).ok().and_then(zeroed).ok_or(refused)?;
        Ok(HostSegment(Arc::new(Lock::new(content))))
    }

    fn driver_holdings(&self) -> Option<DriverHoldings> {
        let used = self.used_bytes();
        Some(DriverHoldings { reserved: used, segments: used, ..DriverHoldings::default() })
    }

    fn name(&self) -> String {
        "host".into()
    }

    fn total_bytes(&self) -> Option<u64> {
        Some(self.budget.load(Ordering::Relaxed)).filter(|&budget| budget < u64::MAX)
    }
}

/// Allocates zeroed bytes that the operating system commits on first access. Returns `None` if the allocation is
/// refused.
///
/// `vec![0; n]` gets zero pages from the system but aborts on failure. A trial reservation of the same size detects
/// predictable failures first.
fn zeroed(bytes: usize) -> Option<Vec<u8>> {
    Vec::<u8>::new().try_reserve_exact(bytes).ok()?;
    Some(vec![0; bytes])
}

/// The command guard of a [`HostMemory`]. Commands take effect immediately.
#[derive(Debug)]
pub struct HostCommands<'a> {
    memory: &'a HostMemory,
    _order: Guard<'a, (), rank::Recorder>,
}

/// Returns the index range of the first `length` bytes of a location. Both ends fit `usize`, because the segment
/// exists.
fn indices(place: &Location<HostSegment>, length: usize) -> Result<std::ops::Range<usize>, DeviceError> {
    let out_of_range = DeviceError::OutOfRange { offset: place.offset, length: length as u64, size: place.size };
    let start = usize::try_from(place.offset).map_err(|_| out_of_range)?;
    Ok(start..start + length)
}

impl Commands for HostCommands<'_> {
    type Segment = HostSegment;
    type Readback = HostReadback;

    fn write(&mut self, to: &Location<HostSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        check_transfer(to, bytes.len() as u64)?;
        to.segment.bytes()[indices(to, bytes.len())?].copy_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        check_transfer(to, to.size)?;
        let length = usize::try_from(to.size).map_err(|_| DeviceError::Refused { bytes: to.size })?;
        to.segment.bytes()[indices(to, length)?].fill(0);
        Ok(())
    }

    fn copy(&mut self, from: &Location<HostSegment>, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        check_transfer(from, from.size)?;
        check_transfer(to, from.size)?;
        let length = usize::try_from(from.size).map_err(|_| DeviceError::Refused { bytes: from.size })?;
        let (source, target) = (indices(from, length)?, indices(to, length)?);
        if from.id == to.id {
            from.segment.bytes().copy_within(source, target.start);
        } else {
            // Taken out, so that the thread holds one of the two locks at a time: other threads wait for the order of commands.
            let mut content = std::mem::take(&mut *to.segment.bytes());
            content[target].copy_from_slice(&from.segment.bytes()[source]);
            *to.segment.bytes() = content;
        }
        Ok(())
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<HostSegment>,
        to: &Location<HostSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        let length = bytes as usize;
        let (source, target) = (indices(from, length)?, indices(to, length)?);
        let part: Vec<u8> = from.segment.bytes()[source].to_vec();
        to.segment.bytes()[target].copy_from_slice(&part);
        Ok(())
    }

    fn read(&mut self, from: &Location<HostSegment>, into: &mut HostReadback) -> Result<(), DeviceError> {
        check_alignment(from.offset, from.size)?;
        check_range(into.content.len() as u64, from.size, into.capacity)?;
        let length = usize::try_from(from.size).map_err(|_| DeviceError::Refused { bytes: from.size })?;
        received::append(&from.segment.bytes()[indices(from, length)?], &mut into.content)
    }

    fn destroy(&mut self, _id: SegmentId, segment: HostSegment, bytes: u64) {
        // Readers may still hold a handle. The bytes are freed now, as for a destroyed wgpu buffer.
        *segment.bytes() = Vec::new();
        self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
        self.memory.freed.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes that were read from a [`HostMemory`].
#[derive(Debug)]
pub struct HostReadback {
    content: Vec<u8>,
    capacity: u64,
}
