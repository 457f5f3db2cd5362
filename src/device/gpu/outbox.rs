//! Batches on their way to the queue, in the order in which they were recorded.
//!
//! The recorder closes its batch into the outbox under its own lock, so the outbox is in program order. It is emptied by one
//! thread at a time, with no lock held across `submit`. A thread that finds another one at it leaves its batch there: the
//! other will take it along. A callback that wgpu runs inside `submit` may come back here on the same thread; what was
//! being submitted is then already with the queue, so it may go on emptying.

use super::super::Reclaimed;
use super::staging::Chunk;
use super::{Gpu, GpuSegment, lock, scope};
use crate::error::DeviceError;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;

/// Commands that are recorded and not yet submitted.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) encoder: wgpu::CommandEncoder,
    pub(super) staged: Vec<Chunk>,
}

#[derive(Debug)]
enum Item {
    Submit(Batch),
    Destroy(GpuSegment, u64),
}

/// A destroyed segment whose bytes the driver may still hold.
#[derive(Debug)]
struct Condemned {
    bytes: u64,
    last_batch: u64,
}

#[derive(Debug, Default)]
struct Queue {
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
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    emptied: Condvar,
}

impl Outbox {
    /// Puts a batch in. The caller holds the recorder.
    pub(super) fn submit_later(&self, batch: Batch) {
        let mut queue = lock(&self.queue);
        queue.closed = batch.number;
        queue.items.push_back(Item::Submit(batch));
    }

    /// Puts a segment in, to be destroyed once all batches before it are submitted. The caller holds the recorder.
    pub(super) fn destroy_later(&self, segment: GpuSegment, bytes: u64) {
        let mut queue = lock(&self.queue);
        queue.undestroyed += bytes;
        queue.items.push_back(Item::Destroy(segment, bytes));
    }

    /// Works off what is in the outbox, unless another thread is at it. Called without any lock.
    ///
    /// # Errors
    /// The first error among the batches that this call submitted. The rest is submitted all the same.
    pub(super) fn empty(&self, gpu: &Gpu) -> Result<(), DeviceError> {
        let mut verdict = Ok(());
        while let Some(item) = self.next() {
            match item {
                Item::Submit(batch) => verdict = verdict.and(self.submit(gpu, batch)),
                Item::Destroy(segment, bytes) => {
                    segment.buffer().destroy();
                    let last_batch = segment.0.last_batch.load(Ordering::Relaxed);
                    let mut queue = lock(&self.queue);
                    queue.undestroyed -= bytes;
                    queue.condemned.push(Condemned { bytes, last_batch });
                }
            }
        }
        verdict
    }

    /// The next item, if this thread may take it.
    fn next(&self) -> Option<Item> {
        let this_thread = std::thread::current().id();
        let mut queue = lock(&self.queue);
        if queue.submitter.is_some_and(|thread| thread != this_thread) {
            return None;
        }
        let item = queue.items.pop_front();
        queue.submitter = item.as_ref().map(|_| this_thread);
        if item.is_none() {
            self.emptied.notify_all();
        }
        item
    }

    fn submit(&self, gpu: &Gpu, batch: Batch) -> Result<(), DeviceError> {
        let Batch { number, encoder, staged } = batch;
        let ((), verdict) = scope::guarded(&gpu.device, || {
            for chunk in &staged {
                chunk.unmap();
            }
            let commands = encoder.finish();
            let progress = Arc::clone(&gpu.progress);
            let finished = move || {
                progress.completed.fetch_max(number, Ordering::AcqRel);
            };
            gpu.queue.submit([commands]);
            {
                let mut queue = lock(&self.queue);
                queue.handed_over = queue.handed_over.max(number);
            }
            gpu.queue.on_submitted_work_done(finished);
            for chunk in staged {
                chunk.recycle();
            }
        });
        verdict.map_err(|error| {
            let error = scope::device_error(error, 0);
            gpu.progress.latch(&error);
            error
        })
    }

    /// Waits until every batch put in so far is with wgpu's queue, and names the newest. A thread that is itself
    /// emptying the outbox has nothing to wait for.
    pub(super) fn settle(&self) -> u64 {
        let this_thread = std::thread::current().id();
        let mut queue = lock(&self.queue);
        let target = queue.closed;
        while queue.handed_over < target && queue.submitter.is_some_and(|thread| thread != this_thread) {
            queue = self.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        target
    }

    /// Whether a segment is on its way back to the driver.
    pub(super) fn owes_segments(&self) -> bool {
        let queue = lock(&self.queue);
        queue.undestroyed > 0 || !queue.condemned.is_empty()
    }

    /// Sorts the destroyed segments into those that the driver has back and those that it hasn't.
    pub(super) fn reclaim(&self, completed: u64) -> Reclaimed {
        let mut queue = lock(&self.queue);
        let mut reclaimed = Reclaimed { freed: 0, pending: queue.undestroyed };
        queue.condemned.retain(|segment| {
            let finished = segment.last_batch <= completed;
            let side = if finished { &mut reclaimed.freed } else { &mut reclaimed.pending };
            *side += segment.bytes;
            !finished
        });
        reclaimed
    }
}
