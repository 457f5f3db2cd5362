//! Splits a problem into parts that can be planned independently, and settles the buffers whose offset needs no search.

use super::narrow;
use super::sections::Piece;

/// Pieces that have to be placed together, above `base`.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// Sorted by their first sections. Sections count from 0 in each component.
    pub(super) pieces: Vec<Piece>,
    pub(super) sections: u32,
    /// The units below the component that are taken by buffers that live through all of it.
    pub(super) base: u64,
    /// By section: the sum of the live sizes, without the base.
    pub(super) loads: Vec<u64>,
    /// The largest of `loads`.
    pub(super) load: u64,
    /// The most pieces that are live at once.
    pub(super) widest: u32,
}

/// The rest to place after the decomposition.
#[derive(Debug, Default)]
pub(super) struct Decomposition {
    pub(super) components: Vec<Component>,
    /// Buffers whose offset is final, with the offset.
    pub(super) settled: Vec<(u32, u64)>,
    /// The highest end of a settled buffer.
    pub(super) settled_height: u64,
}

/// The maximum depth of the decomposition. Each level costs a pass over its pieces; a problem of nested buffers has as many levels as buffers.
const DEEPEST: u32 = 1000;

/// Splits pieces wherever no piece is live in two neighbouring sections, and places pieces that are live in all sections of a part at its
/// bottom; then splits the rest again, until nothing changes.
///
/// Neither step raises the optimum. Parts share no moment. A piece that is live in all sections of a part divides every placement into
/// what is below and what is above, so it can be exchanged with what is below.
pub(super) fn decompose(mut pieces: Vec<Piece>, sections: u32) -> Decomposition {
    pieces.sort_unstable_by_key(|piece| (piece.first, piece.buffer));
    let mut result = Decomposition::default();
    let mut parts = vec![Part { pieces, begin: 0, end: sections, base: 0, depth: 0 }];
    while let Some(mut part) = parts.pop() {
        let (begin, end) = (part.begin, part.end);
        part.pieces.retain(|piece| {
            let whole = piece.first == begin && piece.last + 1 == end;
            if whole {
                result.settled.push((piece.buffer, part.base));
                part.base += piece.size;
            }
            !whole
        });
        result.settled_height = result.settled_height.max(part.base);
        let depth = part.depth;
        let split = part.split();
        let unchanged = split.len() == 1 && (split[0].begin, split[0].end) == (begin, end);
        if unchanged || depth >= DEEPEST {
            result.components.extend(split.into_iter().map(Part::component));
        } else {
            parts.extend(split);
        }
    }
    result
}

/// Pieces of some sections, above a base.
struct Part {
    pieces: Vec<Piece>,
    begin: u32,
    end: u32,
    base: u64,
    depth: u32,
}

impl Part {
    fn split(self) -> Vec<Self> {
        let (base, depth) = (self.base, self.depth + 1);
        let mut parts: Vec<Self> = Vec::new();
        for piece in self.pieces {
            let (begin, end) = (piece.first, piece.last + 1);
            match parts.last_mut() {
                Some(part) if begin < part.end => {
                    part.end = part.end.max(end);
                    part.pieces.push(piece);
                }
                _ => parts.push(Self { pieces: vec![piece], begin, end, base, depth }),
            }
        }
        parts
    }

    fn component(mut self) -> Component {
        let sections = self.end - self.begin;
        let mut changes = vec![(0_u64, 0_u64, 0_u32, 0_u32); sections as usize + 1];
        for piece in &mut self.pieces {
            piece.first -= self.begin;
            piece.last -= self.begin;
            let begins = &mut changes[piece.first as usize];
            (begins.0, begins.2) = (begins.0 + piece.size, begins.2 + 1);
            let ends = &mut changes[piece.last as usize + 1];
            (ends.1, ends.3) = (ends.1 + piece.size, ends.3 + 1);
        }
        let (mut live, mut count, mut widest) = (0, 0, 0);
        let loads: Vec<u64> = changes[..sections as usize]
            .iter()
            .map(|(added, removed, more, fewer)| {
                live = live + added - removed;
                count = count + more - fewer;
                widest = widest.max(count);
                live
            })
            .collect();
        let load = loads.iter().copied().max().unwrap_or(0);
        Component { pieces: self.pieces, sections, base: self.base, loads, load, widest }
    }
}

impl Component {
    /// The number of pieces.
    pub(super) fn len(&self) -> u32 {
        narrow(self.pieces.len())
    }

    /// The height that no placement undercuts, with the base.
    pub(super) fn bound(&self) -> u64 {
        self.base + self.load
    }
}

#[cfg(test)]
mod tests {
    use super::super::sections::sections;
    use super::*;

    fn decomposed(intervals: &[(u64, u64, u64)]) -> Decomposition {
        let (pieces, count) = sections(intervals.iter().copied());
        decompose(pieces, count)
    }

    #[test]
    fn buffers_that_live_through_everything_are_settled_and_the_rest_is_split() {
        // Two buffers that are live alone at some moment, and a chain of four, above a buffer that is always live.
        let chain = [(40, 60, 3), (50, 80, 4), (70, 100, 5), (90, 110, 6)];
        let result = decomposed(&[[(0, 120, 7), (0, 10, 1), (20, 30, 2)].as_slice(), &chain].concat());
        let mut settled = result.settled.clone();
        settled.sort_unstable();
        assert_eq!((settled, result.settled_height), (vec![(0, 0), (1, 7), (2, 7)], 9));
        assert_eq!(result.components.len(), 1);
        let component = &result.components[0];
        assert_eq!((component.base, component.load, component.len(), component.widest), (7, 11, 4, 2));
        assert_eq!(component.loads, [7, 9, 11]);
    }

    #[test]
    fn nested_buffers_need_no_search() {
        let nested: Vec<(u64, u64, u64)> = (0..5000).map(|index| (index, 20_000 - index, 1)).collect();
        let result = decomposed(&nested);
        assert_eq!((result.components.len(), result.settled.len(), result.settled_height), (0, 5000, 5000));
    }

    #[test]
    fn a_chain_deeper_than_the_limit_is_a_component() {
        // Each level places one buffer and separates another.
        let chain = (0..3000_u64).flat_map(|level| [(10 * level, 1_000_000, 1), (10 * level, 10 * level + 5, 1)]);
        let result = decomposed(&chain.collect::<Vec<_>>());
        let placed: usize =
            result.settled.len() + result.components.iter().map(|part| part.pieces.len()).sum::<usize>();
        assert_eq!(placed, 6000);
        assert!(!result.components.is_empty(), "the decomposition stopped");
    }
}
