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

/// Splits pieces wherever no piece is live in two neighbouring sections, and places pieces that are live in all sections of a part at its
/// bottom; then splits the rest again, until nothing changes. Costs O(n log n), however deep the parts are nested.
///
/// Neither step raises the optimum. Parts share no moment. A piece that is live in all sections of a part divides every placement into
/// what is below and what is above, so it can be exchanged with what is below.
///
/// A placed piece covers all of its part, so the number of pieces that are live in two neighbouring sections tells where to split: where it
/// is that of the pieces below the part.
pub(super) fn decompose(mut pieces: Vec<Piece>, sections: u32) -> Decomposition {
    let mut result = Decomposition::default();
    if sections == 0 {
        return result;
    }
    pieces.sort_unstable_by_key(|piece| (piece.first, piece.buffer));
    let by_range = by_range(&pieces);
    let crossing = Minima::new(crossing(&pieces, sections));
    let mut is_settled = vec![false; pieces.len()];
    let mut parts = vec![Part { begin: 0, end: sections, base: 0, below: 0 }];
    while let Some(Part { begin, end, mut base, mut below }) = parts.pop() {
        let range = (begin, end - 1);
        let first = by_range.partition_point(|&index| range_of(&pieces[index as usize]) < range);
        for &index in by_range[first..].iter().take_while(|&&index| range_of(&pieces[index as usize]) == range) {
            let piece = &pieces[index as usize];
            is_settled[index as usize] = true;
            result.settled.push((piece.buffer, base));
            base += piece.size;
            below += 1;
        }
        result.settled_height = result.settled_height.max(base);
        // Before the section `begin + 1`, or a later one.
        match crossing.least(begin as usize + 1, end as usize) {
            // One section, in which no other piece is live.
            None => {}
            Some((least, section)) if least == below => {
                parts.push(Part { begin, end: section, base, below });
                parts.push(Part { begin: section, end, base, below });
            }
            Some(_) => {
                let from = pieces.partition_point(|piece| piece.first < begin);
                let until = pieces.partition_point(|piece| piece.first < end);
                let rest = (from..until).filter(|&index| !is_settled[index]).map(|index| pieces[index]);
                result.components.push(component(rest.collect(), begin, end, base));
            }
        }
    }
    result
}

/// Sections, above `below` pieces of a height of `base` units that are live in all of them.
struct Part {
    begin: u32,
    end: u32,
    base: u64,
    below: u32,
}

const fn range_of(piece: &Piece) -> (u32, u32) {
    (piece.first, piece.last)
}

/// The pieces by their first and last sections.
fn by_range(pieces: &[Piece]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..narrow(pieces.len())).collect();
    // Keeps the order of the buffers.
    order.sort_by_key(|&index| range_of(&pieces[index as usize]));
    order
}

/// By section: the number of pieces that are live in it and in the one before.
fn crossing(pieces: &[Piece], sections: u32) -> Vec<u32> {
    let (mut begun, mut ended) = (vec![0; sections as usize + 1], vec![0; sections as usize + 1]);
    for piece in pieces {
        begun[piece.first as usize + 1] += 1;
        ended[piece.last as usize + 1] += 1;
    }
    let mut live = 0;
    let counts = begun.iter().zip(&ended).map(|(begun, ended)| {
        live = live + begun - ended;
        live
    });
    counts.take(sections as usize).collect()
}

/// Minima over ranges: a tree, each node of which has the least value of two others, and its place.
struct Minima {
    /// The values are the last half.
    nodes: Vec<(u32, u32)>,
}

impl Minima {
    fn new(values: Vec<u32>) -> Self {
        let count = values.len();
        let mut nodes = vec![(u32::MAX, u32::MAX); count];
        nodes.extend(values.into_iter().zip(0..));
        for node in (1..count).rev() {
            nodes[node] = nodes[2 * node].min(nodes[2 * node + 1]);
        }
        Self { nodes }
    }

    /// Returns the least value in a range and its first place. O(log n).
    fn least(&self, from: usize, until: usize) -> Option<(u32, u32)> {
        let count = self.nodes.len() / 2;
        let (mut from, mut until, mut least) = (from + count, until + count, None);
        while from < until {
            if from % 2 == 1 {
                least = least.into_iter().chain([self.nodes[from]]).min();
                from += 1;
            }
            if until % 2 == 1 {
                until -= 1;
                least = least.into_iter().chain([self.nodes[until]]).min();
            }
            (from, until) = (from / 2, until / 2);
        }
        least
    }
}

/// Returns the component of the pieces in some sections, above a base.
fn component(mut pieces: Vec<Piece>, begin: u32, end: u32, base: u64) -> Component {
    let sections = end - begin;
    let mut changes = vec![(0_u64, 0_u64, 0_u32, 0_u32); sections as usize + 1];
    for piece in &mut pieces {
        piece.first -= begin;
        piece.last -= begin;
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
    Component { pieces, sections, base, loads, load, widest }
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

    /// Each level places one buffer and separates another.
    fn chain(levels: u64) -> Vec<(u64, u64, u64)> {
        (0..levels).flat_map(|level| [(10 * level, 10 * levels, 1), (10 * level, 10 * level + 5, 1)]).collect()
    }

    #[test]
    fn a_chain_of_any_depth_needs_no_search() {
        // Passes over all pieces of a part would be 10¹⁰ steps.
        let result = decomposed(&chain(100_000));
        assert_eq!((result.components.len(), result.settled.len(), result.settled_height), (0, 200_000, 100_001));
    }

    /// By repeated passes over all pieces of a part, as the definition says.
    fn by_passes(mut pieces: Vec<Piece>, base: u64, settled: &mut Vec<(u32, u64)>, components: &mut Vec<Vec<u32>>) {
        let begin = pieces.iter().map(|piece| piece.first).min().unwrap_or(0);
        let end = pieces.iter().map(|piece| piece.last).max().unwrap_or(0);
        let mut base = base;
        let count = pieces.len();
        pieces.retain(|piece| {
            let is_whole = (piece.first, piece.last) == (begin, end);
            if is_whole {
                settled.push((piece.buffer, base));
                base += piece.size;
            }
            !is_whole
        });
        let is_split = |section: &u32| !pieces.iter().any(|piece| piece.first < *section && *section <= piece.last);
        let Some(section) = (begin + 1..=end).find(is_split) else {
            if pieces.len() < count && !pieces.is_empty() {
                return by_passes(pieces, base, settled, components);
            }
            if !pieces.is_empty() {
                components.push(pieces.iter().map(|piece| piece.buffer).collect());
            }
            return;
        };
        let (left, right): (Vec<Piece>, Vec<Piece>) = pieces.iter().partition(|piece| piece.first < section);
        for part in [left, right].into_iter().filter(|part| !part.is_empty()) {
            by_passes(part, base, settled, components);
        }
    }

    #[test]
    fn the_parts_are_those_of_passes_over_all_pieces() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = |most: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) % most
        };
        let mut with_components = 0;
        for round in 0..2000 {
            let (count, moments) = (1 + below(12), 2 + below(14));
            let interval = |_| {
                let lower = below(moments);
                (lower, lower + 1 + below(moments - lower), 1 + below(5))
            };
            let intervals: Vec<(u64, u64, u64)> = (0..count).map(interval).collect();
            let (pieces, count) = sections(intervals.iter().copied());
            let (mut settled, mut components) = (Vec::new(), Vec::new());
            let mut sorted = pieces.clone();
            sorted.sort_unstable_by_key(|piece| (piece.first, piece.buffer));
            by_passes(sorted, 0, &mut settled, &mut components);
            let mut result = decompose(pieces, count);
            result.settled.sort_unstable();
            settled.sort_unstable();
            assert_eq!(result.settled, settled, "round {round}: {intervals:?}");
            let buffers = |component: &Component| component.pieces.iter().map(|piece| piece.buffer).collect();
            let mut found: Vec<Vec<u32>> = result.components.iter().map(buffers).collect();
            found.sort_unstable();
            components.sort_unstable();
            assert_eq!(found, components, "round {round}: {intervals:?}");
            with_components += usize::from(!found.is_empty());
        }
        assert!(with_components > 300, "{with_components}");
    }
}
