//! Clearing a window: makes one large hole by clearing the cheapest range of adjacent blocks.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::Key;
use super::holes::Holes;
use super::{Gain, Move, Plan};

/// The number of windows that are tried, cheapest first. The blocks of an expensive window rarely fit where those of a
/// cheap window did not.
const TRIED: usize = 24;

/// Adjacent blocks of one segment. Sizes are in granules.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: Key,
    count: usize,
    size: u32,
    active: u32,
}

impl Heap {
    /// Plans a hole of at least `bytes` bytes for a request of `pool`, moving at most `budget` bytes. Of the
    /// sufficiently large windows of adjacent blocks, chooses the one with the fewest active bytes whose blocks fit
    /// holes outside the window. Only the cheapest windows are tried.
    ///
    /// `None` if there is no such window; the request then needs another segment. Cost: O(blocks of the pool).
    #[must_use]
    pub fn plan_hole(&self, pool: SubPool, bytes: u64, budget: u64) -> Option<Plan> {
        let mut holes = Holes::of(self, pool);
        if holes.sum() << self.granule_bits < bytes {
            return None;
        }
        let windows = self.cheapest_windows(pool, bytes, budget);
        windows.into_iter().find_map(|window| {
            let moves = self.clear(&mut holes, window)?;
            let segment = self.segments[self.blocks[window.first].segment].id;
            let gain = Gain::Hole { segment, bytes: self.bytes(window.size) };
            Some(Plan { moves, pool, gain, version: self.version })
        })
    }

    /// Returns the windows of at least `bytes` bytes with the fewest active bytes, each with at most `budget` active
    /// bytes, cheapest first.
    fn cheapest_windows(&self, pool: SubPool, bytes: u64, budget: u64) -> Vec<Window> {
        let Ok(needed) = u32::try_from(bytes.div_ceil(self.granule())) else { return Vec::new() };
        let mut most_active = u32::try_from(budget / self.granule()).unwrap_or(u32::MAX);
        let mut windows: Vec<Window> = Vec::new();
        for slot in self.segments_of(pool) {
            let segment = &self.segments[slot];
            let fits = segment.size >= needed && segment.active > 0;
            let least_active = needed.saturating_sub(segment.size - segment.active);
            if fits && least_active <= most_active {
                self.windows(segment.first, needed, |window| {
                    if window.active <= most_active {
                        windows.push(window);
                    }
                });
            }
            if windows.len() > TRIED {
                windows.select_nth_unstable_by_key(TRIED - 1, |window| window.active);
                windows.truncate(TRIED);
                most_active = windows[TRIED - 1].active;
            }
        }
        windows.sort_unstable_by_key(|window| window.active);
        windows
    }

    /// Finds the shortest window of at least `needed` granules that ends at each block, without pinned blocks.
    fn windows(&self, first: Key, needed: u32, mut found: impl FnMut(Window)) {
        let mut window = Window { first, count: 0, size: 0, active: 0 };
        for (_, block) in self.blocks_of(first) {
            if !block.is_movable_or_inactive() {
                window = Window { first: block.after, count: 0, size: 0, active: 0 };
                continue;
            }
            window.count += 1;
            window.size += block.size;
            window.active += if block.is_active() { block.size } else { 0 };
            // The window is minimal if it cannot lose its first block.
            loop {
                let start = &self.blocks[window.first];
                if window.size - start.size < needed {
                    break;
                }
                window.first = start.after;
                window.count -= 1;
                window.size -= start.size;
                window.active -= if start.is_active() { start.size } else { 0 };
            }
            if window.size >= needed {
                found(window);
            }
        }
    }

    /// Finds holes outside a window for its blocks. If a block fits no hole, returns `None` and undoes the steps.
    fn clear(&self, holes: &mut Holes, window: Window) -> Option<Vec<Move>> {
        let within = || self.blocks_of(window.first).take(window.count);
        let mark = holes.mark();
        holes.exclude(within().map(|(_, block)| block));
        let keys = within().filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect();
        let moves = holes.fill(self, keys);
        if moves.is_none() {
            holes.undo_to(mark);
        }
        moves
    }
}
