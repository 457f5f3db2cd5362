//! The state of the device: working, faulty, or lost.

use super::super::readback::Mapping;
use super::super::verdict::Verdicts;
use crate::device::lock::{Lock, check_no_lock_is_held, log_unlocked};
use crate::error::DeviceError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The first error in a batch of commands since the last call of [`Gpu::clear_fault`](crate::Gpu::clear_fault).
///
/// The results of the failed batch are undefined, and so are the results of later commands that depend on them. Until
/// the fault is cleared, every call that needs the device returns the fault's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of failed batches of this device so far, including this one. Different faults have different numbers.
    pub number: u64,
    /// The error that wgpu reported.
    pub error: DeviceError,
}

#[derive(Debug, Default)]
struct Faults {
    current: Option<Fault>,
    /// The number of faults so far.
    count: u64,
}

const WORKING: u8 = 0;
const FAULTY: u8 = 1;
const LOST: u8 = 2;

/// The state of the device, shared with wgpu's callbacks, which must not keep the device alive.
#[derive(Debug, Default)]
pub(in super::super) struct Health {
    /// The worst of the three states. The details are in `lost` and `faults`.
    state: AtomicU8,
    lost: OnceLock<String>,
    faults: Lock<Faults>,
    /// Pending reads. The loss of the device wakes them, because their map callbacks may never run.
    awaited: Lock<Vec<Weak<Lock<Mapping>>>>,
    verdicts: Arc<Verdicts>,
}

impl Health {
    /// The pending verdicts of the device's objects.
    pub(in super::super) fn verdicts(&self) -> &Arc<Verdicts> {
        &self.verdicts
    }

    pub(in super::super) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Acquire) == LOST
    }

    /// Returns the error of a faulty or lost device. Every fallible call checks this; costs one atomic load while the
    /// device works.
    pub(in super::super) fn check(&self) -> Result<(), DeviceError> {
        match self.state.load(Ordering::Acquire) {
            WORKING => Ok(()),
            _ => self.details(),
        }
    }

    #[cold]
    fn details(&self) -> Result<(), DeviceError> {
        if let Some(reason) = self.lost.get() {
            return Err(DeviceError::Lost { reason: reason.clone() });
        }
        self.faults.lock().current.as_ref().map_or(Ok(()), |fault| Err(fault.error.clone()))
    }

    /// Returns the loss of the device, if it is lost, in place of an error that the loss may have caused.
    pub(in super::super) fn loss_or(&self, error: DeviceError) -> DeviceError {
        self.lost.get().map_or(error, |reason| DeviceError::Lost { reason: reason.clone() })
    }

    /// Marks the device as lost. Only the first reason is kept.
    ///
    /// The caller may hold locks: wgpu calls the device-lost callback inside of the call that notices the loss, whichever it is. Therefore
    /// pending reads are not woken here: the poller thread, which polls while there are any, and the next submission do that. A browser
    /// tells of the loss in a task of its own, and has no poller: there this wakes them.
    pub(in super::super) fn mark_lost(&self, reason: impl FnOnce() -> String) {
        self.lost.get_or_init(reason);
        self.state.store(LOST, Ordering::Release);
        #[cfg(target_arch = "wasm32")]
        self.wake_if_lost();
    }

    /// Wakes pending reads if the device is lost. The caller must hold no lock.
    pub(super) fn wake_if_lost(&self) {
        check_no_lock_is_held("the wakers of reads");
        if !self.is_lost() {
            return;
        }
        // One by one: a waker that panics leaves the others for the next call.
        while let Some(mapping) = self.next_awaited() {
            Mapping::wake(&mapping);
        }
    }

    fn next_awaited(&self) -> Option<Arc<Lock<Mapping>>> {
        let mut awaited = self.awaited.lock();
        std::iter::from_fn(|| awaited.pop()).find_map(|mapping| mapping.upgrade())
    }

    /// Registers a pending read. Must be called before the read's future first checks whether the device is lost.
    pub(in super::super) fn await_read(&self, mapping: &Arc<Lock<Mapping>>) {
        let mut awaited = self.awaited.lock();
        awaited.retain(|mapping| mapping.strong_count() > 0);
        awaited.push(Arc::downgrade(mapping));
    }

    /// Records the failure of a batch, or in a browser the refusal of an object. The first error is kept until it is
    /// cleared. Does nothing on a lost device. The caller must hold no lock.
    pub(in super::super) fn latch(&self, error: DeviceError) {
        check_no_lock_is_held("the message of a fault");
        if self.is_lost() {
            return;
        }
        log_unlocked!(error, "wgpu-pool: the device refused work: {error}");
        let mut faults = self.faults.lock();
        faults.count += 1;
        if faults.current.is_none() {
            faults.current = Some(Fault { number: faults.count, error });
        }
        self.state.fetch_max(FAULTY, Ordering::AcqRel);
    }

    pub(in super::super) fn fault(&self) -> Option<Fault> {
        self.faults.lock().current.clone()
    }

    pub(in super::super) fn clear_fault(&self) -> Option<Fault> {
        let mut faults = self.faults.lock();
        // A lost device stays lost.
        let _ = self.state.compare_exchange(FAULTY, WORKING, Ordering::AcqRel, Ordering::Acquire);
        faults.current.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> DeviceError {
        DeviceError::Validation { message: text.into() }
    }

    #[test]
    fn the_first_fault_stays_until_it_is_cleared_and_the_next_has_another_number() {
        let health = Health::default();
        assert_eq!((health.check(), health.fault()), (Ok(()), None));
        health.latch(error("first"));
        health.latch(error("second"));
        assert_eq!(health.check(), Err(error("first")));
        let first = Fault { number: 1, error: error("first") };
        assert_eq!(health.fault(), Some(first.clone()));
        assert_eq!(health.clear_fault(), Some(first));
        assert_eq!((health.check(), health.clear_fault()), (Ok(()), None));
        health.latch(error("third"));
        assert_eq!(health.fault(), Some(Fault { number: 3, error: error("third") }));
    }

    #[test]
    fn a_lost_device_stays_lost_after_its_faults_are_cleared() {
        let health = Health::default();
        health.latch(error("first"));
        health.mark_lost(|| "gone".into());
        health.mark_lost(|| "gone again".into());
        let lost = DeviceError::Lost { reason: "gone".into() };
        assert_eq!((health.is_lost(), health.check()), (true, Err(lost.clone())));
        assert!(health.clear_fault().is_some());
        health.latch(error("second"));
        assert_eq!((health.is_lost(), health.check()), (true, Err(lost.clone())));
        assert_eq!(health.loss_or(error("another")), lost);
    }
}
