//! The batch of commands that is being recorded.

use super::program::Program;
use super::timing::Timing;
use super::{Gpu, checked};
use crate::error::DeviceError;
use std::time::Duration;

// The standard library has no clock in a browser.
#[cfg(target_arch = "wasm32")]
use quanta::Instant;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

/// A batch in the making. The pass is declared first, so that it is dropped before its encoder.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) pass: Option<wgpu::ComputePass<'static>>,
    pub(super) encoder: wgpu::CommandEncoder,
    pub(super) commands: u32,
    begun: Instant,
    pub(super) bound_program: u64,
    pub(super) bound_group: u64,
    /// What the bound program's immediates were last set to; nothing if they weren't.
    immediates: Vec<u8>,
}

impl Open {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        Ok(Self {
            pass: None,
            encoder: checked::encoder(&gpu.device).map_err(|error| gpu.loss_or(error))?,
            commands: 0,
            begun: Instant::now(),
            bound_program: 0,
            bound_group: 0,
            immediates: Vec::new(),
        })
    }

    /// How long ago it was begun.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes note that whatever was bound may not be any more.
    pub(super) fn forget_bound(&mut self) {
        (self.bound_program, self.bound_group) = (0, 0);
        self.immediates.clear();
    }

    /// A new pass for one dispatch, with timestamps if there are any left.
    pub(super) fn timed_pass(&mut self, timing: &mut Timing, program: &Program) {
        self.pass = None;
        self.forget_bound();
        let timestamp_writes = timing.next(&program.name);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-pool"), timestamp_writes };
        self.pass = Some(self.encoder.begin_compute_pass(&descriptor).forget_lifetime());
    }

    /// Has the open pass run this program, as it will until another is bound.
    pub(super) fn bind_program(&mut self, program: &Program) {
        if self.bound_program != program.number {
            self.pass().set_pipeline(&program.pipeline);
            // Group 0 survives a change of pipeline only where the layouts agree; binding it anew costs little.
            (self.bound_program, self.bound_group) = (program.number, 0);
            self.immediates.clear();
        }
    }

    /// Gives the bound program its immediates, unless it has them: kernels are often run again on others of the same shape.
    pub(super) fn set_immediates(&mut self, bytes: &[u8]) {
        if self.immediates != bytes {
            self.pass().set_immediates(0, bytes);
            self.immediates.clear();
            self.immediates.extend_from_slice(bytes);
        }
    }

    /// The open pass; a new one has nothing bound.
    pub(super) fn pass(&mut self) -> &mut wgpu::ComputePass<'static> {
        if self.pass.is_none() {
            self.forget_bound();
        }
        self.pass.get_or_insert_with(|| {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-pool"), timestamp_writes: None };
            self.encoder.begin_compute_pass(&descriptor).forget_lifetime()
        })
    }
}
