//! The free lists of one sub-pool.
//!
//! There are two sets of lists: one for holes in segments with active blocks, one for holes that span a whole segment.
//! A request uses the first set if any of its holes fits, so that idle segments stay idle and can be released.

use super::blocks::{Block, Blocks, Key, State};
use super::class::{BINS, CLASSES, Class, OCTAVES};

/// The number of entries of a list that are searched for the tightest fit: two cache lines.
const LOOK: usize = 16;

/// An inactive block in a list. Contains the size, so that a search does not access the block records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The block.
    pub(super) key: Key,
    /// The size in granules.
    pub(super) size: u32,
}

/// All inactive blocks of a sub-pool.
///
/// Invariant: a block is in exactly one list iff it is inactive: a list of `whole` if it spans a segment, otherwise of
/// `split`.
#[derive(Clone, Debug)]
pub(super) struct FreeLists {
    split: ListSet,
    whole: ListSet,
}

impl FreeLists {
    pub(super) fn new() -> Self {
        Self { split: ListSet::new(), whole: ListSet::new() }
    }

    /// The number of blocks in all lists.
    pub(super) const fn len(&self) -> usize {
        self.split.len + self.whole.len
    }

    /// Returns the set of holes in partly active segments, and the set of holes that span a segment.
    pub(super) const fn split_and_whole(&self) -> (&ListSet, &ListSet) {
        (&self.split, &self.whole)
    }

    /// Inserts a block into its list, and marks it as inactive. While it is listed, it must not gain its first
    /// neighbour or lose its last one.
    #[inline]
    pub(super) fn insert(&mut self, blocks: &mut Blocks, key: Key) {
        self.set_of(&blocks[key]).insert(blocks, key);
    }

    /// Removes a block from its list. Its record stays inactive until the caller changes it.
    #[inline]
    pub(super) fn remove(&mut self, blocks: &mut Blocks, key: Key) {
        self.set_of(&blocks[key]).remove(blocks, key);
    }

    /// Changes the size, location or neighbours of a listed block, and moves it to the matching list.
    #[inline]
    pub(super) fn change(&mut self, blocks: &mut Blocks, key: Key, change: impl FnOnce(&mut Block)) {
        let was = blocks[key];
        let mut now = was;
        change(&mut now);
        let class = Class::of(was.size);
        if class == Class::of(now.size) && was.is_whole() == now.is_whole() {
            let State::Inactive { position } = was.state else { unreachable!("only inactive blocks are listed") };
            self.set_of(&was).lists[class.index()][position as usize].size = now.size;
            blocks[key] = now;
        } else {
            self.set_of(&was).remove(blocks, key);
            blocks[key] = now;
            self.set_of(&now).insert(blocks, key);
        }
    }

    /// Returns a block of at least `granules` granules, close to the tightest fit; a whole segment only if no other
    /// hole is close.
    ///
    /// Only if neither set has such a block is the rest of the request's own class searched, because an unnecessary
    /// segment costs more than the search.
    #[inline]
    pub(super) fn find(&self, granules: u32) -> Option<Key> {
        let near = self.split.find_near(granules).or_else(|| self.whole.find_near(granules));
        near.or_else(|| self.split.find_far(granules)).or_else(|| self.whole.find_far(granules))
    }

    /// The size of the largest block in granules. Walks the lists of the highest non-empty classes.
    pub(super) fn largest(&self) -> u32 {
        self.split.largest().max(self.whole.largest())
    }

    /// Returns the set of a block.
    #[inline]
    const fn set_of(&mut self, block: &Block) -> &mut ListSet {
        if block.is_whole() { &mut self.whole } else { &mut self.split }
    }

    /// The set of holes in partly active segments, for tests that break invariants.
    #[cfg(test)]
    pub(super) const fn split_mut(&mut self) -> &mut ListSet {
        &mut self.split
    }
}

/// A list for each size class, with a bitmap of the non-empty lists.
///
/// Invariants: a block is in the list of its class, and its record contains its position there; a bit of `bins` is set
/// iff the list is not empty; a bit of `octaves` is set iff the octave's `bins` are not 0.
#[derive(Clone, Debug)]
pub(super) struct ListSet {
    /// One bit for each octave.
    octaves: u32,
    /// One bit for each class.
    bins: [u64; OCTAVES],
    /// The blocks of each class; the last inserted is last. The lists keep their capacity.
    lists: Box<[Vec<Entry>]>,
    /// The number of blocks in all lists.
    len: usize,
}

impl ListSet {
    fn new() -> Self {
        Self { octaves: 0, bins: [0; OCTAVES], lists: vec![Vec::new(); CLASSES].into(), len: 0 }
    }

    /// The number of blocks in all lists.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns the blocks of a class.
    #[inline]
    pub(super) fn list(&self, class: Class) -> &[Entry] {
        &self.lists[class.index()]
    }

    /// Returns the bitmap of an octave's classes, the expected bitmap, and whether the octave's own bit is correct.
    pub(super) fn bits(&self, octave: usize) -> (u64, u64, bool) {
        let bins = self.bins[octave];
        let mut filled = 0;
        for (bin, list) in self.lists[octave * BINS..][..BINS].iter().enumerate() {
            filled |= u64::from(!list.is_empty()) << bin;
        }
        (bins, filled, (self.octaves >> octave & 1 == 1) == (bins != 0))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a list is no longer than the number of blocks, a u32")]
    #[inline]
    fn insert(&mut self, blocks: &mut Blocks, key: Key) {
        let block = &mut blocks[key];
        let class = Class::of(block.size);
        let list = &mut self.lists[class.index()];
        block.state = State::Inactive { position: list.len() as u32 };
        list.push(Entry { key, size: block.size });
        self.bins[class.octave()] |= 1 << class.bin();
        self.octaves |= 1 << class.octave();
        self.len += 1;
    }

    #[inline]
    fn remove(&mut self, blocks: &mut Blocks, key: Key) {
        let block = &blocks[key];
        let State::Inactive { position } = block.state else { unreachable!("only inactive blocks are listed") };
        let class = Class::of(block.size);
        let list = &mut self.lists[class.index()];
        list.swap_remove(position as usize);
        if let Some(moved) = list.get(position as usize) {
            blocks[moved.key].state = State::Inactive { position };
        } else if list.is_empty() {
            self.bins[class.octave()] &= !(1 << class.bin());
            if self.bins[class.octave()] == 0 {
                self.octaves &= !(1 << class.octave());
            }
        }
        self.len -= 1;
    }

    /// Returns the tightest of the first few entries that fit: in the request's own class, where blocks may be too
    /// small, or else in the next non-empty class, where all blocks fit.
    #[inline]
    fn find_near(&self, granules: u32) -> Option<Key> {
        let own = Class::of(granules);
        self.tightest(own, granules, LOOK).or_else(|| self.tightest(self.next_filled(own)?, granules, LOOK))
    }

    /// Returns the tightest fit of the request's own class.
    fn find_far(&self, granules: u32) -> Option<Key> {
        self.tightest(Class::of(granules), granules, usize::MAX)
    }

    /// Returns the smallest block of at least `granules` granules among the last `look` entries of a class; of equal
    /// sizes, the last.
    #[inline]
    fn tightest(&self, class: Class, granules: u32, look: usize) -> Option<Key> {
        let mut best: Option<Entry> = None;
        for &entry in self.list(class).iter().rev().take(look) {
            if entry.size == granules {
                return Some(entry.key);
            }
            if entry.size > granules && best.is_none_or(|best| entry.size < best.size) {
                best = Some(entry);
            }
        }
        best.map(|entry| entry.key)
    }

    /// Returns the lowest non-empty class above `class`.
    #[inline]
    fn next_filled(&self, class: Class) -> Option<Class> {
        let octave = class.octave();
        let bins = self.bins[octave] & above(class.bin());
        if bins != 0 {
            return Some(Class::at(octave, bins.trailing_zeros() as usize));
        }
        let octaves = u64::from(self.octaves) & above(octave);
        if octaves == 0 {
            return None;
        }
        let octave = octaves.trailing_zeros() as usize;
        Some(Class::at(octave, self.bins[octave].trailing_zeros() as usize))
    }

    fn largest(&self) -> u32 {
        let Some(octave) = self.octaves.checked_ilog2() else { return 0 };
        let bin = self.bins[octave as usize].checked_ilog2().unwrap_or(0);
        let class = Class::at(octave as usize, bin as usize);
        self.list(class).iter().map(|entry| entry.size).max().unwrap_or(0)
    }

    /// Breaks an invariant: flips the bit of a class.
    #[cfg(test)]
    pub(super) const fn flip_bit(&mut self, class: Class) {
        self.bins[class.octave()] ^= 1 << class.bin();
    }

    /// Breaks an invariant: flips the bit of a class's octave.
    #[cfg(test)]
    pub(super) const fn flip_octave(&mut self, class: Class) {
        self.octaves ^= 1 << class.octave();
    }
}

/// All bits above `bit`, which is below 64.
#[inline]
const fn above(bit: usize) -> u64 {
    // Two shifts, because a shift by 64 would overflow.
    u64::MAX << bit << 1
}
