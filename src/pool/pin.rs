//! Pins: guards that keep a block at its location, with the call sites that created them.

use super::dry_run::Target;
use super::{Inner, Pool, Storage};
use crate::device::{COPY_UNIT, Gpu, Memory, Submit};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, Heap, SegmentId};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A pinned block and the call site that pinned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The call site of [`Storage::pin`].
    pub site: &'static Location<'static>,
    /// The segment that contains the block.
    pub segment: SegmentId,
    /// The block's size in bytes.
    pub bytes: u64,
}

/// Formats as `4.0 MiB of segment 3 by src/frame.rs:12:5`.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of segment {} by {}", Bytes(self.bytes), self.segment, self.site)
    }
}

impl<M: Memory> Pool<M> {
    /// Returns all pins, in the order of the segments: blocks that compaction cannot move and that trimming cannot
    /// free. O(pins).
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        if let Some(dry) = self.dry() {
            return dry.pins();
        }
        let state = self.inner.state();
        let pins = state.pins.iter().filter_map(|(_, &(block, site))| {
            let place = state.heap.active_place(block)?;
            Some(Pin { site, segment: place.segment, bytes: place.size })
        });
        let mut pins: Vec<Pin> = pins.collect();
        pins.sort_by_key(|pin| pin.segment);
        pins
    }
}

impl<M: Memory> Storage<M> {
    /// Pins the block, for commands that the application records itself. Until the guard is dropped, the block is
    /// neither moved nor reused, even if its last handle is dropped. Submits everything that the pool has recorded, so
    /// that it executes before the application's later submissions. On a GPU, [`Pinned::binding`] returns the block's
    /// buffer range.
    ///
    /// Keep the guard until the commands are submitted; from then on the order of the queue protects the bytes.
    /// [`Pool::pins`] lists the pins with the callers of this function. Waits as [`Pool::submit`]: for a thread that is
    /// submitting, and for the device while it is more than 32 batches behind. If the block's bytes are in host memory, waits as
    /// [`Storage::prefetch`].
    ///
    /// A pin does not keep the block allocated: after the last handle is dropped, its bytes count as active but not as
    /// allocated, and [`WeakStorage::upgrade`](super::WeakStorage::upgrade) returns `None`.
    ///
    /// # Errors
    /// [`DeviceError::ZeroBytes`] for a storage of zero bytes, which no command can use; the error of a failed batch;
    /// [`DeviceError::DryRun`] in a dry run; [`DeviceError::DryStorage`] for a storage of a dry run that has ended;
    /// [`DeviceError::Lost`].
    #[track_caller]
    pub fn pin(&self) -> Result<Pinned<M>, DeviceError> {
        let block = match self.target()? {
            Target::Nothing if self.bytes() == 0 => return Err(DeviceError::ZeroBytes),
            Target::Nothing | Target::Shadow(..) => return Err(DeviceError::DryRun { bytes: self.bytes() }),
            Target::Device(_, block) => block,
        };
        let inner = self.inner();
        let site = Location::caller();
        let (place, number) = loop {
            let mut state = inner.state();
            if let Ok(place) = state.place(block) {
                state.heap.pin(block).expect("a storage holds its block, and 2^32 guards don't fit in memory");
                break (place, state.pins.insert((block, site)));
            }
            // The block's bytes are in host memory and must be written to the device first.
            drop(state);
            drop(inner.resolve([self])?);
        };
        let pinned = Pinned { inner: Arc::clone(inner), block, number, place, bytes: self.bytes() };
        inner.memory.submit(Submit::Now)?;
        Ok(pinned)
    }
}

/// A guard that keeps a block at its location, for commands outside the pool's recorder. Created by [`Storage::pin`].
#[must_use = "the block is unpinned when the guard is dropped"]
pub struct Pinned<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    block: BlockId,
    /// The pin's key in the pool's list of pins.
    number: usize,
    place: crate::device::Location<M::Segment>,
    bytes: u64,
}

impl<M: Memory> Pinned<M> {
    /// Returns the requested bytes of the pinned storage.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the block's segment, and its first byte relative to the segment's start.
    #[must_use]
    pub fn place(&self) -> (SegmentId, u64) {
        (self.place.id, self.place.offset)
    }
}

impl Pinned<Gpu> {
    /// Returns the wgpu buffer that contains the block. Its other bytes belong to other tensors.
    #[must_use]
    pub fn buffer(&self) -> &wgpu::Buffer {
        self.place.segment.buffer()
    }

    /// Returns the offset of the block's first byte in [`Pinned::buffer`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Returns the block's range of the wgpu buffer. Do not write outside the range: adjacent bytes belong to other
    /// tensors.
    #[must_use]
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: self.buffer(),
            offset: self.offset(),
            size: wgpu::BufferSize::new(self.bytes.next_multiple_of(COPY_UNIT)),
        }
    }
}

impl<M: Memory> Drop for Pinned<M> {
    fn drop(&mut self) {
        if let Some(shadow) = self.inner.shadow() {
            shadow.unpin(self.number, self.block);
        }
        self.inner.unpin(self.number, self.block);
    }
}

impl<M: Memory> Inner<M> {
    /// Removes a pin, and frees the block if it was the last pin of a freed block.
    pub(super) fn unpin(self: &Arc<Self>, number: usize, block: BlockId) {
        let last = |heap: &Heap, block| heap.pins(block) == 1 && heap.allocated_place(block).is_none();
        self.release_block(block, last, &mut |state| {
            state.pins.remove(number);
            state.heap.unpin(block).expect("the guard pinned the block");
            state.note_end_in_steps(block);
        });
    }
}

impl<M: Memory> fmt::Debug for Pinned<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, block, number: _, place, bytes } = self;
        f.debug_struct("Pinned").field("block", block).field("place", place).field("bytes", bytes).finish()
    }
}
