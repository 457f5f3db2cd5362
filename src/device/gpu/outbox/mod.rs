//! Batches on their way to the queue, in the order in which they were recorded.
//!
//! The recorder closes its batch into the outbox under its own lock, so the outbox is in program order. It is emptied by one
//! thread at a time, with no lock held across `submit`. A thread that finds another one at it leaves its batch there: the
//! other will take it along. A callback that wgpu runs inside `submit` may come back here on the same thread; what was
//! being submitted is then already with the queue, so it may go on emptying.
//!
//! Where there are threads, batches that nobody waits for are submitted by one of the outbox's own, the [`courier`]. It takes nothing
//! else, so that what a thread hands over on purpose is with the queue when it returns.

mod batch;
#[cfg(not(target_arch = "wasm32"))]
mod courier;

pub(super) use batch::Batch;

use super::super::Reclaimed;
use super::{GpuSegment, Progress, lock};
use crate::error::DeviceError;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

#[derive(Debug)]
enum Item {
    Submit(Batch),
    /// The place of the batch of this number, which another thread is encoding and brings back.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "there is one thread"))]
    Lent(u64),
    Destroy(GpuSegment, u64),
}

/// A destroyed segment whose bytes the driver may still hold.
#[derive(Debug)]
struct Condemned {
    bytes: u64,
    last_batch: u64,
}

#[derive(Debug, Default)]
struct Contents {
    items: VecDeque<Item>,
    /// Who is emptying the outbox.
    submitter: Option<ThreadId>,
    /// The newest batch that was put in.
    closed: u64,
    /// The newest batch that is with wgpu's queue.
    handed_over: u64,
    /// Bytes of segments to destroy that are still items.
    undestroyed: u64,
    condemned: Vec<Condemned>,
    #[cfg(not(target_arch = "wasm32"))]
    courier: courier::Courier,
}

impl Contents {
    /// Another thread may empty the outbox now, if it was this one that did.
    fn leave(&mut self, this_thread: ThreadId) {
        self.submitter.take_if(|thread| *thread == this_thread);
    }

    /// Whether what comes next is with another thread: it is being submitted, or being encoded.
    fn is_elsewhere(&self, this_thread: ThreadId) -> bool {
        self.submitter.is_some_and(|thread| thread != this_thread) || matches!(self.items.front(), Some(Item::Lent(_)))
    }
}

#[derive(Debug)]
pub(super) struct Outbox {
    device: wgpu::Device,
    queue: wgpu::Queue,
    progress: Arc<Progress>,
    contents: Mutex<Contents>,
    /// Told whenever a thread that waits for others to submit may find that they have.
    changed: Condvar,
    /// Told when the courier has something to do.
    #[cfg(not(target_arch = "wasm32"))]
    called: Condvar,
    #[cfg(not(target_arch = "wasm32"))]
    helpers: Arc<super::helpers::Helpers>,
}

/// Lets others go on when a callback of the program's panics inside `submit`.
struct Emptying<'a>(&'a Outbox);

impl Drop for Emptying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut contents = lock(&self.0.contents);
            contents.leave(std::thread::current().id());
            self.0.tell_others(&contents);
        }
    }
}

impl Outbox {
    pub(super) fn new(device: wgpu::Device, queue: wgpu::Queue, progress: Arc<Progress>) -> Self {
        Self {
            device,
            queue,
            progress,
            contents: Mutex::default(),
            changed: Condvar::new(),
            #[cfg(not(target_arch = "wasm32"))]
            called: Condvar::new(),
            #[cfg(not(target_arch = "wasm32"))]
            helpers: Arc::default(),
        }
    }

    /// Puts a batch in. The caller holds the recorder.
    pub(super) fn submit_later(&self, batch: Batch) {
        let mut contents = lock(&self.contents);
        contents.closed = batch.number;
        contents.items.push_back(Item::Submit(batch));
    }

    /// Puts a segment in, to be destroyed once all batches before it are submitted. The caller holds the recorder.
    pub(super) fn destroy_later(&self, segment: GpuSegment, bytes: u64) {
        let mut contents = lock(&self.contents);
        contents.undestroyed += bytes;
        contents.items.push_back(Item::Destroy(segment, bytes));
    }

    /// Works off what is in the outbox, up to where another thread is at it. Called without any lock.
    ///
    /// # Errors
    /// The first error among the batches that this call submitted. The rest is submitted all the same.
    pub(super) fn empty(&self) -> Result<(), DeviceError> {
        self.empty_while(|_| true)
    }

    /// The same, as long as there is a reason to.
    fn empty_while(&self, goes_on: fn(&Contents) -> bool) -> Result<(), DeviceError> {
        let _until_panic = Emptying(self);
        let mut verdict = Ok(());
        while let Some(item) = self.next(goes_on) {
            match item {
                Item::Submit(batch) => verdict = verdict.and(self.submit(batch)),
                Item::Destroy(segment, bytes) => self.destroy(&segment, bytes),
                Item::Lent(number) => unreachable!("batch {number} is lent, and its place stays"),
            }
        }
        verdict
    }

    /// The next item, if this thread may take it and wants to.
    fn next(&self, goes_on: fn(&Contents) -> bool) -> Option<Item> {
        let this_thread = std::thread::current().id();
        let mut contents = lock(&self.contents);
        if contents.submitter.is_some_and(|thread| thread != this_thread) {
            return None;
        }
        let stops = contents.is_elsewhere(this_thread) || !goes_on(&contents);
        let item = if stops { None } else { contents.items.pop_front() };
        contents.submitter = item.as_ref().map(|_| this_thread);
        if item.is_none() {
            self.tell_others(&contents);
        }
        item
    }

    /// Has whoever waits for a change look again.
    fn tell_others(&self, contents: &Contents) {
        self.changed.notify_all();
        #[cfg(not(target_arch = "wasm32"))]
        if contents.is_wanted() {
            self.called.notify_one();
        }
        #[cfg(target_arch = "wasm32")]
        let _ = contents;
    }

    fn submit(&self, batch: Batch) -> Result<(), DeviceError> {
        let number = batch.number;
        let with_the_queue = || {
            let mut contents = lock(&self.contents);
            contents.handed_over = contents.handed_over.max(number);
            // What this thread has left to do, another need not wait for.
            contents.leave(std::thread::current().id());
            self.tell_others(&contents);
        };
        batch.submit(&self.device, &self.queue, &self.progress, with_the_queue)
    }

    fn destroy(&self, segment: &GpuSegment, bytes: u64) {
        segment.buffer().destroy();
        let last_batch = segment.0.last_batch.load(Ordering::Relaxed);
        let mut contents = lock(&self.contents);
        contents.undestroyed -= bytes;
        contents.condemned.push(Condemned { bytes, last_batch });
    }

    /// The newest batch that was put in.
    pub(super) fn newest(&self) -> u64 {
        lock(&self.contents).closed
    }

    /// Empties the outbox, and waits for what other threads have of it: every batch up to `target` is then with wgpu's queue. Encodes
    /// what it can meanwhile. A thread that is itself emptying the outbox has nothing to wait for. Called without any lock.
    ///
    /// # Errors
    /// As [`Outbox::empty`].
    pub(super) fn settle(&self, target: u64) -> Result<(), DeviceError> {
        let this_thread = std::thread::current().id();
        let mut verdict = Ok(());
        loop {
            verdict = verdict.and(self.empty());
            let contents = lock(&self.contents);
            if contents.handed_over >= target {
                return verdict;
            }
            if !contents.is_elsewhere(this_thread) {
                // Another thread has left, and not with everything; or this one is in a callback inside the submission of the rest.
                if contents.items.is_empty() { return verdict } else { continue }
            }
            #[cfg(not(target_arch = "wasm32"))]
            let Some(contents) = self.help(contents, 0) else { continue };
            drop(self.changed.wait(contents).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether a segment is on its way back to the driver.
    pub(super) fn owes_segments(&self) -> bool {
        let contents = lock(&self.contents);
        contents.undestroyed > 0 || !contents.condemned.is_empty()
    }

    /// Sorts the destroyed segments into those that the driver has back and those that it hasn't.
    pub(super) fn reclaim(&self, completed: u64) -> Reclaimed {
        let mut contents = lock(&self.contents);
        let mut reclaimed = Reclaimed { freed: 0, pending: contents.undestroyed };
        contents.condemned.retain(|segment| {
            let finished = segment.last_batch <= completed;
            let side = if finished { &mut reclaimed.freed } else { &mut reclaimed.pending };
            *side += segment.bytes;
            !finished
        });
        reclaimed
    }
}
