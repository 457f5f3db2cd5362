//! A batch of commands, from the end of its recording to wgpu's queue.

use super::super::staging::Chunk;
use super::super::{Progress, scope};
use crate::error::DeviceError;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Commands that are recorded and not yet submitted.
#[derive(Debug)]
pub(in super::super) struct Batch {
    pub(super) number: u64,
    commands: Commands,
    staged: Vec<Chunk>,
}

/// The commands of a batch. Recording only notes them down: validating and encoding them, in `CommandEncoder::finish`, is most of what
/// a command costs the host.
#[derive(Debug)]
enum Commands {
    Recorded(wgpu::CommandEncoder),
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "only a courier has others encode"))]
    Encoded(wgpu::CommandBuffer),
}

impl Commands {
    fn encoded(self) -> wgpu::CommandBuffer {
        match self {
            Self::Recorded(encoder) => encoder.finish(),
            Self::Encoded(buffer) => buffer,
        }
    }
}

impl Batch {
    /// A batch whose recording has ended, and the staging that it copies from.
    pub(in super::super) fn new(number: u64, encoder: wgpu::CommandEncoder, staged: Vec<Chunk>) -> Self {
        Self { number, commands: Commands::Recorded(encoder), staged }
    }

    /// Whether its commands are still to be encoded.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn is_recorded(&self) -> bool {
        matches!(self.commands, Commands::Recorded(_))
    }

    /// Encodes its commands; no callback runs inside. An error is noted in `progress`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn encode(self, device: &wgpu::Device, progress: &Progress) -> Self {
        let Self { number, commands, staged } = self;
        let (buffer, verdict) = scope::guarded(device, || commands.encoded());
        if let Err(error) = verdict {
            progress.latch(&scope::device_error(error, 0));
        }
        Self { number, commands: Commands::Encoded(buffer), staged }
    }

    /// Hands it to the queue, and says so. Callbacks may run inside. An error is noted in `progress`, too.
    pub(super) fn submit(
        self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        progress: &Arc<Progress>,
        with_the_queue: impl FnOnce(),
    ) -> Result<(), DeviceError> {
        let Self { number, commands, staged } = self;
        let noted = Arc::clone(progress);
        let finished = move || {
            noted.completed.fetch_max(number, Ordering::AcqRel);
        };
        let ((), verdict) = scope::guarded(device, || {
            for chunk in &staged {
                chunk.unmap();
            }
            queue.submit([commands.encoded()]);
            with_the_queue();
            queue.on_submitted_work_done(finished);
            for chunk in staged {
                chunk.recycle();
            }
        });
        verdict.map_err(|error| {
            let error = scope::device_error(error, 0);
            progress.latch(&error);
            error
        })
    }
}
