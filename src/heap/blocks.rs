//! The records of all blocks, in reusable slots.

use super::address::{BlockId, MOST_SLOTS};

/// The slot of a block's record.
pub(super) type Key = u32;
/// The invalid slot: [`Blocks::insert`] never returns this.
pub(super) const NONE: Key = Key::MAX;

/// The state of a record, with the data of each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No block: the record can be reused.
    Vacant {
        /// The next vacant record.
        next: Key,
    },
    /// Cached and free, in the free list of its class.
    Inactive {
        /// The position in that list.
        position: u32,
    },
    /// Allocated, or freed but still pinned.
    Active {
        /// The number of pins.
        pins: u32,
        /// Bytes of the block that were not requested: less than one granule.
        slack: u16,
        /// Freed by its owner, and active only because of its pins.
        freed: bool,
    },
    /// Allocated and in no segment: its bytes are in host memory.
    Detached {
        /// Bytes of the block that were not requested: less than one granule.
        slack: u16,
    },
}

impl State {
    /// Inactive, before insertion into a free list sets the position.
    pub(super) const UNLISTED: Self = Self::Inactive { position: u32::MAX };
}

/// The record of a block. Offset and size are in granules.
///
/// Invariant: `before` and `after` are the neighbours in the segment, and refer back to this block.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Block {
    /// The distance from the segment's start.
    pub(super) offset: u32,
    /// The size; never 0, except in a vacant record.
    pub(super) size: u32,
    /// The block that ends where this one starts, or [`NONE`] at the segment's start.
    pub(super) before: Key,
    /// The block that starts where this one ends, or [`NONE`] at the segment's end.
    pub(super) after: Key,
    /// The slot of the block's segment.
    pub(super) segment: u32,
    /// The number of earlier active blocks in this slot.
    pub(super) generation: u32,
    /// The state.
    pub(super) state: State,
}

impl Block {
    /// Returns whether the block spans a whole segment.
    #[inline]
    pub(super) const fn is_whole(&self) -> bool {
        self.before == NONE && self.after == NONE
    }
}

// With very many blocks, the cost of an operation is that of its cache misses: two records share a cache line, and none
// crosses a line boundary.
const _: () = assert!(size_of::<Block>() == 32);

/// All records. Grows to the largest number of blocks so far, and then allocates no more host memory.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    slots: Vec<Block>,
    /// The vacant record to use next: the most recently vacated one, which is likely in the cache.
    vacant: Key,
    /// The number of vacant records.
    vacancies: u32,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE, vacancies: 0 }
    }

    /// Stores a record in a slot, and keeps the slot's generation.
    ///
    /// # Panics
    /// At 2³¹ blocks, whose records alone are 64 GiB.
    #[inline]
    pub(super) fn insert(&mut self, block: Block) -> Key {
        if self.vacant == NONE {
            self.add_vacant();
        }
        let key = self.vacant;
        let slot = &mut self.slots[key as usize];
        let State::Vacant { next } = slot.state else { unreachable!("the chain of vacant records holds a block") };
        self.vacant = next;
        self.vacancies -= 1;
        *slot = Block { generation: slot.generation, ..block };
        key
    }

    /// Adds a vacant record. Takes no record, so that one that [`Blocks::insert`] stores is in registers: to write a record in parts and to
    /// copy it takes 5 ns.
    #[cold]
    fn add_vacant(&mut self) {
        let key = u32::try_from(self.slots.len()).ok().filter(|&key| key < MOST_SLOTS);
        let key = key.expect("fewer than 2^31 blocks fit the host's memory");
        let state = State::Vacant { next: NONE };
        self.slots.push(Block { offset: 0, size: 0, before: NONE, after: NONE, segment: NONE, generation: 0, state });
        self.vacant = key;
        self.vacancies += 1;
    }

    /// Removes a block from its slot.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) {
        let next = self.vacant;
        let slot = &mut self[key];
        slot.state = State::Vacant { next };
        self.vacant = key;
        self.vacancies += 1;
    }

    /// Returns the record of an id if the block is active: allocated, or freed and still pinned.
    #[inline]
    pub(super) fn active(&self, id: BlockId) -> Option<&Block> {
        let block = self.slots.get(id.key())?;
        (block.generation == id.generation && matches!(block.state, State::Active { .. })).then_some(block)
    }

    /// Returns the record of an id if the block is active, for changes.
    #[inline]
    pub(super) fn active_mut(&mut self, id: BlockId) -> Option<&mut Block> {
        let block = self.slots.get_mut(id.key())?;
        (block.generation == id.generation && matches!(block.state, State::Active { .. })).then_some(block)
    }

    /// Returns the record in a slot, in any state.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Block> {
        self.slots.get(key as usize)
    }

    /// The slots of all records, in any state.
    pub(super) fn keys(&self) -> std::ops::Range<Key> {
        0..Key::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// The number of blocks.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacancies as usize
    }

    /// The counted number of vacant records.
    pub(super) const fn vacancies(&self) -> u32 {
        self.vacancies
    }

    /// The number of records in the vacant chain, up to the first record that is not vacant or that closes a cycle.
    pub(super) fn chained(&self) -> usize {
        let mut key = self.vacant;
        let mut chained = 0;
        while let Some(Block { state: State::Vacant { next }, .. }) = self.get(key) {
            chained += 1;
            if chained > self.slots.len() {
                break;
            }
            key = *next;
        }
        chained
    }
}

impl std::ops::Index<Key> for Blocks {
    type Output = Block;

    #[inline]
    fn index(&self, key: Key) -> &Block {
        &self.slots[key as usize]
    }
}

impl std::ops::IndexMut<Key> for Blocks {
    #[inline]
    fn index_mut(&mut self, key: Key) -> &mut Block {
        &mut self.slots[key as usize]
    }
}
