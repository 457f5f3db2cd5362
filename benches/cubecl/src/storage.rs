//! A device that counts its buffers and allocates no memory.

use crate::DEVICE;
use cubecl_server::memory_management::relocation::{CopyQueue, StorageCopy};
use cubecl_server::server::{IoError, ServerError};
use cubecl_server::storage::{ComputeStorage, StorageHandle, StorageId, StorageUtilization};
use std::collections::HashMap;

/// The buffers that a memory manager holds.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    sizes: HashMap<StorageId, u64>,
    /// The bytes of all buffers, and their peak.
    held: u64,
    pub(crate) peak: u64,
    /// The number of buffers created so far.
    pub(crate) created: u64,
}

impl ComputeStorage for Buffers {
    type Resource = ();

    fn alignment(&self) -> usize {
        DEVICE.alignment as usize
    }

    /// A replay reads no memory.
    fn get(&mut self, _: &StorageHandle) -> Result<(), IoError> {
        Ok(())
    }

    fn alloc(&mut self, size: u64) -> Result<StorageHandle, IoError> {
        let id = StorageId::new();
        self.sizes.insert(id, size);
        self.created += 1;
        self.held += size;
        self.peak = self.peak.max(self.held);
        Ok(StorageHandle::new(id, StorageUtilization { offset: 0, size }))
    }

    /// Releases the buffer at once, as CubeCL's wgpu storage does.
    fn dealloc(&mut self, id: StorageId) {
        self.held -= self.sizes.remove(&id).unwrap_or(0);
    }

    fn flush(&mut self) {}

    fn bytes_allocated(&self) -> u64 {
        self.held
    }
}

/// The copies of a relocation: nothing to copy, nothing to wait for.
pub(crate) struct Copies;

impl CopyQueue<Buffers> for Copies {
    fn wait_device(&mut self) -> Result<(), ServerError> {
        Ok(())
    }

    fn copy(&mut self, _: &mut Buffers, _: &StorageCopy) -> Result<(), IoError> {
        Ok(())
    }

    fn wait_copies(&mut self) -> Result<(), ServerError> {
        Ok(())
    }
}
