//! How far the device is, and which destroyed segments the driver has back.

use super::super::super::Reclaimed;
use super::super::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Counts finished batches, as a Vulkan timeline semaphore does. Shared with wgpu's callbacks.
#[derive(Debug, Default)]
pub(in super::super) struct Fence {
    /// The device has finished every batch up to this number.
    finished: AtomicU64,
    destroyed: Mutex<Destroyed>,
}

/// Segments on their way back to the driver.
#[derive(Debug, Default)]
struct Destroyed {
    /// Bytes of segments whose destruction is still in the queue.
    queued: u64,
    /// Segments that are destroyed, each with the last batch that names it: the driver has the bytes once that is finished.
    condemned: Vec<(u64, u64)>,
}

impl Fence {
    /// The device has finished every batch up to this number.
    pub(in super::super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// Notes that the device has finished every batch up to a number.
    pub(in super::super) fn finish(&self, batch: u64) {
        self.finished.fetch_max(batch, Ordering::AcqRel);
    }

    /// What finishes a batch when it is dropped: wgpu drops a callback without calling it if a callback before it panics, and calls
    /// and drops callbacks only of work that has ended.
    pub(super) fn ticket(self: &Arc<Self>, batch: u64) -> Ticket {
        Ticket { fence: Arc::clone(self), batch }
    }

    pub(super) fn queue_destruction(&self, bytes: u64) {
        lock(&self.destroyed).queued += bytes;
    }

    pub(super) fn destroy(&self, bytes: u64, last_batch: u64) {
        let mut destroyed = lock(&self.destroyed);
        destroyed.queued -= bytes;
        destroyed.condemned.push((bytes, last_batch));
    }

    /// Whether a segment is on its way back to the driver.
    pub(in super::super) fn has_destroyed(&self) -> bool {
        let destroyed = lock(&self.destroyed);
        destroyed.queued > 0 || !destroyed.condemned.is_empty()
    }

    /// Sorts the destroyed segments into those that the driver has back, which are reported once, and those that it has not.
    pub(in super::super) fn reclaim(&self) -> Reclaimed {
        let finished = self.finished();
        let mut destroyed = lock(&self.destroyed);
        let mut reclaimed = Reclaimed { freed: 0, pending: destroyed.queued };
        destroyed.condemned.retain(|&(bytes, last_batch)| {
            let is_back = last_batch <= finished;
            *(if is_back { &mut reclaimed.freed } else { &mut reclaimed.pending }) += bytes;
            !is_back
        });
        reclaimed
    }
}

/// Finishes a batch when it is dropped.
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
