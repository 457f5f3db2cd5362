//! GL keeps a destroyed buffer's memory for as long as the buffer is the last one that was bound to its slot. So before segments
//! are destroyed there, a dispatch that does next to nothing binds a few bytes of its own to every slot.

use super::{Gpu, checked};
use crate::error::DeviceError;
use std::fmt::Write;

/// Kernels bind no more tensors than this.
const MOST_SLOTS: u32 = 16;
/// Bytes between two slots' bindings: the largest alignment that WebGPU allows a device to ask for.
const STRIDE: u64 = 256;

/// A dispatch that takes every slot.
#[derive(Debug)]
pub(super) struct Unbinder {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Unbinder {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        let slots = gpu.device.limits().max_storage_buffers_per_shader_stage.min(MOST_SLOTS);
        let usage = wgpu::BufferUsages::STORAGE;
        let buffer = gpu.buffer("wgpu-pool unbinder", u64::from(slots) * STRIDE, usage, false)?;
        let source = source(slots);
        let module = wgpu::ShaderModuleDescriptor {
            label: Some("wgpu-pool unbinder"),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module = checked::shader_module(&gpu.device, module)?;
        let pipeline = wgpu::ComputePipelineDescriptor {
            label: Some("wgpu-pool unbinder"),
            layout: None,
            module: &module,
            entry_point: Some("unbind"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        };
        let pipeline = checked::pipeline(&gpu.device, &pipeline)?;
        let entries: Vec<_> = (0..slots).map(|slot| entry(&buffer, slot)).collect();
        let group = wgpu::BindGroupDescriptor {
            label: Some("wgpu-pool unbinder"),
            layout: &checked::derived_layout(&gpu.device, &pipeline)?,
            entries: &entries,
        };
        let group = checked::bind_group(&gpu.device, &group)?;
        Ok(Self { pipeline, group })
    }

    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

fn entry(buffer: &wgpu::Buffer, slot: u32) -> wgpu::BindGroupEntry<'_> {
    let offset = u64::from(slot) * STRIDE;
    let binding = wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(STRIDE) };
    wgpu::BindGroupEntry { binding: slot, resource: wgpu::BindingResource::Buffer(binding) }
}

/// A shader whose compiler can't leave a slot out.
fn source(slots: u32) -> String {
    let mut declarations = String::new();
    let mut statements = String::new();
    for slot in 0..slots {
        let declared =
            writeln!(declarations, "@group(0) @binding({slot}) var<storage, read_write> slot{slot}: array<u32>;");
        let stated = writeln!(statements, "    slot{slot}[0] = 0u;");
        declared.and(stated).expect("a string takes any text");
    }
    format!("{declarations}\n@compute @workgroup_size(1)\nfn unbind() {{\n{statements}}}\n")
}
