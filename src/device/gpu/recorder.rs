//! The recorder: all commands of a memory, in program order.
//!
//! One encoder is open at a time, and in it one compute pass, for as long as only dispatches come. A copy ends the pass. A
//! block that is freed while the open batch names it may be handed out to the next command, since that one runs after.

use super::super::{
    CacheUse, Commands, Location, MemoryLimits, check_alignment, check_part_of_unit, check_range, check_transfer,
};
use super::bind_groups::BindGroups;
use super::open::Open;
use super::outbox::{Batch, Outbox};
use super::parameters::Ring;
use super::program::{Passing, Program};
use super::staging::Staging;
use super::timing::Timing;
use super::unbind::Unbinder;
use super::unit::UnitMerger;
use super::{Gpu, GpuReadback, GpuSegment};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::MutexGuard;
use std::time::Duration;

/// A batch of this many commands is worth a submission. On an H100 recording costs 1 to 2 µs a command and submitting 8 µs, so
/// this keeps the device busy at less than a tenth on top.
const DUE_COMMANDS: u32 = 128;
/// The first batch after a pause is worth one at this many commands, and each one after it at twice as many as the last: the
/// device begins early, and later batches are long.
const FIRST_DUE_COMMANDS: u32 = 16;
/// A batch that stages this many bytes is worth one, too.
const DUE_BYTES: u64 = 16 << 20;
/// So does one that was begun so long ago: whoever records slowly shouldn't keep the device waiting for the rest. Submitting costs a
/// sixtieth of it.
const DUE_AGE: Duration = Duration::from_micros(500);
/// Commands from one look at the clock to the next: on some virtual machines that takes a good part of what a command does.
const CLOCK_COMMANDS: u32 = 8;
/// Copies within one segment go through a buffer of at most this size.
const DETOUR_BYTES: u64 = 8 << 20;

#[derive(Debug)]
pub(super) struct Recorder {
    /// The number of the open batch, or of the next one.
    number: u64,
    /// The commands at which the open batch is worth a submission.
    due_commands: u32,
    /// The age at which it is.
    due_age: Duration,
    open: Option<Open>,
    staging: Staging,
    ring: Option<Ring>,
    groups: BindGroups,
    detour: Option<wgpu::Buffer>,
    /// Whether segments have been bound since the slots were last taken from them. Of interest on GL.
    binds_segments: bool,
    unbinder: Option<Unbinder>,
    merger: Option<UnitMerger>,
    /// None while nobody wants to know how long kernels take.
    timing: Option<Timing>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            number: 1,
            due_commands: FIRST_DUE_COMMANDS,
            due_age: DUE_AGE,
            open: None,
            staging: Staging::default(),
            ring: None,
            groups: BindGroups::default(),
            detour: None,
            binds_segments: false,
            unbinder: None,
            merger: None,
            timing: None,
        }
    }

    /// Begins or ends the timing of dispatches.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn set_timing(&mut self, timing: Option<Timing>) -> Option<Timing> {
        std::mem::replace(&mut self.timing, timing)
    }

    /// Takes every slot from the segments that were bound to it last.
    fn unbind(&mut self, gpu: &Gpu) -> Result<(), DeviceError> {
        if self.unbinder.is_none() {
            self.unbinder = Some(Unbinder::new(gpu)?);
        }
        self.open(gpu);
        let Self { open: Some(open), unbinder: Some(unbinder), .. } = self else {
            unreachable!("both were just made");
        };
        unbinder.record(open.pass());
        open.commands += 1;
        open.forget_bound();
        self.binds_segments = false;
        Ok(())
    }

    /// Ends the open batch, if there is one, and puts it into the outbox.
    pub(super) fn close(&mut self, outbox: &Outbox) {
        let stages_much = self.staging.open_bytes() >= DUE_BYTES;
        let staged = self.staging.close();
        if let Some(ring) = &mut self.ring {
            ring.close();
        }
        if let Some(open) = self.open.take() {
            // A batch that ends before it is worth it is one that somebody waits for, so that the device will run dry.
            let was_due = stages_much || open.commands >= self.due_commands;
            self.due_commands = match was_due {
                true => DUE_COMMANDS.min(2 * self.due_commands),
                // An old one says nothing of whether the device is busy.
                false if open.is_old(self.due_age) => self.due_commands,
                false => FIRST_DUE_COMMANDS,
            };
            drop(open.pass);
            outbox.submit_later(Batch::new(self.number, open.encoder, staged));
            self.number += 1;
        }
    }

    pub(super) fn drop_caches(&mut self) {
        self.staging.drop_idle();
        if self.open.is_none() {
            (self.detour, self.merger) = (None, None);
        }
    }

    pub(super) fn drop_groups(&mut self) {
        self.groups.forget_all();
    }

    /// The caches of the recorder, and how full they are.
    pub(super) fn caches(&self) -> [CacheUse; 4] {
        let bounce_buffer = self.detour.as_ref().map_or(0, wgpu::Buffer::size);
        let bounce = CacheUse {
            entries: u64::from(bounce_buffer > 0),
            most_entries: Some(1),
            bytes: Some(bounce_buffer),
            most_bytes: Some(DETOUR_BYTES),
            ..CacheUse::named("bounce buffer")
        };
        [self.groups.usage(), self.staging.usage(), Ring::usage(self.ring.as_ref()), bounce]
    }

    fn open(&mut self, gpu: &Gpu) -> &mut Open {
        self.open.get_or_insert_with(|| Open::new(gpu))
    }

    /// The encoder outside of any pass, for a copy.
    pub(super) fn encoder(&mut self, gpu: &Gpu) -> &mut wgpu::CommandEncoder {
        let open = self.open(gpu);
        open.pass = None;
        open.commands += 1;
        &mut open.encoder
    }
}

/// The right to record on a [`Gpu`].
#[derive(Debug)]
pub struct GpuCommands<'a> {
    gpu: &'a Gpu,
    recorder: MutexGuard<'a, Recorder>,
}

impl<'a> GpuCommands<'a> {
    pub(super) fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, recorder: gpu.lock_recorder() }
    }

    /// Runs a kernel over `workgroups` workgroups, with `tensors` bound in this order and `parameters` as it takes them.
    pub(crate) fn dispatch(
        &mut self,
        program: &Program,
        tensors: &[Location<GpuSegment>],
        parameters: &[u8],
        workgroups: [u32; 3],
    ) -> Result<(), DeviceError> {
        let gpu = self.gpu;
        let recorder = &mut *self.recorder;
        for place in tensors {
            check_binding(place, &gpu.limits)?;
            place.segment.used_in(recorder.number);
        }
        let slot = match program.passing {
            Passing::Uniform => Some(recorder.parameter_slot(gpu, parameters)?),
            Passing::None | Passing::Immediates => None,
        };
        recorder.open(gpu);
        let Recorder { open: Some(open), groups, ring, binds_segments, timing, .. } = recorder else {
            unreachable!("a batch was just opened");
        };
        let (group, number) = groups.get(gpu, tensors)?;
        *binds_segments = true;
        match timing {
            Some(timing) => open.timed_pass(timing, program),
            None => drop(open.pass()),
        }
        open.bind_program(program);
        if open.bound_group != number {
            open.pass().set_bind_group(0, group, &[]);
            open.bound_group = number;
        }
        match (program.passing, ring, slot) {
            (Passing::Immediates, ..) => open.set_immediates(parameters),
            (Passing::Uniform, Some(ring), Some(slot)) => open.pass().set_bind_group(1, &ring.group, &[slot.offset]),
            _ => {}
        }
        let [x, y, z] = workgroups;
        open.pass().dispatch_workgroups(x, y, z);
        open.commands += 1;
        if timing.is_some() {
            // Its end is the dispatch's.
            open.pass = None;
        }
        Ok(())
    }

    fn bounce(&mut self, from: &Location<GpuSegment>, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        self.prepare_bounce_buffer(from.size)?;
        let detour = self.recorder.detour.clone().expect("it was just made");
        let encoder = self.recorder.encoder(self.gpu);
        // Upwards, so that a piece never overwrites one that is yet to be copied down.
        let mut done = 0;
        while done < from.size {
            let bytes = (from.size - done).min(detour.size());
            encoder.copy_buffer_to_buffer(from.segment.buffer(), from.offset + done, &detour, 0, bytes);
            encoder.copy_buffer_to_buffer(&detour, 0, to.segment.buffer(), to.offset + done, bytes);
            done += bytes;
        }
        Ok(())
    }
}

impl Recorder {
    fn parameter_slot(&mut self, gpu: &Gpu, parameters: &[u8]) -> Result<super::parameters::Slot, DeviceError> {
        if self.ring.is_none() {
            self.ring = Some(Ring::new(gpu)?);
        }
        self.open(gpu);
        let Self { open: Some(open), ring: Some(ring), staging, .. } = self else {
            unreachable!("the batch and the ring were just made");
        };
        if ring.needs_group() {
            open.pass = None;
            ring.begin_group(gpu, staging, &mut open.encoder)?;
        }
        ring.put(parameters)
    }
}

fn check_binding(place: &Location<GpuSegment>, limits: &MemoryLimits) -> Result<(), DeviceError> {
    if place.size > limits.largest_binding {
        return Err(DeviceError::BindingTooLarge { bytes: place.size, limit: limits.largest_binding });
    }
    if place.offset.is_multiple_of(limits.alignment) {
        Ok(())
    } else {
        Err(DeviceError::Misaligned { offset: place.offset, length: place.size, unit: limits.alignment })
    }
}

impl Commands<Gpu> for GpuCommands<'_> {
    fn write(&mut self, to: &Location<GpuSegment>, bytes: &[u8]) -> Result<(), DeviceError> {
        check_transfer(to, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let recorder = &mut *self.recorder;
        // Staged before the encoder is touched: a lack of memory leaves the batch as it was.
        recorder.open(self.gpu);
        let staged = recorder.staging.reserve(self.gpu, bytes.len() as u64)?;
        staged.write(0, bytes)?;
        to.segment.used_in(recorder.number);
        let length = bytes.len() as u64;
        let encoder = recorder.encoder(self.gpu);
        encoder.copy_buffer_to_buffer(&staged.buffer, staged.offset, to.segment.buffer(), to.offset, length);
        Ok(())
    }

    fn clear(&mut self, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        check_alignment(to.offset, to.size)?;
        to.segment.used_in(self.recorder.number);
        self.recorder.encoder(self.gpu).clear_buffer(to.segment.buffer(), to.offset, Some(to.size));
        Ok(())
    }

    fn prepare_bounce_buffer(&mut self, bytes: u64) -> Result<(), DeviceError> {
        let piece = bytes.min(DETOUR_BYTES);
        if self.recorder.detour.as_ref().map_or(0, wgpu::Buffer::size) < piece {
            let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            self.recorder.detour = Some(self.gpu.buffer("wgpu-pool detour", piece, usage, false)?);
        }
        Ok(())
    }

    fn copy(&mut self, from: &Location<GpuSegment>, to: &Location<GpuSegment>) -> Result<(), DeviceError> {
        check_transfer(from, from.size)?;
        check_transfer(to, from.size)?;
        let number = self.recorder.number;
        from.segment.used_in(number);
        to.segment.used_in(number);
        if from.id == to.id {
            return self.bounce(from, to);
        }
        let encoder = self.recorder.encoder(self.gpu);
        encoder.copy_buffer_to_buffer(from.segment.buffer(), from.offset, to.segment.buffer(), to.offset, from.size);
        Ok(())
    }

    fn copy_part_of_unit(
        &mut self,
        from: &Location<GpuSegment>,
        to: &Location<GpuSegment>,
        bytes: u32,
    ) -> Result<(), DeviceError> {
        check_part_of_unit(from, to, bytes)?;
        let Self { gpu, recorder } = self;
        if recorder.merger.is_none() {
            recorder.merger = Some(UnitMerger::new(gpu)?);
        }
        from.segment.used_in(recorder.number);
        to.segment.used_in(recorder.number);
        recorder.encoder(gpu);
        let Recorder { open: Some(open), merger: Some(merger), .. } = &mut **recorder else {
            unreachable!("both were just made");
        };
        merger.gather(&mut open.encoder, from, to);
        merger.merge(open.pass(), bytes);
        open.pass = None;
        merger.scatter(&mut open.encoder, to);
        open.commands += 1;
        Ok(())
    }

    fn read(&mut self, from: &Location<GpuSegment>, into: &mut GpuReadback) -> Result<(), DeviceError> {
        check_alignment(from.offset, from.size)?;
        check_range(0, from.size, from.size)?;
        let (buffer, offset) = into.take(from.size)?;
        from.segment.used_in(self.recorder.number);
        let encoder = self.recorder.encoder(self.gpu);
        encoder.copy_buffer_to_buffer(from.segment.buffer(), from.offset, buffer, offset, from.size);
        Ok(())
    }

    fn due(&self) -> bool {
        let Recorder { open, due_commands, due_age, staging, .. } = &*self.recorder;
        let is_long = |open: &Open| {
            open.commands >= *due_commands || (open.commands.is_multiple_of(CLOCK_COMMANDS) && open.is_old(*due_age))
        };
        staging.open_bytes() >= DUE_BYTES || open.as_ref().is_some_and(is_long)
    }

    fn destroy(&mut self, id: SegmentId, segment: GpuSegment, bytes: u64) {
        let Self { gpu, recorder } = self;
        recorder.groups.forget_segment(id);
        if gpu.is_gl && recorder.binds_segments {
            if let Err(error) = recorder.unbind(gpu) {
                // The memory then waits for the next dispatch.
                log::debug!("wgpu-pool: slots can't be taken from segments: {error}");
            }
        }
        recorder.close(&gpu.outbox);
        gpu.outbox.destroy_later(segment, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Memory;
    use crate::heap::{Heap, HeapOptions, SubPool};

    #[test]
    fn batches_grow_until_one_ends_early_and_end_when_they_are_old() -> Result<(), Box<dyn std::error::Error>> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let gpu = Gpu::from_device(device, queue);
        gpu.lock_recorder().due_age = Duration::MAX;
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let id = heap.add_segment(SubPool::Small, 256)?;
        let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
        let record = || -> Result<bool, DeviceError> {
            let mut commands = gpu.commands();
            commands.clear(&place)?;
            Ok(commands.due())
        };
        let commands_of_a_batch = || -> Result<u32, DeviceError> {
            let mut commands = 1;
            while !record()? {
                commands += 1;
            }
            gpu.submit()?;
            Ok(commands)
        };
        for wanted in [16, 32, 64, 128, 128] {
            assert_eq!(commands_of_a_batch()?, wanted);
        }
        assert!(!record()?);
        gpu.submit()?;
        assert_eq!(commands_of_a_batch()?, 16);
        // One that was begun long ago is due when next the clock is looked at.
        gpu.lock_recorder().due_age = Duration::ZERO;
        assert_eq!(commands_of_a_batch()?, CLOCK_COMMANDS);
        Ok(())
    }
}
