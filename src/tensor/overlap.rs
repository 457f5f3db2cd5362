//! Whether two layouts over one storage share a place.

use super::Layout;

/// Sums that are looked at before two layouts are taken to meet. Views of one tensor need one or two a dimension.
const MOST_STEPS: u32 = 256;

/// How much further a step along one dimension of either layout goes: by `stride` times a number from `low` to `high`.
#[derive(Clone, Copy, Debug)]
struct Step {
    stride: i128,
    low: i128,
    high: i128,
}

/// Whether two layouts share a place. May say so of two that don't if their strides are unlike each other's in many dimensions; never
/// the other way round.
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
        // Dimensions of one stride, of the same layout or of both, are one step.
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

/// Whether some numbers of steps add up to a distance, as far as the budget tells.
fn reaches(steps: &[Step], distance: i128, budget: &mut u32) -> bool {
    let Some((step, rest)) = steps.split_first() else { return distance == 0 };
    let of_rest = |bound: fn(&Step) -> i128| -> i128 { rest.iter().map(|step| bound(step) * step.stride).sum() };
    // What the shorter steps can make up for leaves few numbers of this one.
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
