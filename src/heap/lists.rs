//! The free lists of one pool: one for each class of sizes, with a bit for each that holds a block.

use super::blocks::{Blocks, Key, State};
use super::class::{BINS, CLASSES, Class, OCTAVES};

/// How many blocks of a list are looked at before the tightest of them is taken: one or two cache lines of entries.
const LOOK: usize = 16;

/// An inactive block in a list. The size is here too, so that looking through a list touches no block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The block.
    pub(super) key: Key,
    /// Its size in granules.
    pub(super) size: u32,
}

/// Inactive blocks by class.
///
/// Laws: a block is in exactly one list iff it is inactive, and in that of its class; it knows its position there; a bit of
/// `bins` is set iff the list holds a block; a bit of `octaves` is set iff the octave's `bins` are not 0.
#[derive(Debug)]
pub(super) struct FreeLists {
    /// One bit for each octave.
    octaves: u32,
    /// One bit for each class.
    bins: [u64; OCTAVES],
    /// The blocks of each class, in no order but that the last came last. They keep their room when they shrink.
    lists: Box<[Vec<Entry>]>,
    /// Number of blocks in all lists.
    len: usize,
}

impl FreeLists {
    pub(super) fn new() -> Self {
        Self { octaves: 0, bins: [0; OCTAVES], lists: vec![Vec::new(); CLASSES].into(), len: 0 }
    }

    /// Number of blocks in all lists.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The blocks of a class.
    pub(super) fn list(&self, class: Class) -> &[Entry] {
        &self.lists[class.index()]
    }

    /// The bit of a class, and whether the octave's bit agrees with the octave's bins.
    pub(super) const fn bit(&self, class: Class) -> (bool, bool) {
        let bins = self.bins[class.octave()];
        (bins >> class.bin() & 1 == 1, (self.octaves >> class.octave() & 1 == 1) == (bins != 0))
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

    /// Puts a block into its class's list, and marks it inactive.
    #[expect(clippy::cast_possible_truncation, reason = "a list is no longer than the number of blocks, a u32")]
    pub(super) fn insert(&mut self, blocks: &mut Blocks, key: Key) {
        let block = &mut blocks[key];
        let class = Class::of(block.size);
        let list = &mut self.lists[class.index()];
        block.state = State::Inactive { position: list.len() as u32 };
        list.push(Entry { key, size: block.size });
        self.bins[class.octave()] |= 1 << class.bin();
        self.octaves |= 1 << class.octave();
        self.len += 1;
    }

    /// Takes a block out of its list. Its record says inactive until the caller makes it something else.
    pub(super) fn remove(&mut self, blocks: &mut Blocks, key: Key) {
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

    /// A block of at least `granules` granules, near the tightest.
    ///
    /// The request's own class may hold blocks that are too small, and a class holds its blocks in no order: the last few of a
    /// list are looked at, in the request's own class first. Any block of the next higher class that has one fits. Only
    /// when nothing else is left does the rest of the own class get its turn, since a needless segment costs more.
    pub(super) fn find(&self, granules: u32) -> Option<Key> {
        let own = Class::of(granules);
        if let Some(key) = self.tightest(own, granules, LOOK) {
            return Some(key);
        }
        match self.next_filled(own) {
            Some(class) => self.tightest(class, granules, LOOK),
            None => self.tightest(own, granules, usize::MAX),
        }
    }

    /// The largest block's size, in granules. Walks the list of the highest class that has one.
    pub(super) fn largest(&self) -> u32 {
        let Some(octave) = self.octaves.checked_ilog2() else { return 0 };
        let bin = self.bins[octave as usize].checked_ilog2().unwrap_or(0);
        let class = Class::from_index(octave as usize * BINS + bin as usize);
        self.list(class).iter().map(|entry| entry.size).max().unwrap_or(0)
    }

    /// The smallest block of at least `granules` among the last `look` of a class; of equals, the last.
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
    fn next_filled(&self, class: Class) -> Option<Class> {
        let octave = class.octave();
        let bins = self.bins[octave] & above(class.bin());
        if bins != 0 {
            return Some(Class::from_index(octave * BINS + bins.trailing_zeros() as usize));
        }
        let octaves = u64::from(self.octaves) & above(octave);
        if octaves == 0 {
            return None;
        }
        let octave = octaves.trailing_zeros() as usize;
        Some(Class::from_index(octave * BINS + self.bins[octave].trailing_zeros() as usize))
    }
}

/// All bits above `bit`, which is below 64.
const fn above(bit: usize) -> u64 {
    // Two shifts: one by 64 would overflow.
    u64::MAX << bit << 1
}
