//! The plans of repeated steps in a snapshot.

use super::SharedProgress;
use super::log::{NEVER, Request};
use super::run::Steps;
use super::step_plan::{Slot, StepPlan};
use crate::device::CacheUse;
use crate::heap::SegmentId;
use slab::Slab;
use std::panic::Location;
use std::sync::{Arc, Weak};

/// A loop with planned steps: its arena, and the plan that it followed last. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PlanSnapshot {
    /// The segments of the arena. Empty while there is none.
    pub arena: Vec<SegmentId>,
    /// The size that the plan needs of each segment.
    pub segments: Vec<u64>,
    /// The peak of the planned blocks.
    pub lower_bound: u64,
    /// The number of runs.
    pub runs: u64,
    /// Runs that followed a plan.
    pub agreeing: u64,
    /// Runs that deviated from every plan.
    pub deviating: u64,
    /// The requests of the plan, in their order.
    pub requests: Vec<PlannedRequest>,
}

/// A request of a planned step. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PlannedRequest {
    /// The requested bytes.
    pub bytes: u64,
    /// The size of the block.
    pub size: u64,
    /// The number of the call site.
    pub site: u32,
    /// The number of the event that allocates the block.
    pub lower: u32,
    /// The number of the event that frees the block. `None` if the block outlives the step.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub upper: Option<u32>,
    /// The number of the segment in [`PlanSnapshot::segments`]. `None` if the heap places the block.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub segment: Option<u32>,
    /// The offset in the segment.
    pub offset: u64,
}

/// The loops of a pool.
pub(super) type Loops = Slab<Loop>;

/// A loop, as its pool has it.
#[derive(Debug, Default)]
pub(in crate::pool) struct Loop {
    pub(super) view: LoopView,
    pub(super) progress: Weak<SharedProgress>,
    /// Whether the plans are dropped at the end of the run in progress.
    pub(super) forgets: bool,
}

/// The part of a snapshot about a loop, and the memory of its plans.
#[derive(Clone, Debug, Default)]
pub(in crate::pool) struct LoopView {
    pub(super) arena: Vec<SegmentId>,
    pub(super) plan: Option<Arc<StepPlan>>,
    pub(super) runs: u64,
    pub(super) agreeing: u64,
    pub(super) deviating: u64,
    pub(super) usage: PlanUse,
}

/// The usage of the plans of loops as a cache.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pool) struct PlanUse {
    pub(super) plans: u64,
    pub(super) most: u64,
    pub(super) bytes: u64,
    pub(super) made: u64,
}

impl Steps {
    /// Returns the usage of the plans of all loops, each of which keeps at most [`RepeatOptions::kinds`](super::RepeatOptions::kinds).
    pub(in crate::pool) fn cache_use(&self) -> CacheUse {
        let sum = |part: fn(&PlanUse) -> u64| self.loops().map(|view| part(&view.usage)).fold(0, u64::saturating_add);
        CacheUse {
            entries: sum(|usage| usage.plans),
            most_entries: Some(sum(|usage| usage.most)),
            bytes: Some(sum(|usage| usage.bytes)),
            made: sum(|usage| usage.made),
            ..CacheUse::named("plans of repeated steps")
        }
    }
}

impl LoopView {
    /// Returns the loop's part of a snapshot, if it has a plan.
    pub(in crate::pool) fn snapshot(
        &self,
        granule: u64,
        mut site: impl FnMut(&'static Location<'static>) -> u32,
    ) -> Option<PlanSnapshot> {
        let plan = self.plan.as_ref()?;
        let request = |(request, slot): (&Request, &Slot)| {
            let is_planned = slot.segment != Slot::OUTSIDE;
            PlannedRequest {
                bytes: request.bytes,
                size: u64::from(slot.size) * granule,
                site: site(request.site),
                lower: request.lower,
                upper: (request.upper != NEVER).then_some(request.upper),
                segment: is_planned.then_some(slot.segment),
                offset: u64::from(slot.offset) * granule,
            }
        };
        Some(PlanSnapshot {
            arena: self.arena.clone(),
            segments: plan.segments().iter().map(|&size| u64::from(size) * granule).collect(),
            lower_bound: plan.peak() * granule,
            runs: self.runs,
            agreeing: self.agreeing,
            deviating: self.deviating,
            requests: plan.requests().map(request).collect(),
        })
    }
}
