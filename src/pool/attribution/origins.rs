//! The origin of each block: call site, dtype, shape and scope.

use crate::heap::BlockId;
use rustc_hash::FxHashMap;
use std::panic::Location;
use std::sync::Arc;

/// The largest rank of a recorded shape, which is the largest rank of a tensor.
const SIZES: usize = 8;
/// The rank of a block without a shape, or with a dimension above 2³² − 1.
const SHAPELESS: u8 = u8::MAX;

/// The dtype and shape of a block, as given by the requester.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    dtype: Option<&'static &'static str>,
    sizes: [u32; SIZES],
    rank: u8,
}

impl Content {
    /// The largest rank of a recorded shape.
    #[cfg(feature = "tensor")]
    pub(crate) const MAX_RANK: usize = SIZES;

    /// A block of bytes without dtype and shape.
    pub(crate) const BYTES: Self = Self { dtype: None, sizes: [0; SIZES], rank: SHAPELESS };

    /// A tensor with this dtype and shape.
    #[cfg(feature = "tensor")]
    #[inline]
    pub(crate) fn tensor(dtype: &'static &'static str, shape: &[usize]) -> Self {
        let mut sizes = [0; SIZES];
        let mut rank = SHAPELESS;
        if shape.len() <= SIZES && shape.iter().all(|&size| u32::try_from(size).is_ok()) {
            for (slot, &size) in sizes.iter_mut().zip(shape) {
                *slot = u32::try_from(size).expect("every size was just found to fit");
            }
            rank = u8::try_from(shape.len()).expect("at most SIZES");
        }
        Self { dtype: Some(dtype), sizes, rank }
    }
}

/// The origin of a block. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(in crate::pool) struct Origin {
    pub(in crate::pool) site: &'static Location<'static>,
    /// A reference to the name takes one word, the name two.
    dtype: Option<&'static &'static str>,
    /// The number of earlier allocations.
    serial: u64,
    sizes: [u32; SIZES],
    /// The scope's number plus one, or 0 outside any scope.
    scope: u32,
    /// The low bits of the block's generation, which distinguish the record from that of another block in the same
    /// slot.
    generation: u16,
    rank: u8,
    labelled: bool,
}

const _: () = assert!(size_of::<Origin>() == 64);

impl Origin {
    pub(in crate::pool) fn dtype(&self) -> Option<&'static str> {
        self.dtype.copied()
    }

    pub(in crate::pool) fn shape(&self) -> Option<&[u32]> {
        self.sizes.get(..usize::from(self.rank))
    }

    pub(in crate::pool) const fn scope(&self) -> Option<u32> {
        self.scope.checked_sub(1)
    }

    pub(in crate::pool) const fn serial(&self) -> u64 {
        self.serial
    }
}

/// The origins of all blocks, indexed by heap slot.
#[derive(Clone, Debug, Default)]
pub(in crate::pool) struct Origins {
    slots: Vec<Option<Origin>>,
    /// By slot. The label of a freed block stays until its slot is reused.
    labels: FxHashMap<usize, Arc<str>>,
    /// The number of allocations so far.
    allocations: u64,
}

const _: () = assert!(size_of::<Option<Origin>>() == 64);

impl Origins {
    /// Stores the origin of a new block.
    #[inline]
    pub(super) fn note(
        &mut self,
        block: BlockId,
        site: &'static Location<'static>,
        content: &Content,
        scope: Option<u32>,
    ) {
        let slot = block.key();
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        // Without labels the record is written without being read, because reading it may miss the cache.
        if !self.labels.is_empty() && self.slots[slot].is_some_and(|origin| origin.labelled) {
            self.labels.remove(&slot);
        }
        let Content { dtype, sizes, rank } = *content;
        self.slots[slot] = Some(Origin {
            site,
            dtype,
            serial: self.allocations,
            sizes,
            scope: scope.map_or(0, |scope| scope + 1),
            generation: low_bits(block),
            rank,
            labelled: false,
        });
        self.allocations += 1;
    }

    #[cold]
    fn grow(&mut self, slot: usize) {
        self.slots.resize(slot + 1, None);
    }

    /// Sets the label of an active block.
    pub(in crate::pool) fn label(&mut self, block: BlockId, label: Arc<str>) {
        let slot = block.key();
        if let Some(Some(origin)) = self.slots.get_mut(slot) {
            if origin.generation == low_bits(block) {
                origin.labelled = true;
                self.labels.insert(slot, label);
            }
        }
    }

    /// Returns the origin of an active block. `None` for a short time between the allocation in the heap and the call
    /// of `note`.
    #[inline]
    pub(in crate::pool) fn of(&self, block: BlockId) -> Option<&Origin> {
        let origin = self.slots.get(block.key())?.as_ref()?;
        (origin.generation == low_bits(block)).then_some(origin)
    }

    /// Returns the label of an active block, if it has one.
    pub(in crate::pool) fn label_of(&self, block: BlockId) -> Option<&Arc<str>> {
        if self.of(block)?.labelled { self.labels.get(&block.key()) } else { None }
    }

    /// The number of allocations so far.
    pub(in crate::pool) const fn allocations(&self) -> u64 {
        self.allocations
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
const fn low_bits(block: BlockId) -> u16 {
    block.generation() as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Heap, HeapOptions, SubPool};
    use std::num::NonZeroU64;

    #[test]
    fn a_reused_slot_never_returns_the_record_of_an_earlier_block() {
        let mut heap = Heap::new(HeapOptions::default()).expect("the default options suit");
        heap.add_segment(SubPool::Small, 1 << 20).expect("there is room");
        let mut origins = Origins::default();
        let bytes = NonZeroU64::new(100).expect("not zero");
        let first = heap.allocate(bytes).expect("the segment has room");
        origins.note(first, Location::caller(), &Content::BYTES, None);
        origins.label(first, "first".into());
        assert_eq!(origins.label_of(first).map(|label| &**label), Some("first"));
        heap.free(first).expect("it is active");
        let second = heap.allocate(bytes).expect("the segment has room");
        assert_eq!(second.key(), first.key(), "the slot is used again");
        assert!(origins.of(second).is_none(), "the origin of the new block is not stored yet");
        origins.label(second, "too early".into());
        assert_eq!(origins.label_of(second), None);
        origins.note(second, Location::caller(), &Content::BYTES, None);
        assert_eq!((origins.label_of(second), origins.labels.len()), (None, 0));
        assert!(origins.of(first).is_none());
    }
}
