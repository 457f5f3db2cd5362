//! What became of the batches, and of the device.

use super::lock;
use super::readback::Mapping;
use crate::error::DeviceError;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// What callbacks of wgpu tell the memory; they own no more of it than this.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The newest batch that the device has finished.
    pub(super) completed: AtomicU64,
    /// Why the device is lost, once it is.
    pub(super) lost: OnceLock<String>,
    /// The first error in a batch: what came after it can't be trusted.
    fault: Mutex<Option<DeviceError>>,
    /// Readbacks that are awaited: a loss has to wake them, since their callbacks may never run.
    awaited: Mutex<Vec<Weak<Mutex<Mapping>>>>,
}

impl Progress {
    pub(super) fn loss(&self) -> Result<(), DeviceError> {
        self.lost.get().map_or(Ok(()), |reason| Err(DeviceError::Lost { reason: reason.clone() }))
    }

    pub(super) fn check(&self) -> Result<(), DeviceError> {
        self.loss()?;
        match lock(&self.fault).as_ref() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Notes that the device is lost; the first reason stays.
    pub(super) fn lose(&self, reason: impl FnOnce() -> String) {
        self.lost.get_or_init(reason);
        let awaited = std::mem::take(&mut *lock(&self.awaited));
        awaited.iter().filter_map(Weak::upgrade).for_each(|mapping| Mapping::wake(&mapping));
    }

    /// Notes that a readback is awaited, before its future first looks whether the device is lost.
    pub(super) fn await_readback(&self, mapping: &Arc<Mutex<Mapping>>) {
        let mut awaited = lock(&self.awaited);
        awaited.retain(|mapping| mapping.strong_count() > 0);
        awaited.push(Arc::downgrade(mapping));
    }

    pub(super) fn latch(&self, error: &DeviceError) {
        log::error!("wgpu-pool: {error}");
        lock(&self.fault).get_or_insert_with(|| error.clone());
    }
}
