//! The exit of a thread that has recorded commands.
//!
//! A process may exit while the pool exists. `exit` runs the destructors of the calling thread's thread-local values
//! first, and those of libraries later. NVIDIA's Vulkan driver crashes if another thread is inside the driver at that
//! time. Therefore a thread that ends, or that exits the process, waits until the submission thread has submitted its
//! batches. It calls no wgpu function meanwhile, because wgpu's thread-local values may already be destroyed.
//! The ending thread also waits for a call of the timer thread, and delays the next one.

use super::{Submission, threads};
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The interval between two checks of the ending thread.
const STEP: Duration = Duration::from_micros(100);

/// The submission queues for which a thread has recorded batches.
struct RecordedFor(RefCell<Vec<Weak<Submission>>>);

thread_local! {
    static RECORDED_FOR: RecordedFor = const { RecordedFor(RefCell::new(Vec::new())) };
}

impl Drop for RecordedFor {
    fn drop(&mut self) {
        for submission in self.0.take().iter().filter_map(Weak::upgrade) {
            submission.timer.hold();
            submission.wait_for_thread(threads::JOIN_TIMEOUT);
        }
    }
}

/// Registers that the calling thread has begun a batch that the submission thread may submit.
pub(super) fn note(submission: &Arc<Submission>) {
    // During thread exit the thread-local value is gone and no registration is needed.
    let _ = RECORDED_FOR.try_with(|recorded_for| {
        let mut recorded_for = recorded_for.0.borrow_mut();
        if !recorded_for.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(submission))) {
            recorded_for.retain(|known| known.strong_count() > 0);
            recorded_for.push(Arc::downgrade(submission));
        }
    });
}

impl Submission {
    /// Waits until the submission thread has handed over everything recorded so far, including the open batch, but at
    /// most `timeout`.
    fn wait_for_thread(&self, most: Duration) {
        let begun = Instant::now();
        // The submission thread closes the open batch when it is old.
        let is_open = self.recorder().has_open_batch();
        let target = self.queue.newest() + u64::from(is_open);
        self.queue.request(target);
        loop {
            let newest = self.queue.newest();
            // A queue that is closed meanwhile drops its items, so `newest` may decrease.
            let is_complete = self.queue.handed_over() >= target.min(newest);
            let is_closed = newest >= target || !self.recorder().has_open_batch();
            if (is_complete && is_closed) || begun.elapsed() >= most {
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}
