//! The exit of a thread that has recorded commands.
//!
//! A process may exit while the pool exists. `exit` runs the destructors of the calling thread's thread-local values
//! first, and those of libraries later. NVIDIA's Vulkan driver crashes if another thread is inside the driver at that
//! time. Therefore a thread that ends, or that exits the process, waits until the submission thread has submitted its
//! batches. It calls no wgpu function meanwhile, because wgpu's thread-local values may already be destroyed.
//! The ending thread also waits for a call of the timer thread, and delays the next one.
//!
//! With GL no thread submits but the callers. There the ending thread waits until the device has finished what is being read, so that the
//! poller is in no call of GL: `exit` tears GLVND's libEGL down, which crashes or fails calls of other threads.
//!
//! A software driver executes commands on threads of its own, and compiles kernels there when they first run. Mesa's
//! Vulkan driver does so with LLVM, and crashes if it compiles while `exit` runs LLVM's destructors. On such a driver
//! the ending thread also waits until the commands have been executed. A hardware driver needs no such wait: the
//! operating system stops the device.
//!
//! Not on Windows: thread-local destructors hold the lock of the loader there, which other threads need to begin and to end, and a process
//! that exits ends its other threads before it runs any destructor.
//!
//! Meanwhile the ending thread keeps the submission queue, and with it the device. A program may exit while a thread ends, even
//! after it has joined the thread (`std::thread::scope` does not wait for the destructors of thread-local values). NVIDIA's driver crashes
//! if a device is then destroyed. Therefore a pool that is dropped waits until ending threads have dropped the queue, so that the
//! thread that drops the pool destroys the device.

use super::threads::{JOIN_TIMEOUT, Threads};
use super::timer::{HOLD, Timer};
use super::{Newest, Submission};
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The interval between two checks of the ending thread.
const STEP: Duration = Duration::from_micros(100);

/// The submission queues for which a thread has recorded batches or awaited reads.
struct RecordedFor(RefCell<Vec<Recorded>>);

struct Recorded {
    submission: Weak<Submission>,
    threads: Arc<Threads>,
    timer: Arc<Timer>,
}

thread_local! {
    static RECORDED_FOR: RecordedFor = const { RecordedFor(RefCell::new(Vec::new())) };
}

impl Drop for RecordedFor {
    fn drop(&mut self) {
        let recorded = self.0.take();
        let end = Instant::now() + JOIN_TIMEOUT;
        loop {
            let begun = Instant::now();
            for recorded in &recorded {
                recorded.wait();
            }
            // During a longer wait a timer may have begun a call, and the call may have recorded commands.
            if begun.elapsed() < HOLD / 2 || Instant::now() >= end {
                break;
            }
        }
    }
}

impl Recorded {
    fn wait(&self) {
        // Before `enter`, because the call may drop the pool, which waits for threads that have entered.
        self.timer.hold();
        // Dropped after the submission queue. `None`: the pool is being dropped, and drops what has not been handed over.
        let Some(_running) = self.threads.enter() else { return };
        match self.submission.upgrade() {
            Some(submission) if submission.is_inline => submission.poller.settle(JOIN_TIMEOUT),
            Some(submission) => submission.wait_for_threads(JOIN_TIMEOUT),
            None => {}
        }
    }
}

/// Registers that the calling thread has begun a batch that the submission thread may submit, or a read that the poller polls for.
pub(super) fn note(submission: &Arc<Submission>) {
    // During thread exit the thread-local value is gone and no registration is needed.
    let _ = RECORDED_FOR.try_with(|recorded_for| {
        let mut recorded_for = recorded_for.0.borrow_mut();
        if !recorded_for.iter().any(|known| std::ptr::eq(known.submission.as_ptr(), Arc::as_ptr(submission))) {
            recorded_for.retain(|known| known.submission.strong_count() > 0);
            let (threads, timer) = (Arc::clone(&submission.threads), Arc::clone(&submission.timer));
            recorded_for.push(Recorded { submission: Arc::downgrade(submission), threads, timer });
        }
    });
}

impl Submission {
    /// Waits until the submission thread has handed over everything recorded so far, including the open batch, and
    /// until a software driver has executed it, but at most `timeout`.
    fn wait_for_threads(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let batch = self.wait_for_handover(end);
        if self.is_software && self.fence().finished() < batch {
            let _polled = self.polled(|| true);
            wait_until(end, || self.fence().finished() >= batch || self.is_stopped());
        }
    }

    /// Waits until the submission thread has handed over everything recorded so far, including the open batch, which it closes when that
    /// is old, but at most until `end`. Returns the number of the newest batch.
    pub(super) fn wait_for_handover(&self, end: Instant) -> u64 {
        let (newest, open) = self.newest_and_open();
        let last = newest.item + open;
        self.queue.request(last);
        wait_until(end, || {
            let (newest, open) = self.newest_and_open();
            // A queue that is closed meanwhile drops its items, and the open batch is then never closed.
            let existing = if self.is_stopped() { newest.item } else { newest.item + open };
            self.queue.handed_over() >= last.min(existing)
        });
        newest.batch + open
    }

    /// The numbers of the newest item and batch, and the number of open batches, 0 or 1. With the recorder's lock, since a batch that is
    /// closed after a look at the former and before one at the latter would be missed.
    fn newest_and_open(&self) -> (Newest, u64) {
        let recorder = self.recorder();
        let newest = Newest { item: self.queue.newest(), batch: recorder.newest_batch() };
        (newest, u64::from(recorder.has_open_batch()))
    }

    /// Whether batches may never finish: the device is lost, or the pool has been dropped.
    fn is_stopped(&self) -> bool {
        self.health().is_lost() || self.poller.is_closed()
    }
}

/// Waits until `done` returns true, but at most until `end`.
fn wait_until(end: Instant, mut done: impl FnMut() -> bool) {
    while !done() && Instant::now() < end {
        std::thread::sleep(STEP);
    }
}
