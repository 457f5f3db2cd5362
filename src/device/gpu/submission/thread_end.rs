//! The end of a thread that has recorded commands.
//!
//! A process may exit while the pool exists. `exit` runs the destructors of the calling thread's thread-local values first, and those of
//! the libraries later; the Vulkan driver of NVIDIA crashes if another thread is inside it by then. So a thread that ends, or exits
//! the process, waits until the submission thread has handed over what the ending thread left to it. It makes no call of wgpu meanwhile, whose
//! own thread-local values may be gone.

use super::{Submission, threads};
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often the ending thread looks.
const STEP: Duration = Duration::from_micros(100);

/// The queues that a thread has left batches to.
struct Left(RefCell<Vec<Weak<Submission>>>);

thread_local! {
    static LEFT: Left = const { Left(RefCell::new(Vec::new())) };
}

impl Drop for Left {
    fn drop(&mut self) {
        for submission in self.0.take().iter().filter_map(Weak::upgrade) {
            submission.wait_for_thread(threads::PATIENCE);
        }
    }
}

/// Notes that the calling thread has begun a batch that the submission thread may hand over.
pub(super) fn note(submission: &Arc<Submission>) {
    // While the thread ends there is nothing to note any more.
    let _ = LEFT.try_with(|left| {
        let mut left = left.0.borrow_mut();
        if !left.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(submission))) {
            left.retain(|known| known.strong_count() > 0);
            left.push(Arc::downgrade(submission));
        }
    });
}

impl Submission {
    /// Waits until the submission thread has handed over everything recorded so far, the open batch included, but no longer than `most`.
    fn wait_for_thread(&self, most: Duration) {
        let begun = Instant::now();
        // The submission thread closes the open batch once it is old.
        let is_open = self.recorder().has_open_batch();
        let target = self.queue.newest() + u64::from(is_open);
        self.queue.request(target);
        loop {
            let newest = self.queue.newest();
            // A queue that is closed meanwhile drops its items, and has fewer.
            let is_complete = self.queue.handed_over() >= target.min(newest);
            let is_closed = newest >= target || !self.recorder().has_open_batch();
            if (is_complete && is_closed) || begun.elapsed() >= most {
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}
