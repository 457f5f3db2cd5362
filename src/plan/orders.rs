//! The portfolio of greedy placements.

use super::components::Component;
use super::greedy::Fit;
use super::sections::Piece;
use std::cmp::Reverse;

/// A greedy placement: the order of the pieces, and where each is placed.
pub(super) struct Greedy {
    key: fn(&Piece, u64) -> Key,
    pub(super) fit: Fit,
}

/// Pieces are placed by ascending keys.
type Key = (Reverse<u128>, Reverse<u128>, Reverse<u128>);

/// The keys are computed from the piece and the largest load of its sections. The first is the order in which a program allocates. For
/// buffers of few sizes, or of few lifetimes, one of the others is optimal or almost so.
pub(super) const PORTFOLIO: [Greedy; 12] = [
    Greedy { key: |piece, _| key(early(piece), size(piece), width(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(size(piece), width(piece), early(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(octave(width(piece)), size(piece), early(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(width(piece), size(piece), early(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(size(piece) * width(piece), size(piece), early(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(octave(size(piece)), width(piece), early(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, load| key(u128::from(load), size(piece), width(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, load| key(u128::from(load), width(piece), size(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(early(piece), width(piece), size(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(u128::from(piece.last), size(piece), width(piece)), fit: Fit::Lowest },
    Greedy { key: |piece, _| key(early(piece), size(piece), width(piece)), fit: Fit::Tightest },
    Greedy { key: |piece, _| key(size(piece), width(piece), early(piece)), fit: Fit::Tightest },
];

impl Greedy {
    pub(super) fn order(&self, component: &Component) -> Vec<u32> {
        let loads = peak_loads(component);
        let key = |index: &u32| (self.key)(&component.pieces[*index as usize], loads[*index as usize]);
        let mut order: Vec<u32> = (0..component.len()).collect();
        order.sort_by_cached_key(key);
        order
    }
}

/// By piece: the largest load of the sections that it is live in.
pub(super) fn peak_loads(component: &Component) -> Vec<u64> {
    peaks(component, &component.loads)
}

/// By piece: the largest of the values of its sections.
pub(super) fn peaks(component: &Component, values: &[u64]) -> Vec<u64> {
    let maxima = Maxima::new(values);
    component.pieces.iter().map(|piece| maxima.of(piece.first as usize, piece.last as usize)).collect()
}

/// Maxima over ranges: row k has the maxima of all ranges of 2ᵏ values.
struct Maxima {
    rows: Vec<Vec<u64>>,
}

impl Maxima {
    fn new(values: &[u64]) -> Self {
        let mut rows = vec![values.to_vec()];
        let mut length = 1;
        while 2 * length <= values.len() {
            let row = &rows[rows.len() - 1];
            rows.push(row.iter().zip(&row[length..]).map(|(left, right)| *left.max(right)).collect());
            length *= 2;
        }
        Self { rows }
    }

    fn of(&self, first: usize, last: usize) -> u64 {
        let level = (last - first + 1).ilog2();
        let row = &self.rows[level as usize];
        row[first].max(row[last + 1 - (1 << level)])
    }
}

const fn key(first: u128, second: u128, third: u128) -> Key {
    (Reverse(first), Reverse(second), Reverse(third))
}

fn size(piece: &Piece) -> u128 {
    u128::from(piece.size)
}

fn width(piece: &Piece) -> u128 {
    u128::from(piece.width())
}

/// Larger for pieces that begin earlier.
fn early(piece: &Piece) -> u128 {
    u128::from(u32::MAX - piece.first)
}

/// The number of binary digits.
fn octave(value: u128) -> u128 {
    u128::from(u128::BITS - value.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_over_ranges_are_those_of_a_scan() {
        let values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
        let maxima = Maxima::new(&values);
        for first in 0..values.len() {
            for last in first..values.len() {
                assert_eq!(Some(maxima.of(first, last)), values[first..=last].iter().copied().max(), "{first} {last}");
            }
        }
    }
}
