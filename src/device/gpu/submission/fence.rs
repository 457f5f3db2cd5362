//! Counts finished batches and tracks when the driver frees destroyed segments.

use super::super::super::Reclaimed;
use crate::device::lock::Lock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts finished batches, like a Vulkan timeline semaphore. Shared with wgpu's callbacks.
#[derive(Debug, Default)]
pub(in super::super) struct Fence {
    /// The device has finished every batch up to this number.
    finished: AtomicU64,
    destroyed: Lock<Destroyed>,
}

/// Destroyed segments that the driver has not freed yet.
#[derive(Debug, Default)]
struct Destroyed {
    /// Bytes of segments whose destruction is still in the queue.
    queued: u64,
    /// The size of each destroyed segment, and the last batch that uses it: the driver frees the bytes when that batch
    /// has finished.
    destroyed_segments: Vec<(u64, u64)>,
}

impl Fence {
    /// The number up to which the device has finished every batch.
    pub(in super::super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Notes that the device has finished every batch up to a number.
    pub(in super::super) fn finish(&self, batch: u64) {
        self.finished.fetch_max(batch, Ordering::AcqRel);
    }

    /// Returns a guard that finishes a batch when it is dropped. wgpu drops callbacks without calling them after a
    /// callback has panicked, and it calls or drops only callbacks of finished work.
    pub(super) fn ticket(self: &Arc<Self>, batch: u64) -> Ticket {
        Ticket { fence: Arc::clone(self), batch }
    }

    pub(super) fn queue_destruction(&self, bytes: u64) {
        self.destroyed.lock().queued += bytes;
    }

    pub(super) fn destroy(&self, bytes: u64, last_batch: u64) {
        let mut destroyed = self.destroyed.lock();
        destroyed.queued -= bytes;
        destroyed.destroyed_segments.push((bytes, last_batch));
    }

    /// Returns whether a destroyed segment is not freed yet.
    pub(in super::super) fn has_destroyed(&self) -> bool {
        let destroyed = self.destroyed.lock();
        destroyed.queued > 0 || !destroyed.destroyed_segments.is_empty()
    }

    /// Returns the bytes that were freed since the last call, and the bytes that are not freed yet.
    pub(in super::super) fn reclaim(&self) -> Reclaimed {
        let finished = self.finished();
        let mut destroyed = self.destroyed.lock();
        let mut reclaimed = Reclaimed { freed: 0, pending: destroyed.queued };
        destroyed.destroyed_segments.retain(|&(bytes, last_batch)| {
            let is_back = last_batch <= finished;
            *(if is_back { &mut reclaimed.freed } else { &mut reclaimed.pending }) += bytes;
            !is_back
        });
        reclaimed
    }
}

/// Marks a batch as finished when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    fence: Arc<Fence>,
    batch: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fence.finish(self.batch);
    }
}
