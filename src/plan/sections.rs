//! The moments that matter: maximal sets of buffers that are live together.

use super::narrow;

/// A buffer in the coordinates of the search: the sections that it is live in, and its size in units of the alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) size: u64,
    /// The index of the buffer in the problem.
    pub(super) buffer: u32,
}

impl Piece {
    /// Whether the piece is live in one of the sections from `first` to `last`.
    pub(super) const fn overlaps(&self, first: u32, last: u32) -> bool {
        self.first <= last && first <= self.last
    }

    /// The number of sections that the piece is live in.
    pub(super) fn width(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// The sections that the piece is live in, as a range without its end.
    pub(super) const fn range(&self) -> std::ops::Range<usize> {
        self.first as usize..self.last as usize + 1
    }

    /// The sections that the piece is live in.
    pub(super) const fn sections(&self) -> std::ops::RangeInclusive<usize> {
        self.first as usize..=self.last as usize
    }
}

/// Replaces moments by sections, and returns the pieces in the order of the intervals and the number of sections.
///
/// A section is a moment after which a buffer ends and before which one began. The live set of every other moment is a subset of a
/// neighbouring section's, so it constrains nothing. No section's live set is a subset of another's: a buffer that ends at the earlier of
/// two sections is missing in the later one, and a buffer that begins at the later one is missing in the earlier.
pub(super) fn sections(intervals: impl Iterator<Item = (u64, u64, u64)>) -> (Vec<Piece>, u32) {
    let (mut events, mut pieces) = (Vec::new(), Vec::new());
    for (index, (lower, upper, size)) in intervals.enumerate() {
        let index = narrow(index);
        // Ends sort before beginnings at the same moment, because `upper` is exclusive.
        events.push((lower, true, index));
        events.push((upper, false, index));
        pieces.push(Piece { first: 0, last: 0, size, buffer: index });
    }
    events.sort_unstable();
    let (mut count, mut grew) = (0, false);
    for (_, begins, index) in events {
        if begins {
            pieces[index as usize].first = count;
            grew = true;
        } else {
            count += u32::from(std::mem::take(&mut grew));
            pieces[index as usize].last = count - 1;
        }
    }
    (pieces, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_maximal_live_sets_are_sections() {
        // Live sets: 0; 0 1; 1; 1 2; 2. Those of one buffer are subsets.
        let (pieces, count) = sections([(0, 10, 1), (5, 20, 1), (15, 30, 1)].into_iter());
        let spans: Vec<(u32, u32)> = pieces.iter().map(|piece| (piece.first, piece.last)).collect();
        assert_eq!((spans, count), (vec![(0, 0), (0, 1), (1, 1)], 2));
    }

    #[test]
    fn a_buffer_that_ends_when_another_begins_is_not_live_with_it() {
        let (pieces, count) = sections([(0, 10, 1), (10, 20, 1)].into_iter());
        assert_eq!(count, 2);
        assert!(!pieces[0].overlaps(pieces[1].first, pieces[1].last));
    }

    #[test]
    fn no_buffers_have_no_sections() {
        assert_eq!(sections(std::iter::empty()), (Vec::new(), 0));
    }
}
