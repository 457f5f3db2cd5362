//! The blocks that may move to host memory, in the order in which they should move.
//!
//! The order is kept in a search tree, and only brought up to date when a block has to move: a use changes the rank of its own block
//! alone. Under a period *p*, a block that was used at *n* is expected again at the first of its uses after *n − p*, plus *p*. Each
//! stored use has the distance to the next use of its slot, so this is found in one step. The rank stays right while time passes,
//! because a block that was expected and not used ends the period.

use super::order::{Order, Slot};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The expected time of a block's next use, from the block to move first to the block to move last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NextUse {
    /// Not used in the predicted period, or no period is known. Ordered by the last use, oldest first.
    Unknown { last: u64 },
    /// Predicted: the number of the earlier use that corresponds to the next one. Ordered from the last to the first.
    Like(Reverse<u64>),
    /// Allocated or returned after the last command: a command is about to use the block.
    Imminent,
}

/// The state of a slot in the ranking.
#[derive(Clone, Copy, Debug, Default)]
struct Ranked {
    /// One more than the number of the slot's last use that the ranking has seen.
    seen: u64,
    /// The earlier use that corresponds to the slot's next use, if it is after the cursor.
    next: u64,
    /// The slot's key in the tree, if it is in the tree.
    key: Option<NextUse>,
    /// Whether the slot is in the list of changes.
    is_changed: bool,
    /// Whether the slot is in the list of imminent uses.
    is_imminent: bool,
}

/// The order of all blocks that may move.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    /// The number of uses that the ranking has seen.
    clock: u64,
    /// The period after these uses.
    period: Option<u64>,
    /// By stored use: the distance to the next use of the same slot; 0 if there is none yet.
    distances: Vec<u32>,
    slots: Vec<Ranked>,
    /// The slots to rank again, because another block is in them, or their block has entered or left the device.
    changes: Vec<u32>,
    /// The slots whose use was imminent: until the next use.
    imminent: Vec<u32>,
    tree: BTreeSet<(NextUse, u32)>,
}

impl Ranking {
    /// Records that another block is in a slot.
    #[inline]
    pub(super) fn note_change(&mut self, slot: usize) {
        if slot >= self.slots.len() {
            self.slots.resize((slot + 1).next_power_of_two(), Ranked::default());
        }
        if !std::mem::replace(&mut self.slots[slot].is_changed, true) {
            self.changes.push(u32::try_from(slot).expect("a heap has fewer than 2^32 blocks"));
        }
    }

    /// Returns the slots of the blocks that may move: first the slot of the block to move first.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.tree.iter().map(|&(_, slot)| slot as usize)
    }

    /// Brings the ranking up to date with the order.
    pub(super) fn update(&mut self, order: &Order) {
        let (from, clock, period) = (self.clock, order.clock(), order.period());
        let oldest = order.oldest();
        let window = usize::try_from(order.window()).expect("the list is in memory");
        let is_lengthened = self.distances.len() != window;
        if is_lengthened {
            self.distances = vec![0; window];
        }
        self.slots.resize(self.slots.len().max(order.slots().len()), Ranked::default());
        let continues = period.is_some()
            && period == self.period
            && order.matched() >= clock - from
            && from >= oldest
            && !is_lengthened;
        (self.clock, self.period) = (clock, period);
        let first = if is_lengthened { oldest } else { from.max(oldest) };
        for number in first..clock {
            self.see(order, number, period.filter(|_| continues));
        }
        if !continues {
            self.predict_again(order);
        }
        if clock > from {
            for slot in std::mem::take(&mut self.imminent) {
                self.slots[slot as usize].is_imminent = false;
                self.rank(order, slot);
            }
        }
        for slot in std::mem::take(&mut self.changes) {
            self.slots[slot as usize].is_changed = false;
            self.rank(order, slot);
        }
        for number in from.max(oldest)..clock {
            self.rank(order, order.at(number));
        }
        if from < oldest {
            // Uses were forgotten that the ranking has not seen.
            for slot in self.tree.iter().map(|&(_, slot)| slot).collect::<Vec<_>>() {
                self.rank(order, slot);
            }
        }
    }

    /// Notes a use: its distance from the previous use of its slot, and with a known period the next use.
    fn see(&mut self, order: &Order, number: u64, period: Option<u64>) {
        self.distances[order.index(number)] = 0;
        let ranked = &mut self.slots[order.at(number) as usize];
        let seen = std::mem::replace(&mut ranked.seen, number + 1);
        if let Some(previous) = seen.checked_sub(1) {
            let distance = number.saturating_sub(previous);
            match u32::try_from(distance) {
                Ok(narrow) if distance < order.window() => self.distances[order.index(previous)] = narrow,
                _ => {}
            }
        }
        if let Some(period) = period {
            let like = number - period;
            ranked.next = like + u64::from(self.distances[order.index(like)]);
        }
    }

    /// Ranks the slots again that had or have a predicted use, after the prediction has changed.
    fn predict_again(&mut self, order: &Order) {
        let cursor = self.cursor();
        if let Some(cursor) = cursor {
            // The first use of each slot behind the cursor remains.
            for number in (cursor + 1..self.clock).rev() {
                self.slots[order.at(number) as usize].next = number;
            }
        }
        let predicted = (NextUse::Like(Reverse(u64::MAX)), 0)..(NextUse::Imminent, 0);
        let predicted: Vec<u32> = self.tree.range(predicted).map(|&(_, slot)| slot).collect();
        for slot in predicted {
            self.rank(order, slot);
        }
        for number in cursor.map_or(self.clock, |cursor| cursor + 1)..self.clock {
            let slot = order.at(number);
            if self.slots[slot as usize].next == number {
                self.rank(order, slot);
            }
        }
    }

    /// The number of the use one period before the last use.
    fn cursor(&self) -> Option<u64> {
        let period = self.period?;
        Some(self.clock - 1 - period)
    }

    /// Moves a slot to its place in the tree.
    fn rank(&mut self, order: &Order, slot: u32) {
        let index = slot as usize;
        let key = order.slots()[index].block.map(|_| self.next_use(order.slots()[index], self.slots[index].next));
        if key == Some(NextUse::Imminent) && !std::mem::replace(&mut self.slots[index].is_imminent, true) {
            self.imminent.push(slot);
        }
        let old = std::mem::replace(&mut self.slots[index].key, key);
        if old == key {
            return;
        }
        if let Some(old) = old {
            self.tree.remove(&(old, slot));
        }
        if let Some(key) = key {
            self.tree.insert((key, slot));
        }
    }

    /// Returns the expected time of the next use of a slot's block.
    fn next_use(&self, Slot { last, touched, .. }: Slot, next: u64) -> NextUse {
        if touched > last && touched > self.clock {
            return NextUse::Imminent;
        }
        match self.cursor() {
            Some(cursor) if next > cursor => NextUse::Like(Reverse(next)),
            _ => NextUse::Unknown { last: last.max(touched) },
        }
    }
}
