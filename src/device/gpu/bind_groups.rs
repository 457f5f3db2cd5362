//! Bind groups, kept by what they bind: the pool hands out the same blocks again and again, so they are found again.

use super::super::{CacheUse, Location};
use super::cache::Cache;
use super::{Gpu, GpuSegment, checked, lock};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use std::sync::Mutex;

/// Groups that are kept. Some drivers fail with tens of thousands of live ones.
const CAPACITY: usize = 4096;

/// Layouts that are kept: one for each number of tensors. Kernels rarely have more than eight.
const MOST_LAYOUTS: usize = 64;

/// One binding of a group: a range of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bound {
    segment: SegmentId,
    offset: u64,
    size: u64,
}

/// A cache of bind groups. A group that names a segment goes with the segment.
#[derive(Debug)]
pub(super) struct BindGroups {
    /// Each with a number that no other group ever has.
    groups: Cache<Box<[Bound]>, (wgpu::BindGroup, u64)>,
    wanted: Vec<Bound>,
    last_number: u64,
}

impl Default for BindGroups {
    fn default() -> Self {
        Self { groups: Cache::new(CAPACITY), wanted: Vec::new(), last_number: 0 }
    }
}

impl BindGroups {
    /// The group that binds these locations in this order, and a number that no other group has.
    pub(super) fn get(
        &mut self,
        gpu: &Gpu,
        locations: &[Location<GpuSegment>],
    ) -> Result<(&wgpu::BindGroup, u64), DeviceError> {
        self.wanted.clear();
        self.wanted.extend(locations.iter().map(|place| Bound {
            segment: place.id,
            offset: place.offset,
            size: place.size,
        }));
        if !self.groups.contains(self.wanted.as_slice()) {
            let group = create(gpu, locations)?;
            self.last_number += 1;
            drop(self.groups.insert(self.wanted.as_slice().into(), (group, self.last_number)));
        }
        let (group, number) = self.groups.get(self.wanted.as_slice()).expect("the entry was just found or inserted");
        Ok((group, *number))
    }

    /// How full the cache is.
    pub(super) fn usage(&self) -> CacheUse {
        self.groups.usage("bind groups")
    }

    /// Forgets what binds a segment.
    pub(super) fn forget_segment(&mut self, id: SegmentId) {
        self.groups.forget(|bound| bound.iter().any(|one| one.segment == id));
    }

    /// Forgets everything. Numbers go on, so that none comes twice.
    pub(super) fn forget_all(&mut self) {
        drop(self.groups.take_all());
        self.wanted = Vec::new();
    }
}

fn create(gpu: &Gpu, locations: &[Location<GpuSegment>]) -> Result<wgpu::BindGroup, DeviceError> {
    let layout = gpu.layouts.tensors(&gpu.device, locations.len())?;
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
    checked::bind_group(&gpu.device, &descriptor).map_err(|error| gpu.loss_or(error))
}

/// The two kinds of bind-group layout that there are: so many tensors, and one slot of parameters.
#[derive(Debug)]
pub(super) struct Layouts {
    tensors: Mutex<Cache<usize, wgpu::BindGroupLayout>>,
    parameters: Mutex<Option<wgpu::BindGroupLayout>>,
}

impl Default for Layouts {
    fn default() -> Self {
        Self { tensors: Mutex::new(Cache::new(MOST_LAYOUTS)), parameters: Mutex::default() }
    }
}

impl Layouts {
    /// How full the cache is.
    pub(super) fn usage(&self) -> CacheUse {
        lock(&self.tensors).usage("bind group layouts")
    }

    /// Empties the cache.
    pub(super) fn clear(&self) {
        drop(lock(&self.tensors).take_all());
    }

    /// Group 0 of a kernel over `count` tensors. All are `read_write`: wgpu refuses a buffer that is bound for reading and for
    /// writing in one dispatch, and all tensors of a segment are in one buffer.
    pub(super) fn tensors(&self, device: &wgpu::Device, count: usize) -> Result<wgpu::BindGroupLayout, DeviceError> {
        let mut tensors = lock(&self.tensors);
        if let Some(layout) = tensors.get(&count) {
            return Ok(layout.clone());
        }
        let storage = wgpu::BufferBindingType::Storage { read_only: false };
        let entries: Vec<_> = (0u32..).take(count).map(|binding| entry(binding, storage, false)).collect();
        let layout = layout(device, "wgpu-pool tensors", &entries)?;
        drop(tensors.insert(count, layout.clone()));
        Ok(layout)
    }

    /// Group 1 of a kernel with parameters.
    pub(super) fn parameters(&self, device: &wgpu::Device) -> Result<wgpu::BindGroupLayout, DeviceError> {
        if let Some(known) = &*lock(&self.parameters) {
            return Ok(known.clone());
        }
        let made = layout(device, "wgpu-pool parameters", &[entry(0, wgpu::BufferBindingType::Uniform, true)])?;
        Ok(lock(&self.parameters).get_or_insert(made).clone())
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
    device: &wgpu::Device,
    label: &str,
    entries: &[wgpu::BindGroupLayoutEntry],
) -> Result<wgpu::BindGroupLayout, DeviceError> {
    checked::bind_group_layout(device, &wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
}
