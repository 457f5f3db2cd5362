//! Copies by a kernel, on devices whose driver copies more slowly.
//!
//! `copy_buffer_to_buffer` cannot copy within one buffer, so without a kernel such a copy goes through a bounce buffer, in two
//! steps. The kernel binds both ranges, which may be of one buffer as long as they do not overlap. A range that moves to a
//! lower address by less than its length is copied in pieces as long as the distance, in ascending order: a piece then
//! overwrites only bytes that were copied before it, and wgpu's barriers keep the dispatches in order.

use super::super::context::InContext;
use super::grid::{MOST_WORKGROUPS, grid};
use super::verdict::Verdict;
use super::{Gpu, GpuSegment};
use crate::device::{Location, MemoryLimits};
use crate::error::DeviceError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that an invocation copies at a time.
pub(super) const UNIT: u64 = 16;
/// The number of units of an invocation, and of invocations of a workgroup: [`SOURCE`] has the same numbers. Devices with
/// WebGPU's default limits permit 256 invocations, and the crate's smallest device 128.
const UNITS: u64 = 4;
const INVOCATIONS: u64 = 128;
/// The most bytes of one dispatch, so that indices stay below 2³².
const MOST_BYTES: u64 = 1 << 30;

/// `copy[i] = source[i]` for units of 16 bytes. A workgroup copies 512 consecutive units; workgroups are numbered row by row.
/// Bound: memory, each byte read once and written once. There are no loops, and an index is below 2²⁶ + 65,535 · 512 < 2³².
pub(super) const SOURCE: &str = "
@group(0) @binding(0) var<storage, read_write> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> copy: array<vec4<u32>>;

@compute @workgroup_size(128)
fn copy_units(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let first = (workgroup.y * workgroups.x + workgroup.x) * 512u + invocation;
    let count = arrayLength(&copy);
    if first + 384u < count {
        let units = array(source[first], source[first + 128u], source[first + 256u], source[first + 384u]);
        copy[first] = units[0];
        copy[first + 128u] = units[1];
        copy[first + 256u] = units[2];
        copy[first + 384u] = units[3];
        return;
    }
    if first < count { copy[first] = source[first]; }
    if first + 128u < count { copy[first + 128u] = source[first + 128u]; }
    if first + 256u < count { copy[first + 256u] = source[first + 256u]; }
}
";

/// The pipeline of the kernel.
#[derive(Debug)]
pub(super) struct Copier {
    pipeline: InContext<wgpu::ComputePipeline>,
    layout: wgpu::BindGroupLayout,
    /// On the shader and on the pipeline.
    pub(super) verdicts: [Verdict; 2],
}

impl Copier {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        let (pipeline, verdicts) = gpu.checked.kernel("wgpu-pool copy", SOURCE, "copy_units", None)?;
        let layout = gpu.checked.derived_layout(&pipeline)?;
        Ok(Self { pipeline, layout, verdicts })
    }

    /// Binds a range of the source and a range of the target.
    pub(super) fn group(&self, gpu: &Gpu, copy: &Piece<'_>) -> Result<wgpu::BindGroup, DeviceError> {
        let entries = [copy.from, copy.to].map(|place| wgpu::BufferBinding {
            buffer: place.segment.own_buffer(),
            offset: place.offset + copy.start,
            size: wgpu::BufferSize::new(copy.bytes),
        });
        let [source, target] = entries.map(wgpu::BindingResource::Buffer);
        let entries = &[
            wgpu::BindGroupEntry { binding: 0, resource: source },
            wgpu::BindGroupEntry { binding: 1, resource: target },
        ];
        let group = wgpu::BindGroupDescriptor { label: Some("wgpu-pool copy"), layout: &self.layout, entries };
        let places = [copy.from, copy.to].map(|place| place.segment.verdict().clone());
        let dependencies = [self.verdicts.clone(), places].concat();
        gpu.checked.bind_group(&group, &dependencies)
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, group: &wgpu::BindGroup, bytes: u64) {
        let [x, y, z] = grid(workgroups(bytes));
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Returns the workgroups that copy this many bytes, at most [`MOST_BYTES`].
fn workgroups(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT * UNITS * INVOCATIONS)).expect("at most 2^17 workgroups")
}

/// The part of a copy that one dispatch makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) from: &'a Location<GpuSegment>,
    pub(super) to: &'a Location<GpuSegment>,
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// Returns whether a device with these limits can run the kernel.
pub(super) fn suits(limits: &wgpu::Limits) -> bool {
    let invocations = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    limits.max_storage_buffers_per_shader_stage >= 2
        && u64::from(invocations) >= INVOCATIONS
        && limits.max_compute_workgroups_per_dimension >= MOST_WORKGROUPS
}

/// Which copies are made by the kernel.
#[derive(Debug)]
pub(super) struct KernelCopies {
    /// The smallest number of bytes; `u64::MAX` for no copy.
    smallest: AtomicU64,
}

impl KernelCopies {
    pub(super) fn new(smallest: Option<u64>) -> Self {
        Self { smallest: AtomicU64::new(smallest.unwrap_or(u64::MAX)) }
    }

    pub(super) fn set(&self, smallest: Option<u64>) {
        self.smallest.store(smallest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn smallest(&self) -> Option<u64> {
        Some(self.smallest.load(Ordering::Relaxed)).filter(|&smallest| smallest != u64::MAX)
    }

    /// Returns the largest number of bytes of each dispatch of a copy; `None` if the copy is made without the kernel: it is too
    /// small, or one of its ranges cannot be bound, or it would be made in pieces that are too small.
    pub(super) fn piece<S>(&self, from: &Location<S>, to: &Location<S>, limits: &MemoryLimits) -> Option<u64> {
        let smallest = self.smallest()?.max(UNIT);
        if from.size < smallest || !(from.offset | to.offset).is_multiple_of(limits.alignment) {
            return None;
        }
        let most = limits.largest_binding.min(MOST_BYTES);
        let most = match from.id == to.id && to.offset < from.offset + from.size && from.offset < to.offset + from.size
        {
            true => most.min(from.offset.checked_sub(to.offset)?),
            false => most,
        };
        // Every piece begins where a range can be bound.
        let most = most / limits.alignment * limits.alignment;
        (most >= smallest).then_some(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Heap, HeapOptions, SubPool};

    #[test]
    fn workgroups_copy_every_unit_and_fewer_than_one_of_them_is_idle() {
        for bytes in [UNIT, 8192, 8208, 65_535 * 8192, MOST_BYTES] {
            let copied = u64::from(workgroups(bytes)) * UNIT * UNITS * INVOCATIONS;
            assert!(copied >= bytes && copied < bytes + UNIT * UNITS * INVOCATIONS, "{bytes}");
        }
    }

    #[test]
    fn pieces_begin_where_ranges_can_be_bound_and_never_overlap_their_copy() {
        let limits = MemoryLimits { alignment: 32, largest_segment: 1 << 32, largest_binding: 1000, shared_below: 0 };
        let mut heap = Heap::new(HeapOptions { granule: 32, small_limit: 1 << 20 }).expect("valid options");
        let [one, other] = [(); 2].map(|()| heap.add_segment(SubPool::Small, 1 << 20).expect("a segment"));
        let at = |id, offset| Location { id, segment: (), offset, size: 4096 };
        let piece =
            |smallest, from: &Location<()>, to: &Location<()>| KernelCopies::new(smallest).piece(from, to, &limits);
        assert_eq!(piece(None, &at(one, 0), &at(other, 0)), None);
        assert_eq!(piece(Some(4096), &at(one, 0), &at(other, 0)), None, "a piece of 992 bytes is too small");
        assert_eq!(piece(Some(992), &at(one, 0), &at(other, 0)), Some(992));
        assert_eq!(piece(Some(5000), &at(one, 0), &at(other, 0)), None);
        assert_eq!(piece(Some(0), &at(one, 16), &at(other, 0)), None, "not aligned");
        assert_eq!(piece(Some(0), &at(one, 0), &at(other, 16)), None, "not aligned");
        // Within one segment.
        assert_eq!(piece(Some(0), &at(one, 4096), &at(one, 0)), Some(992));
        assert_eq!(piece(Some(0), &at(one, 4095 / 32 * 32), &at(one, 0)), Some(992));
        assert_eq!(piece(Some(0), &at(one, 96), &at(one, 0)), Some(96));
        assert_eq!(piece(Some(128), &at(one, 96), &at(one, 0)), None);
        assert_eq!(piece(Some(0), &at(one, 0), &at(one, 96)), None, "towards higher addresses");
        assert_eq!(piece(Some(0), &at(one, 0), &at(one, 4096)), Some(992));
    }
}
