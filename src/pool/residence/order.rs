//! The order in which commands use blocks, and predictions of the next use.
//!
//! Programs repeat themselves: a training step or a frame uses the same blocks in the same order as the step before.
//! [`Order`] stores the last [`WINDOW`] uses. A cursor follows the earlier occurrence of the current position: while each
//! use equals the use behind the cursor, the program repeats with the period *now − cursor*, and the uses between the
//! cursor and now are the prediction for the coming period. A use that differs moves the cursor to the previous
//! occurrence of its block.
//!
//! A use costs an entry of the list and the number of the block's last use. What follows from them is computed when blocks have to move, in a
//! [`Forecast`].
//!
//! Blocks are identified by the slot of their record. A loop that frees and allocates blocks reuses the same slots in
//! the same order, so that the prediction applies to the next occupant of a slot as well.
//!
//! With a prediction, the block whose next use is last is the best block to move to host memory (Belady 1966): no other
//! choice moves fewer bytes if the blocks have one size. Without one, the least recently used block is chosen.

/// The number of stored uses. A program with a longer period is treated as one without a period.
const WINDOW: usize = 1 << 16;
/// The number of uses that have to match before a prediction is used, unless the period is shorter.
const LEAST_MATCHES: u64 = 32;

/// The uses of one block slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// One more than the number of the slot's last use; 0 if it was never used.
    last: u64,
    /// The number of uses of all slots before the slot's block was allocated or returned to the device.
    touched: u64,
}

/// The expected time of a block's next use, from the block to move first to the block to move last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NextUse {
    /// Not used in the predicted period, or no period is known. Ordered by the last use, oldest first.
    Unknown { last: u64 },
    /// Predicted. Ordered by the remaining uses of other blocks before it, most first.
    In(std::cmp::Reverse<u64>),
    /// Allocated and not used yet: a command is about to use the block.
    Imminent,
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The number of uses so far.
    clock: u64,
    /// The slot of each use, by number modulo [`WINDOW`].
    uses: Vec<u32>,
    slots: Vec<Slot>,
    /// The number of the earlier use that corresponds to the last use. `None` if the last use was its slot's first.
    cursor: Option<u64>,
    /// The number of uses for which the cursor has advanced by one.
    matched: u64,
}

impl Order {
    pub(super) fn new() -> Self {
        Self { clock: 0, uses: vec![u32::MAX; WINDOW], slots: Vec::new(), cursor: None, matched: 0 }
    }

    /// Records that a command uses the block in a slot.
    #[inline]
    pub(super) fn used(&mut self, slot: usize) {
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        let now = self.clock;
        let key = u32::try_from(slot).unwrap_or(u32::MAX);
        let previous = std::mem::replace(&mut self.slots[slot].last, now + 1);
        match self.cursor {
            Some(cursor) if now - cursor <= WINDOW as u64 && self.at(cursor + 1) == key => {
                self.cursor = Some(cursor + 1);
                self.matched += 1;
            }
            _ => {
                self.cursor = previous.checked_sub(1).filter(|&previous| now - previous < WINDOW as u64);
                self.matched = 0;
            }
        }
        self.uses[index(now)] = key;
        self.clock = now + 1;
    }

    /// Records that the block in a slot was allocated, or that it has returned to the device.
    pub(super) fn touched(&mut self, slot: usize) {
        if slot >= self.slots.len() {
            self.grow(slot);
        }
        self.slots[slot].touched = self.clock + 1;
    }

    /// Returns the period of the program in uses, if it repeats itself.
    pub(super) fn period(&self) -> Option<u64> {
        let last = self.clock.checked_sub(1)?;
        let period = last - self.cursor?;
        (period > 0 && period < WINDOW as u64 / 2 && self.matched >= period.min(LEAST_MATCHES)).then_some(period)
    }

    /// Returns the expected times of the next uses. O(slots), and O(period) if the program repeats itself.
    pub(super) fn forecast(&self) -> Forecast<'_> {
        let Some((cursor, _)) = self.cursor.zip(self.period()) else {
            return Forecast { order: self, cursor: None, next: Vec::new() };
        };
        let mut next = vec![0; self.slots.len()];
        // The first use of each slot behind the cursor remains.
        for number in (cursor + 1..self.clock).rev() {
            if let Some(next) = next.get_mut(self.at(number) as usize) {
                *next = number;
            }
        }
        Forecast { order: self, cursor: Some(cursor), next }
    }

    #[inline]
    fn at(&self, number: u64) -> u32 {
        self.uses[index(number)]
    }

    #[cold]
    fn grow(&mut self, slot: usize) {
        self.slots.resize((slot + 1).next_power_of_two(), Slot::default());
    }
}

/// The expected times of the next uses of all blocks.
#[derive(Debug)]
pub(super) struct Forecast<'a> {
    order: &'a Order,
    /// `None` if the program does not repeat itself.
    cursor: Option<u64>,
    /// By slot: the number of its first use behind the cursor, which is expected again one period later. 0 if there is none.
    next: Vec<u64>,
}

impl Forecast<'_> {
    /// Returns the expected time of the next use of the block in a slot.
    pub(super) fn next_use(&self, slot: usize) -> NextUse {
        let Slot { last, touched } = self.order.slots.get(slot).copied().unwrap_or_default();
        if touched > last && touched > self.order.clock {
            return NextUse::Imminent;
        }
        match (self.cursor, self.next.get(slot)) {
            (Some(cursor), Some(&next)) if next > cursor => NextUse::In(std::cmp::Reverse(next - cursor)),
            _ => NextUse::Unknown { last: last.max(touched) },
        }
    }
}

/// Returns the position of a use in the stored window.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is what is asked for")]
const fn index(number: u64) -> usize {
    number as usize % WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;

    fn order(uses: impl IntoIterator<Item = usize>) -> Order {
        let mut order = Order::new();
        uses.into_iter().for_each(|slot| order.used(slot));
        order
    }

    /// The slots in the order in which their blocks should move to host memory.
    fn ranking(order: &Order, slots: usize) -> Vec<usize> {
        let forecast = order.forecast();
        let mut ranking: Vec<usize> = (0..slots).collect();
        ranking.sort_by_key(|&slot| forecast.next_use(slot));
        ranking
    }

    #[test]
    fn without_a_period_the_least_recently_used_block_is_first() {
        let order = order([0, 1, 2, 3, 0]);
        assert_eq!(order.period(), None);
        assert_eq!(ranking(&order, 5), [4, 1, 2, 3, 0]);
    }

    #[test]
    fn in_a_loop_the_block_that_was_just_used_is_needed_last() {
        let order = order((0..3).flat_map(|_| 0..10).chain(0..4));
        assert_eq!(order.period(), Some(10));
        // The next uses are of 4, 5, … 9, 0, … 3.
        assert_eq!(ranking(&order, 10), [3, 2, 1, 0, 9, 8, 7, 6, 5, 4]);
        assert_eq!(order.forecast().next_use(4), NextUse::In(Reverse(1)));
    }

    #[test]
    fn blocks_that_are_used_several_times_in_a_period_count_by_their_next_use() {
        let step = [0, 1, 2, 3, 3, 2, 1, 0, 4];
        let mut uses: Vec<usize> = (0..8).flat_map(|_| step).collect();
        uses.extend([0, 1, 2, 3]);
        let order = order(uses);
        assert_eq!(order.period(), Some(9));
        // The next uses are of 3, 2, 1, 0, 4.
        assert_eq!(ranking(&order, 5), [4, 0, 1, 2, 3]);
    }

    #[test]
    fn a_block_outside_the_loop_is_first_and_a_new_block_is_last() {
        let mut order = order([9].into_iter().chain((0..20).flat_map(|_| 0..3)));
        order.touched(5);
        let ranking = ranking(&order, 10);
        assert_eq!((ranking.first(), ranking.last()), (Some(&3), Some(&5)), "{ranking:?}");
        assert!(ranking.iter().position(|&slot| slot == 9) < ranking.iter().position(|&slot| slot == 2));
        order.used(0);
        assert!(matches!(order.forecast().next_use(5), NextUse::Unknown { .. }));
    }

    #[test]
    fn a_loop_that_changes_is_learned_again() {
        let mut order = order((0..10).flat_map(|_| 0..6));
        assert_eq!(order.period(), Some(6));
        order.used(3);
        assert_eq!(order.period(), None);
        (0..10).flat_map(|_| [3, 1, 5]).for_each(|slot| order.used(slot));
        assert_eq!(order.period(), Some(3));
    }

    #[test]
    fn a_period_longer_than_the_window_is_not_used() {
        let order = order((0..3).flat_map(|_| 0..WINDOW));
        assert_eq!(order.period(), None);
    }

    /// Belady's rule on the learned order moves little more than the excess, and the least recently used rule everything.
    #[test]
    fn looping_over_more_than_fits_moves_the_excess_only() {
        for (blocks, room) in [(11, 10), (15, 10), (20, 10), (40, 10), (110, 100)] {
            let mut order = Order::new();
            let mut present: Vec<usize> = Vec::new();
            let mut misses = 0;
            let passes = 20;
            for pass in 0..passes {
                for block in 0..blocks {
                    if !present.contains(&block) {
                        if present.len() == room {
                            let forecast = order.forecast();
                            let victim = present.iter().copied().min_by_key(|&slot| forecast.next_use(slot));
                            present.retain(|&slot| Some(slot) != victim);
                        }
                        present.push(block);
                        misses += usize::from(pass >= passes / 2);
                    }
                    order.used(block);
                }
            }
            // The best possible number is (blocks - room) / (blocks - 1) of the uses.
            let uses = passes / 2 * blocks;
            let best = (uses * (blocks - room)).div_ceil(blocks - 1);
            assert!(misses <= best + passes, "{blocks} blocks in {room}: {misses} of {uses}, at best {best}");
        }
    }
}
