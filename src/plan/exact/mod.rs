//! Branch and bound on one component: finds a placement below a given capacity, or proves that none exists.
//!
//! The module [`plan`](crate::plan) describes the method.

mod conflict;
mod lists;
mod state;

use super::budget::Budget;
use super::components::Component;
use super::orders::peaks;
use conflict::Conflict;
use rustc_hash::{FxHashMap, FxHashSet};
use state::State;
use std::rc::Rc;

/// Components with more pairs of live pieces and sections, or of pieces that are live together, are not searched: the search stores them.
const MOST_PAIRS: u64 = 4_000_000;

/// The most refuted states that are stored; 16 bytes each, and some for the table.
const MOST_REFUTED: usize = 500_000;

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An offset for each piece.
    Found(Vec<u64>),
    /// No placement fits.
    Infeasible,
    /// The nodes or the time ran out.
    Unknown,
}

/// The search for placements of one component.
#[derive(Debug)]
pub(super) struct Search<'a> {
    state: State<'a>,
    /// By piece: the same number for pieces of the same size and lifetime, which are interchangeable.
    class: Vec<u32>,
    /// Hashes of refuted states at `capacity`. They hold for every order.
    refuted: FxHashSet<u128>,
    capacity: u64,
    /// Whether the current run jumps back over placements, and whether it has done so.
    jumps: bool,
    has_jumped: bool,
}

/// Pieces that remain to be placed, independently of all others.
#[derive(Debug)]
struct Frame {
    /// Sorted by their first sections. Includes pieces that are placed: frames share a list until a quarter of it is placed, so that a search
    /// of n pieces stores O(n log n) numbers, and not a list for each of n frames.
    pieces: Rc<[u32]>,
    /// The sections of the pieces.
    range: std::ops::Range<usize>,
    /// The pieces that may be placed next, in the order in which they are tried. Empty as long as the frame waits for a sibling.
    candidates: Vec<u32>,
    next: usize,
    mark: usize,
    hash: u128,
    /// Waits until the sibling after it is placed.
    is_waiting: bool,
    /// The sections that refuted the candidates so far, in runs that jump.
    conflict: Conflict,
    /// Whether no placement was jumped over in what was searched of the frame.
    is_complete: bool,
}

impl<'a> Search<'a> {
    /// Prepares a search; nothing if the component is too large for one.
    pub(super) fn new(component: &'a Component) -> Option<Self> {
        let pieces = &component.pieces;
        let members = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.width()))?;
        // A piece is live together with at most `widest` pieces that began before it.
        let pairs = pieces.len() as u64 * u64::from(component.widest);
        if members.max(pairs) > MOST_PAIRS {
            return None;
        }
        let mut classes = FxHashMap::default();
        let class = pieces.iter().map(|piece| {
            let next = super::narrow(classes.len());
            *classes.entry((piece.first, piece.last, piece.size)).or_insert(next)
        });
        let class = class.collect();
        let state = State::new(component);
        Some(Self { state, class, refuted: FxHashSet::default(), capacity: 0, jumps: false, has_jumped: false })
    }

    /// By piece: the largest load of its sections, where a section that refuted more placements than others counts up to twice. The weights
    /// fade from call to call.
    pub(super) fn learned(&mut self, component: &Component) -> Vec<u64> {
        let refutations = &mut self.state.refutations;
        let most = u128::from(refutations.iter().copied().max().unwrap_or(0).max(1));
        let weighted = component.loads.iter().zip(refutations).map(|(load, count)| {
            let weighted = u128::from(*load) + u128::from(*load) * u128::from(*count) / most;
            *count -= *count / 8;
            u64::try_from(weighted).unwrap_or(u64::MAX)
        });
        peaks(component, &weighted.collect::<Vec<_>>())
    }

    /// Searches for a placement of at most this height, in which ties between equal offsets are broken by the order.
    ///
    /// With `jumps`, a failure ends the search below every placement since the last one that touches the sections of the failure, and these
    /// placements are not tried differently. Such a run finds more where parts of the component hardly influence each other. It proves
    /// nothing where it jumped.
    pub(super) fn run(
        &mut self,
        capacity: u64,
        order: &[u32],
        jumps: bool,
        nodes: u64,
        budget: &mut Budget,
    ) -> Outcome {
        if capacity < self.state.load() {
            return Outcome::Infeasible;
        }
        if self.capacity != capacity {
            self.capacity = capacity;
            self.refuted.clear();
        }
        (self.jumps, self.has_jumped) = (jumps, false);
        self.state.reset(capacity);
        for (rank, &index) in (0..).zip(order) {
            self.state.rank[index as usize] = rank;
        }
        let all = (0..super::narrow(order.len())).collect::<Rc<[u32]>>();
        let mut stack = vec![self.frame(all)];
        let stop = budget.used().saturating_add(nodes);
        loop {
            // The changes of a failed candidate are undone before the next one is tried.
            let Some(frame) = stack.last_mut() else {
                return if self.has_jumped { Outcome::Unknown } else { Outcome::Infeasible };
            };
            self.state.undo(frame.mark);
            let Some(&candidate) = frame.candidates.get(frame.next) else {
                self.refute(&mut stack);
                continue;
            };
            frame.next += 1;
            if !budget.spend(1) || budget.used() > stop {
                return Outcome::Unknown;
            }
            let effect = self.state.place(candidate, frame.range.clone(), &frame.pieces);
            if !effect.raised {
                // Every placement of the rest also exists with this piece here, so there is no need to try it later.
                frame.candidates.truncate(frame.next);
            }
            if let Some(sections) = effect.refuted_by {
                if jumps {
                    frame.conflict.add(sections);
                    frame.conflict.add(self.state.piece(candidate).range());
                }
                continue;
            }
            let mut parts = self.split(&frame.pieces);
            let Some(first) = parts.pop() else {
                match self.resume(&mut stack) {
                    true => continue,
                    false => return Outcome::Found(self.state.low.clone()),
                }
            };
            let mark = self.state.mark();
            stack.extend(parts.into_iter().map(|pieces| Frame::waiting(pieces, mark)));
            let frame = self.frame(first);
            stack.push(frame);
        }
    }

    /// Removes a frame whose candidates all failed, the siblings that wait for it, and what the run jumps over.
    fn refute(&mut self, stack: &mut Vec<Frame>) {
        let Some(Frame { conflict, mut is_complete, hash, .. }) = stack.pop() else { return };
        if self.refuted.len() >= MOST_REFUTED {
            self.refuted.clear();
        }
        if is_complete {
            self.refuted.insert(hash);
        }
        while let Some(frame) = stack.last_mut() {
            if !frame.is_waiting {
                let placed = self.state.piece(frame.candidates[frame.next - 1]);
                if !self.jumps || conflict.contains_any(placed.range()) {
                    frame.conflict.merge(&conflict);
                    frame.is_complete &= is_complete;
                    return;
                }
                (self.has_jumped, is_complete) = (true, false);
            }
            stack.pop();
        }
    }

    /// Continues with the next waiting sibling after all pieces of a frame were placed. Returns false if there is none.
    fn resume(&mut self, stack: &mut Vec<Frame>) -> bool {
        while let Some(frame) = stack.pop() {
            if frame.is_waiting {
                stack.push(self.frame(frame.pieces));
                return true;
            }
        }
        false
    }

    /// The pieces that are not placed, divided where no piece is live in two neighbouring sections. The smallest part is the last.
    fn split(&self, pieces: &Rc<[u32]>) -> Vec<Rc<[u32]>> {
        let mut parts: Vec<Vec<u32>> = Vec::new();
        let mut end = 0;
        for &index in pieces.iter().filter(|index| !self.state.is_placed[**index as usize]) {
            let piece = self.state.piece(index);
            match parts.last_mut() {
                Some(part) if piece.first < end => part.push(index),
                _ => parts.push(vec![index]),
            }
            end = end.max(piece.last + 1);
        }
        if let [part] = &parts[..] {
            if part.len() > pieces.len() / 4 * 3 {
                return vec![Rc::clone(pieces)];
            }
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.into_iter().map(Rc::from).collect()
    }

    /// A frame with its candidates: none if the same state was refuted before.
    fn frame(&mut self, pieces: Rc<[u32]>) -> Frame {
        let state = &self.state;
        let open = || pieces.iter().filter(|index| !state.is_placed[**index as usize]);
        let first = open().map(|index| state.piece(*index).first as usize).min().unwrap_or(0);
        let last = open().map(|index| state.piece(*index).last as usize).max().unwrap_or(0);
        let range = first..last + 1;
        let low = |index: &u32| state.low[*index as usize];
        let hash = open().fold(0_u128, |sum, index| sum.wrapping_add(mix(self.class[*index as usize], low(index))));
        let mut candidates = Vec::new();
        if !self.refuted.contains(&hash) {
            // A piece above the end of another one could be exchanged with it: the other one fits below.
            let top = open().map(|index| low(index) + state.piece(*index).size).min().unwrap_or(0);
            let highest = state.highest_start(range.clone());
            candidates.extend(open().copied().filter(|index| low(index) < top && low(index) <= highest));
            candidates.sort_unstable_by_key(|index| (low(index), state.rank[*index as usize]));
            // Interchangeable pieces are adjacent unless their ranks differ; trying one of them is enough.
            candidates.dedup_by_key(|index| (low(index), self.class[*index as usize]));
            if let Some(at) = candidates.iter().position(|index| state.must_be_placed(*index)) {
                candidates.truncate(at + 1);
            }
        }
        let mut conflict = Conflict::default();
        if self.jumps {
            conflict = Conflict::new(&range);
            if candidates.is_empty() {
                conflict.add(range.clone());
            }
        }
        let mark = state.mark();
        Frame { pieces, range, candidates, next: 0, mark, hash, is_waiting: false, conflict, is_complete: true }
    }
}

impl Frame {
    fn waiting(pieces: Rc<[u32]>, mark: usize) -> Self {
        let (candidates, conflict) = (Vec::new(), Conflict::default());
        Self { pieces, range: 0..0, candidates, next: 0, mark, hash: 0, is_waiting: true, conflict, is_complete: true }
    }
}

/// A hash of a class at an offset. The sum over all pieces of a state is the state's: with 128 bits, two of 10⁹ states are equal with a
/// probability of 10⁻²¹.
fn mix(class: u32, low: u64) -> u128 {
    const FACTOR: u128 = 0xda94_2042_e4dd_58b5_a3b1_9535_4a39_b70d;
    let start = (u128::from(class) << 64 | u128::from(low)).wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let once = (start ^ (start >> 67)).wrapping_mul(FACTOR);
    let twice = (once ^ (once >> 61)).wrapping_mul(FACTOR);
    twice ^ (twice >> 64)
}

#[cfg(test)]
mod tests;
