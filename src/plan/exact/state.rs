//! The state of the exact search: which pieces are placed, and what follows for the others.

use super::super::components::Component;
use super::super::narrow;
use super::super::sections::Piece;
use super::lists::Lists;

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
    /// Whether the state may lead to a placement of all pieces.
    pub(super) is_possible: bool,
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
            left: vec![0; sections],
            floor: vec![0; sections],
            refutations: vec![0; sections],
            trail: Vec::new(),
            is_dirty: vec![false; sections],
            passed: Vec::new(),
            is_passed: vec![false; count],
            rest: vec![0; count],
        }
    }

    /// Removes all placements.
    pub(super) fn reset(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.low.fill(0);
        self.is_placed.fill(false);
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
                Change::Low { piece, before } => self.low[piece as usize] = before,
                Change::Floor { section, before } => self.floor[section as usize] = before,
                Change::Placed { piece } => {
                    self.is_placed[piece as usize] = false;
                    let piece = &self.component.pieces[piece as usize];
                    self.left[piece.sections()].iter_mut().for_each(|left| *left += piece.size);
                }
            }
        }
    }

    /// Places a piece at its lowest offset. `pieces` are those of the part of the component that is being placed, in the sections of `range`.
    pub(super) fn place(&mut self, index: u32, range: std::ops::Range<usize>, pieces: &[u32]) -> Effect {
        let piece = *self.piece(index);
        let index = index as usize;
        let offset = self.low[index];
        self.trail.push(Change::Placed { piece: narrow(index) });
        self.is_placed[index] = true;
        for section in piece.sections() {
            self.left[section] -= piece.size;
            self.is_dirty[section] = true;
        }
        let (mut raised, mut possible) = (false, true);
        for position in self.neighbours.range(index) {
            let other = self.neighbours.item(position);
            if !self.is_placed[other] && self.low[other] < offset + piece.size {
                raised = true;
                possible &= self.raise(other, offset + piece.size);
            }
        }
        let possible = possible && self.raise_passed((offset, self.rank[index]), pieces);
        let is_possible = self.update_floors(offset, range, possible);
        Effect { is_possible, raised }
    }

    /// Raises the lower bound of a piece. Returns false if it cannot fit any more.
    fn raise(&mut self, index: usize, low: u64) -> bool {
        let before = std::mem::replace(&mut self.low[index], low);
        self.trail.push(Change::Low { piece: narrow(index), before });
        let piece = &self.component.pieces[index];
        self.is_dirty[piece.sections()].fill(true);
        low <= self.capacity && piece.size <= self.capacity - low
    }

    /// Raises the pieces that the placement passed over: those that could have been placed lower, or at the same offset with a smaller rank.
    /// In a placement in which no piece can be lowered, each of them now rests on a piece that is placed later.
    fn raise_passed(&mut self, cursor: (u64, u32), pieces: &[u32]) -> bool {
        self.passed.clear();
        for &piece in pieces {
            let index = piece as usize;
            if !self.is_placed[index] && (self.low[index], self.rank[index]) <= cursor {
                self.passed.push(piece);
                self.is_passed[index] = true;
                self.rest[index] = u64::MAX;
            }
        }
        // Shortest paths from the pieces that are not passed over; each round settles at least one.
        let mut changed = true;
        while changed {
            changed = false;
            for at in 0..self.passed.len() {
                let index = self.passed[at] as usize;
                let rest = self.lowest_top(index, cursor.0);
                if rest < self.rest[index] {
                    self.rest[index] = rest;
                    changed = true;
                }
            }
        }
        let mut possible = true;
        for at in 0..self.passed.len() {
            let index = self.passed[at] as usize;
            self.is_passed[index] = false;
            let rest = self.rest[index];
            possible &= rest != u64::MAX;
            if possible && rest > self.low[index] {
                possible &= self.raise(index, rest);
            }
        }
        possible
    }

    /// The lowest end of a piece that is live with `index` and not placed, if all of them are at `offset` or above.
    fn lowest_top(&self, index: usize, offset: u64) -> u64 {
        let others = self.neighbours.of(index).filter(|other| !self.is_placed[*other]);
        let top = |other: usize| {
            let low = if self.is_passed[other] { self.rest[other] } else { self.low[other].max(offset) };
            low.saturating_add(self.component.pieces[other].size)
        };
        others.map(top).min().unwrap_or(u64::MAX)
    }

    /// Updates the floors of the sections that changed, and checks that in each section what is not placed fits above its floor.
    fn update_floors(&mut self, offset: u64, range: std::ops::Range<usize>, mut possible: bool) -> bool {
        for section in range {
            let is_dirty = std::mem::take(&mut self.is_dirty[section]);
            if !possible {
                continue;
            }
            if is_dirty {
                let floor = self.lowest_member(section, usize::MAX, 0);
                let before = std::mem::replace(&mut self.floor[section], floor);
                if before != floor {
                    self.trail.push(Change::Floor { section: narrow(section), before });
                }
            }
            let left = self.left[section];
            if left > 0 && self.floor[section].max(offset).saturating_add(left) > self.capacity {
                self.refutations[section] += 1;
                possible = false;
            }
        }
        possible
    }

    /// The smallest `low` of the pieces of a section that are not placed, except for one, and at least `least`.
    fn lowest_member(&self, section: usize, except: usize, least: u64) -> u64 {
        let others = self.members.of(section).filter(|other| *other != except && !self.is_placed[*other]);
        others.map(|other| self.low[other].max(least)).min().unwrap_or(u64::MAX)
    }

    /// The highest offset at which a next placement leaves enough room above in each section of the range.
    pub(super) fn highest_start(&self, range: std::ops::Range<usize>) -> u64 {
        let left = self.left[range].iter().copied().max().unwrap_or(0);
        self.capacity.saturating_sub(left)
    }

    /// Returns whether a piece must be placed before any piece that is above it or has a larger rank: passing over the piece would waste more
    /// than a section can spare.
    pub(super) fn must_be_placed(&self, index: u32) -> bool {
        let (piece, index) = (self.piece(index), index as usize);
        let offset = self.low[index];
        let rest = self.lowest_top(index, offset);
        if rest > self.capacity - piece.size {
            return true;
        }
        piece.sections().any(|section| {
            let most = self.capacity - self.left[section];
            rest > most && self.lowest_member(section, index, offset) > most
        })
    }
}
