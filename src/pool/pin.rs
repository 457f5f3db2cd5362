//! Pins: blocks that stay where they are, and the call sites that pinned them.

use super::{Inner, Pool, Storage};
use crate::device::{COPY_UNIT, Gpu, Memory};
use crate::error::{Bytes, DeviceError};
use crate::heap::{BlockId, Heap, SegmentId};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// One pin: which block, and where in the program it was pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Where the guard was taken.
    pub site: &'static Location<'static>,
    /// The segment that the block holds.
    pub segment: SegmentId,
    /// The block's size in bytes.
    pub bytes: u64,
}

/// As `4.0 MiB of segment 3 by src/frame.rs:12:5`.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of segment {} by {}", Bytes(self.bytes), self.segment, self.site)
    }
}

impl<M: Memory> Pool<M> {
    /// Who pins what, in the order of the segments: what compaction may not move and trimming can't give back. O(pins).
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
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
    /// Pins the block, for commands that the program records by itself: until the guard is dropped, the block neither moves
    /// nor is handed out again, also if its last handle is dropped meanwhile. What the pool has recorded so far is submitted
    /// first, so that it runs before what the program submits afterwards. On a GPU, [`Pinned::binding`] says where the block
    /// lies.
    ///
    /// Keep the guard until the commands are submitted; from then on the queue's order protects the bytes. Returns `None` for a
    /// storage of zero bytes. [`Pool::pins`] lists the pins, each with the caller of this function. Waits for no device; may wait
    /// for a thread that is submitting.
    ///
    /// A pin doesn't keep the block allocated: once the last handle is dropped, its bytes count as active and not as allocated,
    /// and a [`WeakStorage`](super::WeakStorage) doesn't upgrade.
    ///
    /// # Errors
    /// What the device found wrong with the commands submitted.
    #[track_caller]
    pub fn pin(&self) -> Result<Option<Pinned<M>>, DeviceError> {
        let Some(block) = self.block() else { return Ok(None) };
        let inner = self.inner();
        let site = Location::caller();
        let (place, number) = loop {
            let mut state = inner.state();
            if let Ok(place) = state.place(block) {
                state.heap.pin(block).expect("a storage holds its block, and 2^32 guards don't fit in memory");
                break (place, state.pins.insert((block, site)));
            }
            // The block is in host memory: it gets its memory back first.
            drop(state);
            drop(inner.resolve([self])?);
        };
        let pinned = Pinned { inner: Arc::clone(inner), block, number, place, bytes: self.bytes() };
        inner.memory.submit()?;
        Ok(Some(pinned))
    }
}

/// A guard that keeps a block in place, for commands outside of the pool's own recorder. Made by [`Storage::pin`].
pub struct Pinned<M: Memory = Gpu> {
    inner: Arc<Inner<M>>,
    block: BlockId,
    /// Its place among the pool's pins.
    number: usize,
    place: crate::device::Location<M::Segment>,
    bytes: u64,
}

impl<M: Memory> Pinned<M> {
    /// The bytes of the storage that was pinned, as they were asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The block's segment, and its first byte from the segment's start.
    #[must_use]
    pub fn place(&self) -> (SegmentId, u64) {
        (self.place.id, self.place.offset)
    }
}

impl Pinned<Gpu> {
    /// The range of the wgpu buffer. Write nothing outside of it: the neighbours are other tensors.
    #[must_use]
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: self.place.segment.buffer(),
            offset: self.place.offset,
            size: wgpu::BufferSize::new(self.bytes.next_multiple_of(COPY_UNIT)),
        }
    }
}

impl<M: Memory> Drop for Pinned<M> {
    fn drop(&mut self) {
        let last = |heap: &Heap, block| heap.pins(block) == 1 && heap.allocated_place(block).is_none();
        self.inner.release_block(self.block, last, |state| {
            state.pins.remove(self.number);
            state.heap.unpin(self.block).expect("the guard pinned the block");
        });
    }
}

impl<M: Memory> fmt::Debug for Pinned<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner: _, block, number: _, place, bytes } = self;
        f.debug_struct("Pinned").field("block", block).field("place", place).field("bytes", bytes).finish()
    }
}
