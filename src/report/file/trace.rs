//! A trace for `replay`.

use crate::pool::snapshot::{EventKind, Snapshot};
use std::collections::HashMap;
use std::fmt::Write;

/// A block of the history, by its number in the order of allocation.
type Number = usize;

/// What a trace has a line for.
#[derive(Clone, Copy)]
enum Step {
    Allocate(Number),
    Free(Number),
}

/// The blocks of a history, where they lie at the moment, and what happened.
#[derive(Default)]
struct Replayed {
    /// Bytes asked for; those of a block that was there before the history are known once it is freed, or at the end.
    requested: Vec<u64>,
    /// Blocks that were there before.
    before: Vec<Number>,
    alive: HashMap<(u64, u64), Number>,
    steps: Vec<Step>,
}

impl Replayed {
    fn new_block(&mut self, requested: u64) -> Number {
        self.requested.push(requested);
        self.requested.len() - 1
    }

    /// Takes the block away that lies at a place: one that no event has put there was there before.
    fn take(&mut self, place: (u64, u64)) -> Number {
        self.alive.remove(&place).unwrap_or_else(|| {
            let number = self.new_block(0);
            self.before.push(number);
            number
        })
    }
}

impl Snapshot {
    /// A trace for `replay`, as text: the allocations and frees of the history, after an allocation for each block that was
    /// there before it. Without a history it is an allocation for each block that is handed out, in the order of addresses.
    /// Replayed in an empty pool it ends with the same requests alive. O(blocks and events).
    #[must_use]
    pub fn to_trace(&self) -> String {
        let mut replayed = Replayed::default();
        for event in &self.events {
            let Some(segment) = event.segment else { continue };
            let place = (segment.number(), event.offset);
            match event.kind {
                EventKind::Allocate => {
                    let number = replayed.new_block(event.requested);
                    replayed.alive.insert(place, number);
                    replayed.steps.push(Step::Allocate(number));
                }
                EventKind::Free => {
                    let number = replayed.take(place);
                    replayed.requested[number] = event.requested;
                    replayed.steps.push(Step::Free(number));
                }
                EventKind::Move => {
                    let number = replayed.take(place);
                    if let Some((segment, offset)) = event.to {
                        replayed.alive.insert((segment.number(), offset), number);
                    }
                }
                EventKind::SegmentMade | EventKind::SegmentReleased | EventKind::Trim | EventKind::OutOfMemory => {}
            }
        }
        for segment in &self.segments {
            for block in segment.blocks.iter().filter(|block| block.state.is_allocated()) {
                let number = replayed.take((segment.id.number(), block.offset));
                replayed.requested[number] = block.requested;
            }
        }
        replayed.text()
    }
}

impl Replayed {
    /// The lines, with ids that count up from 0.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut ids = vec![None; self.requested.len()];
        let mut next = 0..;
        let before = self.before.iter().map(|&number| Step::Allocate(number));
        for step in before.chain(self.steps.iter().copied()) {
            match step {
                Step::Allocate(number) => {
                    let id: usize = next.next().expect("a range without an end");
                    ids[number] = Some(id);
                    writeln!(text, "a {id} {}", self.requested[number])
                }
                Step::Free(number) => {
                    let id = ids[number].expect("a block is allocated, or was there, before it is freed");
                    writeln!(text, "f {id}")
                }
            }
            .expect("a String takes every text");
        }
        text
    }
}
