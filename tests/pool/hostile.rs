//! A device that refuses what a move needs: bounce buffers, readback buffers, staging, or memory that was just
//! released.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use wgpu_pool::device::{
    Commands, DeviceResources, DeviceStatus, HostCommands, HostReadback, HostSegment, Location, Memory, MemoryLimits,
    Reclaimed, Submit,
};
use wgpu_pool::heap::SegmentId;
use wgpu_pool::{DeviceError, DriverHoldings, HostMemory, HostOptions};

/// The injected refusals.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) bounce_buffers: AtomicBool,
    pub(crate) readbacks: AtomicBool,
    /// If not 0, readback buffers above this many bytes are refused.
    pub(crate) largest_readback: AtomicU64,
    /// If not 0, writes after this many are refused. Counts down.
    pub(crate) writes_left: AtomicU64,
    /// If not 0, the budget falls to this at the next wait, as if another program took the released memory.
    pub(crate) budget_after_wait: AtomicU64,
}

/// The action of another thread or of a callback at one point.
pub(crate) type Action = Box<dyn FnMut() + Send>;

/// The points at which another thread acts: inside of a call that waits for the device, in this order.
#[derive(Default)]
pub(crate) struct Meanwhile {
    pub(crate) collecting: Mutex<VecDeque<Action>>,
    pub(crate) waiting: Mutex<VecDeque<Action>>,
    pub(crate) creating: Mutex<VecDeque<Action>>,
    /// Before the recorder is returned.
    pub(crate) recording: Mutex<VecDeque<Action>>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meanwhile").finish_non_exhaustive()
    }
}

fn act(actions: &Mutex<VecDeque<Action>>) {
    let action = actions.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    if let Some(mut action) = action {
        action();
    }
}

#[derive(Debug)]
pub(crate) struct Hostile {
    pub(crate) host: HostMemory,
    pub(crate) refuses: Refusals,
    pub(crate) meanwhile: Meanwhile,
}

pub(crate) struct HostileCommands<'a> {
    host: HostCommands<'a>,
    refuses: &'a Refusals,
}

impl Hostile {
    pub(crate) fn new(budget: u64) -> Self {
        let host = HostMemory::new(HostOptions { budget, ..HostOptions::default() });
        Self { host, refuses: Refusals::default(), meanwhile: Meanwhile::default() }
    }
}

impl Memory for Hostile {
    type Segment = HostSegment;
    type Commands<'a> = HostileCommands<'a>;
    type Readback = HostReadback;

    fn limits(&self) -> MemoryLimits {
        self.host.limits()
    }

    fn create_segment(&self, bytes: u64) -> Result<HostSegment, DeviceError> {
        act(&self.meanwhile.creating);
        self.host.create_segment(bytes)
    }

    fn commands(&self) -> HostileCommands<'_> {
        act(&self.meanwhile.recording);
        HostileCommands { host: self.host.commands(), refuses: &self.refuses }
    }

    fn submit(&self, when: Submit) -> Result<(), DeviceError> {
        self.host.submit(when)
    }

    fn wait_blocking(&self) -> Result<(), DeviceError> {
        act(&self.meanwhile.waiting);
        let budget = self.refuses.budget_after_wait.swap(0, Ordering::Relaxed);
        if budget > 0 {
            self.host.set_budget(budget);
        }
        self.host.wait_blocking()
    }

    fn readback(&self, bytes: u64) -> Result<HostReadback, DeviceError> {
        let largest = self.refuses.largest_readback.load(Ordering::Relaxed);
        if self.refuses.readbacks.load(Ordering::Relaxed) || (largest > 0 && bytes > largest) {
            return Err(DeviceError::Refused { bytes });
        }
        self.host.readback(bytes)
    }

    async fn collect(&self, readback: HostReadback) -> Result<Vec<u8>, DeviceError> {
        act(&self.meanwhile.collecting);
        self.host.collect(readback).await
    }
}

impl DeviceStatus for Hostile {
    fn reclaim(&self) -> Reclaimed {
        self.host.reclaim()
    }
}

impl DeviceResources for Hostile {
    fn driver_holdings(&self) -> Option<DriverHoldings> {
        self.host.driver_holdings()
    }

    fn name(&self) -> String {
        "hostile".into()
    }
}

impl Commands for HostileCommands<'_> {
    type Segment = HostSegment;
    type Readback = HostReadback;

    fn write(&mut self, to: &Location<HostSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        match self.refuses.writes_left.load(Ordering::Relaxed) {
            0 => {}
            1 => return Err(DeviceError::Refused { bytes: bytes.len() as u64 }),
            left => self.refuses.writes_left.store(left - 1, Ordering::Relaxed),
        }
        self.host.write(to, bytes)
    }

    fn clear(&mut self, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        self.host.clear(to)
    }

    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let refuses = bytes > 0 && self.refuses.bounce_buffers.load(Ordering::Relaxed);
        if refuses { Err(DeviceError::Refused { bytes }) } else { Ok(()) }
    }

    fn copy(&mut self, from: &Location<HostSegment>, to: &Location<HostSegment>) -> Result<(), DeviceError> {
        self.host.copy(from, to)
    }

    fn read(&mut self, from: &Location<HostSegment>, into: &mut HostReadback) -> Result<(), DeviceError> {
        self.host.read(from, into)
    }

    fn destroy(&mut self, id: SegmentId, segment: HostSegment, bytes: u64) {
        self.host.destroy(id, segment, bytes);
    }
}
