//! Dispatches, and the recorder's state for them.

use super::super::kernels::{BindGroups, Passing, Program, Ring, Slot, Timing, Unbinder};
use super::super::own::OwnBuffer;
use super::super::{Gpu, GpuSegment};
use super::{GpuCommands, Recorder};
use crate::device::{CacheUse, Location, MemoryLimits};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::Arc;

/// The recorder's state for dispatches.
#[derive(Debug, Default)]
pub(super) struct Dispatches {
    ring: Option<Ring>,
    groups: BindGroups,
    /// Whether segments were bound since the unbinder last ran. Only used on GL.
    binds_segments: bool,
    unbinder: Option<Unbinder>,
    /// `None` unless dispatches are being timed.
    timing: Option<Timing>,
}

impl Dispatches {
    /// Ends the open batch.
    pub(super) fn close(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.close();
        }
    }

    pub(super) fn drop_groups(&mut self) {
        self.groups.clear();
    }

    /// Drops the parameter buffer. The next dispatch that needs the buffer creates it again. Until then the driver can free
    /// the block of memory that contains the buffer, which is usually a block full of small segments.
    pub(super) fn drop_ring(&mut self) {
        self.ring = None;
    }

    /// Returns the usage of the caches: bind groups, and the parameter buffer.
    pub(super) fn caches(&self) -> [CacheUse; 2] {
        [self.groups.usage(), Ring::usage(self.ring.as_ref())]
    }
}

impl Recorder {
    /// Starts or stops timing dispatches, and returns the previous state.
    pub(in super::super) fn set_timing(&mut self, timing: Option<Timing>) -> Option<Timing> {
        std::mem::replace(&mut self.dispatches.timing, timing)
    }

    /// Drops the bind groups of a segment that is about to be destroyed. On GL, also frees the binding slots of segments.
    pub(super) fn unbind_segment(&mut self, gpu: &Gpu, id: SegmentId) {
        self.dispatches.groups.remove_segment(id);
        if gpu.is_gl && self.dispatches.binds_segments {
            if let Err(error) = self.unbind(gpu) {
                // The memory of the destroyed segment is then freed after the next dispatch.
                log::debug!("wgpu-pool: cannot unbind segments from their binding slots: {error}");
            }
        }
    }

    /// Binds a small buffer to every binding slot, in place of segments.
    fn unbind(&mut self, gpu: &Gpu) -> Result<(), DeviceError> {
        if self.dispatches.unbinder.is_none() {
            self.dispatches.unbinder = Some(Unbinder::new(gpu)?);
        }
        self.open(gpu)?;
        let Self { open: Some(open), dispatches: Dispatches { unbinder: Some(unbinder), binds_segments, .. }, .. } =
            self
        else {
            unreachable!("both were just created");
        };
        unbinder.record(open.pass());
        open.commands += 1;
        *binds_segments = false;
        Ok(())
    }

    fn parameter_slot(&mut self, gpu: &Gpu, parameters: &[u8]) -> Result<Slot, DeviceError> {
        if self.dispatches.ring.is_none() {
            self.dispatches.ring = Some(Ring::new(gpu)?);
        }
        self.open(gpu)?;
        if let Some(buffer) = self.dispatches.ring.as_ref().map(|ring| Arc::clone(&ring.buffer)) {
            self.keep(&buffer);
        }
        let Self { open: Some(open), dispatches: Dispatches { ring: Some(ring), .. }, staging, .. } = self else {
            unreachable!("the batch and the ring were just created");
        };
        if ring.needs_group() {
            open.pass = None;
            ring.begin_group(gpu, staging, &mut open.encoder)?;
        }
        ring.put(parameters)
    }
}

impl GpuCommands<'_> {
    /// Records a dispatch of `workgroups` workgroups, with `tensors` bound in this order and `parameters` passed as the
    /// program expects.
    pub(crate) fn dispatch(
        &mut self,
        program: &Program,
        tensors: &[Location<GpuSegment>],
        parameters: &[u8],
        workgroups: [u32; 3],
    ) -> Result<(), DeviceError> {
        program.check_parameters(parameters)?;
        let compiled = program.compiled()?;
        self.checked(|commands| {
            let gpu = commands.gpu;
            let recorder = &mut *commands.recorder;
            for place in tensors {
                check_binding(place, &gpu.limits)?;
            }
            let segments = tensors.iter().map(|place| place.segment.verdict());
            recorder.depend_on(gpu, segments.chain(&compiled.verdicts))?;
            for place in tensors {
                recorder.uses(&place.segment);
            }
            let slot = match compiled.passing {
                Passing::Uniform => Some(recorder.parameter_slot(gpu, parameters)?),
                Passing::None | Passing::Immediates => None,
            };
            recorder.open(gpu)?;
            let Recorder { open: Some(open), dispatches, .. } = recorder else {
                unreachable!("a batch was just opened");
            };
            let Dispatches { groups, ring, binds_segments, timing, .. } = dispatches;
            let (group, number) = groups.get(gpu, tensors)?;
            *binds_segments = true;
            if let Some(timing) = timing {
                open.timed_pass(timing.next(&program.name));
            }
            let (pass, bound) = open.pass_and_bound();
            bound.program(pass, program, compiled);
            bound.group(pass, group, number);
            match (compiled.passing, ring, slot) {
                (Passing::Immediates, ..) => bound.immediates(pass, parameters),
                (Passing::Uniform, Some(ring), Some(slot)) => pass.set_bind_group(1, &ring.group, &[slot.offset]),
                _ => {}
            }
            let [x, y, z] = workgroups;
            pass.dispatch_workgroups(x, y, z);
            open.commands += 1;
            if timing.is_some() {
                // Ends the pass, whose end timestamp is that of the dispatch.
                open.pass = None;
            }
            Ok(())
        })
    }
}

impl GpuCommands<'_> {
    /// Records a dispatch of no workgroups, with a group of dummy tensors in a buffer: a driver that compiles a kernel at its first
    /// dispatch compiles it then.
    pub(in super::super) fn dispatch_nothing(
        &mut self,
        program: &Program,
        dummies: &wgpu::BindGroup,
        buffer: &Arc<OwnBuffer>,
    ) -> Result<(), DeviceError> {
        let compiled = program.compiled()?;
        self.checked(|commands| {
            let gpu = commands.gpu;
            let recorder = &mut *commands.recorder;
            recorder.depend_on(gpu, compiled.verdicts.iter().chain([buffer.verdict()]))?;
            recorder.keep(buffer);
            let parameters = vec![0; program.parameter_bytes as usize];
            let slot = match compiled.passing {
                Passing::Uniform => Some(recorder.parameter_slot(gpu, &parameters)?),
                Passing::None | Passing::Immediates => None,
            };
            recorder.open(gpu)?;
            let Recorder { open: Some(open), dispatches: Dispatches { ring, .. }, .. } = recorder else {
                unreachable!("a batch was just opened");
            };
            let pass = open.pass();
            pass.set_pipeline(&compiled.pipeline);
            pass.set_bind_group(0, dummies, &[]);
            match (compiled.passing, ring, slot) {
                (Passing::Immediates, ..) => pass.set_immediates(0, &parameters),
                (Passing::Uniform, Some(ring), Some(slot)) => pass.set_bind_group(1, &ring.group, &[slot.offset]),
                _ => {}
            }
            pass.dispatch_workgroups(0, 0, 0);
            open.commands += 1;
            Ok(())
        })
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
