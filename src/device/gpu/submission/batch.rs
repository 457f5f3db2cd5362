//! The queue's driver: what handing over a batch or a destruction means for wgpu.

use super::super::staging::Chunk;
use super::super::{GpuSegment, checked};
use super::fence::{Fence, Ticket};
use super::health::Health;
use super::queue;
use crate::error::DeviceError;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Commands whose recording has ended. Recording only notes them down: validating and encoding them, in `CommandEncoder::finish`, is
/// most of what a command costs the host.
#[derive(Debug)]
pub(in super::super) struct Batch {
    /// The batch's value of the fence.
    pub(in super::super) number: u64,
    pub(in super::super) encoder: wgpu::CommandEncoder,
    /// The staging that it copies from, still mapped.
    pub(in super::super) staged: Vec<Chunk>,
    /// Segments that it names whose buffers the application has seen, and may have destroyed.
    pub(in super::super) exposed: Vec<GpuSegment>,
}

/// A batch that can be submitted.
#[derive(Debug)]
pub(in super::super) struct Encoded {
    number: u64,
    /// Nothing if the commands are invalid; the fault is latched then.
    commands: Option<wgpu::CommandBuffer>,
    staged: Vec<Chunk>,
    exposed: Vec<GpuSegment>,
}

/// A segment to destroy.
#[derive(Debug)]
pub(in super::super) struct Doomed {
    pub(super) segment: GpuSegment,
    pub(super) bytes: u64,
}

/// Hands items over to wgpu.
#[derive(Debug)]
pub(in super::super) struct Handover {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) health: Arc<Health>,
    pub(super) fence: Arc<Fence>,
}

impl queue::Driver for Handover {
    type Batch = Batch;
    type Encoded = Encoded;
    type Resource = Doomed;

    fn encode(&self, batch: Batch) -> Encoded {
        let Batch { number, encoder, staged, exposed } = batch;
        let finished = catch_unwind(AssertUnwindSafe(|| checked::finish(&self.device, encoder)));
        let finished = finished.unwrap_or_else(|panic| {
            let message = format!("encoding a batch of commands panicked: {}", message_of(&*panic));
            Err(DeviceError::Validation { message })
        });
        let commands = finished.map_err(|error| self.fail(error)).ok();
        Encoded { number, commands, staged, exposed }
    }

    /// Submits outside of every error scope, because wgpu runs callbacks of the application inside `Queue::submit`, on this thread:
    /// a scope would take their errors away from the application. wgpu calls callbacks only after the submission has succeeded, and
    /// what makes it fail has been ruled out before: the commands are valid, since `finish` was checked; their staging is unmapped; and
    /// they name no destroyed buffer, since the queue destroys segments in order and what the application may have destroyed is
    /// looked at.
    fn submit(&self, batch: Encoded) {
        let Encoded { number, mut commands, staged, exposed } = batch;
        for chunk in &staged {
            if let Err(error) = chunk.end_writing(&self.device) {
                self.fail(error);
                commands = None;
            }
        }
        if exposed.iter().any(|segment| checked::is_destroyed(&self.device, segment.own_buffer())) {
            let message = "the application has destroyed the buffer of a segment that commands name".into();
            self.fail(DeviceError::Validation { message });
            commands = None;
        }
        let submit = || {
            if let Some(commands) = commands {
                checked::submit(&self.queue, commands);
            }
        };
        let outcome = catch_unwind(AssertUnwindSafe(submit));
        let ticket: Ticket = self.fence.ticket(number);
        self.queue.on_submitted_work_done(move || drop(ticket));
        for chunk in staged {
            chunk.recycle(&self.device);
        }
        // wgpu reports nothing when it refuses a submission because the device is lost.
        self.notice_loss();
        if let Err(panic) = outcome {
            if self.health.is_lost() {
                log::error!("wgpu-pool: submitting to a lost device panicked: {}", message_of(&*panic));
            } else {
                resume_unwind(panic);
            }
        }
    }

    /// Drops the buffer, where nothing else can hold it: the driver has the memory back as soon as the last submission that names it
    /// has ended. `Buffer::destroy` would wait for every thread that is inside `Device::poll`, and make all others wait meanwhile; it
    /// is needed where the application has seen the buffer and may have kept bind groups on it, and in a browser, where a buffer
    /// that is only dropped waits for the garbage collector.
    fn destroy(&self, doomed: Doomed) {
        let Doomed { segment, bytes } = doomed;
        let last_batch = segment.0.last_batch.load(Ordering::Relaxed);
        if segment.is_exposed() || cfg!(target_arch = "wasm32") {
            segment.own_buffer().destroy();
        }
        drop(segment);
        self.fence.destroy(bytes, last_batch);
    }

    fn destruction_may_wait(&self, doomed: &Doomed) -> bool {
        doomed.segment.is_exposed()
    }
}

impl Handover {
    /// Latches an error of a batch, unless the loss of the device is behind it.
    fn fail(&self, error: DeviceError) {
        self.notice_loss();
        if !self.health.is_lost() {
            self.health.latch(error);
        }
    }

    /// Asks wgpu whether the device is lost. No callback runs inside.
    pub(in super::super) fn notice_loss(&self) {
        if !self.health.is_lost() && checked::is_lost(&self.device) {
            self.health.lose(|| "wgpu makes no more buffers on it, and the application did not say why".into());
        }
    }
}

/// The text of a panic.
pub(in super::super) fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
