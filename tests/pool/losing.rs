//! A memory whose device is lost at the k-th point of a program. Each call that the pool makes has two points: before the memory
//! beneath receives the call, and after it has returned.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wgpu_pool::device::{
    Acceptance, CacheLevel, CacheUse, Commands, ContextGuard, Deferred, DeviceResources, DeviceStatus, Location,
    Memory, MemoryLimits, Reclaimed, Submit,
};
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{DeviceError, DriverHoldings, Gpu, HostMemory};

/// A memory that can lose its device.
pub(crate) trait Lose: Memory {
    /// Whether the memory has no device to lose, so that [`Losing`] returns the errors.
    const IS_SIMULATED: bool;

    fn lose(&self);
}

impl Lose for HostMemory {
    const IS_SIMULATED: bool = true;

    fn lose(&self) {}
}

impl Lose for Gpu {
    const IS_SIMULATED: bool = false;

    fn lose(&self) {
        self.device().destroy();
    }
}

/// When a simulated loss is reported. A GPU decides this itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// By each call.
    AtOnce,
    /// By calls that wait and by calls after these. Commands are accepted before, and have no effect.
    WhenWaiting,
}

#[derive(Debug)]
pub(crate) struct Losing<M> {
    beneath: M,
    report: Report,
    /// The point of the loss, counted from 1.
    at: u64,
    points: AtomicU64,
    is_lost: AtomicBool,
    is_reported: AtomicBool,
}

impl<M: Lose> Losing<M> {
    /// Creates a memory that loses its device at the point `at`, counted from 1.
    pub(crate) fn new(beneath: M, report: Report, at: u64) -> Self {
        let (points, is_lost, is_reported) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { beneath, report, at, points, is_lost, is_reported }
    }

    /// The number of points so far.
    pub(crate) fn points(&self) -> u64 {
        self.points.load(Ordering::Relaxed)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    fn point(&self) {
        if self.points.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.is_lost.store(true, Ordering::Relaxed);
            self.beneath.lose();
        }
    }

    /// Makes a call of the memory beneath between two points. `waits` tells whether the call waits for the device.
    fn call<T>(&self, waits: bool, call: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        self.point();
        self.refusal(waits)?;
        let result = call()?;
        self.point();
        self.refusal(waits)?;
        Ok(result)
    }

    /// The error of a simulated loss.
    fn refusal(&self, waits: bool) -> Result<(), DeviceError> {
        if !M::IS_SIMULATED || !self.is_lost() {
            return Ok(());
        }
        if waits || self.report == Report::AtOnce {
            self.is_reported.store(true, Ordering::Relaxed);
        }
        self.reported()
    }

    fn reported(&self) -> Result<(), DeviceError> {
        let is_reported = self.is_reported.load(Ordering::Relaxed);
        if is_reported { Err(DeviceError::Lost { reason: "simulated".into() }) } else { Ok(()) }
    }
}

impl<M: Lose> Memory for Losing<M> {
    type Segment = M::Segment;
    type Commands<'a> = LosingCommands<'a, M>;
    type Readback = M::Readback;

    const HOLDS_BYTES: bool = M::HOLDS_BYTES;

    fn limits(&self) -> MemoryLimits {
        self.beneath.limits()
    }

    fn create_segment(&self, bytes: u64) -> Result<M::Segment, DeviceError> {
        self.point();
        self.refusal(false)?;
        let created = self.beneath.create_segment(bytes);
        // A segment that was created is returned, so that the pool destroys it.
        self.point();
        created
    }

    fn commands(&self) -> LosingCommands<'_, M> {
        self.point();
        LosingCommands { memory: self, beneath: self.beneath.commands() }
    }

    fn submit(&self, when: Submit) -> Result<(), DeviceError> {
        self.call(false, || self.beneath.submit(when))
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        self.call(true, || self.beneath.wait_blocking())
    }

    fn readback(&self, bytes: u64) -> Result<M::Readback, DeviceError> {
        self.call(false, || self.beneath.readback(bytes))
    }

    fn collect(&self, readback: M::Readback) -> impl Future<Output = Result<Vec<u8>, DeviceError>> + wgpu::WasmNotSend {
        self.point();
        // The loss may come while the bytes are awaited.
        let collecting = self.beneath.collect(readback);
        async move {
            self.refusal(true)?;
            let bytes = collecting.await?;
            self.point();
            self.refusal(true)?;
            Ok(bytes)
        }
    }
}

impl<M: Lose> DeviceStatus for Losing<M> {
    fn check(&self) -> Result<(), DeviceError> {
        self.point();
        self.reported()?;
        self.beneath.check()
    }

    fn explain(&self, error: DeviceError) -> DeviceError {
        self.refusal(true).err().unwrap_or_else(|| self.beneath.explain(error))
    }

    fn poll(&self) {
        self.beneath.poll();
    }

    fn can_block(&self) -> bool {
        self.beneath.can_block()
    }

    fn acceptance(&self, segment: &<Self as Memory>::Segment) -> Acceptance {
        self.beneath.acceptance(segment)
    }

    fn defer_refusals<R>(&self, act: impl FnOnce() -> R) -> (R, Deferred) {
        self.beneath.defer_refusals(act)
    }

    fn reclaim(&self) -> Reclaimed {
        self.beneath.reclaim()
    }
}

impl<M: Lose> DeviceResources for Losing<M> {
    fn name(&self) -> String {
        self.beneath.name()
    }

    fn total_bytes(&self) -> Option<u64> {
        self.beneath.total_bytes()
    }

    fn driver_holdings(&self) -> Option<DriverHoldings> {
        self.beneath.driver_holdings()
    }

    fn has_host_segments(&self) -> bool {
        self.beneath.has_host_segments()
    }

    fn create_host_segment(&self, bytes: u64) -> Result<<Self as Memory>::Segment, DeviceError> {
        self.call(false, || self.beneath.create_host_segment(bytes))
    }

    fn caches(&self) -> Vec<CacheUse> {
        self.beneath.caches()
    }

    fn drop_caches(&self, level: CacheLevel) {
        self.beneath.drop_caches(level);
    }

    fn exclude_threads(&self) -> ContextGuard<'_> {
        self.beneath.exclude_threads()
    }
}

pub(crate) struct LosingCommands<'a, M: Lose> {
    memory: &'a Losing<M>,
    beneath: M::Commands<'a>,
}

impl<M: Lose> Commands for LosingCommands<'_, M> {
    type Segment = M::Segment;
    type Readback = M::Readback;

    fn write(&mut self, to: &Location<M::Segment>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.write(to, bytes))
    }

    fn clear(&mut self, to: &Location<M::Segment>) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.clear(to))
    }

    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.prepare_bounce_buffer(bytes))
    }

    fn has_accepted_bounce_buffer(&self) -> bool {
        self.beneath.has_accepted_bounce_buffer()
    }

    fn copy(&mut self, from: &Location<M::Segment>, to: &Location<M::Segment>) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.copy(from, to))
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<M::Segment>,
        to: &Location<M::Segment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.copy_part_of_unit(from, to, bytes))
    }

    fn read(&mut self, from: &Location<M::Segment>, into: &mut M::Readback) -> Result<(), DeviceError> {
        self.memory.call(false, || self.beneath.read(from, into))
    }

    fn due(&self) -> bool {
        self.beneath.due()
    }

    fn destroy(&mut self, id: SegmentId, segment: M::Segment, bytes: u64) {
        self.memory.point();
        self.beneath.destroy(id, segment, bytes);
        self.memory.point();
    }
}
