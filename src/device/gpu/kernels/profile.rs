//! Timestamps of the dispatches in a part of a program.

use super::super::own::OwnBuffer;
use super::super::{Gpu, GpuReadback};
use super::timing::{MAX_DISPATCHES, Timing};
use crate::device::Memory;
use crate::error::DeviceError;
use std::sync::Arc;

/// The dispatches of a profile in program order: the kernel's name, and the start and end time in nanoseconds of the
/// device's clock.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    pub(crate) dispatches: Vec<(Arc<str>, u64, u64)>,
    pub(crate) untimed: u64,
}

impl Gpu {
    /// Starts timing: every following dispatch gets timestamps. Discards timestamps of an unfinished profile.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] if the device does not support timestamp queries.
    pub(crate) fn begin_timing(&self) -> Result<(), DeviceError> {
        let feature = wgpu::Features::TIMESTAMP_QUERY;
        if !self.device.features().contains(feature) {
            return Err(DeviceError::Unsupported { feature: "TIMESTAMP_QUERY" });
        }
        self.check()?;
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("wgpu-pool profile"),
            ty: wgpu::QueryType::Timestamp,
            count: 2 * MAX_DISPATCHES,
        };
        let (queries, verdict) = self.checked.query_set(&descriptor).map_err(|error| self.loss_or(error))?;
        self.submission.recorder().set_timing(Some(Timing { queries, verdict, kernels: Vec::new(), untimed: 0 }));
        Ok(())
    }

    /// Stops timing and discards the timestamps.
    pub(crate) fn drop_timing(&self) {
        self.submission.recorder().set_timing(None);
    }

    /// Stops timing, waits for the device and returns the timestamps.
    ///
    /// # Errors
    /// [`DeviceError::Lost`], the error of a failed batch, or the refusal of an object of the profile.
    pub(crate) async fn end_timing(&self) -> Result<Timed, DeviceError> {
        let Some(timing) = self.submission.recorder().set_timing(None) else { return Ok(Timed::default()) };
        if timing.kernels.is_empty() {
            return Ok(Timed { dispatches: Vec::new(), untimed: timing.untimed });
        }
        let bytes = timing.kernels.len() as u64 * 16;
        let mut readback = self.readback(bytes)?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let create = || self.buffer("wgpu-pool profile", bytes, usage, false);
        // As that of the readback, its refusal is the profile's error and no fault.
        let resolved = Arc::new(self.submission.health().verdicts().defer(create).0?);
        self.record_timestamps(&timing, &resolved, &mut readback)?;
        let bytes = self.collect(readback).await?;
        if let Some(refusal) = resolved.verdict().refusal() {
            return Err(refusal.clone());
        }
        let period = f64::from(self.queue.get_timestamp_period());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "nanoseconds of a device's uptime have fewer than 53 bits"
        )]
        let time = |eight: &[u8]| {
            let mut ticks = [0; 8];
            ticks.copy_from_slice(eight);
            (u64::from_le_bytes(ticks) as f64 * period) as u64
        };
        let pairs = bytes.chunks_exact(16).map(|pair| (time(&pair[..8]), time(&pair[8..])));
        let dispatches = timing.kernels.into_iter().zip(pairs).map(|(kernel, (start, end))| (kernel, start, end));
        Ok(Timed { dispatches: dispatches.collect(), untimed: timing.untimed })
    }

    fn record_timestamps(
        &self,
        timing: &Timing,
        resolved: &Arc<OwnBuffer>,
        readback: &mut GpuReadback,
    ) -> Result<(), DeviceError> {
        let bytes = resolved.size();
        let mut recorder = self.submission.recorder();
        // Refused, they would discard the commands of the same batch.
        recorder.depend_on(self, [&timing.verdict, resolved.verdict(), readback.verdict()].into_iter())?;
        let (buffer, offset) = readback.take(bytes)?;
        recorder.keep(resolved);
        recorder.keep(&buffer);
        let encoder = recorder.encoder(self)?;
        let queries = u32::try_from(timing.kernels.len() * 2).expect("a query set has at most u32::MAX queries");
        encoder.resolve_query_set(&timing.queries, 0..queries, resolved, 0);
        encoder.copy_buffer_to_buffer(resolved, 0, &buffer, offset, bytes);
        Ok(())
    }
}
