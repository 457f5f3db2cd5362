//! The order in which commands use blocks, and predictions of the next use.
//!
//! Programs repeat themselves: a training step or a frame uses the same blocks in the same order as the step before.
//! [`Order`] stores the last uses: [`LEAST_WINDOW`] of them, and up to [`MOST_WINDOW`] in programs whose blocks return after more
//! uses. A cursor follows the earlier occurrence of the current position: while each use equals the use behind the cursor, the
//! program repeats with the period *now − cursor*, and the uses between the cursor and now are the prediction for the coming
//! period. A use that differs moves the cursor to the previous occurrence of its block.
//!
//! A use that is predicted costs an entry of the list. The number of each block's last use follows from the list, and is brought up to date
//! when a use differs from the prediction and when blocks have to move. The rest is computed when blocks have to move, by a [`Ranking`].
//!
//! Blocks are identified by the slot of their record. A loop that frees and allocates blocks reuses the same slots in
//! the same order, so that the prediction applies to the next occupant of a slot as well.
//!
//! With a prediction, the block whose next use is last is the best block to move to host memory (Belady 1966): no other
//! choice moves fewer bytes if the blocks have one size. Without one, the least recently used block is chosen.

use super::ranking::Ranking;
use crate::heap::BlockId;

/// The number of uses that are stored at first: 256 KiB.
const LEAST_WINDOW: usize = 1 << 16;
/// The largest number of stored uses: 16 MiB, and as much for the ranking. A program with a longer period is treated as one without
/// a period.
const MOST_WINDOW: usize = 1 << 22;
/// The number of uses that have to match before a prediction is used, unless the period is shorter.
const LEAST_MATCHES: u64 = 32;

/// The uses of one block slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// One more than the number of the slot's last use; 0 if it was never used. Does not include the uses since [`Order::noted`].
    pub(super) last: u64,
    /// The number of uses of all slots before the slot's block was allocated or returned to the device, and 1 more.
    pub(super) touched: u64,
    /// The block in the slot, if it is on the device and may move to host memory.
    pub(super) block: Option<BlockId>,
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The number of uses so far.
    clock: u64,
    /// The slot of each use, by number modulo the length, a power of two.
    uses: Vec<u32>,
    /// The number of the oldest use that was stored when the list last became longer.
    oldest: u64,
    slots: Vec<Slot>,
    /// The number of uses that the slots' last uses include. The uses since were all predicted, so that each of their slots is among the uses
    /// of the last period, which are stored.
    noted: u64,
    /// The number of the earlier use that corresponds to the last use. `None` if the last use was its slot's first.
    cursor: Option<u64>,
    /// The number of uses for which the cursor has advanced by one.
    matched: u64,
    ranking: Ranking,
}

impl Order {
    pub(super) fn new() -> Self {
        Self::with_window(LEAST_WINDOW)
    }

    fn with_window(window: usize) -> Self {
        let uses = vec![u32::MAX; window];
        Self {
            clock: 0,
            uses,
            oldest: 0,
            slots: Vec::new(),
            noted: 0,
            cursor: None,
            matched: 0,
            ranking: Ranking::default(),
        }
    }

    /// Records that a command uses the block in a slot.
    #[inline]
    pub(super) fn used(&mut self, slot: usize) {
        let now = self.clock;
        let key = u32::try_from(slot).unwrap_or(u32::MAX);
        match self.cursor {
            Some(cursor) if now - cursor <= self.window() && self.at(cursor + 1) == key => {
                self.cursor = Some(cursor + 1);
                self.matched += 1;
            }
            _ => self.used_unpredicted(slot),
        }
        let index = self.index(now);
        self.uses[index] = key;
        self.clock = now + 1;
    }

    /// Notes a use that differs from the prediction, or without one.
    fn used_unpredicted(&mut self, slot: usize) {
        self.note_last_uses();
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        let previous = std::mem::replace(&mut self.slots[slot].last, self.clock + 1);
        self.noted = self.clock + 1;
        self.look_for_cursor(previous);
    }

    /// Brings the slots' last uses up to date. O(uses since the last call), at most the window.
    fn note_last_uses(&mut self) {
        for number in self.noted.max(self.oldest())..self.clock {
            let slot = self.at(number) as usize;
            self.slots[slot].last = number + 1;
        }
        self.noted = self.clock;
    }

    /// Moves the cursor to the previous use of the current slot: one less than `previous`. If the list no longer has that use, the
    /// list becomes longer.
    fn look_for_cursor(&mut self, previous: u64) {
        let is_stored = |&previous: &u64| self.clock - previous < self.window() && previous >= self.oldest;
        self.cursor = previous.checked_sub(1).filter(is_stored);
        self.matched = 0;
        if previous > 0 && self.cursor.is_none() && self.uses.len() < MOST_WINDOW {
            self.lengthen();
        }
    }

    /// Doubles the number of stored uses.
    #[cold]
    fn lengthen(&mut self) {
        let mut longer = vec![u32::MAX; self.uses.len() * 2];
        let mask = longer.len() - 1;
        self.oldest = self.oldest();
        for number in self.oldest..self.clock {
            longer[low_bits(number, mask)] = self.at(number);
        }
        self.uses = longer;
    }

    /// Records that a block was allocated, or that it has returned to the device: it may move to host memory.
    #[inline]
    pub(super) fn entered(&mut self, block: BlockId) {
        self.include(block);
        self.slots[block.key()].touched = self.clock + 1;
    }

    /// Records that a block may move to host memory from now on: that it is on the device, and need not stay there.
    #[inline]
    pub(super) fn include(&mut self, block: BlockId) {
        self.set_block(block.key(), Some(block));
    }

    /// Records that a block may not move to host memory any more.
    #[inline]
    pub(super) fn exclude(&mut self, block: BlockId) {
        self.set_block(block.key(), None);
    }

    #[inline]
    fn set_block(&mut self, slot: usize, block: Option<BlockId>) {
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        self.slots[slot].block = block;
        self.ranking.note_change(slot);
    }

    /// Returns the period of the program in uses, if it repeats itself.
    pub(super) fn period(&self) -> Option<u64> {
        let last = self.clock.checked_sub(1)?;
        let period = last - self.cursor?;
        (period > 0 && period < self.window() && self.matched >= period.min(LEAST_MATCHES)).then_some(period)
    }

    /// Brings the ranking up to date.
    ///
    /// Cost: O(log blocks) for each use, allocation, free and move since the last call. O(period · log blocks) if the period has
    /// changed.
    pub(super) fn rank(&mut self) {
        self.note_last_uses();
        let mut ranking = std::mem::take(&mut self.ranking);
        ranking.update(self);
        self.ranking = ranking;
    }

    /// Returns the blocks that may move to host memory, as of the last call of [`Order::rank`]: first the block to move first.
    pub(super) fn ranked(&self) -> impl Iterator<Item = BlockId> {
        self.ranking.slots().filter_map(|slot| self.slots[slot].block)
    }

    pub(super) const fn clock(&self) -> u64 {
        self.clock
    }

    /// Returns the number of the last uses that equal the uses one period earlier.
    pub(super) const fn matched(&self) -> u64 {
        self.matched
    }

    /// Returns the number of the oldest stored use.
    pub(super) fn oldest(&self) -> u64 {
        self.clock.saturating_sub(self.window()).max(self.oldest)
    }

    /// Returns the number of uses that can be stored.
    pub(super) const fn window(&self) -> u64 {
        self.uses.len() as u64
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the slot of a stored use.
    #[inline]
    pub(super) fn at(&self, number: u64) -> u32 {
        self.uses[self.index(number)]
    }

    /// Returns the position of a use in the list.
    #[inline]
    pub(super) const fn index(&self, number: u64) -> usize {
        low_bits(number, self.uses.len() - 1)
    }

    #[cold]
    fn grow(&mut self, slot: usize) {
        self.slots.resize((slot + 1).next_power_of_two(), Slot::default());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
const fn low_bits(number: u64, mask: usize) -> usize {
    number as usize & mask
}

#[cfg(test)]
mod tests;
