//! Counters that are updated by every operation and are O(1) to read.

use super::SubPool;

/// One metric with its peak and totals.
///
/// Invariant: `allocated - freed = current`, and `current <= peak`, after every operation. A total that exceeds the largest number
/// stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counter {
    /// The current value.
    pub current: u64,
    /// The largest value since the heap was created, or since [`Heap::reset_peaks`](super::Heap::reset_peaks).
    pub peak: u64,
    /// The sum of all increases.
    pub allocated: u64,
    /// The sum of all decreases.
    pub freed: u64,
}

/// The current bytes of one sub-pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SubPoolStats {
    /// Bytes of its active blocks.
    pub active: u64,
    /// Bytes of its segments.
    pub reserved: u64,
}

/// The heap's counters. O(1) to read.
///
/// Invariant: requested ≤ allocated ≤ active ≤ reserved, and active + inactive = reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Stats {
    /// Requested bytes of the allocated blocks.
    pub requested: Counter,
    /// Bytes of the allocated blocks, after rounding.
    pub allocated: Counter,
    /// Bytes of blocks that are allocated, or freed but still pinned.
    pub active: Counter,
    /// Free bytes in segments that have an active block.
    pub inactive_split: Counter,
    /// Bytes of all segments.
    pub reserved: Counter,
    /// The number of allocated blocks.
    pub blocks: Counter,
    /// The number of blocks that are allocated, or freed but still pinned.
    pub active_blocks: Counter,
    /// The number of segments.
    pub segments: Counter,
    /// Bytes of pinned blocks, allocated or freed.
    pub pinned: Counter,
    /// Bytes of the [detached](super::Heap::detach) blocks, whose bytes are in host memory. These blocks count neither as
    /// allocated nor as reserved. The totals are the bytes that have left the device, and those that have returned or
    /// were freed meanwhile.
    #[cfg_attr(feature = "serde", serde(default))]
    pub spilled: Counter,
    /// Requested bytes of the detached blocks.
    #[cfg_attr(feature = "serde", serde(default))]
    pub spilled_requested: Counter,
    /// The number of detached blocks.
    #[cfg_attr(feature = "serde", serde(default))]
    pub spilled_blocks: Counter,
    /// The current number of inactive blocks.
    pub holes: u64,
    /// The small sub-pool.
    pub small: SubPoolStats,
    /// The large sub-pool.
    pub large: SubPoolStats,
}

impl Stats {
    /// Returns the current bytes of one sub-pool.
    #[must_use]
    pub const fn pool(&self, pool: SubPool) -> SubPoolStats {
        match pool {
            SubPool::Small => self.small,
            SubPool::Large => self.large,
        }
    }

    /// Returns the current bytes that are cached and free.
    #[must_use]
    pub const fn inactive(&self) -> u64 {
        self.reserved.current.saturating_sub(self.active.current)
    }
}

/// The stored part of a counter; the decreases follow from the other values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) current: u64,
    pub(super) peak: u64,
    pub(super) allocated: u64,
}

impl Tally {
    #[inline]
    pub(super) fn add(&mut self, amount: u64) {
        self.current += amount;
        self.allocated = self.allocated.saturating_add(amount);
        self.peak = self.peak.max(self.current);
    }

    #[inline]
    pub(super) const fn subtract(&mut self, amount: u64) {
        self.current -= amount;
    }

    /// Restarts the peak from the current value.
    pub(super) const fn reset_peak(&mut self) {
        self.peak = self.current;
    }

    /// Restarts the totals: the current value counts as just allocated, which preserves the invariant.
    pub(super) const fn reset_accumulated(&mut self) {
        self.allocated = self.current;
    }

    pub(super) const fn counter(&self) -> Counter {
        Counter {
            current: self.current,
            peak: self.peak,
            allocated: self.allocated,
            freed: self.allocated - self.current,
        }
    }
}

/// All tallies of a heap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tallies {
    pub(super) requested: Tally,
    pub(super) allocated: Tally,
    pub(super) active: Tally,
    /// The most active bytes since [`Heap::take_recent_active`](super::Heap::take_recent_active).
    pub(super) recent_active: u64,
    pub(super) inactive_split: Tally,
    pub(super) reserved: Tally,
    pub(super) blocks: Tally,
    pub(super) active_blocks: Tally,
    pub(super) segments: Tally,
    pub(super) pinned: Tally,
    pub(super) spilled: Tally,
    pub(super) spilled_requested: Tally,
    pub(super) spilled_blocks: Tally,
    pub(super) pools: [SubPoolStats; 2],
}

impl Tallies {
    /// Returns all tallies, for operations on each of them.
    pub(super) const fn each(&mut self) -> [&mut Tally; 12] {
        let Self {
            requested,
            allocated,
            active,
            recent_active: _,
            inactive_split,
            reserved,
            blocks,
            active_blocks,
            segments,
            pinned,
            spilled,
            spilled_requested,
            spilled_blocks,
            pools: _,
        } = self;
        [
            requested,
            allocated,
            active,
            inactive_split,
            reserved,
            blocks,
            active_blocks,
            segments,
            pinned,
            spilled,
            spilled_requested,
            spilled_blocks,
        ]
    }

    /// Counts a block that was allocated.
    #[inline]
    pub(super) fn count_allocated(&mut self, requested: u64, size: u64, pool: SubPool) {
        self.requested.add(requested);
        self.allocated.add(size);
        self.active.add(size);
        self.recent_active = self.recent_active.max(self.active.current);
        self.blocks.add(1);
        self.active_blocks.add(1);
        self.pools[pool.index()].active += size;
    }

    /// Returns the counters, with the number of inactive blocks.
    pub(super) const fn stats(&self, holes: u64) -> Stats {
        Stats {
            requested: self.requested.counter(),
            allocated: self.allocated.counter(),
            active: self.active.counter(),
            inactive_split: self.inactive_split.counter(),
            reserved: self.reserved.counter(),
            blocks: self.blocks.counter(),
            active_blocks: self.active_blocks.counter(),
            segments: self.segments.counter(),
            pinned: self.pinned.counter(),
            spilled: self.spilled.counter(),
            spilled_requested: self.spilled_requested.counter(),
            spilled_blocks: self.spilled_blocks.counter(),
            holes,
            small: self.pools[0],
            large: self.pools[1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_keeps_its_invariant_through_both_resets() {
        let mut tally = Tally::default();
        tally.add(10);
        tally.subtract(4);
        assert_eq!(tally.counter(), Counter { current: 6, peak: 10, allocated: 10, freed: 4 });
        tally.reset_peak();
        assert_eq!(tally.counter(), Counter { current: 6, peak: 6, allocated: 10, freed: 4 });
        tally.reset_accumulated();
        assert_eq!(tally.counter(), Counter { current: 6, peak: 6, allocated: 6, freed: 0 });
    }
}
