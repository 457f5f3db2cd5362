//! Overlap of two layouts over one storage.

use super::Layout;

/// The number of sums that are checked before two layouts are assumed to overlap. Views of one tensor need one or two for each
/// dimension.
const MOST_STEPS: u32 = 256;

/// The distance that one dimension of either layout contributes: `stride` times a number from `low` to `high`.
#[derive(Clone, Copy, Debug)]
struct Step {
    stride: i128,
    low: i128,
    high: i128,
}

/// Returns whether two layouts may share a storage element. Conservative: may return true for layouts whose strides
/// differ in many dimensions without an overlap, and never returns false for an overlap.
pub(super) fn overlap(left: &Layout, right: &Layout) -> bool {
    if left.elements() == 0 || right.elements() == 0 {
        return false;
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut add = |(size, stride): (usize, usize), forward: bool| {
        if size < 2 || stride == 0 {
            return;
        }
        let (stride, most) = (stride as i128, size as i128 - 1);
        let (low, high) = if forward { (0, most) } else { (-most, 0) };
        // Dimensions with the same stride, in one layout or both, are one step.
        match steps.iter_mut().find(|step| step.stride == stride) {
            Some(step) => (step.low, step.high) = (step.low + low, step.high + high),
            None => steps.push(Step { stride, low, high }),
        }
    };
    left.dimensions().for_each(|dimension| add(dimension, true));
    right.dimensions().for_each(|dimension| add(dimension, false));
    steps.sort_by_key(|step| std::cmp::Reverse(step.stride));
    let mut budget = MOST_STEPS;
    reaches(&steps, right.offset as i128 - left.offset as i128, &mut budget)
}

/// Returns whether multiples of the steps can add up to a distance. Returns true when the budget is exhausted.
fn reaches(steps: &[Step], distance: i128, budget: &mut u32) -> bool {
    let Some((step, rest)) = steps.split_first() else { return distance == 0 };
    let of_rest = |bound: fn(&Step) -> i128| -> i128 { rest.iter().map(|step| bound(step) * step.stride).sum() };
    // The shorter steps span a limited distance, so only few multiples of this step remain.
    let least = -(of_rest(|step| step.high) - distance).div_euclid(step.stride);
    let most = (distance - of_rest(|step| step.low)).div_euclid(step.stride);
    for number in least.max(step.low)..=most.min(step.high) {
        let Some(left) = budget.checked_sub(1) else { return true };
        *budget = left;
        if reaches(rest, distance - number * step.stride, budget) {
            return true;
        }
    }
    false
}
