//! Copies shorter than a copy unit.
//!
//! WebGPU copies multiples of 4 bytes. The last 1 to 3 bytes of a copy are merged with the following bytes of the
//! target: the source unit and the target unit are copied to a buffer of 8 bytes, a shader merges them, and the result
//! is copied to the target. The segments themselves are never bound, so neither their alignment nor the size of the
//! copy matters.

use super::super::context::InContext;
use super::own::OwnBuffer;
use super::verdict::Verdict;
use super::{Gpu, GpuSegment};
use crate::device::{COPY_UNIT, Location};
use crate::error::DeviceError;
use std::sync::Arc;

/// The number of workgroups is the number of bytes taken from the source unit, `units[1]`.
pub(super) const SOURCE: &str = "
@group(0) @binding(0) var<storage, read_write> units: array<u32, 2>;

@compute @workgroup_size(1)
fn merge(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) bytes: vec3<u32>) {
    if workgroup.x == 0u {
        let mask = (1u << (8u * bytes.x)) - 1u;
        units[1] = (units[1] & mask) | (units[0] & ~mask);
    }
}
";

const LABEL: &str = "wgpu-pool unit merger";

/// The pipeline and the buffer of a merge.
#[derive(Debug)]
pub(super) struct UnitMerger {
    pipeline: InContext<wgpu::ComputePipeline>,
    group: wgpu::BindGroup,
    /// The target unit, then the source unit, which is replaced by the result.
    pub(super) units: Arc<OwnBuffer>,
    /// On the shader and on the pipeline.
    verdicts: [Verdict; 2],
}

impl UnitMerger {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let units = Arc::new(gpu.buffer(LABEL, 2 * COPY_UNIT, usage, false)?);
        let (pipeline, verdicts) = gpu.checked.kernel(LABEL, SOURCE, "merge", None)?;
        let group = wgpu::BindGroupDescriptor {
            label: Some(LABEL),
            layout: &gpu.checked.derived_layout(&pipeline)?,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: units.as_entire_binding() }],
        };
        let [shader, compiled] = verdicts.clone();
        let group = gpu.checked.bind_group(&group, &[shader, compiled, units.verdict().clone()])?;
        Ok(Self { pipeline, group, units, verdicts })
    }

    /// The verdicts on the shader, on the pipeline and on the buffer.
    pub(super) fn verdicts(&self) -> [Verdict; 3] {
        let [shader, pipeline] = &self.verdicts;
        [shader, pipeline, self.units.verdict()].map(Verdict::clone)
    }

    /// Whether the device has refused one of them. The merger is then replaced.
    pub(super) fn is_refused(&self) -> bool {
        self.verdicts().iter().any(|verdict| verdict.refusal().is_some())
    }

    /// Copies both units to the buffer.
    pub(super) fn gather(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        from: &Location<GpuSegment>,
        to: &Location<GpuSegment>,
    ) {
        encoder.copy_buffer_to_buffer(to.segment.own_buffer(), to.offset, &self.units, 0, COPY_UNIT);
        encoder.copy_buffer_to_buffer(from.segment.own_buffer(), from.offset, &self.units, COPY_UNIT, COPY_UNIT);
    }

    /// Merges the units: the first `bytes` bytes are from the source.
    pub(super) fn merge(&self, pass: &mut wgpu::ComputePass<'_>, bytes: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(bytes, 1, 1);
    }

    /// Copies the merged unit to the target.
    pub(super) fn scatter(&self, encoder: &mut wgpu::CommandEncoder, to: &Location<GpuSegment>) {
        encoder.copy_buffer_to_buffer(&self.units, COPY_UNIT, to.segment.own_buffer(), to.offset, COPY_UNIT);
    }
}
