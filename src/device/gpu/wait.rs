//! Waiting for the device, where a thread may. Called without any lock, since callbacks run inside.

use super::Gpu;
use super::poller::Patience;
use crate::device::Memory;
use crate::error::DeviceError;
use std::sync::atomic::Ordering;

/// Batches that the device may be behind: without a bound, a loop that never reads would pile up commands and staging for as long as it
/// runs. CUDA stops a program that is 1,024 launches ahead; these are up to 4,096, some 10 ms of the shortest kernels on an H100.
pub(super) const MOST_IN_FLIGHT: u64 = 32;

impl Gpu {
    /// Waits while the device is too far behind.
    pub(super) fn hold_back(&self) -> Result<(), DeviceError> {
        let Some(due) = self.outbox.newest().checked_sub(MOST_IN_FLIGHT) else { return Ok(()) };
        if self.progress.completed.load(Ordering::Acquire) < due {
            self.outbox.settle(due).map_err(|error| self.explain(error))?;
            self.poll_until_finished(due);
        }
        Ok(())
    }

    /// Polls the device until `done` says so. What it waits for is a callback that was registered before.
    pub(super) fn poll_until(&self, mut done: impl FnMut() -> bool) {
        let mut patience = Patience::default();
        while self.progress.lost.get().is_none() && !done() {
            if patience.poll(&self.device) {
                // Idle, yet another thread that polls may have taken the callback and be about to run it.
                patience.rest();
            }
        }
    }

    /// Waits until the device has finished every batch up to `last`, which are with its queue.
    pub(super) fn poll_until_finished(&self, last: u64) {
        let progress = &self.progress;
        let mut patience = Patience::default();
        while progress.lost.get().is_none() && progress.completed.load(Ordering::Acquire) < last {
            if patience.poll(&self.device) {
                // Idle says it all. The callback that notes it may be with another thread, or with the very poll that
                // called the callback that waits here.
                progress.completed.fetch_max(last, Ordering::AcqRel);
            }
        }
    }
}
