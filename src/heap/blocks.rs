//! The records of all blocks, in slots that are used again.

use super::address::BlockId;

/// The slot of a block's record.
pub(super) type Key = u32;
/// No slot. There is no block there, ever: [`Blocks::insert`] stops short of it.
pub(super) const NONE: Key = Key::MAX;

/// What a block is, with what only such a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No block: the record waits to be used again.
    Vacant {
        /// The next vacant record.
        next: Key,
    },
    /// Cached and free; in the free list of its class.
    Inactive {
        /// Its position in that list.
        position: u32,
    },
    /// Allocated, or freed but still pinned.
    Active {
        /// Pins on it.
        pins: u32,
        /// Bytes of the block that weren't asked for: below one granule.
        slack: u16,
        /// Freed by its owner: active only for its pins.
        freed: bool,
    },
}

impl State {
    /// Inactive, and about to enter the free list that tells the position.
    pub(super) const UNLISTED: Self = Self::Inactive { position: u32::MAX };
}

/// The record of one block. Offset and size are in granules.
///
/// Law: `before` and `after` are the neighbours in the segment, and name this block as theirs.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Block {
    /// Distance from the segment's start.
    pub(super) offset: u32,
    /// Size; never 0, save in a vacant record.
    pub(super) size: u32,
    /// The block that ends where this one starts, or [`NONE`] at the segment's start.
    pub(super) before: Key,
    /// The block that starts where this one ends, or [`NONE`] at the segment's end.
    pub(super) after: Key,
    /// The slot of its segment.
    pub(super) segment: u32,
    /// How many active blocks this slot has held before the one it holds, or will hold next.
    pub(super) generation: u32,
    /// What it is.
    pub(super) state: State,
}

impl Block {
    /// Whether it is a segment of its own.
    #[inline]
    pub(super) const fn is_whole(&self) -> bool {
        self.before == NONE && self.after == NONE
    }
}

// With very many blocks the cost of an operation is that of the cache lines it touches: two records share one, none straddles.
const _: () = assert!(size_of::<Block>() == 32);

/// All records. Grows to the largest number of blocks there ever was, and then asks the host for no more memory.
#[derive(Debug)]
pub(super) struct Blocks {
    slots: Vec<Block>,
    /// The vacant record to use next: the one vacated last, which is warm.
    vacant: Key,
    /// Number of vacant records.
    vacancies: u32,
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE, vacancies: 0 }
    }

    /// Puts a record into a slot. Its generation is the slot's.
    ///
    /// # Panics
    /// At 2³² − 1 blocks, whose records alone are 128 GiB.
    #[inline]
    pub(super) fn insert(&mut self, block: Block) -> Key {
        if self.vacant == NONE {
            let key = u32::try_from(self.slots.len()).expect("fewer than 2^32 blocks fit the host's memory");
            assert_ne!(key, NONE, "fewer than 2^32 - 1 blocks fit the host's memory");
            self.slots.push(Block { generation: 0, ..block });
            return key;
        }
        let key = self.vacant;
        let slot = &mut self.slots[key as usize];
        let State::Vacant { next } = slot.state else { unreachable!("the chain of vacant records holds a block") };
        self.vacant = next;
        self.vacancies -= 1;
        *slot = Block { generation: slot.generation, ..block };
        key
    }

    /// Takes a block out of its slot.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) {
        let next = self.vacant;
        let slot = &mut self[key];
        slot.state = State::Vacant { next };
        self.vacant = key;
        self.vacancies += 1;
    }

    /// The slot that an id names, if the block is active: allocated, or freed and still pinned.
    #[inline]
    pub(super) fn active(&self, id: BlockId) -> Option<&Block> {
        let block = self.slots.get(id.key())?;
        (block.generation == id.generation && matches!(block.state, State::Active { .. })).then_some(block)
    }

    /// As [`Blocks::active`], to be changed.
    #[inline]
    pub(super) fn active_mut(&mut self, id: BlockId) -> Option<&mut Block> {
        let block = self.slots.get_mut(id.key())?;
        (block.generation == id.generation && matches!(block.state, State::Active { .. })).then_some(block)
    }

    /// The slot's record, whatever is in it.
    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Block> {
        self.slots.get(key as usize)
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacancies as usize
    }

    /// Number of vacant records, as counted.
    pub(super) const fn vacancies(&self) -> u32 {
        self.vacancies
    }

    /// Number of records in the vacant chain, up to the first that is not vacant or that closes a ring.
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
