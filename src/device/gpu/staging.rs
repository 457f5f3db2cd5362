//! Bytes on their way to the device: mapped buffers that commands copy from.
//!
//! Writing through `Queue::write_buffer` would overtake commands that are recorded and not yet submitted, and a lack of
//! memory inside it loses the device. A copy out of a buffer of our own is in program order, and fails as an error.

use super::super::CacheUse;
use super::{Gpu, checked, lock};
use crate::error::DeviceError;
use std::sync::{Arc, Mutex, Weak};

/// Bytes of a chunk, unless more are asked for at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// Bytes of finished chunks that are kept for the next batches; the rest goes back to the driver.
const KEPT_BYTES: u64 = 8 << 20;

/// A mapped buffer, filled from its start.
#[derive(Debug)]
pub(super) struct Chunk {
    buffer: wgpu::Buffer,
    size: u64,
    used: u64,
    /// Where it goes when the device is done with it. Not its owner: an idle chunk is in there.
    idle: Weak<Mutex<Vec<Chunk>>>,
}

/// Some bytes of a chunk, to be copied from.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
}

impl Staged {
    /// Writes into the bytes, which their batch has not submitted yet.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let start = self.offset + at;
        let mut view = self
            .buffer
            .get_mapped_range_mut(start..start + bytes.len() as u64)
            .map_err(|error| DeviceError::Validation { message: error.to_string() })?;
        view.copy_from_slice(bytes);
        Ok(())
    }
}

impl Chunk {
    /// Ends the writing; the commands that copy from it may be submitted now.
    pub(super) fn end_writing(&self, device: &wgpu::Device) -> Result<(), DeviceError> {
        checked::unmap(device, &self.buffer)
    }

    /// Once the device has copied from it, makes it writable again for a later batch.
    pub(super) fn recycle(self, device: &wgpu::Device) {
        let buffer = self.buffer.clone();
        let note = move |mapped: Result<(), wgpu::BufferAsyncError>| {
            // The memory may be gone meanwhile.
            let Some(list) = self.idle.upgrade() else { return };
            let mut idle = lock(&list);
            let kept: u64 = idle.iter().map(|chunk| chunk.size).sum();
            if mapped.is_ok() && kept + self.size <= KEPT_BYTES {
                idle.push(Chunk { used: 0, ..self });
            }
        };
        // A chunk that can't be mapped any more, on a lost device, is dropped with the callback.
        let _ = checked::map(device, &buffer, wgpu::MapMode::Write, note);
    }
}

#[derive(Debug, Default)]
pub(super) struct Staging {
    /// Chunks that the open batch copies from, still mapped.
    current: Vec<Chunk>,
    /// Chunks that came back.
    idle: Arc<Mutex<Vec<Chunk>>>,
    /// Chunks that were created.
    made: u64,
}

impl Staging {
    /// Room for `bytes` bytes, aligned for copies and for uniforms.
    ///
    /// # Errors
    /// As for any buffer; the batch is not harmed.
    pub(super) fn reserve(&mut self, gpu: &Gpu, bytes: u64) -> Result<Staged, DeviceError> {
        let fits = |chunk: &Chunk| chunk.size - chunk.used >= bytes;
        if !self.current.last().is_some_and(fits) {
            let idle = self.take_idle(bytes);
            let chunk = idle.map_or_else(|| self.create(gpu, bytes), Ok)?;
            self.current.push(chunk);
        }
        let chunk = self.current.last_mut().expect("a chunk with room was just found or pushed");
        let offset = chunk.used;
        chunk.used = (chunk.used + bytes).next_multiple_of(16).min(chunk.size);
        Ok(Staged { buffer: chunk.buffer.clone(), offset })
    }

    /// The chunks of the batch that is being closed.
    pub(super) fn close(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.current)
    }

    /// Bytes of the open batch's chunks.
    pub(super) fn open_bytes(&self) -> u64 {
        self.current.iter().map(|chunk| chunk.used).sum()
    }

    /// How much is kept in idle chunks.
    pub(super) fn usage(&self) -> CacheUse {
        let idle = lock(&self.idle);
        CacheUse {
            entries: idle.len() as u64,
            bytes: Some(idle.iter().map(|chunk| chunk.size).sum()),
            most_bytes: Some(KEPT_BYTES),
            made: self.made,
            ..CacheUse::named("staging buffers")
        }
    }

    /// Gives the idle chunks back to the driver. Natively by dropping them, since destroying a buffer waits for every thread that
    /// polls; in a browser a buffer that is only dropped waits for the garbage collector.
    pub(super) fn drop_idle(&mut self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        if cfg!(target_arch = "wasm32") {
            idle.iter().for_each(|chunk| chunk.buffer.destroy());
        }
    }

    fn take_idle(&mut self, bytes: u64) -> Option<Chunk> {
        let mut idle = lock(&self.idle);
        let index = idle.iter().position(|chunk| chunk.size >= bytes)?;
        Some(idle.swap_remove(index))
    }

    fn create(&mut self, gpu: &Gpu, bytes: u64) -> Result<Chunk, DeviceError> {
        let size = bytes.next_multiple_of(16).max(CHUNK_BYTES);
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let buffer = gpu.buffer("wgpu-pool staging", size, usage, true)?;
        self.made += 1;
        Ok(Chunk { buffer, size, used: 0, idle: Arc::downgrade(&self.idle) })
    }
}
