//! The free lists of one pool.
//!
//! Two sets of them: one for holes beside active blocks, one for holes that are a whole segment. A request is served from the
//! first as long as that has anything that fits, so that idle segments stay idle and can be released.

use super::blocks::{Block, Blocks, Key, State};
use super::class::{BINS, CLASSES, Class, OCTAVES};

/// How many blocks of a list are looked at before the tightest of them is taken: two cache lines of entries.
const LOOK: usize = 16;

/// An inactive block in a list. The size is here too, so that looking through a list touches no block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The block.
    pub(super) key: Key,
    /// Its size in granules.
    pub(super) size: u32,
}

/// All inactive blocks of a pool.
///
/// Law: a block is in exactly one list iff it is inactive: of `whole` if it has no neighbours, else of `split`.
#[derive(Debug)]
pub(super) struct FreeLists {
    split: ListSet,
    whole: ListSet,
}

impl FreeLists {
    pub(super) fn new() -> Self {
        Self { split: ListSet::new(), whole: ListSet::new() }
    }

    /// Number of blocks in all lists.
    pub(super) const fn len(&self) -> usize {
        self.split.len + self.whole.len
    }

    /// The holes beside active blocks, and those that are whole segments.
    pub(super) const fn split_and_whole(&self) -> (&ListSet, &ListSet) {
        (&self.split, &self.whole)
    }

    /// Puts a block into its list, and marks it inactive. While it is there, no neighbour may appear beside it, nor its last
    /// one vanish.
    #[inline]
    pub(super) fn insert(&mut self, blocks: &mut Blocks, key: Key) {
        self.set_of(&blocks[key]).insert(blocks, key);
    }

    /// Takes a block out of its list. Its record says inactive until the caller makes it something else.
    #[inline]
    pub(super) fn remove(&mut self, blocks: &mut Blocks, key: Key) {
        self.set_of(&blocks[key]).remove(blocks, key);
    }

    /// Changes the size, place or neighbours of a block in its list, and moves it to the list that it then belongs to.
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

    /// A block of at least `granules` granules, near the tightest; a whole segment only if nothing else is near.
    ///
    /// Only when neither set has one is the rest of the request's own class looked through, since a needless segment costs
    /// more.
    #[inline]
    pub(super) fn find(&self, granules: u32) -> Option<Key> {
        let near = self.split.find_near(granules).or_else(|| self.whole.find_near(granules));
        near.or_else(|| self.split.find_far(granules)).or_else(|| self.whole.find_far(granules))
    }

    /// The largest block's size, in granules. Walks the lists of the highest classes that have one.
    pub(super) fn largest(&self) -> u32 {
        self.split.largest().max(self.whole.largest())
    }

    /// The set that a block belongs to.
    #[inline]
    const fn set_of(&mut self, block: &Block) -> &mut ListSet {
        if block.is_whole() { &mut self.whole } else { &mut self.split }
    }

    /// The holes beside active blocks, to break laws of.
    #[cfg(test)]
    pub(super) const fn split_mut(&mut self) -> &mut ListSet {
        &mut self.split
    }
}

/// A list for each class of sizes, with a bit for each that holds a block.
///
/// Laws: a block is in the list of its class, and knows its position there; a bit of `bins` is set iff the list holds a block; a
/// bit of `octaves` is set iff the octave's `bins` are not 0.
#[derive(Debug)]
pub(super) struct ListSet {
    /// One bit for each octave.
    octaves: u32,
    /// One bit for each class.
    bins: [u64; OCTAVES],
    /// The blocks of each class, in no order but that the last came last. They keep their room when they shrink.
    lists: Box<[Vec<Entry>]>,
    /// Number of blocks in all lists.
    len: usize,
}

impl ListSet {
    fn new() -> Self {
        Self { octaves: 0, bins: [0; OCTAVES], lists: vec![Vec::new(); CLASSES].into(), len: 0 }
    }

    /// Number of blocks in all lists.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The blocks of a class.
    #[inline]
    pub(super) fn list(&self, class: Class) -> &[Entry] {
        &self.lists[class.index()]
    }

    /// The bits of an octave's classes; those of them whose lists hold a block; and whether the octave's own bit agrees.
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

    /// The tightest of the first few that fit: in the request's own class, which may hold blocks that are too small, else in
    /// the next higher class that has any, all of which fit.
    #[inline]
    fn find_near(&self, granules: u32) -> Option<Key> {
        let own = Class::of(granules);
        self.tightest(own, granules, LOOK).or_else(|| self.tightest(self.next_filled(own)?, granules, LOOK))
    }

    /// The tightest of the request's own class.
    fn find_far(&self, granules: u32) -> Option<Key> {
        self.tightest(Class::of(granules), granules, usize::MAX)
    }

    /// The smallest block of at least `granules` among the last `look` of a class; of equals, the last.
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

    /// The lowest class above `class` that has a block.
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

    /// Breaks a law: flips the bit of a class.
    #[cfg(test)]
    pub(super) const fn flip_bit(&mut self, class: Class) {
        self.bins[class.octave()] ^= 1 << class.bin();
    }

    /// Breaks a law: flips the bit of a class's octave.
    #[cfg(test)]
    pub(super) const fn flip_octave(&mut self, class: Class) {
        self.octaves ^= 1 << class.octave();
    }
}

/// All bits above `bit`, which is below 64.
#[inline]
const fn above(bit: usize) -> u64 {
    // Two shifts: one by 64 would overflow.
    u64::MAX << bit << 1
}
