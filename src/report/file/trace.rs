//! Export to a trace for the `replay` example.

use crate::pool::snapshot::{EventKind, Snapshot};
use std::collections::HashMap;
use std::fmt::Write;

/// The index of a block in order of allocation.
type Number = usize;

/// A line of the trace.
#[derive(Clone, Copy)]
enum Step {
    Allocate(Number),
    Free(Number),
}

/// The blocks of a history with their current locations, and the trace so far.
#[derive(Default)]
struct Replayed {
    /// Requested bytes. The size of a block that was allocated before the history begins is known when it is freed, or
    /// at the end.
    requested: Vec<u64>,
    /// Blocks that were allocated before the history begins.
    before: Vec<Number>,
    alive: HashMap<(u64, u64), Number>,
    steps: Vec<Step>,
}

impl Replayed {
    fn new_block(&mut self, requested: u64) -> Number {
        self.requested.push(requested);
        self.requested.len() - 1
    }

    /// Removes the block at an address. A block that no event has placed there was allocated before the history begins.
    fn take(&mut self, place: (u64, u64)) -> Number {
        self.alive.remove(&place).unwrap_or_else(|| {
            let number = self.new_block(0);
            self.before.push(number);
            number
        })
    }
}

impl Snapshot {
    /// Returns a trace for the `replay` example, as text: the allocations and frees of the history, preceded by an
    /// allocation for each block that was allocated before the history begins. Without a history the trace has one
    /// allocation for each allocated block, in order of addresses. Replaying the trace in an empty pool ends with the
    /// same live requests. O(blocks + events).
    #[must_use]
    pub fn to_trace(&self) -> String {
        let mut replayed = Replayed::default();
        for event in &self.events {
            let Some(segment) = event.segment else { continue };
            let place = (segment.number(), event.offset);
            match event.kind {
                // The trace has the blocks on the device.
                EventKind::Allocate | EventKind::Return => {
                    let number = replayed.new_block(event.requested);
                    replayed.alive.insert(place, number);
                    replayed.steps.push(Step::Allocate(number));
                }
                EventKind::Free | EventKind::Spill => {
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
                EventKind::SegmentCreated | EventKind::SegmentReleased | EventKind::Trim | EventKind::OutOfMemory => {}
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
    /// Writes the lines, with ids that count up from 0.
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
