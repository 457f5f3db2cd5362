//! Transfers from the host to the device: mapped staging buffers that commands copy from.
//!
//! `Queue::write_buffer` is not used: its writes would execute before recorded commands that are not yet submitted, and
//! if it runs out of memory the device is lost. A copy from the crate's own buffer executes in program order, and
//! running out of memory is an error.

use super::super::CacheUse;
use super::Gpu;
use super::checked::CheckedDevice;
use super::own::{OwnBuffer, TotalBytes};
use crate::device::lock::Lock;
use crate::error::DeviceError;
use std::sync::{Arc, Weak};

/// The size of a chunk in bytes, unless a single request is larger. In a browser most batches stage only parameters, and
/// a chunk can be reused only after the program has returned to the event loop.
pub(super) const CHUNK_BYTES: u64 = if cfg!(target_arch = "wasm32") { 64 << 10 } else { 1 << 20 };
/// The bytes of idle chunks that are kept for later batches; the rest is returned to the driver.
const IDLE_BYTES: u64 = 8 << 20;

/// A mapped buffer that is filled from its start.
#[derive(Debug)]
pub(super) struct Chunk {
    buffer: Arc<OwnBuffer>,
    size: u64,
    used: u64,
    /// The list to which the chunk returns when the device has copied from it. Weak, because the list owns idle chunks.
    idle: Weak<Lock<Vec<Chunk>>>,
}

/// A range of a chunk, the source of a copy.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) buffer: Arc<OwnBuffer>,
    pub(super) offset: u64,
}

impl Staged {
    /// Writes to the range, whose batch must not be submitted yet.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let start = self.offset + at;
        let mut view =
            self.buffer.get_mapped_range_mut(start..start + bytes.len() as u64).map_err(|error| no_mapping(&error))?;
        view.copy_from_slice(bytes);
        Ok(())
    }
}

/// The error of a chunk that is not mapped. In a browser only the end of the device unmaps a chunk, and the device's loss
/// is reported later.
fn no_mapping(error: &impl std::fmt::Display) -> DeviceError {
    if cfg!(target_arch = "wasm32") {
        return DeviceError::Lost { reason: "the device was destroyed".into() };
    }
    DeviceError::Validation { message: error.to_string() }
}

impl Chunk {
    fn has_room(&self, bytes: u64) -> bool {
        self.size - self.used >= bytes
    }

    /// Unmaps the buffer, so that commands that copy from it can be submitted.
    pub(super) fn end_writing(&self, device: &CheckedDevice) -> Result<(), DeviceError> {
        device.end_mapping(&self.buffer)
    }

    /// Maps the buffer again when the device has finished with it, and returns it to the idle list.
    pub(super) fn recycle(self, device: &CheckedDevice) {
        let buffer = Arc::clone(&self.buffer);
        let note = move |mapped: Result<(), wgpu::BufferAsyncError>| {
            // The pool may have been dropped.
            let Some(list) = self.idle.upgrade() else { return };
            let mut idle = list.lock();
            let kept: u64 = idle.iter().map(|chunk| chunk.size).sum();
            if mapped.is_ok() && kept + self.size <= IDLE_BYTES {
                idle.push(Chunk { used: 0, ..self });
            }
        };
        // A chunk that cannot be mapped again, because the device is lost, is dropped with the callback.
        let _ = device.map(&buffer, wgpu::MapMode::Write, note);
    }
}

#[derive(Debug, Default)]
pub(super) struct Staging {
    /// Chunks of the open batch, still mapped.
    current: Vec<Chunk>,
    /// Chunks that can be reused.
    idle: Arc<Lock<Vec<Chunk>>>,
    /// The number of chunks created so far.
    made: u64,
    /// The bytes of all chunks: of the open batch, of batches that the device has not finished, and idle.
    total: TotalBytes,
}

impl Staging {
    /// Reserves `bytes` bytes of mapped memory, aligned for copies and for uniform buffers.
    ///
    /// # Errors
    /// [`DeviceError::Refused`] if a chunk cannot be allocated; the open batch is unchanged.
    pub(super) fn reserve(&mut self, gpu: &Gpu, bytes: u64) -> Result<Staged, DeviceError> {
        if !self.current.last().is_some_and(|chunk| chunk.has_room(bytes)) {
            let idle = self.take_idle(bytes);
            let chunk = idle.map_or_else(|| self.create(gpu, bytes), Ok)?;
            self.current.push(chunk);
        }
        let chunk = self.current.last_mut().expect("a chunk with room was just found or pushed");
        let offset = chunk.used;
        chunk.used = (chunk.used + bytes).next_multiple_of(16).min(chunk.size);
        Ok(Staged { buffer: chunk.buffer.clone(), offset })
    }

    /// Takes the chunks of the batch that is being closed.
    pub(super) fn close(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.current)
    }

    /// Bytes staged for the open batch.
    pub(super) fn open_bytes(&self) -> u64 {
        self.current.iter().map(|chunk| chunk.used).sum()
    }

    /// Returns the usage of the idle list, and the bytes of the chunks that commands use.
    pub(super) fn usage(&self) -> CacheUse {
        let idle = self.idle.lock();
        let idle_bytes = idle.iter().map(|chunk| chunk.size).sum();
        CacheUse {
            entries: idle.len() as u64,
            bytes: Some(idle_bytes),
            most_bytes: Some(IDLE_BYTES),
            // Another thread may drop a chunk in between.
            in_use: Some(self.total.get().saturating_sub(idle_bytes)),
            made: self.made,
            ..CacheUse::named("staging buffers")
        }
    }

    /// Returns the idle chunks to the driver.
    pub(super) fn drop_idle(&mut self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    fn take_idle(&mut self, bytes: u64) -> Option<Chunk> {
        let mut idle = self.idle.lock();
        let index = idle.iter().position(|chunk| chunk.size >= bytes)?;
        Some(idle.swap_remove(index))
    }

    fn create(&mut self, gpu: &Gpu, bytes: u64) -> Result<Chunk, DeviceError> {
        let size = bytes.next_multiple_of(16).max(CHUNK_BYTES);
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let buffer = gpu.buffer("wgpu-pool staging", size, usage, true)?;
        self.made += 1;
        let buffer = buffer.trusted().counted(&self.total);
        Ok(Chunk { buffer: Arc::new(buffer), size, used: 0, idle: Arc::downgrade(&self.idle) })
    }
}
