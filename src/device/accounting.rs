//! The memory that counts bytes and stores none.

use super::driver_model::{DriverModel, Place};
use super::lock::{Guard, Lock};
use super::{
    Acceptance, Commands, DeviceResources, DeviceStatus, DriverHoldings, Location, Memory, MemoryLimits, Reclaimed,
    Submit, check_part_of_unit, check_transfer,
};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::atomic::{AtomicU64, Ordering};

/// A memory without storage, for replaying or planning a program's memory use on any machine.
///
/// Segments of any size cost nothing. Writes and copies are checked and have no effect. Reads return
/// [`DeviceError::NoBytes`].
///
/// [`DeviceResources::driver_holdings`] returns the bytes that the driver of a GPU would hold for these segments, according to a
/// model: segments up to 4 MiB share blocks of 4 MiB, as wgpu places them on Vulkan and DX12 with this crate's memory hints.
#[derive(Debug)]
pub struct AccountingMemory {
    limits: MemoryLimits,
    /// The upper limit on the bytes of all segments together.
    budget: AtomicU64,
    used: AtomicU64,
    driver: Lock<DriverModel>,
    /// `None` if the device answers at once. Otherwise, as in a browser while the program does not return to the event loop: bytes of destroyed
    /// segments that the device still uses.
    unfinished: Option<AtomicU64>,
    has_host_segments: bool,
}

/// A segment of a memory without bytes: its location in the model of the driver's blocks, and whether the device has accepted it.
#[derive(Clone, Copy, Debug)]
pub struct AccountingSegment {
    place: Place,
    accepted: bool,
}

impl AccountingMemory {
    /// Creates a memory whose largest segment is 64 GiB, with an alignment of 32 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(MemoryLimits {
            alignment: 32,
            largest_segment: 1 << 36,
            largest_binding: 1 << 36,
            shared_below: 4 << 20,
        })
    }

    /// Creates a memory that models a device with these limits.
    #[must_use]
    pub fn with_limits(limits: MemoryLimits) -> Self {
        let (budget, used) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { limits, budget, used, driver: Lock::default(), unfinished: None, has_host_segments: true }
    }

    /// Creates a memory that models another one from now on. If nothing can wait for the other one's device, this one does not answer
    /// either: new segments are not accepted yet, and the device uses destroyed ones until it has answered.
    pub(crate) fn modelling(memory: &impl Memory) -> Self {
        let unfinished = (!memory.can_block()).then(AtomicU64::default);
        let has_host_segments = memory.has_host_segments();
        Self { unfinished, has_host_segments, ..Self::with_limits(memory.limits()) }
    }

    /// Creates a segment in host memory, which the driver's model does not count and which is not destroyed.
    pub(crate) const fn host_segment() -> AccountingSegment {
        AccountingSegment { place: Place::Dedicated, accepted: true }
    }

    /// Creates a segment that exists in the memory that this one models.
    pub(crate) fn existing_segment(&self, bytes: u64, accepted: bool) -> AccountingSegment {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        AccountingSegment { place: self.driver().allocate(bytes), accepted }
    }

    /// Sets a budget: a segment is refused if all segments together would exceed `bytes` bytes, as on a full device.
    #[must_use]
    pub fn with_budget(self, bytes: u64) -> Self {
        self.set_budget(bytes);
        self
    }

    /// Sets the budget. A budget below the bytes in use destroys no segment; new segments are refused.
    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of all segments that exist.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the peak of the reserved bytes in [`DeviceResources::driver_holdings`].
    #[must_use]
    pub fn driver_peak(&self) -> u64 {
        self.driver().peak()
    }

    fn driver(&self) -> Guard<'_, DriverModel> {
        self.driver.lock()
    }
}

impl Default for AccountingMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory for AccountingMemory {
    type Segment = AccountingSegment;
    type Commands<'a> = NoCommands<'a>;
    type Readback = NoReadback;

    const HOLDS_BYTES: bool = false;

    fn limits(&self) -> MemoryLimits {
        self.limits
    }

    fn create_segment(&self, bytes: u64) -> Result<AccountingSegment, DeviceError> {
        let limit = self.limits.largest_segment;
        if bytes > limit {
            return Err(DeviceError::TooLarge { bytes, limit });
        }
        let budget = self.budget.load(Ordering::Relaxed);
        let room = |used: u64| used.checked_add(bytes).filter(|&after| after <= budget);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.map_err(|_| DeviceError::Refused { bytes })?;
        Ok(AccountingSegment { place: self.driver().allocate(bytes), accepted: self.unfinished.is_none() })
    }

    fn commands(&self) -> NoCommands<'_> {
        NoCommands(self)
    }

    fn submit(&self, _when: Submit) -> Result<(), DeviceError> {
        Ok(())
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn readback(&self, _bytes: u64) -> Result<NoReadback, DeviceError> {
        Err(DeviceError::NoBytes)
    }

    async fn collect(&self, _readback: NoReadback) -> Result<Vec<u8>, DeviceError> {
        Err(DeviceError::NoBytes)
    }
}

impl DeviceStatus for AccountingMemory {
    fn can_block(&self) -> bool {
        self.unfinished.is_none()
    }

    fn acceptance(&self, segment: &AccountingSegment) -> Acceptance {
        if segment.accepted { Acceptance::Accepted } else { Acceptance::Pending }
    }

    fn reclaim(&self) -> Reclaimed {
        let pending = self.unfinished.as_ref().map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        Reclaimed { pending, ..Reclaimed::default() }
    }
}

impl DeviceResources for AccountingMemory {
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        let driver = self.driver();
        let (reserved, segments) = (driver.held(), self.used_bytes().min(driver.held()));
        Some(DriverHoldings { reserved, segments, unused: reserved - segments, ..DriverHoldings::default() })
    }

    fn has_host_segments(&self) -> bool {
        self.has_host_segments
    }

    fn create_host_segment(&self, _bytes: u64) -> Result<AccountingSegment, DeviceError> {
        if self.has_host_segments {
            Ok(Self::host_segment())
        } else {
            Err(DeviceError::Unsupported { feature: "copies to host memory by command" })
        }
    }

    fn name(&self) -> String {
        "accounting".into()
    }
}

/// The command guard of [`AccountingMemory`].
#[derive(Debug)]
pub struct NoCommands<'a>(&'a AccountingMemory);

impl Commands for NoCommands<'_> {
    type Segment = AccountingSegment;
    type Readback = NoReadback;

    fn write(&mut self, to: &Location<AccountingSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        check_transfer(to, bytes.len() as u64)
    }

    fn clear(&mut self, to: &Location<AccountingSegment>) -> Result<(), DeviceError> {
        check_transfer(to, to.size)
    }

    fn copy(
        &mut self,
        from: &Location<AccountingSegment>,
        to: &Location<AccountingSegment>,
    ) -> Result<(), DeviceError> {
        check_transfer(from, from.size)?;
        check_transfer(to, from.size)
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<AccountingSegment>,
        to: &Location<AccountingSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)
    }

    fn read(&mut self, _from: &Location<AccountingSegment>, _into: &mut NoReadback) -> Result<(), DeviceError> {
        Err(DeviceError::NoBytes)
    }

    fn destroy(&mut self, _id: SegmentId, segment: AccountingSegment, bytes: u64) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.0.driver().free(segment.place, bytes);
        if let Some(unfinished) = &self.0.unfinished {
            unfinished.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// The readback of [`AccountingMemory`], which is never created: a memory without storage has nothing to read.
#[derive(Debug)]
pub struct NoReadback;
