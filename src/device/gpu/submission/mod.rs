//! The submission queue: submits recorded batches to wgpu and destroys segments, in program order.
//!
//! # Guarantee
//! The queue's items are batches of commands and destructions of segments, numbered from 1 in program order. One thread
//! at a time hands the items to wgpu, in that order. [`Submission::flush`] returns when **every item up to the newest
//! has been handed to wgpu**. Two properties follow: a segment is destroyed after all batches that use it, and commands
//! that the application submits after `flush` execute after the pool's commands.
//!
//! # States of an item
//! ```text
//!                 encode, on any thread        submit, in order, one thread at a time
//!   Recorded ──────► Encoding ──────► Encoded ──────► taken ──────► handed over ──────► finished
//!                        │ panic                        ▲  │ a callback panics ──► handed over
//!                        └───────────────► Void ────────┤
//!   Destruction ────────────────────────────────────────┘
//! ```
//! - *Encoding* (`CommandEncoder::finish`) takes most of the time. Batches may be encoded in any order, so a thread
//!   that would otherwise wait encodes a batch. An error or a panic is latched as a [`Fault`]; the item then does
//!   nothing and keeps its place in the order.
//! - *Taken* means that a thread has removed the item from the queue to submit or destroy it. wgpu runs the
//!   application's callbacks inside `Queue::submit`, after the batch has reached the device's queue. A callback that
//!   calls the queue again on the same thread treats this item as handed over and continues with the next. If the
//!   thread unwinds because a callback panicked, the item also counts as handed over.
//! - *Finished* batches are counted by the [`Fence`].
//!
//! # Which thread hands items over
//! - The *submission thread* handles everything that no caller waits for: batches with enough commands, batches older
//!   than [`DUE_AGE`], and destructions. It is started with the first command. Without a submission thread (in a
//!   browser, on GL, or if the system cannot create a thread) the calling thread hands items over.
//! - A caller of `flush` hands items over on its own thread. If another thread has taken an item, the caller waits for
//!   that thread.
//! - The *timer thread* records and hands over the commands that release unneeded memory.
//!
//! # Lock order
//! On GL the lock of the [context](super::super::context), the recorder's lock, then the queue's lock. The queue's lock is
//! held for a few instructions, and never during a call of wgpu or of a callback.

mod batch;
mod fence;
mod health;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
mod queue;
#[cfg(test)]
mod tests;
#[cfg(not(target_arch = "wasm32"))]
mod thread_end;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod thread_end_tests;
#[cfg(not(target_arch = "wasm32"))]
mod threads;
#[cfg(not(target_arch = "wasm32"))]
mod timer;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod timer_tests;
#[cfg(not(target_arch = "wasm32"))]
mod wait;

pub use health::Fault;

pub(super) use batch::Batch;
pub(super) use fence::Fence;
pub(super) use health::Health;
#[cfg(not(target_arch = "wasm32"))]
pub(super) use poller::Polled;

use super::super::Reclaimed;
use super::super::context::ContextGuard;
#[cfg(not(target_arch = "wasm32"))]
use super::super::teardown;
use super::GpuSegment;
use super::checked::CheckedDevice;
use super::recorder::Recorder;
use crate::device::lock::{Guard, Lock, check_callbacks_may_run, log_unlocked, rank};
use crate::device::sync;
#[cfg(target_arch = "wasm32")]
use crate::error::DeviceError;
use batch::{Destruction, Handover};
use queue::Queue;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

/// The age at which an open batch is submitted, so that slow recording does not starve the device. A submission costs
/// about 8 µs on an H100.
/// In a browser a submission costs ten times as much, and frames take 16 ms.
pub(super) const DUE_AGE: Duration = Duration::from_micros(if cfg!(target_arch = "wasm32") { 4000 } else { 500 });

/// The largest number of submitted batches that the device has not finished, in a browser, where nothing can wait for
/// the device: each batch holds staging memory. Reads are excepted.
#[cfg(target_arch = "wasm32")]
const MAX_BACKLOG: u64 = 512;

/// The number of batches waiting to be encoded above which the recording thread encodes batches, too. 8 batches are
/// 1,024 launches, which is CUDA's launch queue depth. On an H100 a launch costs the recording thread 0.8 µs, encoding
/// it 2.2 µs, and the device needs 2.4 µs per dependent launch: a thread that both records and encodes would starve the
/// device.
#[cfg(not(target_arch = "wasm32"))]
const MAX_RECORDED: usize = 8;

/// Owns everything between the recorder and wgpu's queue. Shared with the pool's threads.
#[derive(Debug)]
pub(super) struct Submission {
    recorder: Lock<Recorder, rank::Recorder>,
    queue: Queue<Handover>,
    handover: Arc<Handover>,
    /// Whether calling threads hand items over, without a submission thread. Browsers have no threads. On GL, buffer
    /// creation waits for a concurrent submission, and wgpu panics if that takes a second.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is no submission thread"))]
    is_inline: bool,
    /// Whether the driver executes commands on threads of this process, which must not run while the process exits.
    #[cfg(not(target_arch = "wasm32"))]
    is_software: bool,
    #[cfg(not(target_arch = "wasm32"))]
    poller: poller::Poller,
    #[cfg(not(target_arch = "wasm32"))]
    timer: Arc<timer::Timer>,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Arc<threads::Threads>,
}

/// The recorder, locked.
#[derive(Debug)]
pub(super) struct RecorderGuard<'a> {
    // Dropped in this order.
    recorder: Guard<'a, Recorder, rank::Recorder>,
    _context: ContextGuard<'a>,
}

impl Deref for RecorderGuard<'_> {
    type Target = Recorder;

    #[inline]
    fn deref(&self) -> &Recorder {
        &self.recorder
    }
}

impl DerefMut for RecorderGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Recorder {
        &mut self.recorder
    }
}

/// The numbers of the newest item and of the newest batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    item: u64,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "nothing waits there"))]
    batch: u64,
}

impl Submission {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, info: &wgpu::AdapterInfo) -> Self {
        let is_inline = info.backend == wgpu::Backend::Gl || cfg!(target_arch = "wasm32");
        let health = Arc::default();
        let checked = CheckedDevice::new(device, Arc::clone(&health), info);
        Self {
            recorder: Lock::new(Recorder::new(is_inline)),
            queue: Queue::new(),
            handover: Arc::new(Handover { checked, queue, health, fence: Arc::default() }),
            is_inline,
            #[cfg(not(target_arch = "wasm32"))]
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            #[cfg(not(target_arch = "wasm32"))]
            poller: poller::Poller::default(),
            #[cfg(not(target_arch = "wasm32"))]
            timer: Arc::default(),
            // On Windows a thread ends with the lock of the loader held, which the thread that drops the pool may have.
            #[cfg(not(target_arch = "wasm32"))]
            threads: Arc::new(threads::Threads::new(is_inline && !cfg!(windows))),
        }
    }

    /// Locks the recorder. Waits for the thread that is recording, which holds the lock for one operation.
    pub(super) fn recorder(&self) -> RecorderGuard<'_> {
        let context = self.checked().context().lock();
        RecorderGuard { recorder: self.recorder.lock(), _context: context }
    }

    /// Hands over every item up to `item`.
    fn hand_over(&self, item: u64) {
        check_callbacks_may_run("a submission");
        // First: a thread that took an item and then waited for the context would block a callback that waits for the item.
        let _context = self.checked().context().lock();
        self.queue.flush(&self.handover, item);
    }

    pub(super) fn checked(&self) -> &CheckedDevice {
        &self.handover.checked
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.handover.health
    }

    pub(super) fn fence(&self) -> &Fence {
        &self.handover.fence
    }

    /// Checks whether the device is lost, and if so marks it as lost. Runs no callbacks and wakes no task, so the caller may hold locks.
    pub(super) fn check_for_loss(&self) {
        self.handover.check_for_loss();
    }

    /// Appends a batch. The caller must hold the recorder's lock.
    pub(super) fn push_batch(&self, batch: Batch) {
        self.queue.push_batch(batch);
    }

    /// Appends the destruction of a segment of `bytes` bytes. The caller must hold the recorder's lock.
    pub(super) fn push_destruction(&self, segment: GpuSegment, bytes: u64) {
        self.fence().queue_destruction(bytes);
        self.queue.push_destruction(Destruction { segment, bytes });
    }

    /// Calls `act`, which waits for another thread that uses the device. On GL that thread may use the context meanwhile.
    #[cfg(any(feature = "tensor", not(target_arch = "wasm32")))]
    pub(super) fn wait_for_thread<R>(&self, act: impl FnOnce() -> R) -> R {
        // A thread that waits for an item has the context, so the thread that has taken an item must not be without it.
        self.queue.note_callback(&self.handover);
        self.checked().context().released(act)
    }

    /// Ends the open batch and appends it to the queue.
    pub(super) fn close_batch(&self) -> Newest {
        let mut recorder = self.recorder();
        recorder.close(self);
        recorder.take_split();
        let newest = Newest { item: self.queue.newest(), batch: recorder.newest_batch() };
        let messages = recorder.take_messages();
        drop(recorder);
        for message in messages {
            log_unlocked!(debug, "wgpu-pool: {message}");
        }
        newest
    }

    /// Ends the open batch and hands over every item up to it. Waits for other threads that have taken items, and for
    /// application callbacks that run inside. Does not wait for the device, except that a software driver may execute
    /// earlier batches inside a submission. The caller must hold no lock.
    pub(super) fn flush(&self) -> Newest {
        let newest = self.close_batch();
        self.hand_over(newest.item);
        newest
    }

    /// Counts a write that was made through wgpu's queue as the batch with this number. Every batch before it has been handed over.
    #[cfg(any(target_arch = "wasm32", test))]
    pub(super) fn note_write(&self, number: u64) {
        let ticket = self.handover.fence.ticket(number);
        self.handover.queue.on_submitted_work_done(move || drop(ticket));
    }

    /// Checks that the device is not too many batches behind.
    ///
    /// # Errors
    /// [`DeviceError::Backlog`].
    #[cfg(target_arch = "wasm32")]
    pub(super) fn check_backlog(&self, recorder: &Recorder) -> Result<(), DeviceError> {
        let batches = recorder.newest_batch().saturating_sub(self.fence().finished());
        if batches < MAX_BACKLOG { Ok(()) } else { Err(DeviceError::Backlog { batches, limit: MAX_BACKLOG }) }
    }

    /// Hands over every item. In a browser no callback runs inside, so the caller may hold the recorder's lock.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn hand_over_all(&self) {
        self.hand_over(self.queue.newest());
    }

    /// Ends the open batch and leaves it to the submission thread. Encodes a batch on the calling thread if the
    /// submission thread is far behind. Does not wait. Without a submission thread this is [`Submission::flush`].
    pub(super) fn request(self: &Arc<Self>) -> Newest {
        let newest = self.close_batch();
        if self.has_thread() && self.queue.request(newest.item) {
            #[cfg(not(target_arch = "wasm32"))]
            self.queue.help(&self.handover, MAX_RECORDED);
        } else {
            self.hand_over(newest.item);
        }
        newest
    }

    /// Ends the open batch and arranges that every item up to it is handed over, without waiting. Destructions at the
    /// front of the queue are carried out at once; the rest is left to the submission thread. Without a submission
    /// thread this is [`Submission::flush`].
    pub(super) fn request_without_waiting(self: &Arc<Self>) {
        let newest = self.close_batch();
        {
            let _context = self.checked().context().lock();
            self.queue.destroy_front(&self.handover);
        }
        if !self.has_thread() || !self.queue.request(newest.item) {
            self.hand_over(newest.item);
        }
    }

    pub(super) fn reclaim(&self) -> Reclaimed {
        self.fence().reclaim()
    }

    /// Makes the calling thread wait at its exit for the batch that it has just begun, or for the read that it awaits.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn note_thread(self: &Arc<Self>) {
        // First, so that its end is noted last.
        teardown::note_thread();
        // On Windows the wait would hold the lock of the loader, which the submission thread needs to begin, and a process that exits
        // ends its other threads first.
        if !cfg!(windows) {
            thread_end::note(self);
        }
    }

    /// Makes the submission thread check the age of the batch that was just begun. Returns whether there is a
    /// submission thread. The caller must hold the recorder's lock.
    pub(super) fn watch_open_batch(self: &Arc<Self>) -> bool {
        self.has_thread() && self.queue.watch()
    }

    #[cfg(target_arch = "wasm32")]
    fn has_thread(self: &Arc<Self>) -> bool {
        false
    }

    /// Returns whether there may be a submission thread. The first call starts it.
    #[cfg(not(target_arch = "wasm32"))]
    fn has_thread(self: &Arc<Self>) -> bool {
        if self.is_inline {
            return false;
        }
        if self.queue.start() {
            let this = Arc::clone(self);
            if let Err(error) = self.threads.spawn("wgpu-pool submission", move || this.serve()) {
                log_unlocked!(
                    warn,
                    "wgpu-pool: cannot spawn the submission thread, so calling threads submit: {error}"
                );
                self.queue.refuse();
                return false;
            }
        }
        true
    }

    /// The main loop of the submission thread.
    #[cfg(not(target_arch = "wasm32"))]
    fn serve(&self) {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        let tick = || {
            // A recording thread may hold the lock for as long as a large upload takes. Requested items must not wait
            // for that.
            let Some(mut recorder) = self.recorder.try_lock() else { return Some(DUE_AGE) };
            let (has_closed, pause) = recorder.close_if_old(self);
            drop(recorder);
            if has_closed {
                self.queue.request(self.queue.newest());
            }
            pause
        };
        let serve = || self.queue.serve(&self.handover, tick);
        while let Err(panic) = catch_unwind(AssertUnwindSafe(serve)) {
            let message = batch::message_of(&*panic);
            log_unlocked!(error, "wgpu-pool: a callback panicked on the submission thread: {message}");
        }
    }

    /// Stops the pool's threads and waits for them to end, including the submission or poll that each is in and
    /// application callbacks inside. Drops the items that have not been handed over: no handle to their results exists
    /// any more.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn close(&self) {
        self.queue.close();
        self.poller.close();
        self.timer.close();
        self.wait_for_thread(|| self.threads.join());
    }

    /// Calls `act` once after `delay` on the timer thread, unless the pool is dropped first. Returns false where there is no such thread:
    /// on GL, whose context one thread at a time may use, and if the system refuses one.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn call_after(&self, delay: Duration, act: impl FnOnce() + Send + 'static) -> bool {
        !self.is_inline && self.timer.call_after(&self.threads, delay, Box::new(act))
    }

    /// Makes the poller thread poll the device until the returned guard is dropped. Does not wait, except in a callback on the poller
    /// thread, and on GL in every callback, for whose end the poller would wait: there the calling thread polls until `done` returns true.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn polled(&self, done: impl FnMut() -> bool) -> Polled {
        if self.checked().context().is_held() || self.poller.is_this_thread() {
            self.poll_until(done);
        }
        self.poller.watch(&self.handover, &self.threads)
    }
}
