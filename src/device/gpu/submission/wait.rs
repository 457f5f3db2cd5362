//! Waiting for the device. Application callbacks run inside, so the caller must hold no lock.

use super::poller::Backoff;
use super::{Newest, Submission};
use crate::device::lock::check_callbacks_may_run;

/// The number of batches that the device may be behind. Without a bound, a loop that never reads would accumulate
/// commands and staging memory. CUDA blocks a program that is 1,024 launches ahead; 32 batches are up to 4,096
/// launches, about 10 ms of the shortest kernels on an H100.
pub(in super::super) const MAX_IN_FLIGHT: u64 = 32;

impl Submission {
    /// Waits until the device is at most [`MAX_IN_FLIGHT`] batches behind.
    pub(in super::super) fn throttle(&self, newest: Newest) {
        check_callbacks_may_run("a wait for the device");
        let Some(due) = newest.batch.checked_sub(MAX_IN_FLIGHT) else { return };
        if self.fence().finished() < due {
            // The items up to `newest.item - MAX_IN_FLIGHT` include the batch `due`, which cannot finish before it is
            // handed over.
            self.hand_over(newest.item.saturating_sub(MAX_IN_FLIGHT));
            self.wait_for_batch(due);
        }
    }

    /// Waits until the device has finished every batch up to the newest, which has been handed over.
    pub(in super::super) fn wait_for(&self, newest: Newest) {
        self.wait_for_batch(newest.batch);
    }

    /// Polls the device until `done` returns true or the device is lost. The awaited callback must already be
    /// registered.
    pub(in super::super) fn poll_until(&self, mut done: impl FnMut() -> bool) {
        check_callbacks_may_run("a wait for the device");
        let mut pause = Backoff::default();
        while !self.health().is_lost() && !done() {
            self.handover.checked.poll();
            if done() {
                break;
            }
            // Also pause while the device is idle: another thread that polls may have taken the callback without having
            // run it yet.
            pause.pause();
        }
    }

    fn wait_for_batch(&self, last: u64) {
        check_callbacks_may_run("a wait for the device");
        let mut pause = Backoff::default();
        while !self.health().is_lost() && self.fence().finished() < last {
            if self.handover.checked.poll() {
                // The device is idle, so the batch is finished. Its callback may be running on another thread, or
                // further up this call stack.
                self.fence().finish(last);
            } else {
                pause.pause();
            }
        }
    }
}
