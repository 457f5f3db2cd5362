use super::*;
use crate::heap::{Heap, HeapOptions, SubPool};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// Blocks by number, and their order of uses.
struct Program {
    blocks: Vec<BlockId>,
    order: Order,
}

impl Program {
    fn new(blocks: usize) -> Self {
        Self::with_window(blocks, LEAST_WINDOW)
    }

    fn with_window(blocks: usize, window: usize) -> Self {
        let mut heap = Heap::new(HeapOptions { granule: 64, small_limit: 0 }).expect("a valid granule");
        heap.add_segment(SubPool::Large, 64 * blocks as u64).expect("a multiple of the granule");
        let size = NonZeroU64::new(64).expect("not zero");
        let blocks = (0..blocks).map(|_| heap.allocate(size).expect("there is room")).collect();
        Self { blocks, order: Order::with_window(window) }
    }

    /// All blocks on the device, and these uses.
    fn of(blocks: usize, uses: impl IntoIterator<Item = usize>) -> Self {
        let mut program = Self::new(blocks);
        (0..blocks).for_each(|block| program.order.include(program.blocks[block]));
        uses.into_iter().for_each(|block| program.used(block));
        program
    }

    fn used(&mut self, block: usize) {
        self.order.used(self.blocks[block].key());
    }

    /// The blocks in the order in which they should move to host memory.
    fn ranking(&mut self) -> Vec<usize> {
        self.order.rank();
        let number = |id| self.blocks.iter().position(|&block| block == id).expect("a block of the program");
        self.order.ranked().map(number).collect()
    }
}

#[test]
fn without_a_period_the_least_recently_used_block_is_first() {
    let mut program = Program::of(5, [0, 1, 2, 3, 0]);
    assert_eq!(program.order.period(), None);
    assert_eq!(program.ranking(), [4, 1, 2, 3, 0]);
}

#[test]
fn in_a_loop_the_block_that_was_just_used_is_needed_last() {
    let mut program = Program::of(10, (0..3).flat_map(|_| 0..10).chain(0..4));
    assert_eq!(program.order.period(), Some(10));
    // The next uses are of 4, 5, … 9, 0, … 3.
    assert_eq!(program.ranking(), [3, 2, 1, 0, 9, 8, 7, 6, 5, 4]);
    program.used(4);
    assert_eq!(program.ranking(), [4, 3, 2, 1, 0, 9, 8, 7, 6, 5]);
}

#[test]
fn blocks_that_are_used_several_times_in_a_period_count_by_their_next_use() {
    let step = [0, 1, 2, 3, 3, 2, 1, 0, 4];
    let mut uses: Vec<usize> = (0..8).flat_map(|_| step).collect();
    uses.extend([0, 1, 2, 3]);
    let mut program = Program::of(5, uses);
    assert_eq!(program.order.period(), Some(9));
    // The next uses are of 3, 2, 1, 0, 4.
    assert_eq!(program.ranking(), [4, 0, 1, 2, 3]);
}

#[test]
fn a_block_outside_the_loop_is_first_and_a_new_block_is_last() {
    let mut program = Program::of(10, [9].into_iter().chain((0..20).flat_map(|_| 0..3)));
    program.order.entered(program.blocks[5]);
    let ranking = program.ranking();
    assert_eq!((ranking.first(), ranking.last()), (Some(&3), Some(&5)), "{ranking:?}");
    let place = |block| ranking.iter().position(|&other| other == block);
    assert!(place(9) < place(2));
    program.used(0);
    // The block was not used by the next command.
    assert_ne!(program.ranking().last(), Some(&5));
}

#[test]
fn a_loop_that_changes_is_learned_again() {
    let mut program = Program::of(6, (0..10).flat_map(|_| 0..6));
    assert_eq!(program.order.period(), Some(6));
    program.used(3);
    assert_eq!(program.order.period(), None);
    (0..10).flat_map(|_| [3, 1, 5]).for_each(|block| program.used(block));
    assert_eq!(program.order.period(), Some(3));
}

#[test]
fn the_list_of_uses_grows_with_the_period_up_to_its_limit() {
    let mut order = Order::new();
    let mut pass = |blocks| (0..blocks).for_each(|slot| order.used(slot));
    (0..3).for_each(|_| pass(3 * LEAST_WINDOW));
    assert_eq!(order.period(), Some(3 * LEAST_WINDOW as u64));
    let mut pass = |blocks| (0..blocks).for_each(|slot| order.used(slot));
    (0..3).for_each(|_| pass(MOST_WINDOW + 1));
    assert_eq!((order.period(), order.uses.len()), (None, MOST_WINDOW));
}

/// Belady's rule on the learned order moves little more than the excess, and the least recently used rule everything.
#[test]
fn looping_over_more_than_fits_moves_the_excess_only() {
    for (blocks, room) in [(11, 10), (15, 10), (20, 10), (40, 10), (110, 100)] {
        let mut program = Program::new(blocks);
        let mut present = BTreeSet::new();
        let mut misses = 0;
        let passes = 20;
        for pass in 0..passes {
            for block in 0..blocks {
                if !present.contains(&block) {
                    if present.len() == room {
                        let victim = program.ranking()[0];
                        program.order.exclude(program.blocks[victim]);
                        assert!(present.remove(&victim));
                    }
                    present.insert(block);
                    program.order.include(program.blocks[block]);
                    misses += usize::from(pass >= passes / 2);
                }
                program.used(block);
            }
        }
        // The best possible number is (blocks - room) / (blocks - 1) of the uses.
        let uses = passes / 2 * blocks;
        let best = (uses * (blocks - room)).div_ceil(blocks - 1);
        assert!(misses <= best + passes, "{blocks} blocks in {room}: {misses} of {uses}, at best {best}");
    }
}

/// The ranking, computed from all uses.
fn expected(program: &Program, uses: &[usize], touched: &[usize], on_device: &[bool]) -> Vec<usize> {
    let window = program.order.window();
    let cursor = program.order.period().map(|period| uses.len() - 1 - usize::try_from(period).expect("small"));
    assert!(cursor.is_none_or(|cursor| ((uses.len() - cursor) as u64) <= window));
    let key = |block: usize| {
        let last = uses.iter().rposition(|&used| used == block).map_or(0, |last| last + 1);
        if touched[block] > uses.len() {
            return (2, 0, Reverse(0));
        }
        let next =
            cursor.and_then(|cursor| Some(cursor + 1 + uses[cursor + 1..].iter().position(|&used| used == block)?));
        match next {
            Some(next) => (1, 0, Reverse(next)),
            None => (0, last.max(touched[block]), Reverse(0)),
        }
    };
    let mut blocks: Vec<usize> = (0..program.blocks.len()).filter(|&block| on_device[block]).collect();
    blocks.sort_by_key(|&block| (key(block), program.blocks[block].key()));
    blocks
}

/// A part of a program.
#[derive(Clone, Debug)]
enum Part {
    /// Passes over a list of blocks.
    Loop {
        blocks: Vec<usize>,
        passes: usize,
    },
    Enter(usize),
    Include(usize),
    Exclude(usize),
    Rank,
}

fn part() -> impl Strategy<Value = Part> {
    let block = || 0..12_usize;
    prop_oneof![
        (prop::collection::vec(block(), 1..20), 1..12_usize).prop_map(|(blocks, passes)| Part::Loop { blocks, passes }),
        block().prop_map(Part::Enter),
        block().prop_map(Part::Include),
        block().prop_map(Part::Exclude),
        Just(Part::Rank),
    ]
}

proptest! {
    /// After any program, with the ranking brought up to date at any times and a list that becomes longer meanwhile.
    #[test]
    fn the_ranking_is_that_of_all_uses(parts in prop::collection::vec(part(), 1..40), every in 1..80_usize) {
        let mut program = Program::with_window(12, 8);
        let (mut uses, mut touched, mut on_device) = (Vec::new(), [0; 12], [false; 12]);
        for part in parts {
            match part {
                Part::Loop { blocks, passes } => {
                    for &block in blocks.iter().cycle().take(blocks.len() * passes) {
                        program.used(block);
                        uses.push(block);
                        if uses.len() % every == 0 {
                            prop_assert_eq!(program.ranking(), expected(&program, &uses, &touched, &on_device));
                        }
                    }
                }
                Part::Enter(block) => {
                    program.order.entered(program.blocks[block]);
                    touched[block] = uses.len() + 1;
                    on_device[block] = true;
                }
                Part::Include(block) => {
                    program.order.include(program.blocks[block]);
                    on_device[block] = true;
                }
                Part::Exclude(block) => {
                    program.order.exclude(program.blocks[block]);
                    on_device[block] = false;
                }
                Part::Rank => {
                    prop_assert_eq!(program.ranking(), expected(&program, &uses, &touched, &on_device));
                }
            }
        }
        prop_assert_eq!(program.ranking(), expected(&program, &uses, &touched, &on_device));
    }
}
