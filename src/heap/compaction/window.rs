//! One large hole: the cheapest window of neighbouring blocks to clear.

use super::super::Heap;
use super::super::address::SubPool;
use super::super::blocks::{Block, Key};
use super::holes::Holes;
use super::{Gain, Plan};
use std::collections::HashSet;

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
    /// Plans a hole of at least `bytes` bytes for a request of `pool`, moving at most `budget` bytes: of all windows of
    /// neighbouring blocks that are large enough, the one with the fewest active bytes whose blocks find places elsewhere.
    ///
    /// None if there is no such window: then only another segment helps. Cost: O(blocks of the pool).
    #[must_use]
    pub fn plan_hole(&self, pool: SubPool, bytes: u64, budget: u64) -> Option<Plan> {
        let needed = u32::try_from(bytes.div_ceil(self.granule())).ok()?;
        let most_active = u32::try_from(budget / self.granule()).unwrap_or(u32::MAX);
        let holes = Holes::of(self, pool, &HashSet::new());
        if holes.sum() < u64::from(needed) {
            return None;
        }
        let mut windows: Vec<Window> = self
            .segments
            .by_number()
            .map(|(_, slot)| &self.segments[slot])
            .filter(|segment| segment.pool == pool && segment.size >= needed && segment.active > 0)
            .flat_map(|segment| self.windows(segment.first, needed))
            .filter(|window| window.active <= most_active)
            .collect();
        if windows.len() > TRIED {
            windows.select_nth_unstable_by_key(TRIED, |window| window.active);
            windows.truncate(TRIED);
        }
        windows.sort_unstable_by_key(|window| window.active);
        windows.into_iter().find_map(|window| self.plan_window(&holes, pool, window))
    }

    /// The shortest window of at least `needed` granules from each block on, without pinned blocks.
    fn windows(&self, first: Key, needed: u32) -> Vec<Window> {
        let blocks: Vec<(Key, Block)> = self.blocks_of(first).map(|(key, block)| (key, *block)).collect();
        let mut windows = Vec::new();
        let (mut start, mut size, mut active) = (0, 0, 0);
        for (end, (_, block)) in blocks.iter().enumerate() {
            if !block.gives_way() {
                (start, size, active) = (end + 1, 0, 0);
                continue;
            }
            size += block.size;
            active += if block.is_active() { block.size } else { 0 };
            // The window is as short as can be when it can't do without its first block.
            while size - blocks[start].1.size >= needed {
                size -= blocks[start].1.size;
                active -= if blocks[start].1.is_active() { blocks[start].1.size } else { 0 };
                start += 1;
            }
            if size >= needed {
                windows.push(Window { first: blocks[start].0, count: end - start + 1, size, active });
            }
        }
        windows
    }

    fn plan_window(&self, holes: &Holes, pool: SubPool, window: Window) -> Option<Plan> {
        let within = || self.blocks_of(window.first).take(window.count);
        let mut holes = holes.clone();
        holes.exclude(within().map(|(_, block)| *block).filter(|block| !block.is_active()));
        let keys = within().filter(|(_, block)| block.is_active()).map(|(key, _)| key).collect();
        let moves = holes.fill(self, keys)?;
        let segment = self.segments[self.blocks[window.first].segment].id;
        let gain = Gain::Hole { segment, bytes: self.bytes(window.size) };
        Some(Plan { moves, pool, gain, version: self.version })
    }
}
