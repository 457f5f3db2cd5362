//! The whole search: reductions, greedy placements, then improvements of the highest component.

use super::budget::Budget;
use super::components::{Decomposition, decompose};
use super::job::Job;
use super::sections::{Piece, sections};
use super::{Placement, Plan, PlanOptions, Problem};
use crate::error::PlanError;

pub(super) fn plan(problem: &Problem, options: &PlanOptions) -> Result<Plan, PlanError> {
    let alignment = options.alignment;
    if alignment == 0 {
        return Err(PlanError::ZeroAlignment);
    }
    let buffers = problem.buffers();
    let total = buffers
        .iter()
        .try_fold(0_u64, |total, buffer| total.checked_add(buffer.bytes.checked_next_multiple_of(alignment)?));
    total.ok_or(PlanError::TotalTooLarge { alignment })?;
    // From here on, sizes and offsets are in units of the alignment. No sum of sizes exceeds the total.
    let units = buffers.iter().map(|buffer| (buffer.lower, buffer.upper, buffer.bytes.div_ceil(alignment)));
    let (pieces, count) = sections(units);
    let mut budget = Budget::new(options.time, options.nodes);
    let packed = pack(buffers.len(), pieces, count, options.capacity.map(|bytes| bytes / alignment), &mut budget);
    let placement = |(buffer, offset): (&_, u64)| Placement { buffer: *buffer, offset: offset * alignment };
    Ok(Plan {
        placements: buffers.iter().zip(packed.offsets).map(placement).collect(),
        alignment,
        height: packed.height * alignment,
        lower_bound: packed.bound * alignment,
        nodes: budget.used(),
        names: problem.names.clone(),
    })
}

/// A plan in units of the alignment.
struct Packed {
    offsets: Vec<u64>,
    height: u64,
    bound: u64,
}

fn pack(count: usize, pieces: Vec<Piece>, sections: u32, capacity: Option<u64>, budget: &mut Budget) -> Packed {
    let Decomposition { components, settled, settled_height } = decompose(pieces, sections);
    let mut offsets = vec![0; count];
    for (buffer, offset) in settled {
        offsets[buffer as usize] = offset;
    }
    let mut bound = components.iter().map(super::components::Component::bound).fold(settled_height, u64::max);
    let mut height = settled_height;
    let mut high = Vec::new();
    for component in &components {
        let goal = capacity.unwrap_or(0).max(bound);
        let job = Job::new(component, goal, budget);
        if job.best > goal {
            high.push(job);
        } else {
            height = height.max(job.best);
            job.store(&mut offsets);
        }
    }
    // Only the highest component limits the height, so only that one is improved.
    while let Some(job) = high.iter_mut().max_by_key(|job| job.best) {
        bound = bound.max(job.bound);
        let goal = capacity.unwrap_or(0).max(bound);
        if job.best <= goal || budget.is_over() {
            break;
        }
        // A capacity at the lower bound may be as far out of reach as the bound itself.
        job.improve(goal, capacity.is_some_and(|capacity| capacity > bound), budget);
    }
    for job in &high {
        bound = bound.max(job.bound);
        height = height.max(job.best);
        job.store(&mut offsets);
    }
    Packed { offsets, height, bound }
}
