//! The batch of commands that is being recorded.

use super::Gpu;
use super::program::Program;
use super::timing::Timing;
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
}

impl Open {
    pub(super) fn new(gpu: &Gpu) -> Self {
        Self {
            pass: None,
            encoder: gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-pool") }),
            commands: 0,
            begun: Instant::now(),
            bound_program: 0,
            bound_group: 0,
        }
    }

    /// Whether it was begun so long ago.
    pub(super) fn is_old(&self, age: Duration) -> bool {
        self.begun.elapsed() >= age
    }

    /// A new pass for one dispatch, with timestamps if there are any left.
    pub(super) fn timed_pass(&mut self, timing: &mut Timing, program: &Program) {
        self.pass = None;
        (self.bound_program, self.bound_group) = (0, 0);
        let timestamp_writes = timing.next(&program.name);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-pool"), timestamp_writes };
        self.pass = Some(self.encoder.begin_compute_pass(&descriptor).forget_lifetime());
    }

    /// The open pass; a new one has nothing bound.
    pub(super) fn pass(&mut self) -> &mut wgpu::ComputePass<'static> {
        if self.pass.is_none() {
            (self.bound_program, self.bound_group) = (0, 0);
        }
        self.pass.get_or_insert_with(|| {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-pool"), timestamp_writes: None };
            self.encoder.begin_compute_pass(&descriptor).forget_lifetime()
        })
    }
}
