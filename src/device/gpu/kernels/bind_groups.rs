//! A cache of bind groups, keyed by what they bind. The pool reuses the same blocks, so most look-ups succeed.

use super::super::checked::CheckedDevice;
use super::super::own::OwnBuffer;
use super::super::{Gpu, GpuSegment};
use super::cache::Cache;
use crate::device::lock::Lock;
use crate::device::{CacheUse, Location};
use crate::error::DeviceError;
use crate::heap::SegmentId;

/// The most bind groups in the cache. Some drivers fail with tens of thousands of live bind groups.
const CAPACITY: usize = 4096;

/// The most bind-group layouts in the cache, one for each number of tensors. Kernels rarely bind more than eight.
const LAYOUT_CAPACITY: usize = 64;

/// One binding of a group: a range of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BindingRange {
    segment: SegmentId,
    offset: u64,
    size: u64,
}

/// A cache of bind groups. Destroying a segment removes the groups that bind it.
#[derive(Debug)]
pub(crate) struct BindGroups {
    /// Each group has a number that is never reused.
    groups: Cache<Box<[BindingRange]>, (wgpu::BindGroup, u64)>,
    key: Vec<BindingRange>,
    last_number: u64,
}

impl Default for BindGroups {
    fn default() -> Self {
        Self { groups: Cache::new(CAPACITY), key: Vec::new(), last_number: 0 }
    }
}

impl BindGroups {
    /// Returns the group that binds these locations in this order, and its unique number.
    pub(crate) fn get(
        &mut self,
        gpu: &Gpu,
        locations: &[Location<GpuSegment>],
    ) -> Result<(&wgpu::BindGroup, u64), DeviceError> {
        self.key.clear();
        self.key.extend(locations.iter().map(|place| BindingRange {
            segment: place.id,
            offset: place.offset,
            size: place.size,
        }));
        if !self.groups.contains(self.key.as_slice()) {
            let group = create(gpu, locations)?;
            self.last_number += 1;
            drop(self.groups.insert(self.key.as_slice().into(), (group, self.last_number)));
        }
        let (group, number) = self.groups.get(self.key.as_slice()).expect("the entry was just found or inserted");
        Ok((group, *number))
    }

    /// Returns the cache's usage, for reports.
    pub(crate) fn usage(&self) -> CacheUse {
        self.groups.usage("bind groups")
    }

    /// Removes the groups that bind a segment.
    pub(crate) fn remove_segment(&mut self, id: SegmentId) {
        drop(self.groups.take_if(|bound| bound.iter().any(|range| range.segment == id)));
    }

    /// Removes all groups. Numbers continue, so that they remain unique.
    pub(crate) fn clear(&mut self) {
        drop(self.groups.take_all());
        self.key = Vec::new();
    }
}

fn create(gpu: &Gpu, locations: &[Location<GpuSegment>]) -> Result<wgpu::BindGroup, DeviceError> {
    let layout = gpu.kernels.layouts.tensors(&gpu.checked, locations.len())?;
    let entries: Vec<_> = (0u32..)
        .zip(locations)
        .map(|(binding, place)| {
            let range = wgpu::BufferBinding {
                buffer: place.segment.own_buffer(),
                offset: place.offset,
                size: wgpu::BufferSize::new(place.size),
            };
            wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) }
        })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some("wgpu-pool tensors"), layout: &layout, entries: &entries };
    let verdicts: Vec<_> = locations.iter().map(|place| place.segment.verdict().clone()).collect();
    gpu.checked.bind_group(&descriptor, &verdicts).map_err(|error| gpu.loss_or(error))
}

/// Returns a group of `count` dummy tensors, each of [`DUMMY_BYTES`] in this buffer.
pub(crate) fn dummies(gpu: &Gpu, buffer: &OwnBuffer, count: usize) -> Result<wgpu::BindGroup, DeviceError> {
    let layout = gpu.kernels.layouts.tensors(&gpu.checked, count)?;
    let entries: Vec<_> = (0_u32..)
        .take(count)
        .map(|binding| {
            let (offset, size) = (u64::from(binding) * DUMMY_BYTES, wgpu::BufferSize::new(DUMMY_BYTES));
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            wgpu::BindGroupEntry { binding, resource }
        })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some("wgpu-pool dummies"), layout: &layout, entries: &entries };
    gpu.checked.bind_group(&descriptor, &[buffer.verdict().clone()]).map_err(|error| gpu.loss_or(error))
}

/// The size of a dummy tensor: the largest offset alignment that WebGPU permits.
pub(crate) const DUMMY_BYTES: u64 = 256;

/// The two kinds of bind-group layout: a number of tensors, and one parameter slot.
#[derive(Debug)]
pub(crate) struct Layouts {
    tensors: Lock<Cache<usize, wgpu::BindGroupLayout>>,
    parameters: Lock<Option<wgpu::BindGroupLayout>>,
}

impl Default for Layouts {
    fn default() -> Self {
        Self { tensors: Lock::new(Cache::new(LAYOUT_CAPACITY)), parameters: Lock::default() }
    }
}

impl Layouts {
    /// Returns the cache's usage, for reports.
    pub(crate) fn usage(&self) -> CacheUse {
        self.tensors.lock().usage("bind group layouts")
    }

    /// Empties the cache.
    pub(crate) fn clear(&self) {
        let layouts = self.tensors.lock().take_all();
        drop(layouts);
    }

    /// Returns the layout of group 0 of a kernel with `count` tensors. All bindings are `read_write`: wgpu refuses a
    /// dispatch that binds one buffer both for reading and for writing, and all tensors of a segment share one buffer.
    pub(crate) fn tensors(&self, device: &CheckedDevice, count: usize) -> Result<wgpu::BindGroupLayout, DeviceError> {
        if let Some(layout) = self.tensors.lock().get(&count) {
            return Ok(layout.clone());
        }
        let storage = wgpu::BufferBindingType::Storage { read_only: false };
        let entries: Vec<_> = (0u32..).take(count).map(|binding| entry(binding, storage, false)).collect();
        let layout = layout(device, "wgpu-pool tensors", &entries)?;
        // Another thread may have created the same layout meanwhile; either will do.
        let replaced = self.tensors.lock().insert(count, layout.clone());
        drop(replaced);
        Ok(layout)
    }

    /// Returns the layout of group 1 of a kernel with parameters.
    pub(crate) fn parameters(&self, device: &CheckedDevice) -> Result<wgpu::BindGroupLayout, DeviceError> {
        if let Some(known) = &*self.parameters.lock() {
            return Ok(known.clone());
        }
        let made = layout(device, "wgpu-pool parameters", &[entry(0, wgpu::BufferBindingType::Uniform, true)])?;
        Ok(self.parameters.lock().get_or_insert(made).clone())
    }
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}

fn layout(
    device: &CheckedDevice,
    label: &str,
    entries: &[wgpu::BindGroupLayoutEntry],
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    device.bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
}
