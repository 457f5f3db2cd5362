//! Waiting for the device. Callbacks of the application run inside, so that no lock may be held.

use super::super::checked;
use super::poller::Pause;
use super::{Newest, Submission};

/// Batches that the device may be behind: without a bound, a loop that never reads would pile up commands and staging for as long as it
/// runs. CUDA stops a program that is 1,024 launches ahead; these are up to 4,096, some 10 ms of the shortest kernels on an H100.
pub(in super::super) const MOST_IN_FLIGHT: u64 = 32;

impl Submission {
    /// Waits until the device is at most [`MOST_IN_FLIGHT`] batches behind.
    pub(in super::super) fn throttle(&self, newest: Newest) {
        let Some(due) = newest.batch.checked_sub(MOST_IN_FLIGHT) else { return };
        if self.fence().finished() < due {
            // The items up to the newest include the batch that is due, and nothing finishes before it is handed over.
            self.queue.flush(&self.handover, newest.item.saturating_sub(MOST_IN_FLIGHT));
            self.wait_for_batch(due);
        }
    }

    /// Waits until the device has finished everything up to the newest batch, which has been handed over.
    pub(in super::super) fn wait_for(&self, newest: Newest) {
        self.wait_for_batch(newest.batch);
    }

    /// Polls the device until `done` says so, or the device is lost. What is waited for is a callback that was registered before.
    pub(in super::super) fn poll_until(&self, mut done: impl FnMut() -> bool) {
        let mut pause = Pause::default();
        while !self.health().is_lost() && !done() {
            checked::poll(&self.handover.device);
            if done() {
                break;
            }
            // Even where the device is idle: another thread that polls may have taken the callback and be about to run it.
            pause.rest();
        }
    }

    fn wait_for_batch(&self, last: u64) {
        let mut pause = Pause::default();
        while !self.health().is_lost() && self.fence().finished() < last {
            if checked::poll(&self.handover.device) {
                // The device is idle, so that the batch is finished. The callback that notes it may be with another thread, or further
                // up this call stack.
                self.fence().finish(last);
            } else {
                pause.rest();
            }
        }
    }
}
