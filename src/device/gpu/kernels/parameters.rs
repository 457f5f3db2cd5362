//! Kernel parameters on devices without immediates: slots of a ring in one uniform buffer.
//!
//! Before the first dispatch that uses a group of slots, a copy of that group into the ring is recorded. The staged
//! bytes of the copy are written while the batch is open. The ring may wrap around within a batch, because copies and
//! dispatches execute in order.

use super::super::Gpu;
use super::super::own::OwnBuffer;
use super::super::staging::{Staged, Staging};
use crate::device::CacheUse;
use crate::error::DeviceError;
use std::sync::Arc;

/// The size of a slot in bytes: WebGPU's alignment of uniform buffer offsets, and therefore the largest size of a
/// kernel's parameters here.
pub(crate) const SLOT_BYTES: u64 = 256;
const SLOTS_IN_GROUP: u32 = 32;
const GROUPS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) buffer: Arc<OwnBuffer>,
    /// Binds one slot, selected by the dynamic offset.
    pub(crate) group: wgpu::BindGroup,
    /// The slot that was used last.
    slot: u32,
    /// The staged bytes of the current group; `None` before the first group of the batch.
    staged: Option<Staged>,
}

/// A slot to bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The slot's dynamic offset in bytes.
    pub(crate) offset: u32,
}

impl Ring {
    pub(crate) fn new(gpu: &Gpu) -> Result<Self, DeviceError> {
        // wgpu would refuse the whole batch, and with it the commands of others.
        let alignment = gpu.device.limits().min_uniform_buffer_offset_alignment;
        if u64::from(alignment) > SLOT_BYTES {
            let message = format!(
                "the device's min_uniform_buffer_offset_alignment is {alignment}, and kernels need at most {SLOT_BYTES}, WebGPU's default"
            );
            return Err(DeviceError::Validation { message });
        }
        let size = SLOT_BYTES * u64::from(SLOTS_IN_GROUP * GROUPS);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = Arc::new(gpu.buffer("wgpu-pool parameters", size, usage, false)?);
        let layout = gpu.kernels.layouts.parameters(&gpu.checked)?;
        let binding = wgpu::BufferBinding { buffer: &buffer, offset: 0, size: wgpu::BufferSize::new(SLOT_BYTES) };
        let entry = wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(binding) };
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some("wgpu-pool parameters"), layout: &layout, entries: &[entry] };
        let group = gpu.checked.bind_group(&descriptor, std::slice::from_ref(buffer.verdict()));
        let group = group.map_err(|error| gpu.loss_or(error))?;
        Ok(Self { buffer, group, slot: 0, staged: None })
    }

    /// Returns the size of the ring, if it exists. Caches are cleared without the ring, because an open batch may read
    /// from it.
    pub(crate) fn usage(ring: Option<&Self>) -> CacheUse {
        let most = SLOT_BYTES * u64::from(SLOTS_IN_GROUP * GROUPS);
        let entries = u64::from(ring.is_some());
        CacheUse {
            entries,
            most_entries: Some(1),
            bytes: Some(ring.map_or(0, |ring| ring.buffer.size())),
            most_bytes: Some(most),
            made: entries,
            ..CacheUse::named("parameter buffer")
        }
    }

    /// Returns whether the next slot is the first of a group, whose copy must be recorded outside a pass.
    pub(crate) fn needs_group(&self) -> bool {
        self.staged.is_none() || (self.slot + 1).is_multiple_of(SLOTS_IN_GROUP)
    }

    /// Begins a group: records the copy of the staged bytes, which are written later.
    pub(crate) fn begin_group(
        &mut self,
        gpu: &Gpu,
        staging: &mut Staging,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<(), DeviceError> {
        let bytes = SLOT_BYTES * u64::from(SLOTS_IN_GROUP);
        let staged = staging.reserve(gpu, bytes)?;
        let first = (self.slot / SLOTS_IN_GROUP + 1) % GROUPS * SLOTS_IN_GROUP;
        encoder.copy_buffer_to_buffer(
            &staged.buffer,
            staged.offset,
            &self.buffer,
            u64::from(first) * SLOT_BYTES,
            bytes,
        );
        self.staged = Some(staged);
        // The slot before the first slot of the group, so that `put` returns the first slot next.
        self.slot = (first + GROUPS * SLOTS_IN_GROUP - 1) % (GROUPS * SLOTS_IN_GROUP);
        Ok(())
    }

    /// Writes parameters to the next slot of the current group.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<Slot, DeviceError> {
        self.slot = (self.slot + 1) % (GROUPS * SLOTS_IN_GROUP);
        let within = u64::from(self.slot % SLOTS_IN_GROUP) * SLOT_BYTES;
        let staged = self.staged.as_ref().expect("a group was begun for this slot");
        staged.write(within, bytes)?;
        let offset = self.slot * u32::try_from(SLOT_BYTES).expect("a slot is a few hundred bytes");
        Ok(Slot { offset })
    }

    /// Ends the current group when the batch is closed: its staged bytes can no longer be written.
    pub(crate) fn close(&mut self) {
        self.staged = None;
    }
}
