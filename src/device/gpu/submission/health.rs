//! Whether the device and the batches submitted to it are known to work.

use super::super::lock;
use super::super::readback::Mapping;
use crate::error::DeviceError;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The first error in a batch of commands since the last was cleared. What the batch should have written is undefined, and so is what
/// later commands computed from that. Until it is cleared with [`Gpu::clear_fault`](crate::Gpu::clear_fault), every call that needs
/// the device returns its error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How many batches of this device have failed, up to this one. A fault with another number is another fault.
    pub number: u64,
    /// What wgpu reported.
    pub error: DeviceError,
}

#[derive(Debug, Default)]
struct Faults {
    current: Option<Fault>,
    /// How many there were.
    count: u64,
}

const WORKS: u8 = 0;
const FAULTY: u8 = 1;
const LOST: u8 = 2;

/// Shared with wgpu's callbacks, which must not keep the device alive.
#[derive(Debug, Default)]
pub(in super::super) struct Health {
    /// The highest of the above that holds; the details are below.
    state: AtomicU8,
    lost: OnceLock<String>,
    faults: Mutex<Faults>,
    /// Reads that are awaited: a loss has to wake them, since their map callbacks may never run.
    awaited: Mutex<Vec<Weak<Mutex<Mapping>>>>,
}

impl Health {
    pub(in super::super) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Acquire) == LOST
    }

    /// The checked place that every fallible call passes: one load while the device works.
    pub(in super::super) fn check(&self) -> Result<(), DeviceError> {
        match self.state.load(Ordering::Acquire) {
            WORKS => Ok(()),
            _ => self.details(),
        }
    }

    #[cold]
    fn details(&self) -> Result<(), DeviceError> {
        if let Some(reason) = self.lost.get() {
            return Err(DeviceError::Lost { reason: reason.clone() });
        }
        lock(&self.faults).current.as_ref().map_or(Ok(()), |fault| Err(fault.error.clone()))
    }

    /// The loss in place of an error that it may have caused.
    pub(in super::super) fn loss_or(&self, error: DeviceError) -> DeviceError {
        self.lost.get().map_or(error, |reason| DeviceError::Lost { reason: reason.clone() })
    }

    /// Notes that the device is lost; the first reason stays. Wakes awaited reads.
    pub(in super::super) fn lose(&self, reason: impl FnOnce() -> String) {
        self.lost.get_or_init(reason);
        self.state.store(LOST, Ordering::Release);
        let awaited = std::mem::take(&mut *lock(&self.awaited));
        awaited.iter().filter_map(Weak::upgrade).for_each(|mapping| Mapping::wake(&mapping));
    }

    /// Notes that a read is awaited, before its future first asks whether the device is lost.
    pub(in super::super) fn await_read(&self, mapping: &Arc<Mutex<Mapping>>) {
        let mut awaited = lock(&self.awaited);
        awaited.retain(|mapping| mapping.strong_count() > 0);
        awaited.push(Arc::downgrade(mapping));
    }

    /// Notes that a batch failed. The first error stays until it is cleared.
    pub(super) fn latch(&self, error: DeviceError) {
        log::error!("wgpu-pool: a batch of commands failed: {error}");
        let mut faults = lock(&self.faults);
        faults.count += 1;
        if faults.current.is_none() {
            faults.current = Some(Fault { number: faults.count, error });
        }
        self.state.fetch_max(FAULTY, Ordering::AcqRel);
    }

    pub(in super::super) fn fault(&self) -> Option<Fault> {
        lock(&self.faults).current.clone()
    }

    pub(in super::super) fn clear_fault(&self) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        // A loss stays.
        let _ = self.state.compare_exchange(FAULTY, WORKS, Ordering::AcqRel, Ordering::Acquire);
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
    fn a_loss_outlasts_every_fault() {
        let health = Health::default();
        health.latch(error("first"));
        health.lose(|| "gone".into());
        health.lose(|| "gone again".into());
        let lost = DeviceError::Lost { reason: "gone".into() };
        assert_eq!((health.is_lost(), health.check()), (true, Err(lost.clone())));
        assert!(health.clear_fault().is_some());
        health.latch(error("second"));
        assert_eq!((health.is_lost(), health.check()), (true, Err(lost.clone())));
        assert_eq!(health.loss_or(error("another")), lost);
    }
}
