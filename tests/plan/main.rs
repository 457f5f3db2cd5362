//! Offline planning: plans against brute force, limits, determinism, and malformed input.

#[path = "../../fuzz/bodies/plan.rs"]
#[expect(dead_code, reason = "the body itself runs with the committed inputs")]
mod brute_force;
mod csv;
#[path = "../../fuzz/bodies/input.rs"]
mod input;
mod instances;
mod limits;
#[path = "../common/random.rs"]
#[expect(dead_code, reason = "these tests need no numbers for kernels")]
mod random;

use brute_force::{assert_valid, live_sum, lowest_height};
use random::Random;
use std::time::Duration;
use wgpu_pool::plan::{Buffer, PlanOptions, Problem};

/// Options whose result does not depend on the machine's speed.
fn unhurried(nodes: u64) -> PlanOptions {
    PlanOptions::default().time(Duration::MAX).nodes(nodes)
}

/// Buffers with lifetimes up to `longest` within `moments`.
fn buffers(random: &mut Random, count: usize, moments: usize, longest: usize, largest: u64) -> Vec<Buffer> {
    let buffer = |id| {
        let lower = random.below(moments) as u64;
        Buffer { id, lower, upper: lower + 1 + random.below(longest) as u64, bytes: random.size(largest) }
    };
    (0..count as u64).map(buffer).collect()
}

/// Buffers whose live sum is the same at every moment, so that a plan of that height has no gaps.
fn tight(random: &mut Random, count: usize, moments: usize, longest: usize, largest: u64) -> Vec<Buffer> {
    let mut buffers = buffers(random, count, moments, longest, largest);
    let sum = live_sum(&buffers, 1);
    for lower in 0..(moments + longest) as u64 {
        let live = buffers.iter().filter(|buffer| buffer.lower <= lower && lower < buffer.upper);
        let bytes = sum - live.map(|buffer| buffer.bytes).sum::<u64>();
        if bytes > 0 {
            buffers.push(Buffer { id: buffers.len() as u64, lower, upper: lower + 1, bytes });
        }
    }
    buffers
}

#[test]
fn plans_of_tiny_problems_are_as_low_as_those_of_brute_force_and_proved_optimal() {
    let mut random = Random::new(1);
    for _ in 0..200 {
        let count = 3 + random.below(5);
        let alignment = 1 + random.below(3) as u64;
        let problem = Problem::new(buffers(&mut random, count, 8, 4, 4)).expect("every buffer is valid");
        let plan = problem.plan(&unhurried(1_000_000).alignment(alignment)).expect("the problem is valid");
        let lowest = lowest_height(problem.buffers(), alignment);
        assert_eq!((plan.height(), plan.lower_bound()), (lowest, lowest), "{problem:?}, aligned to {alignment}");
        assert_valid(&problem, &plan, alignment);
    }
}

/// Problems without a plan as low as the largest live sum: the first moment, the end and the size of each buffer.
const ABOVE_THE_LIVE_SUM: [&[(u64, u64, u64)]; 2] = [
    &[(1, 3, 1), (1, 4, 2), (2, 3, 2), (2, 5, 2), (0, 3, 2), (0, 3, 3), (0, 1, 7), (1, 2, 4), (3, 4, 8), (4, 5, 10)],
    &[(1, 4, 3), (1, 4, 3), (0, 3, 2), (2, 5, 1), (2, 5, 3), (3, 4, 3), (0, 1, 11), (1, 2, 5), (2, 3, 1), (4, 5, 9)],
];

#[test]
fn a_height_above_the_largest_live_sum_is_proved_to_be_the_lowest() {
    for shape in ABOVE_THE_LIVE_SUM {
        let buffers = (0..).zip(shape).map(|(id, &(lower, upper, bytes))| Buffer { id, lower, upper, bytes });
        let problem = Problem::new(buffers.collect()).expect("every buffer is valid");
        let plan = problem.plan(&unhurried(1_000_000)).expect("the problem is valid");
        let lowest = lowest_height(problem.buffers(), 1);
        assert!(lowest > live_sum(problem.buffers(), 1));
        assert_eq!((plan.height(), plan.lower_bound()), (lowest, lowest), "{problem:?}");
        assert_valid(&problem, &plan, 1);
    }
}

/// Buffers that fill a rectangle of the given height without gaps, in `count` pieces, with all traces of their offsets removed.
fn cut(random: &mut Random, count: usize, moments: u64, height: u64) -> Vec<Buffer> {
    let mut pieces = vec![((0, moments), (0, height))];
    while pieces.len() < count {
        let index = random.below(pieces.len());
        let (time, space) = pieces[index];
        let cuts_time = random.below(2) == 0;
        let (low, high) = if cuts_time { time } else { space };
        if high - low < 2 {
            continue;
        }
        let at = low + 1 + random.next() % (high - low - 1);
        let (below, above) = ((low, at), (at, high));
        pieces[index] = if cuts_time { (below, space) } else { (time, below) };
        pieces.push(if cuts_time { (above, space) } else { (time, above) });
    }
    let buffer = |(id, ((lower, upper), (low, high)))| Buffer { id, lower, upper, bytes: high - low };
    (0..).zip(pieces).map(buffer).collect()
}

#[test]
fn no_bound_is_above_a_height_that_is_known_to_suffice() {
    let (mut reached, mut searched, mut random) = (0, 0, Random::new(7));
    for case in 0..120 {
        let (count, height) = (30 + case % 60, 1000);
        let problem = Problem::new(cut(&mut random, count, 60, height)).expect("every buffer is valid");
        let plan = problem.plan(&unhurried(20_000)).expect("the problem is valid");
        assert_valid(&problem, &plan, 1);
        assert!(plan.lower_bound() <= height, "bound {} after {} nodes: {problem:?}", plan.lower_bound(), plan.nodes());
        reached += u32::from(plan.height() == height);
        searched += u32::from(plan.nodes() > 12 * count as u64);
    }
    assert!(reached > 20 && searched > 20, "{reached} reached, {searched} searched");
}

#[test]
fn random_problems_of_any_shape_have_valid_plans() {
    let mut random = Random::new(2);
    for case in 0..60 {
        let count = 1 + random.below(250);
        let (moments, longest) = (1 + random.below(300), 1 + random.below(300));
        let problem =
            Problem::new(buffers(&mut random, count, moments, longest, 1 << 20)).expect("every buffer is valid");
        let alignment = [1, 3, 64, 256][case % 4];
        let plan = problem.plan(&unhurried(10_000).alignment(alignment)).expect("the problem is valid");
        assert_valid(&problem, &plan, alignment);
        if alignment == 1 {
            assert!(plan.lower_bound() >= live_sum(problem.buffers(), 1));
        }
    }
}

#[test]
fn a_plan_is_the_same_for_the_same_number_of_nodes() {
    let mut random = Random::new(3);
    let problem = Problem::new(tight(&mut random, 120, 40, 12, 1000)).expect("every buffer is valid");
    let plan = problem.plan(&unhurried(30_000)).expect("the problem is valid");
    assert!(plan.nodes() > 10_000, "the search was needed: {} nodes", plan.nodes());
    assert_eq!(problem.plan(&unhurried(30_000)).expect("the problem is valid"), plan);
}

#[test]
fn more_nodes_never_give_a_higher_plan() {
    let mut random = Random::new(4);
    let problem = Problem::new(tight(&mut random, 120, 40, 12, 1000)).expect("every buffer is valid");
    let height = |nodes| problem.plan(&unhurried(nodes)).expect("the problem is valid").height();
    let heights = [0, 1000, 10_000, 50_000].map(height);
    assert!(heights.is_sorted_by(|fewer, more| fewer >= more), "{heights:?}");
    assert!(heights[3] < heights[0], "{heights:?}");
}

#[test]
fn the_search_stops_as_soon_as_the_plan_fits_the_capacity() {
    let mut random = Random::new(5);
    let problem = Problem::new(tight(&mut random, 120, 40, 12, 1000)).expect("every buffer is valid");
    let plan = |options: PlanOptions| problem.plan(&options).expect("the problem is valid");
    let best = plan(unhurried(50_000));
    let roomy = plan(unhurried(50_000).capacity(2 * best.height()));
    assert!(roomy.fits(2 * best.height()) && roomy.nodes() < best.nodes());
    // A capacity that nothing fits still has a plan, and the lower bound tells that nothing fits.
    let impossible = plan(unhurried(1000).capacity(live_sum(problem.buffers(), 1) - 1));
    assert!(!impossible.fits(live_sum(problem.buffers(), 1) - 1));
    assert!(impossible.lower_bound() >= live_sum(problem.buffers(), 1));
    assert_valid(&problem, &impossible, 1);
}

#[test]
fn without_time_a_plan_is_complete() {
    let mut random = Random::new(6);
    let problem = Problem::new(buffers(&mut random, 200, 50, 30, 1000)).expect("every buffer is valid");
    for options in [PlanOptions::default().time(Duration::ZERO), PlanOptions::default().nodes(0)] {
        assert_valid(&problem, &problem.plan(&options).expect("the problem is valid"), 1);
    }
}
