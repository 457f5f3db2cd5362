//! The memory that only counts.

use super::{Commands, Location, Memory, MemoryLimits, Reclaimed, check_part_of_unit, check_transfer};
use crate::error::DeviceError;
use crate::heap::SegmentId;

/// A memory without bytes: segments of any size cost nothing, so that a program's use of memory can be replayed or planned
/// on any machine. Writes and copies are checked and do nothing; reading is refused.
#[derive(Debug)]
pub struct AccountingMemory {
    limits: MemoryLimits,
}

impl AccountingMemory {
    /// A memory whose largest segment is 64 GiB, with the alignment of common GPUs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(MemoryLimits {
            alignment: 32,
            largest_segment: 1 << 36,
            largest_binding: 1 << 36,
            shared_below: 4 << 20,
        })
    }

    /// A memory that stands for a device with these limits.
    #[must_use]
    pub fn with_limits(limits: MemoryLimits) -> Self {
        Self { limits }
    }
}

impl Default for AccountingMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory for AccountingMemory {
    type Segment = ();
    type Commands<'a> = NoCommands;
    type Readback = NoReadback;

    fn limits(&self) -> MemoryLimits {
        self.limits
    }

    fn create_segment(&self, bytes: u64) -> Result<(), DeviceError> {
        let limit = self.limits.largest_segment;
        if bytes > limit { Err(DeviceError::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    fn commands(&self) -> NoCommands {
        NoCommands
    }

    fn submit(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn wait(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn reclaim(&self) -> Reclaimed {
        Reclaimed::default()
    }

    fn readback(&self, _bytes: u64) -> Result<NoReadback, DeviceError> {
        Err(DeviceError::NoBytes)
    }

    async fn collect(&self, _readback: NoReadback) -> Result<Vec<u8>, DeviceError> {
        Err(DeviceError::NoBytes)
    }

    fn driver_bytes(&self) -> Option<u64> {
        None
    }

    fn name(&self) -> String {
        "accounting".into()
    }
}

/// The commands of a memory without bytes.
#[derive(Debug)]
pub struct NoCommands;

impl Commands<AccountingMemory> for NoCommands {
    fn write(&mut self, to: &Location<()>, bytes: &[u8]) -> Result<(), DeviceError> {
        check_transfer(to, bytes.len() as u64)
    }

    fn clear(&mut self, to: &Location<()>) -> Result<(), DeviceError> {
        check_transfer(to, to.size)
    }

    fn copy(&mut self, from: &Location<()>, to: &Location<()>) -> Result<(), DeviceError> {
        check_transfer(from, from.size)?;
        check_transfer(to, from.size)
    }

    fn copy_part_of_unit(&mut self, from: &Location<()>, to: &Location<()>, bytes: u32) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)
    }

    fn read(&mut self, _from: &Location<()>, _into: &mut NoReadback) -> Result<(), DeviceError> {
        Err(DeviceError::NoBytes)
    }

    fn destroy(&mut self, _id: SegmentId, _segment: (), _bytes: u64) {}
}

/// Nothing on its way to the host.
#[derive(Debug)]
pub struct NoReadback;
