//! The block of a storage: real, or of a dry run.

use super::super::{Inner, Storage};
use super::Shadow;
use crate::device::{AccountingMemory, Memory};
use crate::error::DeviceError;
use crate::heap::BlockId;
use std::fmt;
use std::sync::Arc;

/// The block of a storage, which stores the id only: that of a block of a dry run is [outside](BlockId::outside) of every heap.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Held {
    /// Zero bytes need no block.
    Nothing,
    /// A block of the pool's heap.
    Block(BlockId),
    /// A block of the copy of the heap in a dry run, without memory.
    Dry(DryId),
}

impl Held {
    pub(in crate::pool) fn of(block: Option<BlockId>) -> Self {
        match block {
            None => Self::Nothing,
            Some(block) => block.outside_number().map_or(Self::Block(block), |number| Self::Dry(DryId(number))),
        }
    }
}

/// Identifies a block of a dry run while it has a handle, among all dry runs of a pool.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct DryId(pub(super) u32);

/// A block that was allocated in a dry run.
pub(super) struct DryBlock {
    place: DryPlace,
    storage: Storage<AccountingMemory>,
}

/// The place of a block in its dry run.
#[derive(Clone)]
pub(super) struct DryPlace {
    shadow: Arc<Shadow>,
    /// The number of the block in the dry run's trace.
    number: u64,
    block: BlockId,
}

impl DryBlock {
    pub(super) fn new(shadow: Arc<Shadow>, number: u64, block: BlockId, storage: Storage<AccountingMemory>) -> Self {
        Self { place: DryPlace { shadow, number, block }, storage }
    }

    pub(super) fn place(&self) -> DryPlace {
        self.place.clone()
    }

    /// Frees the block. No lock of the pool is held.
    pub(super) fn free(self) {
        let Self { place, storage } = self;
        place.shadow.freed(place.number);
        drop(storage);
    }
}

impl fmt::Debug for DryBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DryPlace { shadow: _, number, block } = &self.place;
        f.debug_struct("DryBlock").field("number", number).field("block", block).finish_non_exhaustive()
    }
}

/// The pool, and the block in it, on which calls of this thread act.
pub(in crate::pool) enum Target<'a, M: Memory> {
    /// A storage of zero bytes, or of another thread, which the dry run does not contain.
    Nothing,
    Device(&'a Inner<M>, BlockId),
    Shadow(Arc<Shadow>, BlockId),
}

impl<M: Memory> Storage<M> {
    /// Returns the block on which calls of this thread act.
    ///
    /// # Errors
    /// [`DeviceError::DryStorage`] for a storage of another dry run than that of this thread.
    pub(in crate::pool) fn target(&self) -> Result<Target<'_, M>, DeviceError> {
        let shadow = self.inner().shadow();
        match (self.held(), shadow) {
            (Held::Nothing, _) => Ok(Target::Nothing),
            (Held::Block(block), None) => Ok(Target::Device(self.inner(), block)),
            (Held::Block(block), Some(shadow)) => {
                Ok(if shadow.contains(block) { Target::Shadow(shadow, block) } else { Target::Nothing })
            }
            (Held::Dry(id), shadow) => match (self.inner().dry_runs.block(id), shadow) {
                (Some(dry), Some(shadow)) if Arc::ptr_eq(&dry.shadow, &shadow) => Ok(Target::Shadow(shadow, dry.block)),
                _ => Err(DeviceError::DryStorage { bytes: self.bytes() }),
            },
        }
    }

    /// Returns the number in the trace of a dry run.
    pub(super) fn number_in(&self, shadow: &Arc<Shadow>) -> Option<u64> {
        match self.held() {
            Held::Nothing => None,
            Held::Block(block) => shadow.number_of(block),
            Held::Dry(id) => {
                let dry = self.inner().dry_runs.block(id)?;
                Arc::ptr_eq(&dry.shadow, shadow).then_some(dry.number)
            }
        }
    }
}

impl<M: Memory> Inner<M> {
    /// Returns whether a command on these storages is to be recorded: not in a dry run of this thread, which only checks that the
    /// storages may be used, and, in a pool with spilling, returns blocks to the device.
    ///
    /// # Errors
    /// [`DeviceError::DryStorage`] for a storage of another dry run; as [`Inner::resolve`].
    #[inline]
    pub(in crate::pool) fn records<'s>(
        &self,
        storages: impl IntoIterator<Item = &'s Storage<M>>,
    ) -> Result<bool, DeviceError> {
        if self.dry_runs.none() { Ok(true) } else { self.records_now(storages) }
    }

    #[cold]
    fn records_now<'s>(&self, storages: impl IntoIterator<Item = &'s Storage<M>>) -> Result<bool, DeviceError> {
        let mut blocks = Vec::new();
        for storage in storages {
            if let Target::Shadow(_, block) = storage.target()? {
                blocks.push(block);
            }
        }
        let Some(shadow) = self.shadow() else { return Ok(true) };
        shadow.use_blocks(&blocks)?;
        Ok(false)
    }
}
