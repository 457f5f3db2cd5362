//! The nodes and the time that a search may use.

use quanta::Instant;
use std::time::Duration;

/// The clock is read once for this many nodes.
const NODES_PER_READING: u64 = 32;

/// The rest of the nodes and the time of a search. A node is one placement of one piece.
#[derive(Debug)]
pub(super) struct Budget {
    begun: Instant,
    time: Duration,
    most: u64,
    used: u64,
    next_reading: u64,
    is_over: bool,
}

impl Budget {
    pub(super) fn new(time: Duration, most: u64) -> Self {
        Self { begun: Instant::now(), time, most, used: 0, next_reading: 0, is_over: false }
    }

    /// Counts nodes. Returns false if the search has to end.
    pub(super) fn spend(&mut self, nodes: u64) -> bool {
        self.used = self.used.saturating_add(nodes);
        if self.used >= self.next_reading {
            self.next_reading = self.used.saturating_add(NODES_PER_READING);
            self.is_over = self.is_over || self.begun.elapsed() >= self.time;
        }
        self.is_over = self.is_over || self.used > self.most;
        !self.is_over
    }

    /// Reads the clock and counts no nodes. Returns whether the search has to end.
    pub(super) fn is_over_now(&mut self) -> bool {
        self.is_over = self.is_over || self.begun.elapsed() >= self.time;
        self.is_over
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }
}
