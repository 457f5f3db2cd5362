//! The state of the exact search: which pieces are placed, and what follows for the others.

use super::super::components::Component;
use super::super::narrow;
use super::super::sections::Piece;
use super::lists::Lists;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// The placed buffers, and the lowest offsets of the rest. All changes can be undone in reverse order.
///
/// Invariant: `low` of a piece that is not placed is at least the end of every placed piece that is live with it. Offsets of placements do
/// not decrease along a branch, so everything that follows is above what is placed.
#[derive(Debug)]
pub(super) struct State<'a> {
    component: &'a Component,
    pub(super) capacity: u64,
    /// By piece: the pieces that are live with it.
    neighbours: Lists,
    /// By section: the pieces that are live in it.
    members: Lists,
    /// By piece: its position in the order that breaks ties between equal offsets.
    pub(super) rank: Vec<u32>,
    /// By piece: its offset if it is placed, otherwise a lower bound of it.
    pub(super) low: Vec<u64>,
    pub(super) is_placed: Vec<bool>,
    /// By piece: `low` if it is not placed, otherwise the largest number. The loops over neighbours read this one number of each.
    open: Vec<u64>,
    /// By piece.
    size: Vec<u64>,
    /// By section: the sum of the sizes that are not placed.
    left: Vec<u64>,
    /// By section: the smallest `low` of what is not placed.
    floor: Vec<u64>,
    /// By section: how often it refuted a placement, with counts that fade.
    pub(super) refutations: Vec<u64>,
    trail: Vec<Change>,
    is_dirty: Vec<bool>,
    /// Pieces that are passed over, and the lowest offset at which each can rest on another one.
    passed: Vec<u32>,
    is_passed: Vec<bool>,
    rest: Vec<u64>,
    /// The pieces whose shortest path is not settled. Empty between placements.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
}

/// A change to undo.
#[derive(Clone, Copy, Debug)]
enum Change {
    Low { piece: u32, before: u64 },
    Floor { section: u32, before: u64 },
    Placed { piece: u32 },
}

/// The result of a placement.
pub(super) struct Effect {
    /// Sections that rule out a placement of all pieces: the one with too little room, or those of the piece that fits nowhere.
    pub(super) refuted_by: Option<Range<usize>>,
    /// Whether the placement raised another piece.
    pub(super) raised: bool,
}

impl<'a> State<'a> {
    pub(super) fn new(component: &'a Component) -> Self {
        let (pieces, count) = (component.pieces.as_slice(), component.len());
        let sections = component.sections as usize;
        let live = (0..count).flat_map(|index| pieces[index as usize].sections().map(move |section| (section, index)));
        #[expect(clippy::cast_possible_truncation, reason = "sections count in u32")]
        let members = Lists::new(component.sections, live.map(|(section, index)| (section as u32, index)));
        let following = |index: u32| {
            let piece = pieces[index as usize];
            let later = (index + 1..count).take_while(move |other| pieces[*other as usize].first <= piece.last);
            later.map(move |other| (index, other))
        };
        let pairs = (0..count).flat_map(following).flat_map(|(left, right)| [(left, right), (right, left)]);
        let neighbours = Lists::new(count, pairs);
        let count = pieces.len();
        Self {
            component,
            capacity: 0,
            neighbours,
            members,
            rank: vec![0; count],
            low: vec![0; count],
            is_placed: vec![false; count],
            open: vec![0; count],
            size: pieces.iter().map(|piece| piece.size).collect(),
            left: vec![0; sections],
            floor: vec![0; sections],
            refutations: vec![0; sections],
            trail: Vec::new(),
            is_dirty: vec![false; sections],
            passed: Vec::new(),
            is_passed: vec![false; count],
            rest: vec![0; count],
            queue: BinaryHeap::new(),
        }
    }

    /// Removes all placements.
    pub(super) fn reset(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.low.fill(0);
        self.is_placed.fill(false);
        self.open.fill(0);
        self.left.copy_from_slice(&self.component.loads);
        self.floor.fill(0);
        self.trail.clear();
    }

    pub(super) fn piece(&self, index: u32) -> &'a Piece {
        &self.component.pieces[index as usize]
    }

    /// The largest live sum.
    pub(super) fn load(&self) -> u64 {
        self.component.load
    }

    /// The point to which [`undo`](Self::undo) returns.
    pub(super) fn mark(&self) -> usize {
        self.trail.len()
    }

    pub(super) fn undo(&mut self, mark: usize) {
        for change in self.trail.drain(mark..).rev() {
            match change {
                Change::Low { piece, before } => {
                    self.low[piece as usize] = before;
                    self.open[piece as usize] = before;
                }
                Change::Floor { section, before } => self.floor[section as usize] = before,
                Change::Placed { piece } => {
                    self.is_placed[piece as usize] = false;
                    self.open[piece as usize] = self.low[piece as usize];
                    let piece = &self.component.pieces[piece as usize];
                    self.left[piece.sections()].iter_mut().for_each(|left| *left += piece.size);
                }
            }
        }
    }

    /// Places a piece at its lowest offset. `pieces` are those of the part of the component that is being placed, in the sections of `range`.
    pub(super) fn place(&mut self, index: u32, range: Range<usize>, pieces: &[u32]) -> Effect {
        let piece = *self.piece(index);
        let index = index as usize;
        let offset = self.low[index];
        self.trail.push(Change::Placed { piece: narrow(index) });
        (self.is_placed[index], self.open[index]) = (true, u64::MAX);
        for section in piece.sections() {
            self.left[section] -= piece.size;
            self.is_dirty[section] |= self.floor[section] == offset;
        }
        let (mut raised, mut misfit) = (false, None);
        for position in self.neighbours.range(index) {
            let other = self.neighbours.item(position);
            if self.open[other] < offset + piece.size {
                raised = true;
                if !self.raise(other, offset + piece.size) {
                    misfit = Some(other);
                    break;
                }
            }
        }
        let misfit = misfit.or_else(|| self.raise_passed((offset, self.rank[index]), pieces));
        let scarce = self.update_floors(offset, range, misfit.is_none());
        let of_misfit = misfit.map(|misfit| self.component.pieces[misfit].range());
        Effect { refuted_by: of_misfit.or(scarce.map(|section| section..section + 1)), raised }
    }

    /// Raises the lower bound of a piece. Returns false if it cannot fit any more.
    fn raise(&mut self, index: usize, low: u64) -> bool {
        let before = std::mem::replace(&mut self.low[index], low);
        self.open[index] = low;
        self.trail.push(Change::Low { piece: narrow(index), before });
        let piece = &self.component.pieces[index];
        // A section whose floor is lower than the piece was keeps it.
        for section in piece.sections() {
            self.is_dirty[section] |= self.floor[section] == before;
        }
        low <= self.capacity && piece.size <= self.capacity - low
    }

    /// Raises the pieces that the placement passed over: those that could have been placed lower, or at the same offset with a smaller rank.
    /// In a placement in which no piece can be lowered, each of them now rests on a piece that is placed later. Returns a piece that cannot.
    fn raise_passed(&mut self, cursor: (u64, u32), pieces: &[u32]) -> Option<usize> {
        self.passed.clear();
        for &piece in pieces {
            let index = piece as usize;
            if !self.is_placed[index] && (self.low[index], self.rank[index]) <= cursor {
                self.passed.push(piece);
                self.is_passed[index] = true;
                // Excludes it from the paths of one step.
                self.open[index] = u64::MAX;
            }
        }
        // Shortest paths from the pieces that are not passed over, in the order of their lengths (Dijkstra). First the paths of one step.
        let (mut highest, mut shortest) = (0, u64::MAX);
        for at in 0..self.passed.len() {
            let index = self.passed[at] as usize;
            let tops = self.neighbours.of(index).map(|other| self.open[other].saturating_add(self.size[other]));
            let rest = tops.min().unwrap_or(u64::MAX);
            self.rest[index] = rest;
            highest = highest.max(rest);
            shortest = shortest.min(rest.saturating_add(self.size[index]));
        }
        // Mostly no path of two steps is shorter than the longest of one.
        if shortest < highest {
            self.queue.extend(self.passed.iter().map(|index| Reverse((self.rest[*index as usize], *index))));
        }
        while let Some(Reverse((rest, index))) = self.queue.pop() {
            let index = index as usize;
            let top = rest.saturating_add(self.size[index]);
            if rest > self.rest[index] || top >= highest {
                continue;
            }
            for position in self.neighbours.range(index) {
                let other = self.neighbours.item(position);
                if self.is_passed[other] && top < self.rest[other] {
                    self.rest[other] = top;
                    self.queue.push(Reverse((top, narrow(other))));
                }
            }
        }
        let mut misfit = None;
        for at in 0..self.passed.len() {
            let index = self.passed[at] as usize;
            (self.is_passed[index], self.open[index]) = (false, self.low[index]);
            let rest = self.rest[index];
            if misfit.is_none() && (rest == u64::MAX || !self.raise(index, rest)) {
                misfit = Some(index);
            }
        }
        misfit
    }

    /// Updates the floors of the sections that changed. Returns a section whose remaining pieces do not fit above its floor.
    fn update_floors(&mut self, offset: u64, range: Range<usize>, is_possible: bool) -> Option<usize> {
        if !is_possible {
            self.is_dirty[range].fill(false);
            return None;
        }
        let mut scarce = None;
        for section in range {
            let is_dirty = std::mem::take(&mut self.is_dirty[section]);
            if scarce.is_some() {
                continue;
            }
            if is_dirty {
                let floor = self.lowest_member(section);
                let before = std::mem::replace(&mut self.floor[section], floor);
                if before != floor {
                    self.trail.push(Change::Floor { section: narrow(section), before });
                }
            }
            let left = self.left[section];
            if left > 0 && self.floor[section].max(offset).saturating_add(left) > self.capacity {
                self.refutations[section] += 1;
                scarce = Some(section);
            }
        }
        scarce
    }

    /// The smallest `low` of the pieces of a section that are not placed. The floor before is a lower bound, with which the scan ends.
    fn lowest_member(&self, section: usize) -> u64 {
        let (least, mut lowest) = (self.floor[section], u64::MAX);
        for other in self.members.of(section) {
            lowest = lowest.min(self.open[other]);
            if lowest == least {
                break;
            }
        }
        lowest
    }

    /// The highest offset at which a next placement leaves enough room above in each section of the range.
    pub(super) fn highest_start(&self, range: Range<usize>) -> u64 {
        let left = self.left[range].iter().copied().max().unwrap_or(0);
        self.capacity.saturating_sub(left)
    }

    /// Returns whether a piece must be placed before any piece that is above it or has a larger rank: passing over the piece would waste more
    /// than a section can spare.
    pub(super) fn must_be_placed(&self, index: u32) -> bool {
        let (piece, index) = (self.piece(index), index as usize);
        let offset = self.low[index];
        // The remaining sizes of a section include the piece's, so no offset from here on is too high for the piece alone.
        let least = self.capacity - self.left[piece.range()].iter().copied().max().unwrap_or(0);
        let mut rest = u64::MAX;
        for other in self.neighbours.of(index) {
            rest = rest.min(self.open[other].max(offset).saturating_add(self.size[other]));
            if rest <= least {
                return false;
            }
        }
        if rest > self.capacity - piece.size {
            return true;
        }
        piece.sections().any(|section| {
            let most = self.capacity - self.left[section];
            let others = || self.members.of(section).filter(|other| *other != index);
            rest > most && others().all(|other| self.open[other].max(offset) > most)
        })
    }
}
