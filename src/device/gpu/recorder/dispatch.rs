//! Dispatches, and the recorder's state for them.

use super::super::kernels::{BindGroups, Passing, Program, Ring, Slot, Timing, Unbinder};
use super::super::own::OwnBuffer;
use super::super::verdict::Verdict;
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
                self.note(|| format!("cannot unbind segments from their binding slots: {error}"));
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

    /// Returns the verdict on the ring if parameters are passed in one. Creates the ring if there is none, or if the device has
    /// refused it.
    fn ring_verdict(&mut self, gpu: &Gpu, passing: Passing) -> Result<Verdict, DeviceError> {
        if !matches!(passing, Passing::Uniform) {
            return Ok(Verdict::ACCEPTED);
        }
        let ring = &mut self.dispatches.ring;
        if ring.as_ref().is_none_or(|ring| ring.buffer.verdict().refusal().is_some()) {
            *ring = Some(Ring::new(gpu)?);
        }
        Ok(ring.as_ref().map_or(Verdict::ACCEPTED, |ring| ring.buffer.verdict().clone()))
    }

    /// Returns the verdict on the queries if dispatches are timed. Dispatches are not timed by queries that the device has refused.
    fn timing_verdict(&self) -> Verdict {
        let timing = self.dispatches.timing.as_ref().filter(|timing| timing.verdict.refusal().is_none());
        timing.map_or(Verdict::ACCEPTED, |timing| timing.verdict.clone())
    }

    /// Writes parameters to the ring, after `ring_verdict` has created it.
    fn parameter_slot(&mut self, gpu: &Gpu, parameters: &[u8]) -> Result<Slot, DeviceError> {
        self.open(gpu)?;
        if let Some(buffer) = self.dispatches.ring.as_ref().map(|ring| Arc::clone(&ring.buffer)) {
            self.keep(&buffer);
        }
        let Self { open: Some(open), dispatches: Dispatches { ring: Some(ring), .. }, staging, .. } = self else {
            unreachable!("the batch was just opened, and the ring was created before");
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
        self.gpu.check_workgroups(workgroups)?;
        let compiled = program.compiled()?;
        self.checked(|commands| {
            let gpu = commands.gpu;
            let recorder = &mut *commands.recorder;
            for place in tensors {
                check_binding(place, &gpu.limits)?;
            }
            let segments = tensors.iter().map(|place| place.segment.verdict());
            let others = [recorder.ring_verdict(gpu, compiled.passing)?, recorder.timing_verdict()];
            recorder.depend_on(gpu, segments.chain(&compiled.verdicts).chain(&others))?;
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
            let ring = recorder.ring_verdict(gpu, compiled.passing)?;
            recorder.depend_on(gpu, compiled.verdicts.iter().chain([buffer.verdict(), &ring]))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::ProgramDescriptor;
    use crate::device::{Commands, Memory, Submit};
    use crate::heap::{Heap, HeapOptions, SubPool};
    use std::time::Duration;

    type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

    const SOURCE: &str = "
        @group(0) @binding(0) var<storage, read_write> values: array<u32>;
        @group(1) @binding(0) var<uniform> words: vec4<u32>;
        @compute @workgroup_size(1) fn main() { values[0] = words.x; }";

    /// A device without immediates, with or without timestamps, a kernel with parameters, and a tensor.
    fn parts(required_features: wgpu::Features) -> Outcome<(Gpu, Program, Location<GpuSegment>)> {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor { required_features, ..Default::default() });
        let gpu = Gpu::from_device(device, queue);
        gpu.submission.recorder().set_due_age(Duration::MAX);
        let program = gpu.program(&ProgramDescriptor {
            label: "words",
            source: SOURCE,
            entry: "main",
            tensors: 1,
            parameter_bytes: 16,
            immediates: true,
            zeroes_workgroup_memory: false,
        })?;
        let mut heap = Heap::new(HeapOptions { granule: 256, small_limit: 1 << 20 })?;
        let id = heap.add_segment(SubPool::Small, 256)?;
        let place = Location { id, segment: gpu.create_segment(256)?, offset: 0, size: 256 };
        Ok((gpu, program, place))
    }

    /// The number of the batch of a dispatch, and of a clear after it.
    fn numbers(gpu: &Gpu, program: &Program, place: &Location<GpuSegment>) -> Result<[u64; 2], DeviceError> {
        gpu.commands().dispatch(program, std::slice::from_ref(place), &[0; 16], [1; 3])?;
        let first = gpu.submission.recorder().newest_batch() + 1;
        gpu.commands().clear(place)?;
        Ok([first, gpu.submission.recorder().newest_batch() + 1])
    }

    /// As in a browser, where the device answers later.
    #[test]
    fn a_refused_parameter_ring_is_alone_in_its_batch_and_is_replaced() -> Outcome<()> {
        let (gpu, program, place) = parts(wgpu::Features::empty())?;
        let refused = DeviceError::Refused { bytes: 64 << 10 };
        let (verdict, ruling) = gpu.submission.health().verdicts().open();
        let mut ring = Ring::new(&gpu)?;
        let buffer = Arc::into_inner(ring.buffer).ok_or("nothing uses it yet")?;
        ring.buffer = Arc::new(buffer.with_verdict(verdict));
        gpu.submission.recorder().dispatches.ring = Some(ring);
        assert_eq!(numbers(&gpu, &program, &place)?, [1, 2], "other commands are in another batch");
        ruling.give(Err(refused.clone()), |error| gpu.submission.health().latch(error));
        assert_eq!(numbers(&gpu, &program, &place), Err(refused.clone()));
        assert_eq!(gpu.clear_fault().map(|fault| fault.error), Some(refused));
        assert_eq!(numbers(&gpu, &program, &place)?, [2, 2]);
        gpu.submit(Submit::Now)?;
        Ok(())
    }

    #[test]
    fn dispatches_that_refused_queries_time_are_alone_in_their_batch_and_later_ones_are_not_timed() -> Outcome<()> {
        let (gpu, program, place) = parts(wgpu::Features::TIMESTAMP_QUERY)?;
        let (verdict, ruling) = gpu.submission.health().verdicts().open();
        gpu.begin_timing()?;
        if let Some(timing) = &mut gpu.submission.recorder().dispatches.timing {
            timing.verdict = verdict;
        }
        assert_eq!(numbers(&gpu, &program, &place)?, [1, 2]);
        let refused = DeviceError::Refused { bytes: 0 };
        ruling.give(Err(refused.clone()), drop);
        assert_eq!(numbers(&gpu, &program, &place)?, [2, 2]);
        // The profile alone fails.
        assert_eq!(pollster::block_on(gpu.end_timing()).map(|timed| timed.untimed), Err(refused));
        assert_eq!(numbers(&gpu, &program, &place)?, [2, 2]);
        assert_eq!(gpu.fault(), None);
        gpu.submit(Submit::Now)?;
        Ok(())
    }
}
