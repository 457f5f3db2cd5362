//! Recording of commands.

#[cfg(target_arch = "wasm32")]
use super::super::staging::CHUNK_BYTES;
use super::super::submission::RecorderGuard;
use super::super::unit::UnitMerger;
use super::super::verdict::Verdict;
use super::super::{Gpu, GpuReadback, GpuSegment};
use super::{DUE_BYTES, Open, Recorder};
use crate::device::{Commands, Location, check_alignment, check_part_of_unit, check_range, check_transfer};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::Arc;

/// The command guard of a [`Gpu`].
#[derive(Debug)]
pub struct GpuCommands<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) recorder: RecorderGuard<'a>,
}

impl<'a> GpuCommands<'a> {
    pub(in super::super) fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, recorder: gpu.submission.recorder() }
    }
}

/// The recording functions, called through [`GpuCommands::checked`].
impl GpuCommands<'_> {
    /// Records if the device is not known to have failed. If the loss of the device caused an error, returns the loss.
    pub(super) fn checked(
        &mut self,
        record: impl FnOnce(&mut Self) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        #[cfg(target_arch = "wasm32")]
        self.gpu.submission.check_backlog(&self.recorder)?;
        self.checked_read(record)
    }

    /// Records if the device is not known to have failed, however many batches wait for it: a read is itself a way to wait
    /// for the device.
    fn checked_read(&mut self, record: impl FnOnce(&mut Self) -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        self.gpu.check()?;
        record(self).map_err(|error| self.gpu.loss_or(error))
    }

    fn record_write(&mut self, to: &Location<GpuSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        check_transfer(to, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let recorder = &mut *self.recorder;
        recorder.depend_on(self.gpu, std::iter::once(to.segment.verdict()))?;
        #[cfg(target_arch = "wasm32")]
        if bytes.len() as u64 > CHUNK_BYTES {
            return recorder.write_directly(self.gpu, to, bytes);
        }
        // Staged before the encoder is used: if staging memory is refused, the batch is unchanged.
        recorder.open(self.gpu)?;
        let staged = recorder.staging.reserve(self.gpu, bytes.len() as u64)?;
        staged.write(0, bytes)?;
        recorder.uses(&to.segment);
        let length = bytes.len() as u64;
        let encoder = recorder.encoder(self.gpu)?;
        encoder.copy_buffer_to_buffer(&staged.buffer, staged.offset, to.segment.own_buffer(), to.offset, length);
        Ok(())
    }

    fn record_clear(&mut self, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        check_alignment(to.offset, to.size)?;
        self.recorder.depend_on(self.gpu, std::iter::once(to.segment.verdict()))?;
        self.recorder.uses(&to.segment);
        self.recorder.encoder(self.gpu)?.clear_buffer(to.segment.own_buffer(), to.offset, Some(to.size));
        Ok(())
    }

    fn record_copy_part_of_unit(
        &mut self,
        from: &Location<GpuSegment>,
        to: &Location<GpuSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        let Self { gpu, recorder } = self;
        if recorder.merger.as_ref().is_none_or(UnitMerger::is_refused) {
            recorder.merger = Some(UnitMerger::new(gpu)?);
        }
        let merging = recorder.merger.as_ref().map_or_else(Default::default, UnitMerger::verdicts);
        recorder.depend_on(gpu, [from.segment.verdict(), to.segment.verdict()].into_iter().chain(&merging))?;
        recorder.uses(&from.segment);
        recorder.uses(&to.segment);
        if let Some(units) = recorder.merger.as_ref().map(|merger| Arc::clone(&merger.units)) {
            recorder.keep(&units);
        }
        recorder.encoder(gpu)?;
        let Recorder { open: Some(open), merger: Some(merger), .. } = &mut **recorder else {
            unreachable!("both were just created");
        };
        merger.gather(&mut open.encoder, from, to);
        merger.merge(open.pass(), bytes);
        open.pass = None;
        merger.scatter(&mut open.encoder, to);
        open.commands += 1;
        Ok(())
    }

    fn record_read(&mut self, from: &Location<GpuSegment>, into: &mut GpuReadback) -> Result<(), DeviceError> {
        check_alignment(from.offset, from.size)?;
        check_range(0, from.size, from.size)?;
        self.recorder.depend_on(self.gpu, [from.segment.verdict(), into.verdict()].into_iter())?;
        let (buffer, offset) = into.take(from.size)?;
        self.recorder.uses(&from.segment);
        self.recorder.keep(&buffer);
        let encoder = self.recorder.encoder(self.gpu)?;
        encoder.copy_buffer_to_buffer(from.segment.own_buffer(), from.offset, &buffer, offset, from.size);
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
impl Recorder {
    /// Submits the recorded commands, and writes to a segment through the device's queue, which orders the write after
    /// them. A browser needs no staging buffer for this, and runs no callback inside.
    fn write_directly(&mut self, gpu: &Gpu, to: &Location<GpuSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        // No batch uses the segment for this: a write that is already queued delays no destruction.
        let dependencies = self.pending.clone();
        self.close(&gpu.submission);
        gpu.submission.hand_over_all();
        gpu.checked.write_buffer(&gpu.queue, to.segment.own_buffer(), to.offset, bytes, &dependencies)?;
        // The browser holds the bytes until the device has them, so the write counts as a batch.
        gpu.submission.note_write(self.take_number());
        Ok(())
    }
}

impl Commands for GpuCommands<'_> {
    type Segment = GpuSegment;
    type Readback = GpuReadback;

    fn write(&mut self, to: &Location<GpuSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.checked(|commands| commands.record_write(to, bytes))
    }

    fn clear(&mut self, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        self.checked(|commands| commands.record_clear(to))
    }

    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        self.checked(|commands| commands.make_bounce_buffer(bytes))
    }

    fn has_accepted_bounce_buffer(&self) -> bool {
        let is_accepted = |verdict: &Verdict| verdict.pending().is_none() && verdict.refusal().is_none();
        self.recorder.bounce_buffer.as_ref().is_none_or(|buffer| is_accepted(buffer.verdict()))
    }

    fn copy(&mut self, from: &Location<GpuSegment>, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        self.checked(|commands| commands.record_copy(from, to))
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<GpuSegment>,
        to: &Location<GpuSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        self.checked(|commands| commands.record_copy_part_of_unit(from, to, bytes))
    }

    fn read(&mut self, from: &Location<GpuSegment>, into: &mut GpuReadback) -> Result<(), DeviceError> {
        self.checked_read(|commands| commands.record_read(from, into))
    }

    fn due(&self) -> bool {
        let Recorder { open, was_split, due_commands, due_age, checks_age, staging, .. } = &*self.recorder;
        let is_due = |open: &Open| open.commands >= *due_commands || (*checks_age && open.age() >= *due_age);
        *was_split || staging.open_bytes() >= DUE_BYTES || open.as_ref().is_some_and(is_due)
    }

    fn destroy(&mut self, id: SegmentId, segment: GpuSegment, bytes: u64) {
        let Self { gpu, recorder } = self;
        #[cfg(feature = "tensor")]
        recorder.unbind_segment(gpu, id);
        #[cfg(not(feature = "tensor"))]
        let _ = id;
        recorder.close(&gpu.submission);
        gpu.submission.push_destruction(segment, bytes);
    }
}
