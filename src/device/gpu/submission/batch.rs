//! The queue's driver: submits batches to wgpu and destroys segments.

use super::super::GpuSegment;
use super::super::checked::CheckedDevice;
use super::super::own::OwnBuffer;
use super::super::staging::Chunk;
use super::super::verdict::Verdict;
use super::fence::{Fence, Ticket};
use super::health::Health;
#[cfg(not(target_arch = "wasm32"))]
use super::poller;
use super::queue;
use crate::device::lock::log_unlocked;
use crate::error::DeviceError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A recorded batch. wgpu only stores commands during recording; `CommandEncoder::finish` validates and encodes them,
/// which is most of a command's host time.
#[derive(Debug)]
pub(in super::super) struct Batch {
    /// The number at which the fence counts this batch as finished.
    pub(in super::super) number: u64,
    pub(in super::super) encoder: wgpu::CommandEncoder,
    /// The staging buffers that the commands copy from, still mapped.
    pub(in super::super) staged: Vec<Chunk>,
    /// Segments that the commands use and whose buffers the application may have destroyed.
    pub(in super::super) exposed: Vec<GpuSegment>,
    /// Buffers of the crate's own that the commands use.
    pub(in super::super) kept: Vec<Arc<OwnBuffer>>,
    /// The pending verdicts that every command of the batch depends on.
    pub(in super::super) pending: Vec<Verdict>,
}

/// An encoded batch, ready for submission.
#[derive(Debug)]
pub(in super::super) struct Encoded {
    number: u64,
    /// `None` if the commands are invalid; the error has been latched as a fault.
    commands: Option<wgpu::CommandBuffer>,
    staged: Vec<Chunk>,
    exposed: Vec<GpuSegment>,
    kept: Vec<Arc<OwnBuffer>>,
    pending: Vec<Verdict>,
}

/// A segment that will be destroyed.
#[derive(Debug)]
pub(in super::super) struct Destruction {
    pub(super) segment: GpuSegment,
    pub(super) bytes: u64,
}

/// Submits batches and destroys segments.
#[derive(Debug)]
pub(in super::super) struct Handover {
    pub(super) queue: wgpu::Queue,
    /// After the queue, so that the device is kept until the queue has been dropped.
    pub(super) checked: CheckedDevice,
    pub(super) health: Arc<Health>,
    pub(super) fence: Arc<Fence>,
}

impl queue::Driver for Handover {
    type Batch = Batch;
    type Encoded = Encoded;
    type Resource = Destruction;

    fn encode(&self, batch: Batch) -> Encoded {
        let Batch { number, encoder, staged, exposed, kept, pending } = batch;
        let finished = catch_unwind(AssertUnwindSafe(|| self.checked.finish(encoder, &pending)));
        let finished = finished.unwrap_or_else(|panic| {
            let message = format!("encoding a batch of commands panicked: {}", message_of(&*panic));
            Err(DeviceError::Validation { message })
        });
        let commands = finished.map_err(|error| self.fail(error)).ok();
        Encoded { number, commands, staged, exposed, kept, pending }
    }

    /// Submits outside every error scope. wgpu runs application callbacks inside `Queue::submit`, on this thread, and
    /// an error scope would hide their errors from the application.
    ///
    /// wgpu calls callbacks only after the submission has succeeded. The causes of a failure are excluded beforehand:
    /// the commands are valid, because the result of `finish` was checked; the staging buffers are unmapped; no segment
    /// of the pool was destroyed earlier, because the queue destroys segments in order; and buffers that the
    /// application may have destroyed are checked here.
    fn submit(&self, batch: Encoded) {
        let Encoded { number, mut commands, staged, exposed, kept, pending } = batch;
        for chunk in &staged {
            if let Err(error) = chunk.end_writing(&self.checked) {
                self.fail(error);
                commands = None;
            }
        }
        if exposed.iter().any(|segment| self.checked.is_destroyed(segment.own_buffer())) {
            let message = "the application has destroyed the buffer of a segment that recorded commands use".into();
            self.fail(DeviceError::Validation { message });
            commands = None;
        }
        let submit = || {
            if let Some(commands) = commands {
                self.checked.submit(&self.queue, commands, &pending);
            }
        };
        let outcome = catch_unwind(AssertUnwindSafe(submit));
        drop(kept);
        let ticket: Ticket = self.fence.ticket(number);
        self.queue.on_submitted_work_done(move || drop(ticket));
        for chunk in staged {
            chunk.recycle(&self.checked);
        }
        // wgpu reports no error when a submission is refused because the device is lost.
        self.check_for_loss();
        // In a browser only a task of its own notices a loss, and the caller may hold the recorder.
        #[cfg(not(target_arch = "wasm32"))]
        self.health.wake_if_lost();
        if let Err(panic) = outcome {
            if self.health.is_lost() {
                log_unlocked!(error, "wgpu-pool: submitting to a lost device panicked: {}", message_of(&*panic));
            } else {
                resume_unwind(panic);
            }
        }
    }

    /// Drops the buffer if nothing else holds a reference: the driver frees the memory when the last submission that
    /// uses the buffer has finished.
    ///
    /// `Buffer::destroy` would wait for every thread inside `Device::poll`, and block other threads meanwhile. It is
    /// used only where dropping does not suffice: for a buffer that the application has, because bind groups may keep
    /// the buffer alive; and in a browser, where a dropped buffer stays allocated until the garbage collector runs.
    fn destroy(&self, destruction: Destruction) {
        let Destruction { segment, bytes } = destruction;
        let last_batch = segment.0.last_batch.load(Ordering::Relaxed);
        if segment.is_exposed() || cfg!(target_arch = "wasm32") {
            segment.own_buffer().destroy();
        }
        drop(segment);
        self.fence.destroy(bytes, last_batch);
    }

    fn destruction_may_wait(&self, destruction: &Destruction) -> bool {
        destruction.segment.is_exposed()
    }
}

impl Handover {
    /// Latches the error of a batch, unless the device is lost.
    fn fail(&self, error: DeviceError) {
        self.check_for_loss();
        if !self.health.is_lost() {
            self.health.latch(error);
        }
    }

    /// Checks whether wgpu considers the device lost, and if so marks it as lost. Runs no callbacks and wakes no task, so the caller may
    /// hold locks.
    pub(in super::super) fn check_for_loss(&self) {
        if !self.health.is_lost() && self.checked.is_lost() {
            self.health.mark_lost(|| {
                "wgpu creates no more buffers on the device, and the application reported no reason".into()
            });
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl poller::Device for Handover {
    fn poll(&self) {
        self.checked.poll();
    }

    fn is_lost(&self) -> bool {
        self.health.is_lost()
    }

    fn check_for_loss(&self) {
        Handover::check_for_loss(self);
    }

    fn wake_if_lost(&self) {
        self.health.wake_if_lost();
    }
}

/// Returns the message of a panic.
pub(in super::super) fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
