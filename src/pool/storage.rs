//! Handles to blocks.

use super::{Inner, Pool, State, WeakStorage};
use crate::device::{COPY_UNIT, Commands, Gpu, Location, Memory, check_alignment, check_range};
use crate::error::DeviceError;
use crate::heap::BlockId;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// A large write goes in pieces of this size, each submitted with its batch, so that its staging comes back piece by piece.
const PIECE_BYTES: usize = 16 << 20;

/// [`COPY_UNIT`] as a length.
const UNIT: usize = 4;
const _: () = assert!(UNIT as u64 == COPY_UNIT);

/// A reference-counted handle to a block of a pool. Cloning it shares the block; dropping the last handle gives the block
/// back to the pool at once, without waiting for the device: commands already recorded run before any that reuse it.
///
/// Its bytes are stale when it is new: whatever the block held before.
pub struct Storage<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    /// None only while the last handle is dropped: the count then goes back to the pool.
    handles: Option<Arc<Handles>>,
    /// None for zero bytes, which need no block.
    block: Option<BlockId>,
    requested: u64,
}

/// How many handles share one block. Not the `Arc`'s own count, so that the last handle can give the whole allocation back to the
/// pool, to count the handles of another block.
pub(super) type Handles = AtomicUsize;

impl<M: Memory> Storage<M> {
    /// The first handle of a block; `recycled` is a count of a block that is gone.
    pub(super) fn new(
        inner: &Arc<Inner<M>>,
        recycled: Option<Arc<Handles>>,
        block: Option<BlockId>,
        requested: u64,
    ) -> Self {
        let handles = recycled.unwrap_or_default();
        // Handles that another thread is still dropping have done their last with the count.
        handles.store(1, Ordering::Relaxed);
        Self { inner: Arc::clone(inner), handles: Some(handles), block, requested }
    }

    /// One more handle of a block; it is counted already.
    pub(super) fn again(inner: Arc<Inner<M>>, handles: Arc<Handles>, block: Option<BlockId>, requested: u64) -> Self {
        Self { inner, handles: Some(handles), block, requested }
    }

    /// Bytes that were asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.requested
    }

    /// How many handles share the block, this one included. Other threads may change it at any time.
    #[must_use]
    pub fn handles(&self) -> usize {
        self.count().load(Ordering::Acquire)
    }

    /// The pool that the block belongs to.
    #[must_use]
    pub fn pool(&self) -> Pool<M> {
        Pool::of(&self.inner)
    }

    /// The memory below the pool.
    pub(crate) fn memory(&self) -> &M {
        &self.inner.memory
    }

    /// Whether two handles share one block.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.count(), other.count())
    }

    /// Whether it belongs to a pool.
    pub(crate) fn is_of(&self, pool: &Pool<M>) -> bool {
        Arc::ptr_eq(&self.inner, &pool.inner)
    }

    /// Whether two storages belong to one pool.
    #[must_use]
    pub fn is_of_same_pool(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(super) fn block(&self) -> Option<BlockId> {
        self.block
    }

    fn count(&self) -> &Arc<Handles> {
        self.handles.as_ref().expect("a handle has its count until it is dropped")
    }

    pub(crate) fn inner(&self) -> &Arc<Inner<M>> {
        &self.inner
    }

    /// Writes bytes from `offset` on, in program order: after every command recorded so far, before every later one. The
    /// bytes are taken at once. Offset and length must be multiples of [`COPY_UNIT`], except that the length may end with
    /// the storage.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`], [`DeviceError::Misaligned`], or a lack of staging memory.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let length = bytes.len() as u64;
        check_range(offset, length, self.bytes())?;
        // All of it is checked before any of it is recorded.
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

    /// Writes the last bytes of a storage whose length is no multiple of the copy unit; its block has room for the rest.
    fn write_tail(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let mut unit = [0; UNIT];
        unit[..bytes.len()].copy_from_slice(bytes);
        self.record(at, |commands, place| commands.write(place, &unit))
    }

    /// Fills it with zero bytes, in program order.
    ///
    /// # Errors
    /// What the device finds wrong.
    pub fn clear(&self) -> Result<(), DeviceError> {
        self.record(0, |commands, place| commands.clear(place))
    }

    /// Copies all its bytes to the start of `to`, in program order.
    ///
    /// # Errors
    /// [`DeviceError::OutOfRange`] if `to` is shorter, or a lack of memory for the copy's detour.
    ///
    /// # Panics
    /// When the two belong to different pools: their commands have no common order.
    pub fn copy_to(&self, to: &Self) -> Result<(), DeviceError> {
        assert!(Arc::ptr_eq(&self.inner, &to.inner), "storages of different pools");
        check_range(0, self.bytes(), to.bytes())?;
        if self.is_same(to) {
            return Ok(());
        }
        let memory = &self.inner.memory;
        let mut commands = memory.commands();
        let places = self.inner.locate(&commands, [self, to]);
        if let [from, to] = places.as_slice() {
            commands.copy(&from.part(0, self.bytes().next_multiple_of(COPY_UNIT))?, to)?;
        }
        finish(memory, commands)
    }

    fn record(
        &self,
        offset: u64,
        act: impl FnOnce(&mut M::Commands<'_>, &Location<M::Segment>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let memory = &self.inner.memory;
        let mut commands = memory.commands();
        if let Some(place) = self.inner.locate(&commands, [self]).first() {
            act(&mut commands, &place.part(offset, place.size - offset)?)?;
        }
        finish(memory, commands)
    }
}

/// Ends a recording: has it submitted if that pays by now, after the right to record is given back.
pub(crate) fn finish<M: Memory>(memory: &M, commands: M::Commands<'_>) -> Result<(), DeviceError> {
    let due = commands.due();
    drop(commands);
    if due { memory.submit_soon() } else { Ok(()) }
}

/// Records on several storages of one pool, none of them of zero bytes: resolves where they lie, and lets `act` record, as
/// one step.
pub(crate) fn record<M: Memory>(
    storages: &[&Storage<M>],
    act: impl FnOnce(&mut M::Commands<'_>, &[Location<M::Segment>]) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let Some(first) = storages.first() else { return Ok(()) };
    let memory = &first.inner.memory;
    let mut commands = memory.commands();
    let places = first.inner.locate(&commands, storages.iter().copied());
    act(&mut commands, &places)?;
    finish(memory, commands)
}

impl<M: Memory> Clone for Storage<M> {
    fn clone(&self) -> Self {
        let handles = Arc::clone(self.count());
        handles.fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::clone(&self.inner), handles: Some(handles), block: self.block, requested: self.requested }
    }
}

impl<M: Memory> Drop for Storage<M> {
    fn drop(&mut self) {
        let Some(handles) = self.handles.take() else { return };
        let Some(block) = self.block else {
            handles.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        // An only handle can't be cloned meanwhile, so it need not count down. Either way, everything that the other handles'
        // threads did with the block happens before it is handed out again.
        let only = handles.load(Ordering::Acquire) == 1;
        if !only && !count_down(&handles) {
            return;
        }
        let mut state = self.inner.state();
        // A weak handle may have become a full one until the lock was taken, and can't any more.
        if only && handles.load(Ordering::Acquire) != 1 && !count_down(&handles) {
            return;
        }
        let State { attribution, heap, .. } = &mut *state;
        attribution.freed(heap, block, self.requested);
        heap.free(block).expect("only the last handle frees the block");
        state.handles.push(handles);
    }
}

/// Counts a handle down. Whether it was the last.
fn count_down(handles: &Handles) -> bool {
    if handles.fetch_sub(1, Ordering::Release) != 1 {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

impl<M: Memory> fmt::Debug for Storage<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, handles, block, requested } = self;
        f.debug_struct("Storage")
            .field("handles", handles)
            .field("block", block)
            .field("requested", requested)
            .finish_non_exhaustive()
    }
}

impl<M: Memory> Storage<M> {
    /// Names the block, for reports, errors and the viewer. It is the block that has the name, so every handle shows it; the
    /// last name given holds.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        if let Some(block) = self.block {
            self.inner.state().attribution.origins.label(block, label.into());
        }
    }

    /// A handle that doesn't keep the block: it tells whether the block is still there, and can become a full handle as long
    /// as it is. As [`std::sync::Weak`]; breaks cycles of `Rc`s.
    #[must_use]
    pub fn downgrade(&self) -> WeakStorage<M> {
        WeakStorage::new(&self.inner, self.count(), self.block, self.requested)
    }
}
