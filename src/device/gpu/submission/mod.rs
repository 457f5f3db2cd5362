//! The submission queue: how recorded commands and destroyed segments reach wgpu.
//!
//! # Guarantee
//! The queue's items are batches of commands and destructions of segments, numbered from 1 in program order. Items are handed to wgpu
//! in that order, by one thread at a time. [`Submission::flush`] returns when **everything up to the newest item has been handed to
//! wgpu**. Everything else follows from that: a destruction comes after all batches that name the segment, a command of the
//! application that is submitted after `flush` comes after the pool's.
//!
//! # States of an item
//! ```text
//!                 encode, on any thread        submit, in order, one thread at a time
//!   Recorded ──────► Encoding ──────► Encoded ──────► in hand ──────► handed over ──────► finished
//!                        │ panic                        ▲  │ a callback panics ──► handed over
//!                        └───────────────► Void ────────┤
//!   Destruction ────────────────────────────────────────┘
//! ```
//! - *Encoding* (`CommandEncoder::finish`) takes most of the time. It needs no order, so that a thread that would only wait encodes.
//!   What fails or panics is latched as a [`Fault`]; the item then does nothing, and keeps its place.
//! - *In hand* means that a thread has taken the item out of the queue. wgpu runs callbacks of the application inside `Queue::submit`,
//!   once the batch is with the device's queue. A callback that comes back here on the same thread finds its own item handed over and
//!   goes on with the next. When the item's thread unwinds, because a callback panicked, the item counts as handed over too.
//! - *Finished* is told by the [`Fence`], which counts batches.
//!
//! # Who hands over
//! - The *submission thread* does for everything that nobody waits for: batches that are long enough, batches that are older than
//!   [`DUE_AGE`], and destructions. It is started with the first command. Where there is none (in a browser, on GL, or if the
//!   system refuses a thread) the caller hands over.
//! - A caller of `flush` hands over on its own thread, up to the item that another thread has in hand, and waits for that one.
//!
//! # Lock order
//! The recorder before the queue's state; the latter is held for a few instructions, never during a call of wgpu or of a callback.

mod batch;
mod fence;
mod health;
#[cfg(not(target_arch = "wasm32"))]
mod poller;
mod queue;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(not(target_arch = "wasm32"))]
mod thread_end;
#[cfg(not(target_arch = "wasm32"))]
mod threads;
#[cfg(not(target_arch = "wasm32"))]
mod wait;

pub use health::Fault;

pub(super) use batch::Batch;
pub(super) use fence::Fence;
pub(super) use health::Health;
#[cfg(not(target_arch = "wasm32"))]
pub(super) use poller::Polled;

use super::super::Reclaimed;
use super::recorder::Recorder;
#[cfg(not(target_arch = "wasm32"))]
use super::try_lock;
use super::{GpuSegment, lock};
use batch::{Doomed, Handover};
use queue::Queue;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A batch that was begun so long ago is submitted, so that slow recording does not starve the device; a submission costs about 8 µs on
/// an H100.
pub(super) const DUE_AGE: Duration = Duration::from_micros(500);

/// Batches that wait to be encoded before the thread that records encodes too: 1,024 launches, which is as far as CUDA lets a program
/// be ahead. On an H100 a launch costs the recording thread 0.8 µs and encoding it 2.2, while the device takes 2.4 between two launches
/// that depend on each other: a program that encodes for itself would keep the device waiting.
#[cfg(not(target_arch = "wasm32"))]
const MOST_RECORDED: usize = 8;

/// The owner of everything between the recorder and wgpu's queue. Shared with the pool's threads.
#[derive(Debug)]
pub(super) struct Submission {
    recorder: Mutex<Recorder>,
    queue: Queue<Handover>,
    handover: Arc<Handover>,
    /// Whether callers hand over by themselves: in a browser there are no threads, and on GL whoever makes a buffer waits for whoever
    /// submits, and wgpu panics if that takes a second.
    is_inline: bool,
    #[cfg(not(target_arch = "wasm32"))]
    poller: poller::Poller,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Arc<threads::Threads>,
}

/// The newest item, and the newest batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    item: u64,
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "nothing waits there"))]
    batch: u64,
}

impl Submission {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, is_gl: bool) -> Self {
        let is_inline = is_gl || cfg!(target_arch = "wasm32");
        Self {
            recorder: Mutex::new(Recorder::new(is_inline)),
            queue: Queue::new(),
            handover: Arc::new(Handover { device, queue, health: Arc::default(), fence: Arc::default() }),
            is_inline,
            #[cfg(not(target_arch = "wasm32"))]
            poller: poller::Poller::default(),
            #[cfg(not(target_arch = "wasm32"))]
            threads: Arc::default(),
        }
    }

    /// Locks the recorder. Waits for the thread that records, which holds it for one operation.
    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.recorder)
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.handover.health
    }

    pub(super) fn fence(&self) -> &Fence {
        &self.handover.fence
    }

    /// Asks wgpu whether the device is lost. Runs no callbacks.
    pub(super) fn notice_loss(&self) {
        self.handover.notice_loss();
    }

    /// Appends a batch. The caller holds the recorder.
    pub(super) fn push_batch(&self, batch: Batch) {
        self.queue.push_batch(batch);
    }

    /// Appends the destruction of a segment of `bytes` bytes. The caller holds the recorder.
    pub(super) fn push_destruction(&self, segment: GpuSegment, bytes: u64) {
        self.fence().queue_destruction(bytes);
        self.queue.push_destruction(Doomed { segment, bytes });
    }

    /// Ends the open batch, and appends it.
    pub(super) fn close_batch(&self) -> Newest {
        let mut recorder = self.recorder();
        recorder.close(self);
        Newest { item: self.queue.newest(), batch: recorder.newest_batch() }
    }

    /// Ends the open batch and hands over everything up to it. Waits for other threads that hand over some of it, and for callbacks of
    /// the application that run inside; not for the device, except that a software driver may execute earlier batches meanwhile.
    /// Called without any lock.
    pub(super) fn flush(&self) -> Newest {
        let newest = self.close_batch();
        self.queue.flush(&self.handover, newest.item);
        newest
    }

    /// Ends the open batch and leaves it to the submission thread; encodes a batch if that one is far behind. Does not wait. Without a
    /// submission thread it is [`Submission::flush`].
    pub(super) fn request(self: &Arc<Self>) -> Newest {
        let newest = self.close_batch();
        if self.has_thread() && self.queue.request(newest.item) {
            #[cfg(not(target_arch = "wasm32"))]
            self.queue.help(&self.handover, MOST_RECORDED);
        } else {
            self.queue.flush(&self.handover, newest.item);
        }
        newest
    }

    /// Ends the open batch and sees to it that everything up to it is handed over, waiting for nothing: what can be destroyed at once
    /// is, and the rest is left to the submission thread. Without a submission thread it is [`Submission::flush`].
    pub(super) fn request_without_waiting(self: &Arc<Self>) {
        let newest = self.close_batch();
        self.queue.destroy_front(&self.handover);
        if !self.has_thread() || !self.queue.request(newest.item) {
            self.queue.flush(&self.handover, newest.item);
        }
    }

    pub(super) fn reclaim(&self) -> Reclaimed {
        self.fence().reclaim()
    }

    /// Has the calling thread wait, when it ends, for the batch that it has just begun.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn note_thread(self: &Arc<Self>) {
        if !self.is_inline {
            thread_end::note(self);
        }
    }

    /// Has the submission thread look at the age of the batch that was just begun, and says whether there is one. The caller holds the
    /// recorder.
    pub(super) fn watch_open_batch(self: &Arc<Self>) -> bool {
        self.has_thread() && self.queue.watch()
    }

    #[cfg(target_arch = "wasm32")]
    fn has_thread(self: &Arc<Self>) -> bool {
        false
    }

    /// Whether there may be a submission thread; the first call starts it.
    #[cfg(not(target_arch = "wasm32"))]
    fn has_thread(self: &Arc<Self>) -> bool {
        if self.is_inline {
            return false;
        }
        if self.queue.start() {
            let this = Arc::clone(self);
            if let Err(error) = self.threads.spawn("wgpu-pool submission", move || this.serve()) {
                log::warn!("wgpu-pool: no thread to submit commands, so that callers do: {error}");
                self.queue.refuse();
                return false;
            }
        }
        true
    }

    /// The submission thread.
    #[cfg(not(target_arch = "wasm32"))]
    fn serve(&self) {
        use std::panic::{AssertUnwindSafe, catch_unwind};

        let tick = || {
            // A thread that records may hold it for as long as a large upload takes to copy; what is requested does not wait for that.
            let Some(mut recorder) = try_lock(&self.recorder) else { return Some(DUE_AGE) };
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
            log::error!("wgpu-pool: a callback panicked on the submission thread: {message}");
        }
    }

    /// Ends the pool's threads and waits for their end: for the submission or poll that each is in, and for callbacks of the
    /// application that run inside. What has not been handed over by now is dropped: nobody can see what it would have done.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn close(&self) {
        self.queue.close();
        self.poller.close();
        self.threads.join();
    }

    /// Has the device polled as long as the answer lives. Does not wait.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn polled(&self) -> Polled {
        self.poller.watch(&self.handover, &self.threads)
    }
}
