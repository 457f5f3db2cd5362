//! Bind groups, kept by what they bind: the pool hands out the same blocks again and again, so they are found again.

use super::super::Location;
use super::{Gpu, GpuSegment, lock, scope};
use crate::error::DeviceError;
use crate::heap::SegmentId;
use rustc_hash::FxHashMap;
use std::sync::Mutex;

/// Groups that are kept. Some drivers fail with tens of thousands of live ones.
const CAPACITY: usize = 4096;

/// One binding of a group: a range of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Bound {
    segment: SegmentId,
    offset: u64,
    size: u64,
}

#[derive(Debug)]
struct Entry {
    group: wgpu::BindGroup,
    number: u64,
    last_use: u64,
}

/// A cache of bind groups. Only the least recently used half goes when it is full, and what names a segment goes with it.
#[derive(Debug, Default)]
pub(super) struct BindGroups {
    entries: FxHashMap<Box<[Bound]>, Entry>,
    wanted: Vec<Bound>,
    uses: u64,
}

impl BindGroups {
    /// The group that binds these locations in this order, and a number that no other group has.
    pub(super) fn get(
        &mut self,
        gpu: &Gpu,
        locations: &[Location<GpuSegment>],
    ) -> Result<(&wgpu::BindGroup, u64), DeviceError> {
        self.uses += 1;
        let uses = self.uses;
        self.wanted.clear();
        self.wanted.extend(locations.iter().map(|place| Bound {
            segment: place.id,
            offset: place.offset,
            size: place.size,
        }));
        if !self.entries.contains_key(self.wanted.as_slice()) {
            let group = create(gpu, locations)?;
            if self.entries.len() >= CAPACITY {
                self.drop_older_half();
            }
            self.entries.insert(self.wanted.as_slice().into(), Entry { group, number: uses, last_use: uses });
        }
        let entry = self.entries.get_mut(self.wanted.as_slice()).expect("the entry was just found or inserted");
        entry.last_use = uses;
        Ok((&entry.group, entry.number))
    }

    /// Forgets what binds a segment.
    pub(super) fn forget_segment(&mut self, id: SegmentId) {
        self.entries.retain(|bound, _| bound.iter().all(|one| one.segment != id));
    }

    /// Forgets everything. Numbers go on, so that none comes twice.
    pub(super) fn forget_all(&mut self) {
        self.entries = FxHashMap::default();
        self.wanted = Vec::new();
    }

    fn drop_older_half(&mut self) {
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.last_use).collect();
        let middle = ages.len() / 2;
        let (_, &mut median, _) = ages.select_nth_unstable(middle);
        self.entries.retain(|_, entry| entry.last_use >= median);
    }
}

fn create(gpu: &Gpu, locations: &[Location<GpuSegment>]) -> Result<wgpu::BindGroup, DeviceError> {
    let layout = gpu.layouts.tensors(&gpu.device, locations.len());
    let entries: Vec<_> = (0u32..)
        .zip(locations)
        .map(|(binding, place)| {
            let range = wgpu::BufferBinding {
                buffer: place.segment.buffer(),
                offset: place.offset,
                size: wgpu::BufferSize::new(place.size),
            };
            wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) }
        })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some("wgpu-pool tensors"), layout: &layout, entries: &entries };
    let (group, verdict) = scope::guarded(&gpu.device, || gpu.device.create_bind_group(&descriptor));
    verdict.map_err(|error| scope::device_error(error, 0))?;
    Ok(group)
}

/// The two kinds of bind-group layout that there are: so many tensors, and one slot of parameters.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    tensors: Mutex<FxHashMap<usize, wgpu::BindGroupLayout>>,
    parameters: Mutex<Option<wgpu::BindGroupLayout>>,
}

impl Layouts {
    /// Group 0 of a kernel over `count` tensors. All are `read_write`: wgpu refuses a buffer that is bound for reading and for
    /// writing in one dispatch, and all tensors of a segment are in one buffer.
    pub(super) fn tensors(&self, device: &wgpu::Device, count: usize) -> wgpu::BindGroupLayout {
        let make = || {
            let storage = wgpu::BufferBindingType::Storage { read_only: false };
            let entries: Vec<_> = (0u32..).take(count).map(|binding| entry(binding, storage, false)).collect();
            layout(device, "wgpu-pool tensors", &entries)
        };
        lock(&self.tensors).entry(count).or_insert_with(make).clone()
    }

    /// Group 1 of a kernel with parameters.
    pub(super) fn parameters(&self, device: &wgpu::Device) -> wgpu::BindGroupLayout {
        let make = || layout(device, "wgpu-pool parameters", &[entry(0, wgpu::BufferBindingType::Uniform, true)]);
        lock(&self.parameters).get_or_insert_with(make).clone()
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

fn layout(device: &wgpu::Device, label: &str, entries: &[wgpu::BindGroupLayoutEntry]) -> wgpu::BindGroupLayout {
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries })
}
