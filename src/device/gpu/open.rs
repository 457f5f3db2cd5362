//! The batch of commands that is being recorded.

use super::Gpu;
#[cfg(feature = "tensor")]
use super::kernels::Bound;
use crate::error::DeviceError;
use std::time::Duration;

// The standard library has no clock in a browser.
#[cfg(target_arch = "wasm32")]
use quanta::Instant;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

/// A batch that is being recorded. The pass is declared first, so that it is dropped before its encoder.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) pass: Option<wgpu::ComputePass<'static>>,
    pub(super) encoder: wgpu::CommandEncoder,
    pub(super) commands: u32,
    begun: Instant,
    #[cfg(feature = "tensor")]
    bound: Bound,
}

impl Open {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        Ok(Self {
            pass: None,
            encoder: gpu.checked.encoder().map_err(|error| gpu.loss_or(error))?,
            commands: 0,
            begun: Instant::now(),
            #[cfg(feature = "tensor")]
            bound: Bound::default(),
        })
    }

    /// Returns the time since the batch was begun.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Begins a new pass for one dispatch, with these timestamps.
    #[cfg(feature = "tensor")]
    pub(super) fn timed_pass(&mut self, timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>) {
        self.pass = None;
        self.bound.forget();
        self.pass = Some(begin_pass(&mut self.encoder, timestamp_writes));
    }

    /// Returns the open pass and its bindings. Begins a pass, without bindings, if none is open.
    #[cfg(feature = "tensor")]
    pub(super) fn pass_and_bound(&mut self) -> (&mut wgpu::ComputePass<'static>, &mut Bound) {
        let Self { pass, encoder, bound, .. } = self;
        if pass.is_none() {
            bound.forget();
        }
        (pass.get_or_insert_with(|| begin_pass(encoder, None)), bound)
    }

    /// Returns the open pass, for bindings that are not tracked. Begins a pass if none is open.
    pub(super) fn pass(&mut self) -> &mut wgpu::ComputePass<'static> {
        #[cfg(feature = "tensor")]
        self.bound.forget();
        let Self { pass, encoder, .. } = self;
        pass.get_or_insert_with(|| begin_pass(encoder, None))
    }
}

fn begin_pass(
    encoder: &mut wgpu::CommandEncoder,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) -> wgpu::ComputePass<'static> {
    let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-pool"), timestamp_writes };
    encoder.begin_compute_pass(&descriptor).forget_lifetime()
}
