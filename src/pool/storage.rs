//! Storage handles.

use super::caches::MAX_REFERENCES;
use super::dry_run::{Held, Target};
use super::references::References;
use super::residence::HostCopy;
use super::{Inner, Pool, State, WeakStorage};
use crate::device::{COPY_UNIT, Commands, Gpu, Location, Memory, Submit, check_alignment, check_range};
use crate::error::DeviceError;
use crate::heap::{BlockId, Heap};
use std::fmt;
use std::sync::Arc;

/// The size of the pieces of a large write. Each piece is submitted with its batch, so that its staging memory can be
/// reused.
const PIECE_BYTES: usize = 16 << 20;

/// [`COPY_UNIT`] as a `usize`.
const UNIT: usize = 4;
const _: () = assert!(UNIT as u64 == COPY_UNIT);

/// A reference-counted handle to a block of a pool. Clones share the block. Dropping the last handle frees the block
/// immediately, without waiting for the device: commands that were already recorded execute before any command that
/// reuses the block.
///
/// A new storage is not initialized: it contains the previous contents of its bytes. [`Storage::write`] writes bytes, and
/// [`Storage::read`] reads them; [`Pool::download`] reads several ranges with one wait.
pub struct Storage<M: Memory = Gpu> {
    /// `None` only while the storage is dropped, when another storage may use the handle again.
    handle: Option<Handle<M>>,
    /// `None` for zero bytes, which need no block. See [`Held`].
    block: Option<BlockId>,
    requested: u64,
}

/// The pool of a storage, and the reference count of its block.
pub(super) struct Handle<M: Memory> {
    pub(super) inner: Arc<Inner<M>>,
    pub(super) references: Arc<References>,
}

impl<M: Memory> Handle<M> {
    /// `recycled` is a count without handles.
    #[inline]
    pub(super) fn new(inner: &Arc<Inner<M>>, recycled: Option<Arc<References>>) -> Self {
        Self { inner: Arc::clone(inner), references: recycled.unwrap_or_default() }
    }
}

impl<M: Memory> Storage<M> {
    /// Creates the first handle of a block; the count of `handle` has none.
    #[inline]
    pub(super) fn new(handle: Handle<M>, block: Option<BlockId>, requested: u64) -> Self {
        handle.references.begin();
        Self { handle: Some(handle), block, requested }
    }

    /// Creates a further handle of a block, which is already counted.
    pub(super) fn counted(
        inner: Arc<Inner<M>>,
        references: Arc<References>,
        block: Option<BlockId>,
        requested: u64,
    ) -> Self {
        Self { handle: Some(Handle { inner, references }), block, requested }
    }

    /// Returns the requested bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.requested
    }

    /// Returns the number of handles to the block, including this one. Other threads may change it at any time.
    #[must_use]
    pub fn handles(&self) -> usize {
        usize::try_from(self.references().strong()).expect("at most 2^31 handles")
    }

    /// Returns the pool of the block.
    #[must_use]
    pub fn pool(&self) -> Pool<M> {
        Pool::of(self.inner())
    }

    /// Returns the [`Memory`] that the pool allocates from.
    #[cfg(feature = "tensor")]
    pub(crate) fn memory(&self) -> &M {
        &self.inner().memory
    }

    /// Returns the largest block of a tensor of the pool in bytes.
    #[cfg(feature = "tensor")]
    pub(crate) fn largest_block(&self) -> u64 {
        self.inner().largest_block
    }

    /// Returns whether two handles share one block.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.references(), other.references())
    }

    /// Returns a number that two handles have in common only if they share one block, as long as both exist.
    #[cfg(feature = "tensor")]
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(self.references()).addr()
    }

    /// Returns whether the storage belongs to a pool.
    #[cfg(feature = "tensor")]
    pub(crate) fn is_of(&self, pool: &Pool<M>) -> bool {
        Arc::ptr_eq(self.inner(), &pool.inner)
    }

    /// Returns whether two storages belong to the same pool.
    #[must_use]
    pub fn is_of_same_pool(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.inner(), other.inner())
    }

    /// Returns the block in the heap of the pool. `None` for zero bytes, and for a block of a dry run.
    #[inline]
    pub(super) fn block(&self) -> Option<BlockId> {
        match self.held() {
            Held::Block(block) => Some(block),
            Held::Nothing | Held::Dry(_) => None,
        }
    }

    pub(super) fn held(&self) -> Held {
        Held::of(self.block)
    }

    fn handle(&self) -> &Handle<M> {
        self.handle.as_ref().expect("a storage has its handle until it is dropped")
    }

    fn references(&self) -> &Arc<References> {
        &self.handle().references
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<M>> {
        &self.handle().inner
    }

    /// Writes bytes at `offset`, in program order: after all commands recorded so far, and before all later ones. The
    /// bytes are copied immediately. `offset` and the length must be multiples of [`COPY_UNIT`]; the length may have
    /// any value if the range ends at the end of the storage.
    ///
    /// Like everything that records a command, waits for a thread that is recording, for microseconds, and for the
    /// device only while it is more than 32 batches behind.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`], [`DeviceError::Misaligned`], or [`DeviceError::Refused`] if staging memory cannot
    /// be allocated.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let length = bytes.len() as u64;
        check_range(offset, length, self.bytes())?;
        // Everything is checked before anything is recorded.
        let ends = offset + length == self.bytes();
        check_alignment(offset, if ends { 0 } else { length }).map_err(|_| DeviceError::Misaligned {
            offset,
            length,
            unit: COPY_UNIT,
        })?;
        let mut at = offset;
        for piece in bytes.chunks(PIECE_BYTES) {
            let whole = piece.len() - piece.len() % UNIT;
            self.record(at, |commands, place| commands.write(place, &piece[..whole]))?;
            at += whole as u64;
            if whole < piece.len() {
                self.write_tail(at, &piece[whole..])?;
            }
        }
        Ok(())
    }

    /// Writes the last bytes of a storage whose length is not a multiple of the copy unit. The block has room for a
    /// whole unit.
    fn write_tail(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let mut unit = [0; UNIT];
        unit[..bytes.len()].copy_from_slice(bytes);
        self.record(at, |commands, place| commands.write(place, &unit))
    }

    /// Fills the storage with zero bytes, in program order. Waits as [`Storage::write`].
    ///
    /// # Errors
    /// The error of a failed batch; [`DeviceError::Lost`].
    pub fn clear(&self) -> Result<(), DeviceError> {
        self.record(0, |commands, place| commands.clear(place))
    }

    /// Copies all bytes to the start of `target`, in program order. The other bytes of `target` do not change, also if
    /// the length is not a multiple of [`COPY_UNIT`]. Waits as [`Storage::write`].
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if `target` is shorter. [`DeviceError::Refused`] if the bounce buffer for a copy
    /// within one segment, or the buffer for merging the last unit, cannot be allocated; nothing is recorded then.
    /// [`DeviceError::Pools`] if the storages belong to different pools.
    pub fn copy_to(&self, target: &Self) -> Result<(), DeviceError> {
        if !Arc::ptr_eq(self.inner(), target.inner()) {
            return Err(DeviceError::Pools);
        }
        check_range(0, self.bytes(), target.bytes())?;
        if self.is_same(target) {
            return Ok(());
        }
        let Some((mut commands, places)) = self.inner().resolve([self, target])? else { return Ok(()) };
        if let [from, to] = places.as_slice() {
            copy::<M>(&mut commands, (from, self.bytes()), (to, target.bytes()))?;
        }
        finish(self.inner(), commands)
    }

    fn record(
        &self,
        offset: u64,
        act: impl FnOnce(&mut M::Commands<'_>, &Location<M::Segment>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Some((mut commands, places)) = self.inner().resolve([self])? else { return Ok(()) };
        if let Some(place) = places.first() {
            act(&mut commands, &place.part(offset, place.size - offset)?)?;
        }
        finish(self.inner(), commands)
    }
}

/// Records a copy of all bytes of a storage to the start of another. Each is given as location and length.
fn copy<M: Memory>(
    commands: &mut M::Commands<'_>,
    (from, bytes): (&Location<M::Segment>, u64),
    (to, room): (&Location<M::Segment>, u64),
) -> Result<(), DeviceError> {
    // After the last byte of a storage, its block has unused bytes up to a whole unit.
    let whole = if room == bytes { bytes.next_multiple_of(COPY_UNIT) } else { bytes - bytes % COPY_UNIT };
    if from.id == to.id {
        // First, so that nothing is recorded if the buffer is refused.
        commands.prepare_bounce_buffer(whole)?;
    }
    if let Some(rest @ 1..) = bytes.checked_sub(whole) {
        let rest = u32::try_from(rest).expect("less than a unit");
        commands.copy_part_of_unit(&from.part(whole, COPY_UNIT)?, &to.part(whole, COPY_UNIT)?, rest)?;
    }
    if whole > 0 {
        commands.copy(&from.part(0, whole)?, to)?;
    }
    Ok(())
}

/// Ends a recording: releases the guard, then requests a submission if the open batch is due.
pub(crate) fn finish<M: Memory>(inner: &Arc<Inner<M>>, commands: M::Commands<'_>) -> Result<(), DeviceError> {
    let due = commands.due();
    drop(commands);
    if !due {
        return Ok(());
    }
    inner.memory.submit(Submit::Soon)?;
    inner.note_submission();
    Ok(())
}

/// Records commands on several storages of one pool, none of which has zero bytes: resolves their locations and calls
/// `act`, in one step. Returns its result, or `None` in a dry run of this thread, which does not call it.
#[cfg(feature = "tensor")]
pub(crate) fn record<M: Memory, R>(
    storages: &[&Storage<M>],
    act: impl FnOnce(&mut M::Commands<'_>, &[Location<M::Segment>]) -> Result<R, DeviceError>,
) -> Result<Option<R>, DeviceError> {
    let Some(first) = storages.first() else { return Ok(None) };
    let Some((mut commands, places)) = first.inner().resolve(storages.iter().copied())? else { return Ok(None) };
    let result = act(&mut commands, &places)?;
    finish(first.inner(), commands)?;
    Ok(Some(result))
}

impl<M: Memory> Clone for Storage<M> {
    fn clone(&self) -> Self {
        let references = Arc::clone(self.references());
        references.clone_strong();
        let handle = Handle { inner: Arc::clone(self.inner()), references };
        Self { handle: Some(handle), block: self.block, requested: self.requested }
    }
}

impl<M: Memory> Drop for Storage<M> {
    fn drop(&mut self) {
        let Some(Handle { inner, references }) = &self.handle else { return };
        if !references.drop_strong() {
            return;
        }
        if !inner.dry_runs.none() && self.free_in_dry_run() {
            return;
        }
        let Some(block) = self.block else { return };
        if inner.deferred.is_open() && Inner::free_later(&mut self.handle, block) {
            return;
        }
        let Some(Handle { inner, references }) = self.handle.take() else { return };
        // Bytes in host memory, dropped without the lock.
        let mut spilled = None;
        let mut references = Some(references);
        inner.release_block(block, is_unpinned, &mut |state| {
            state.free(block, self.requested, &mut spilled);
            if state.references.len() < MAX_REFERENCES {
                let unused = references.take_if(|references| references.is_unused());
                state.references.extend(unused);
            }
        });
    }
}

impl<M: Memory> Storage<M> {
    /// Frees a block of a dry run, and returns true. Otherwise frees the copy of the block in the dry run of this thread.
    #[cold]
    fn free_in_dry_run(&self) -> bool {
        match self.held() {
            Held::Nothing => {}
            Held::Block(block) => {
                if let Some(shadow) = self.inner().shadow() {
                    shadow.free_existing(block, self.requested);
                }
            }
            Held::Dry(id) => {
                self.inner().dry_runs.free(id);
                return true;
            }
        }
        false
    }
}

impl<M: Memory> Inner<M> {
    /// Frees a block that has no handles.
    pub(super) fn free(self: &Arc<Self>, block: BlockId, requested: u64) {
        let mut spilled = None;
        self.release_block(block, is_unpinned, &mut |state| state.free(block, requested, &mut spilled));
    }
}

/// Returns whether freeing a block makes the block inactive.
fn is_unpinned(heap: &Heap, block: BlockId) -> bool {
    heap.pins(block) == 0
}

impl<M: Memory> State<M> {
    /// Frees a block whose last handle is dropped. Stores its bytes in host memory, which are dropped without the lock, in
    /// `spilled`.
    #[expect(clippy::inline_always, reason = "a call costs 1.5 ns of about 40 for each free, measured by `replay`")]
    #[inline(always)]
    fn free(&mut self, block: BlockId, requested: u64, spilled: &mut Option<HostCopy<M::Segment>>) {
        let Self { attribution, heap, spilling, .. } = self;
        attribution.freed(heap, block, requested);
        if let Some(spilling) = spilling {
            let size = heap.detached(block).map_or(0, |detached| detached.size);
            let used = if size > 0 { heap.stats().spilled.current - size } else { 0 };
            *spilled = spilling.forget(block, size, used);
        }
        heap.free(block).expect("the last handle of an allocated block frees it, and no other does");
        self.note_end_in_steps(block);
    }
}

impl<M: Memory> State<M> {
    /// Frees a block whose last handle was dropped in a step. Such a pool neither spills nor scrubs.
    #[inline]
    pub(super) fn free_deferred(&mut self, block: BlockId) {
        let Self { attribution, heap, .. } = self;
        attribution.freed_later(heap, block);
        heap.free(block).expect("the last handle of an allocated block frees it, and no other does");
        self.note_end_in_steps(block);
    }
}

impl<M: Memory> fmt::Debug for Storage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handle, block, requested } = self;
        f.debug_struct("Storage")
            .field("references", &handle.as_ref().map(|handle| &handle.references))
            .field("block", block)
            .field("requested", requested)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Storage<M> {
    /// Sets the block's label for reports, errors and the viewer. The label belongs to the block, so all handles share
    /// it; the last label applies.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        match self.target() {
            Ok(Target::Device(inner, block)) => inner.state().attribution.origins.label(block, label.into()),
            Ok(Target::Shadow(shadow, block)) => shadow.set_label(self, block, label.into()),
            // A storage without a block, or of a dry run that has ended.
            Ok(Target::Nothing) | Err(_) => {}
        }
    }

    /// Creates a handle that does not keep the block allocated, as [`std::sync::Weak`]. [`WeakStorage::upgrade`]
    /// returns a storage while a strong handle exists, and `None` afterwards, also while the freed block is pinned.
    ///
    /// # Panics
    /// At 2³¹ weak handles to one block.
    #[must_use]
    pub fn downgrade(&self) -> WeakStorage<M> {
        WeakStorage::new(self.inner(), self.references(), self.block, self.requested)
    }
}
