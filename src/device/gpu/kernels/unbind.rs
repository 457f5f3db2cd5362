//! A workaround for GL, which keeps the memory of a destroyed buffer allocated while the buffer is the last one bound
//! to a binding slot. Before segments are destroyed on GL, a small dispatch binds a different buffer to every slot.

use super::super::super::context::InContext;
use super::super::Gpu;
use crate::error::DeviceError;
use std::fmt::Write;

/// Bytes between the bindings of two slots: the largest offset alignment that WebGPU permits.
const STRIDE: u64 = 256;

/// A dispatch that binds a small buffer to every slot.
#[derive(Debug)]
pub(crate) struct Unbinder {
    pipeline: InContext<wgpu::ComputePipeline>,
    group: wgpu::BindGroup,
    #[cfg(test)]
    slots: u32,
}

impl Unbinder {
    pub(crate) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        // As many as a kernel of the application can bind.
        let limits = gpu.device.limits();
        let slots = limits.max_storage_buffers_per_shader_stage;
        let slots = slots.min(limits.max_buffers_and_acceleration_structures_per_shader_stage);
        let usage = wgpu::BufferUsages::STORAGE;
        let buffer = gpu.buffer("wgpu-pool unbinder", u64::from(slots) * STRIDE, usage, false)?;
        let (pipeline, _) = gpu.checked.kernel("wgpu-pool unbinder", &source(slots), "unbind", None)?;
        let entries: Vec<_> = (0..slots).map(|slot| entry(&buffer, slot)).collect();
        let group = wgpu::BindGroupDescriptor {
            label: Some("wgpu-pool unbinder"),
            layout: &gpu.checked.derived_layout(&pipeline)?,
            entries: &entries,
        };
        let group = gpu.checked.bind_group(&group, &[])?;
        Ok(Self {
            pipeline,
            group,
            #[cfg(test)]
            slots,
        })
    }

    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
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

/// Returns a shader that writes to every slot, so that the compiler cannot remove a binding.
pub(super) fn source(slots: u32) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_that_a_kernel_can_bind_is_bound_to_the_small_buffer() -> Result<(), Box<dyn std::error::Error>> {
        for (slots, bound) in [(4, 4), (8, 8), (16, 16), (17, 17), (28, 28), (64, 28)] {
            let required_limits =
                wgpu::Limits { max_storage_buffers_per_shader_stage: slots, ..wgpu::Limits::default() };
            let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
            let (device, queue) = wgpu::Device::noop(&descriptor);
            assert_eq!(Unbinder::new(&Gpu::from_device(device, queue))?.slots, bound);
        }
        Ok(())
    }
}
