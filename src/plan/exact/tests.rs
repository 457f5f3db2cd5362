//! The exact search without greedy placements before it.

use super::super::components::decompose;
use super::super::random::Random;
use super::super::sections::sections;
use super::*;
use std::time::Duration;

fn below(random: &mut Random, end: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is below 1 and the end is small")]
    let number = (random.fraction() * end as f64) as u64;
    number
}

/// Intervals that fill a rectangle of the given height, in `count` pieces.
fn cut(random: &mut Random, count: usize, moments: u64, height: u64) -> Vec<(u64, u64, u64)> {
    let mut pieces = vec![((0, moments), (0, height))];
    while pieces.len() < count {
        let index = usize::try_from(below(random, pieces.len() as u64)).expect("it is an index");
        let (time, space) = pieces[index];
        let cuts_time = below(random, 2) == 0;
        let (low, high) = if cuts_time { time } else { space };
        if high - low < 2 {
            continue;
        }
        let at = low + 1 + below(random, high - low - 1);
        pieces[index] = if cuts_time { ((low, at), space) } else { (time, (low, at)) };
        pieces.push(if cuts_time { ((at, high), space) } else { (time, (at, high)) });
    }
    pieces.into_iter().map(|((lower, upper), (low, high))| (lower, upper, high - low)).collect()
}

/// Runs a search with a shuffled order.
fn search(search: &mut Search<'_>, capacity: u64, jumps: bool, random: &mut Random, nodes: u64) -> Outcome {
    let mut order: Vec<u32> = (0..super::super::narrow(search.class.len())).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, usize::try_from(below(random, index as u64 + 1)).expect("it is an index"));
    }
    search.run(capacity, &order, jumps, nodes, &mut Budget::new(Duration::MAX, u64::MAX))
}

#[test]
fn what_is_known_to_fit_is_never_refuted_and_found_placements_are_valid() {
    let (mut found, mut refuted_states, mut random) = (0, 0, Random::new(1));
    for case in 0..60 {
        let (pieces, count) = sections(cut(&mut random, 20 + case, 16, 60).into_iter());
        for component in decompose(pieces, count).components {
            // The pieces were cut out of a rectangle of height 60, so they fit in its part above the base.
            let capacity = 60 - component.base;
            let mut exact = Search::new(&component).expect("the component is small");
            for run in 0..8 {
                match search(&mut exact, capacity, run % 2 == 1, &mut random, 1500) {
                    Outcome::Infeasible => panic!("{component:?} fits {capacity}"),
                    Outcome::Unknown => {}
                    Outcome::Found(offsets) => {
                        found += 1;
                        for (index, piece) in component.pieces.iter().enumerate() {
                            assert!(offsets[index] + piece.size <= capacity);
                            for (other, offset) in component.pieces.iter().zip(&offsets).take(index) {
                                let together = piece.overlaps(other.first, other.last);
                                let overlap =
                                    offsets[index] < offset + other.size && *offset < offsets[index] + piece.size;
                                assert!(!(together && overlap), "{component:?}: {offsets:?}");
                            }
                        }
                    }
                }
                refuted_states += exact.refuted.len();
            }
        }
    }
    assert!(found > 50 && refuted_states > 1000, "{found} found, {refuted_states} states refuted");
}

#[test]
fn a_run_that_jumped_over_all_placements_proves_nothing() {
    let (mut unknown, mut random) = (0, Random::new(3));
    for case in 0..1500 {
        let (pieces, count) = sections(cut(&mut random, 20 + case % 20, 16, 60).into_iter());
        for component in decompose(pieces, count).components {
            let mut exact = Search::new(&component).expect("the component is small");
            let outcome = search(&mut exact, 60 - component.base, true, &mut random, 20_000);
            assert_ne!(outcome, Outcome::Infeasible, "{component:?} fits");
            unknown += u32::from(outcome == Outcome::Unknown && exact.has_jumped);
        }
    }
    assert!(unknown > 0, "no run ended without a placement");
}

#[test]
fn a_capacity_that_nothing_fits_is_refuted_with_every_order() {
    let chain =
        [(1, 4, 3), (1, 4, 3), (0, 3, 2), (2, 5, 1), (2, 5, 3), (3, 4, 3), (0, 1, 11), (1, 2, 5), (2, 3, 1), (4, 5, 9)];
    let (pieces, count) = sections(chain.into_iter());
    let components = decompose(pieces, count).components;
    let [component] = components.as_slice() else { panic!("{components:?}") };
    let mut random = Random::new(2);
    for _ in 0..20 {
        // Without the states that an earlier run refuted.
        let mut exact = Search::new(component).expect("the component is small");
        for capacity in [0, component.load - 1, component.load] {
            assert_eq!(search(&mut exact, capacity, false, &mut random, 100_000), Outcome::Infeasible, "{capacity}");
        }
        assert!(matches!(search(&mut exact, component.load + 1, false, &mut random, 100_000), Outcome::Found(_)));
    }
}

#[test]
fn states_of_the_same_pieces_with_different_offsets_have_different_hashes() {
    let (pieces, count) = sections([(0, 2, 3), (1, 4, 2), (3, 6, 3), (5, 8, 2)].into_iter());
    let components = decompose(pieces, count).components;
    let mut exact = Search::new(&components[0]).expect("the component is small");
    exact.state.reset(100);
    let all: Rc<[u32]> = [0, 1, 2, 3].into();
    let before = exact.frame(Rc::clone(&all)).hash;
    exact.state.low[2] = 1;
    assert_ne!(exact.frame(Rc::clone(&all)).hash, before);
    exact.state.low[2] = 0;
    assert_eq!(exact.frame(all).hash, before);
    assert_ne!(exact.frame([0, 1, 2].into()).hash, before);
}

#[test]
fn a_deep_search_does_not_store_all_pieces_at_each_depth() {
    const COUNT: u64 = 4000;
    let mut random = Random::new(5);
    let pieces = (0..COUNT).map(|_| {
        let first = below(&mut random, COUNT);
        (first, first + 1 + below(&mut random, 100), 1 + below(&mut random, 1000))
    });
    let (pieces, count) = sections(pieces.collect::<Vec<_>>().into_iter());
    let decomposition = decompose(pieces, count);
    let component = decomposition.components.iter().max_by_key(|component| component.pieces.len());
    let component = component.expect("not every piece is settled");
    assert!(component.pieces.len() > 1000, "{} pieces", component.pieces.len());
    for jumps in [false, true] {
        let mut exact = Search::new(component).expect("the component is small");
        let mut outcome = Outcome::Unknown;
        let run = || outcome = search(&mut exact, 2 * component.load, jumps, &mut random, 100_000);
        let most = allocation_counter::measure(run).bytes_max;
        assert!(matches!(outcome, Outcome::Found(_)), "twice the load is enough");
        // The candidates and the changes to undo remain.
        let lists = 4 * u64::from(component.len()).pow(2) / 2;
        assert!(most < lists / 4 * 3, "{most} bytes, and {lists} in lists of all remaining pieces alone");
    }
}
