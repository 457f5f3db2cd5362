//! The search on one component: greedy placements, then improvements in slices.

use super::budget::Budget;
use super::components::Component;
use super::exact::{Outcome, Search};
use super::greedy::{Fit, Placer};
use super::narrow;
use super::orders::{PORTFOLIO, peak_loads};
use super::random::Random;
use std::cmp::Ordering;

/// The most exact runs in one turn, and the nodes after which no further run begins in the turn.
const RUNS: u64 = 32;
const NODES_OF_A_TURN: u64 = 50_000;

/// The number of greedy placements with changed orders in one turn.
const REORDERINGS: u64 = 32;

/// The number of exact runs whose order depends on the component alone.
const STATIC_ORDERS: u64 = 4;

/// The largest distance of the random factors of the following runs from 1: small changes suit some instances, and large ones
/// others. Every sixth run makes large ones.
const NARROW_SPREAD: f64 = 0.1;
const WIDE_SPREAD: f64 = 0.5;

/// The number of greedy placements without a better one after which the best order is changed again.
const PATIENCE: u64 = 100;

/// The nodes of the shortest exact run.
const SHORTEST_RUN: u64 = 500;

/// The best placement of a component so far, and the searches that improve it. Heights include the component's base.
#[derive(Debug)]
pub(super) struct Job<'a> {
    component: &'a Component,
    placer: Placer<'a>,
    pub(super) best: u64,
    pub(super) offsets: Vec<u64>,
    /// No placement is lower.
    pub(super) bound: u64,
    search: Option<Search<'a>>,
    /// By piece: the largest load of its sections. Empty until the first exact run.
    peaks: Vec<u64>,
    /// The order of the best greedy placement, and the one that is being changed.
    best_order: Vec<u32>,
    order: Vec<u32>,
    best_greedy: u64,
    since_better: u64,
    /// The greatest height that was tried without success, until no height between this one and the best is left.
    tried: u64,
    runs: u64,
    turns: u64,
    random: Random,
}

impl<'a> Job<'a> {
    /// Runs the portfolio until a placement reaches the goal. The first placement completes with any budget.
    pub(super) fn new(component: &'a Component, goal: u64, budget: &mut Budget) -> Self {
        let mut job = Self {
            component,
            placer: Placer::new(component),
            best: u64::MAX,
            offsets: Vec::new(),
            bound: component.bound(),
            search: None,
            peaks: Vec::new(),
            best_order: Vec::new(),
            order: Vec::new(),
            best_greedy: u64::MAX,
            since_better: 0,
            tried: 0,
            runs: 0,
            turns: 0,
            random: Random::new(component.pieces.len() as u64),
        };
        for greedy in &PORTFOLIO {
            let order = greedy.order(component);
            let limit = job.best.saturating_sub(component.base);
            // The first one completes.
            let within = (job.best < u64::MAX).then_some(&mut *budget);
            if let Some(height) = job.placer.place(&order, greedy.fit, limit, within) {
                (job.best, job.best_greedy) = (component.base + height, component.base + height);
                job.offsets = job.placer.offsets().to_vec();
                job.best_order = order;
            }
            let goes_on = budget.spend(u64::from(component.len()));
            if job.best <= goal || !goes_on {
                break;
            }
        }
        job
    }

    /// Writes the offsets of the best placement, by buffer.
    pub(super) fn store(&self, offsets: &mut [u64]) {
        for (piece, offset) in self.component.pieces.iter().zip(&self.offsets) {
            offsets[piece.buffer as usize] = self.component.base + offset;
        }
    }

    /// Spends a slice of the budget on reaching the goal, or at least on a lower height.
    pub(super) fn improve(&mut self, goal: u64, is_capacity: bool, budget: &mut Budget) {
        let goal = goal.max(self.bound);
        if self.turns == 0 {
            self.search = Search::new(self.component);
            self.peaks = peak_loads(self.component);
        }
        // A capacity is what the caller asks for. A lower bound may be out of reach, and then heights between it and the best are better goals.
        match self.turns % 5 {
            0 => self.reorder(goal, budget),
            _ if self.search.is_none() => self.reorder(goal, budget),
            1 => drop(self.run(goal, budget)),
            2 | 3 if is_capacity => drop(self.run(goal, budget)),
            _ => self.bisect(goal, budget),
        }
        self.turns += 1;
    }

    /// Searches exactly for a placement in the lower half of the heights that were not tried.
    fn bisect(&mut self, goal: u64, budget: &mut Budget) {
        if self.tried < goal || self.tried + 1 >= self.best {
            self.tried = goal;
        }
        let middle = self.tried + (self.best - self.tried) / 2;
        if middle < self.best && !self.run(middle, budget) {
            self.tried = middle;
        }
    }

    /// Searches exactly for a placement of at most this height, with one order after another. Returns whether there is one.
    fn run(&mut self, target: u64, budget: &mut Budget) -> bool {
        let begun = budget.used();
        for _ in 0..RUNS {
            if budget.used() - begun > NODES_OF_A_TURN {
                return false;
            }
            let order = self.tie_break();
            let Some(search) = &mut self.search else { return false };
            let shortest = SHORTEST_RUN.max(2 * u64::from(self.component.len()));
            let nodes = shortest * luby(self.runs / STATIC_ORDERS + 1);
            // Every second run with a random order.
            let jumps = self.runs >= STATIC_ORDERS && self.runs % 2 == 1;
            self.runs += 1;
            match search.run(target - self.component.base, &order, jumps, nodes, budget) {
                Outcome::Found(offsets) => {
                    let ends = self.component.pieces.iter().zip(&offsets).map(|(piece, offset)| offset + piece.size);
                    self.best = self.component.base + ends.max().unwrap_or(0);
                    self.offsets = offsets;
                    return true;
                }
                Outcome::Infeasible => {
                    self.bound = target + 1;
                    return false;
                }
                Outcome::Unknown if budget.is_over() => return false,
                Outcome::Unknown => {}
            }
        }
        false
    }

    /// The next order that breaks ties between equal offsets. The first four are static: by the peak load of the sections, the lifetime and
    /// the area, in several sequences. The others put the peak load first, count sections that refuted many placements up to twice, and
    /// change the keys by random factors.
    fn tie_break(&mut self) -> Vec<u32> {
        let spread = match self.runs.checked_sub(STATIC_ORDERS) {
            None => 0.0,
            Some(run) if run % 6 == 2 => WIDE_SPREAD,
            Some(_) => NARROW_SPREAD,
        };
        let learned = self.search.as_mut().filter(|_| self.runs >= STATIC_ORDERS);
        let learned = learned.map(|search| search.learned(self.component));
        let peaks = learned.as_deref().unwrap_or(&self.peaks);
        let mut keys = Vec::with_capacity(peaks.len());
        for (piece, &peak) in self.component.pieces.iter().zip(peaks) {
            let factor = 1.0 - spread + 2.0 * spread * self.random.fraction();
            let (peak, width) = (peak as f64, piece.width() as f64 * factor);
            let area = width * piece.size as f64;
            keys.push(match self.runs {
                1 => [width, area, peak],
                2 => [peak, area, width],
                3 => [area, width, peak],
                _ => [peak, width, area],
            });
        }
        descending(&keys)
    }

    /// Places the pieces again and again in changed orders: pieces that end above the goal move forward.
    fn reorder(&mut self, goal: u64, budget: &mut Budget) {
        for _ in 0..REORDERINGS {
            if self.order.is_empty() || self.since_better > PATIENCE {
                self.order.clone_from(&self.best_order);
                self.since_better = 0;
            }
            let placed = self.placer.place(&self.order, Fit::Lowest, u64::MAX, Some(&mut *budget));
            let height = placed.map_or(u64::MAX, |height| height.saturating_add(self.component.base));
            self.since_better += 1;
            if height < self.best_greedy {
                (self.best_greedy, self.since_better) = (height, 0);
                self.best_order.clone_from(&self.order);
            }
            if height < self.best {
                self.best = height;
                self.offsets = self.placer.offsets().to_vec();
            }
            if self.best <= goal || !budget.spend(u64::from(self.component.len())) {
                return;
            }
            let limit = goal - self.component.base;
            let mut keys = vec![[0.0; 3]; self.order.len()];
            for (position, &index) in self.order.iter().enumerate() {
                let end = self.placer.offsets()[index as usize] + self.component.pieces[index as usize].size;
                let factor = if end > limit { self.random.fraction() } else { 1.0 };
                keys[index as usize] = [-(position as f64) * factor, 0.0, 0.0];
            }
            self.order = descending(&keys);
        }
    }
}

/// The indices of keys in descending order; equal keys keep their order.
fn descending(keys: &[[f64; 3]]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..narrow(keys.len())).collect();
    let key = |index: &u32| &keys[*index as usize];
    order.sort_by(|left, right| key(right).iter().partial_cmp(key(left)).unwrap_or(Ordering::Equal));
    order
}

/// The n-th number, from 1, of the sequence 1 1 2 1 1 2 4 1 1 2 1 1 2 4 8 … (Luby, Sinclair and Zuckerman 1993).
fn luby(mut n: u64) -> u64 {
    loop {
        if (n + 1).is_power_of_two() {
            return n.div_ceil(2);
        }
        n -= (1 << n.ilog2()) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_of_runs_follow_the_sequence() {
        let lengths: Vec<u64> = (1..=15).map(luby).collect();
        assert_eq!(lengths, [1, 1, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1, 2, 4, 8]);
    }
}
