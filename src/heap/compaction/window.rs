//! One large hole: the cheapest window of neighbouring blocks to clear.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::Key;
use super::holes::Holes;
use super::{Gain, Move, Plan};

/// How many of the cheapest windows are tried before planning gives up: the blocks of a dear one rarely find places where those
/// of a cheap one did not.
const TRIED: usize = 24;

/// Neighbouring blocks of one segment. Sizes are in granules.
#[derive(Clone, Copy, Debug)]
struct Window {
    first: Key,
    count: usize,
    size: u32,
    active: u32,
}

impl Heap {
    /// Plans a hole of at least `bytes` bytes for a request of `pool`, moving at most `budget` bytes: of the windows of
    /// neighbouring blocks that are large enough, the one with the fewest active bytes whose blocks find places elsewhere. Only
    /// the cheapest windows are tried.
    ///
    /// None if there is no such window: then only another segment helps. Cost: O(blocks of the pool).
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

    /// The windows of at least `bytes` bytes with the fewest active bytes, at most `budget` of these each, the cheapest first.
    fn cheapest_windows(&self, pool: SubPool, bytes: u64, budget: u64) -> Vec<Window> {
        let Ok(needed) = u32::try_from(bytes.div_ceil(self.granule())) else { return Vec::new() };
        let mut most_active = u32::try_from(budget / self.granule()).unwrap_or(u32::MAX);
        let mut windows: Vec<Window> = Vec::new();
        for (_, slot) in self.segments.by_number() {
            let segment = &self.segments[slot];
            let fits = segment.pool == pool && segment.size >= needed && segment.active > 0;
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

    /// Finds the shortest window of at least `needed` granules from each block on, without pinned blocks.
    fn windows(&self, first: Key, needed: u32, mut found: impl FnMut(Window)) {
        let mut window = Window { first, count: 0, size: 0, active: 0 };
        for (_, block) in self.blocks_of(first) {
            if !block.gives_way() {
                window = Window { first: block.after, count: 0, size: 0, active: 0 };
                continue;
            }
            window.count += 1;
            window.size += block.size;
            window.active += if block.is_active() { block.size } else { 0 };
            // The window is as short as can be when it can't do without its first block.
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

    /// Finds places for a window's blocks outside of it. None if one finds no place: then the holes are as before.
    fn clear(&self, holes: &mut Holes, window: Window) -> Option<Vec<Move>> {
        let within = || self.blocks_of(window.first).take(window.count);
        let mark = holes.mark();
        holes.exclude(within().map(|(_, block)| block));
        let keys = within().filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect();
        let moves = holes.fill(self, keys);
        if moves.is_none() {
            holes.go_back(mark);
        }
        moves
    }
}
