//! Places pieces one after the other, each at the lowest offset where it fits.

use super::budget::Budget;
use super::components::Component;
use super::sections::Piece;

/// The least number of pieces that begin in a block.
const SHORTEST_BLOCK: u32 = 32;

/// The placements between two readings of the clock.
const PLACED_PER_READING: usize = 64;

/// A placed piece.
#[derive(Clone, Copy, Debug)]
struct Taken {
    low: u64,
    high: u64,
    first: u32,
    last: u32,
}

/// Finds the lowest free offset for one piece after another.
///
/// The sections are divided into blocks. In each begin about as many pieces as can be live at once. A block lists the placed pieces that are
/// live in it, by offset. So there are at most about two entries for each piece on average, and a short piece looks at the entries of one
/// or two blocks, of which about half are live with it.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    pieces: &'a [Piece],
    /// By section: its block.
    block: Vec<u32>,
    blocks: Vec<Vec<Taken>>,
    /// By piece: its offset, once it is placed.
    offsets: Vec<u64>,
    scratch: Vec<(u64, u64)>,
}

/// The rule for placing a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// At the lowest offset where it fits: first fit.
    Lowest,
    /// In the smallest gap where it fits: best fit.
    Tightest,
}

impl<'a> Placer<'a> {
    pub(super) fn new(component: &'a Component) -> Self {
        let pieces = component.pieces.as_slice();
        let length = component.widest.max(SHORTEST_BLOCK);
        let mut block = vec![0; component.sections as usize];
        let (mut current, mut section, mut begun) = (0_u32, 0, 0);
        for piece in pieces {
            if piece.first > section {
                block[section as usize..piece.first as usize].fill(current);
                section = piece.first;
                if begun >= length {
                    (current, begun) = (current + 1, 0);
                }
            }
            begun += 1;
        }
        block[section as usize..].fill(current);
        let blocks = vec![Vec::new(); current as usize + 1];
        Self { pieces, block, blocks, offsets: vec![0; pieces.len()], scratch: Vec::new() }
    }

    /// The offsets of the last complete placement.
    pub(super) fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    fn clear(&mut self) {
        self.blocks.iter_mut().for_each(Vec::clear);
    }

    fn range(&self, piece: &Piece) -> std::ops::RangeInclusive<usize> {
        self.block[piece.first as usize] as usize..=self.block[piece.last as usize] as usize
    }

    /// The lowest offset where the piece fits.
    fn lowest(&self, index: u32) -> u64 {
        let piece = self.pieces[index as usize];
        let range = self.range(&piece);
        let count = range.end() - range.start() + 1;
        let (mut at, mut agreed, mut current) = (0, 0, *range.start());
        // Each block in turn raises the offset to the lowest that it allows, until all agree.
        while agreed < count {
            let before = at;
            for taken in &self.blocks[current] {
                if taken.low >= at + piece.size {
                    break;
                }
                if taken.high > at && piece.overlaps(taken.first, taken.last) {
                    at = taken.high;
                }
            }
            agreed = if at == before { agreed + 1 } else { 1 };
            current = if current == *range.end() { *range.start() } else { current + 1 };
        }
        at
    }

    /// The offset in the smallest gap where the piece fits; above everything if it fits in no gap.
    fn tightest(&mut self, index: u32) -> u64 {
        let piece = self.pieces[index as usize];
        let live = self.range(&piece).flat_map(|block| &self.blocks[block]);
        let live = live.filter(|taken| piece.overlaps(taken.first, taken.last));
        self.scratch.clear();
        self.scratch.extend(live.map(|taken| (taken.low, taken.high)));
        self.scratch.sort_unstable();
        let (mut at, mut best) = (0, None);
        for &(low, high) in &self.scratch {
            if low >= at + piece.size {
                best = best.into_iter().chain([(low - at, at)]).min();
            }
            at = at.max(high);
        }
        best.map_or(at, |(_, offset)| offset)
    }

    /// Places a piece at a free offset.
    fn put(&mut self, index: u32, offset: u64) {
        let piece = self.pieces[index as usize];
        self.offsets[index as usize] = offset;
        let taken = Taken { low: offset, high: offset + piece.size, first: piece.first, last: piece.last };
        for block in self.range(&piece) {
            let list = &mut self.blocks[block];
            let at = list.partition_point(|other| other.low < offset);
            list.insert(at, taken);
        }
    }

    /// Places all pieces in this order. Returns the height, or nothing as soon as the height is not below `limit`, or the time of a budget is
    /// over.
    pub(super) fn place(
        &mut self,
        order: &[u32],
        fit: Fit,
        limit: u64,
        mut budget: Option<&mut Budget>,
    ) -> Option<u64> {
        self.clear();
        let mut height = 0;
        for (placed, &index) in order.iter().enumerate() {
            if placed % PLACED_PER_READING == 0 && budget.as_mut().is_some_and(|budget| budget.is_over_now()) {
                return None;
            }
            let offset = match fit {
                Fit::Lowest => self.lowest(index),
                Fit::Tightest => self.tightest(index),
            };
            let end = offset + self.pieces[index as usize].size;
            if end >= limit {
                return None;
            }
            height = height.max(end);
            self.put(index, offset);
        }
        Some(height)
    }
}

#[cfg(test)]
mod tests {
    use super::super::components::decompose;
    use super::super::sections::sections;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_placement_ends_with_the_time_and_one_without_a_budget_completes() {
        let (pieces, count) = sections((0..1000).map(|index| (index, index + 10, 1 + index % 7)));
        let components = decompose(pieces, count).components;
        let component = &components[0];
        let order: Vec<u32> = (0..component.len()).collect();
        let mut placer = Placer::new(component);
        let mut over = Budget::new(Duration::ZERO, u64::MAX);
        assert_eq!(placer.place(&order, Fit::Lowest, u64::MAX, Some(&mut over)), None);
        assert!(over.is_over());
        let height = placer.place(&order, Fit::Lowest, u64::MAX, None);
        assert!(height.is_some_and(|height| height >= component.load));
        let mut unlimited = Budget::new(Duration::MAX, u64::MAX);
        assert_eq!(placer.place(&order, Fit::Lowest, u64::MAX, Some(&mut unlimited)), height);
        assert_eq!(unlimited.used(), 0, "the caller counts nodes");
    }
}
