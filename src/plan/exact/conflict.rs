//! The sections that refuted the placements of a frame.

use std::ops::Range;

/// A set of sections out of a range. Takes no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Conflict {
    /// The first section of the range, divided by 64.
    first: usize,
    /// The number of words of the range.
    length: usize,
    /// Empty until a section is added.
    words: Vec<u64>,
}

impl Conflict {
    pub(super) fn new(range: &Range<usize>) -> Self {
        let first = range.start / 64;
        Self { first, length: range.end.div_ceil(64) - first, words: Vec::new() }
    }

    /// Adds sections of the range.
    pub(super) fn add(&mut self, sections: Range<usize>) {
        self.words.resize(self.length, 0);
        for (word, mask) in masks(sections) {
            self.words[word - self.first] |= mask;
        }
    }

    /// Adds the sections of a set whose range is part of this one's.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.words.is_empty() {
            return;
        }
        self.words.resize(self.length, 0);
        for (word, added) in self.words[other.first - self.first..].iter_mut().zip(&other.words) {
            *word |= added;
        }
    }

    /// Returns whether one of the sections is in the set. They need not be in its range.
    pub(super) fn contains_any(&self, sections: Range<usize>) -> bool {
        masks(sections).any(|(word, mask)| {
            let word = word.checked_sub(self.first).and_then(|index| self.words.get(index));
            word.is_some_and(|word| word & mask != 0)
        })
    }
}

/// The words of a range, each with the bits of its sections.
fn masks(sections: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = sections.start / 64..sections.end.div_ceil(64);
    words.map(move |word| {
        let from = sections.start.max(64 * word) - 64 * word;
        let until = sections.end.min(64 * word + 64) - 64 * word;
        (word, (u64::MAX << from) & (u64::MAX >> (64 - until)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_contains_what_was_added_to_it_or_to_a_merged_one() {
        for (from, until) in [(70, 71), (64, 128), (127, 129), (100, 300), (255, 257)] {
            let mut inner = Conflict::new(&(64..300));
            inner.add(from..until);
            let mut outer = Conflict::new(&(3..400));
            outer.merge(&inner);
            for conflict in [inner, outer] {
                for section in 0..500 {
                    let is_inside = (from..until).contains(&section);
                    assert_eq!(conflict.contains_any(section..section + 1), is_inside, "{section} of {from}..{until}");
                }
                assert!(conflict.contains_any(0..500) && !conflict.contains_any(0..from));
            }
        }
    }
}
