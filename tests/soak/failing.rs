//! A memory in which every k-th operation that can run out of memory fails: segments, staging, bounce buffers,
//! readback, merging.

use crate::budget::Budget;
use crate::program::{Abilities, Extent, Text, World, run_seed};
use crate::subjects::assert_consistent;
use std::sync::atomic::{AtomicU64, Ordering};
use wgpu_pool::device::{
    Commands, DeviceResources, DeviceStatus, HostCommands, HostReadback, HostSegment, Location, Reclaimed,
};
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{DeviceError, DriverHoldings, HostMemory, Memory, MemoryLimits, Submit};

#[derive(Debug)]
struct Failing {
    host: HostMemory,
    each: u64,
    operations: AtomicU64,
}

impl Failing {
    /// Counts an operation. Every k-th one fails.
    fn turn(&self, bytes: u64) -> Result<(), DeviceError> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed) + 1;
        if number.is_multiple_of(self.each) { Err(DeviceError::Refused { bytes }) } else { Ok(()) }
    }
}

struct FailingCommands<'a>(&'a Failing, HostCommands<'a>);

impl Memory for Failing {
    type Segment = HostSegment;
    type Commands<'a> = FailingCommands<'a>;
    type Readback = HostReadback;

    fn limits(&self) -> MemoryLimits {
        self.host.limits()
    }

    fn create_segment(&self, bytes: u64) -> Result<HostSegment, DeviceError> {
        self.turn(bytes)?;
        self.host.create_segment(bytes)
    }

    fn commands(&self) -> FailingCommands<'_> {
        FailingCommands(self, self.host.commands())
    }

    fn submit(&self, when: Submit) -> Result<(), DeviceError> {
        self.host.submit(when)
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        self.host.wait_blocking()
    }

    fn readback(&self, bytes: u64) -> Result<HostReadback, DeviceError> {
        self.turn(bytes)?;
        self.host.readback(bytes)
    }

    async fn collect(&self, readback: HostReadback) -> Result<Vec<u8>, DeviceError> {
        self.host.collect(readback).await
    }
}

impl DeviceStatus for Failing {
    fn reclaim(&self) -> Reclaimed {
        self.host.reclaim()
    }
}

impl DeviceResources for Failing {
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        self.host.driver_holdings()
    }

    fn name(&self) -> String {
        "failing".into()
    }
}

impl Commands for FailingCommands<'_> {
    type Segment = HostSegment;
    type Readback = HostReadback;

    fn write(&mut self, to: &Location<HostSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.0.turn(bytes.len() as u64)?;
        self.1.write(to, bytes)
    }

    fn clear(&mut self, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        self.1.clear(to)
    }

    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        if bytes > 0 { self.0.turn(bytes) } else { Ok(()) }
    }

    fn copy(&mut self, from: &Location<HostSegment>, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        self.1.copy(from, to)
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<HostSegment>,
        to: &Location<HostSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        self.0.turn(u64::from(bytes))?;
        self.1.copy_part_of_unit(from, to, bytes)
    }

    fn read(&mut self, from: &Location<HostSegment>, into: &mut HostReadback) -> Result<(), DeviceError> {
        self.1.read(from, into)
    }

    fn destroy(&mut self, id: SegmentId, segment: HostSegment, bytes: u64) {
        self.1.destroy(id, segment, bytes);
    }
}

// Case 38, for every operation that may fail.
#[test]
fn no_invariant_is_broken_and_no_byte_is_lost_when_every_kth_operation_fails() {
    let budget = Budget::new("faults", 12);
    let text = Text::new();
    let abilities = Abilities { holds_bytes: true, runs_kernels: true, shows_places: true };
    let mut programs = 0;
    for seed in budget.seeds() {
        let extent = Extent { steps: 600, largest: 1 << 20, most_live: 16 << 20, limits: true, faults: true };
        let world = || {
            // From one failure in two operations to one in 41. If every operation failed, the pool could do nothing.
            let failing = Failing { host: HostMemory::default(), each: seed % 40 + 2, operations: AtomicU64::new(0) };
            Some(World::new(failing, seed, extent, abilities, &text, |_, _| {}, assert_consistent))
        };
        run_seed(seed, extent, &world);
        programs += 1;
    }
    budget.report(&format!("{programs} programs"));
}
