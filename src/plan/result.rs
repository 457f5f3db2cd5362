//! The output of planning, and the options.

use super::Buffer;
use super::csv::Names;
use crate::error::PlanError;
use std::collections::BTreeMap;
use std::time::Duration;

/// Options of [`Problem::plan`](super::Problem::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Every offset is a multiple of this many bytes, and every size is rounded up to one. Default: 1.
    pub alignment: u64,
    /// Stops as soon as the height is at most this many bytes. Default: none, then the search tries to reach the lower bound.
    pub capacity: Option<u64>,
    /// The search stops after this time. The first greedy pass always completes. Default: 10 s.
    pub time: Duration,
    /// The search stops after this many nodes: placements that the search tried. A plan that ends by nodes, by the capacity or with a proof
    /// is the same on every machine. Default: no limit.
    pub nodes: u64,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { alignment: 1, capacity: None, time: Duration::from_secs(10), nodes: u64::MAX }
    }
}

impl PlanOptions {
    /// Sets the [alignment](Self::alignment) in bytes.
    #[must_use]
    pub fn alignment(self, alignment: u64) -> Self {
        Self { alignment, ..self }
    }

    /// Sets the [capacity](Self::capacity) in bytes.
    #[must_use]
    pub fn capacity(self, capacity: u64) -> Self {
        Self { capacity: Some(capacity), ..self }
    }

    /// Sets the [time budget](Self::time).
    #[must_use]
    pub fn time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Sets the [maximum number of nodes](Self::nodes).
    #[must_use]
    pub fn nodes(self, nodes: u64) -> Self {
        Self { nodes, ..self }
    }
}

/// A buffer and its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The buffer.
    pub buffer: Buffer,
    /// The offset of its first byte.
    pub offset: u64,
}

/// An offset for each buffer of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) placements: Vec<Placement>,
    pub(super) alignment: u64,
    pub(super) height: u64,
    pub(super) lower_bound: u64,
    pub(super) nodes: u64,
    pub(super) names: Names,
}

impl Plan {
    /// Returns the buffers with their offsets, in the order of the problem.
    #[must_use]
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// Returns the number of bytes that the plan needs: the highest end of a buffer, rounded up to the alignment.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Returns a height in bytes below which no plan exists: the largest sum of sizes that are live together, or more where the search has
    /// proved more.
    #[must_use]
    pub fn lower_bound(&self) -> u64 {
        self.lower_bound
    }

    /// Returns the height minus the lower bound, in bytes.
    #[must_use]
    pub fn gap(&self) -> u64 {
        self.height - self.lower_bound
    }

    /// Returns whether no plan is lower: the gap is 0.
    #[must_use]
    pub fn is_optimal(&self) -> bool {
        self.gap() == 0
    }

    /// Returns whether the plan fits this many bytes.
    #[must_use]
    pub fn fits(&self, capacity: u64) -> bool {
        self.height <= capacity
    }

    /// Returns the number of placements that the search tried.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Checks the plan: no two buffers that are live together overlap, offsets are aligned, and no buffer ends above the height. Costs
    /// O(n log n).
    ///
    /// # Errors
    ///
    /// [`PlanError::Overlap`] or [`PlanError::OutOfPlan`] with the first violation.
    pub fn check(&self) -> Result<(), PlanError> {
        let mut events = Vec::with_capacity(2 * self.placements.len());
        for (index, Placement { buffer, offset }) in self.placements.iter().enumerate() {
            let inside = offset.checked_add(buffer.bytes).is_some_and(|end| end <= self.height);
            if !inside || offset % self.alignment != 0 {
                let (alignment, height) = (self.alignment, self.height);
                return Err(PlanError::OutOfPlan { id: buffer.id, offset: *offset, alignment, height });
            }
            // Ends come before beginnings at the same moment.
            events.push((buffer.lower, true, index));
            events.push((buffer.upper, false, index));
        }
        events.sort_unstable();
        // The live buffers by offset. They do not overlap, so only the two neighbours of a new buffer can overlap with it.
        let mut live: BTreeMap<u64, usize> = BTreeMap::new();
        for (_, begins, index) in events {
            let Placement { buffer, offset } = self.placements[index];
            if !begins {
                live.remove(&offset);
                continue;
            }
            let below = live.range(..offset).next_back().map(|(_, other)| *other);
            let above = live.range(offset..).next().map(|(_, other)| *other);
            for other in [below, above].into_iter().flatten() {
                let other = self.placements[other];
                if other.offset < offset + buffer.bytes && offset < other.offset + other.buffer.bytes {
                    return Err(PlanError::Overlap { first: other.buffer.id, second: buffer.id });
                }
            }
            live.insert(offset, index);
        }
        Ok(())
    }
}
