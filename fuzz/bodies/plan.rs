//! The planner: on tiny problems its plans are those of brute force; any CSV text is a problem or a typed error.

use crate::input::Input;
use wgpu_pool::error::PlanError;
use wgpu_pool::plan::{Buffer, PlanOptions, Problem};

/// No plan of a tiny problem needs more nodes.
const NODES: u64 = 200_000;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        read(&String::from_utf8_lossy(input.rest()));
    } else {
        plan(&mut input);
    }
}

/// Reads CSV text. What is read is written and read again.
fn read(text: &str) {
    match Problem::from_csv(text) {
        Ok(problem) => {
            assert_eq!(Problem::from_csv(&problem.to_csv()).as_ref(), Ok(&problem));
            let plan = problem.plan(&PlanOptions::default().nodes(1000)).expect("the problem is valid");
            assert_valid(&problem, &plan, 1);
        }
        Err(PlanError::Line { line, fault }) => {
            assert!(line >= 1 && line <= 1 + text.lines().count() as u64, "line {line}: {fault}");
        }
        Err(PlanError::TotalTooLarge { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Plans up to seven buffers, and compares the height with the lowest.
fn plan(input: &mut Input<'_>) {
    let (count, alignment) = (1 + input.below(7) as u64, 1 + input.below(4) as u64);
    let (moments, sizes) = (2 + input.below(12), 1 + input.below(12));
    let buffer = |id: u64| {
        let lower = input.below(moments) as u64;
        Buffer { id, lower, upper: lower + 1 + input.below(moments) as u64, bytes: 1 + input.below(sizes) as u64 }
    };
    let buffers: Vec<Buffer> = (0..count).map(buffer).collect();
    let problem = Problem::new(buffers).expect("every buffer is valid");
    let options = PlanOptions::default().alignment(alignment).nodes(NODES);
    let plan = problem.plan(&options).expect("the sizes are small");
    assert_valid(&problem, &plan, alignment);
    let lowest = lowest_height(problem.buffers(), alignment);
    assert_eq!((plan.height(), plan.lower_bound()), (lowest, lowest), "{problem:?}, aligned to {alignment}");
    // With a capacity, the plan fits exactly if there is one that fits.
    let capacity = lowest + input.below(3) as u64 - 1;
    let plan = problem.plan(&options.capacity(capacity)).expect("the sizes are small");
    assert_valid(&problem, &plan, alignment);
    assert_eq!(plan.fits(capacity), lowest <= capacity, "{problem:?}, capacity {capacity}, aligned to {alignment}");
}

/// Checks each pair of buffers, and that the plan's own check agrees.
pub(crate) fn assert_valid(problem: &Problem, plan: &wgpu_pool::plan::Plan, alignment: u64) {
    let placements = plan.placements();
    assert!(placements.iter().map(|placement| &placement.buffer).eq(problem.buffers()));
    let mut highest = 0;
    for (index, one) in placements.iter().enumerate() {
        assert_eq!(one.offset % alignment, 0, "{one:?}");
        let end = one.offset.checked_add(one.buffer.bytes).expect("the buffer ends below 2^64");
        highest = highest.max(end.checked_next_multiple_of(alignment).expect("the height is below 2^64"));
        for other in &placements[..index] {
            let live_together = one.buffer.lower < other.buffer.upper && other.buffer.lower < one.buffer.upper;
            let overlap = one.offset < other.offset + other.buffer.bytes && other.offset < end;
            assert!(!(live_together && overlap), "{one:?} and {other:?}");
        }
    }
    assert_eq!(plan.height(), highest);
    assert!(plan.lower_bound() <= plan.height());
    assert_eq!(plan.check(), Ok(()));
}

/// The lowest height of any plan, by trying every aligned offset of every buffer below ever larger heights, from the largest live sum.
pub(crate) fn lowest_height(buffers: &[Buffer], alignment: u64) -> u64 {
    // Large buffers first: these have the fewest offsets.
    let mut sorted = buffers.to_vec();
    sorted.sort_by_key(|buffer| std::cmp::Reverse(buffer.bytes));
    let heights = (live_sum(buffers, alignment)..).step_by(usize::try_from(alignment).expect("alignments are small"));
    heights.into_iter().find(|height| fits(&sorted, &mut Vec::new(), *height, alignment)).unwrap_or(0)
}

/// The largest sum of sizes, rounded up to the alignment, that are live together.
pub(crate) fn live_sum(buffers: &[Buffer], alignment: u64) -> u64 {
    let at = |moment: u64| {
        let live = buffers.iter().filter(|buffer| buffer.lower <= moment && moment < buffer.upper);
        live.map(|buffer| buffer.bytes.next_multiple_of(alignment)).sum()
    };
    buffers.iter().map(|buffer| at(buffer.lower)).max().unwrap_or(0)
}

fn fits(buffers: &[Buffer], offsets: &mut Vec<u64>, height: u64, alignment: u64) -> bool {
    let Some(buffer) = buffers.get(offsets.len()) else { return true };
    let mut offset = 0;
    while offset + buffer.bytes <= height {
        let conflicts = buffers.iter().zip(offsets.iter()).any(|(other, other_offset)| {
            let live_together = buffer.lower < other.upper && other.lower < buffer.upper;
            live_together && offset < other_offset + other.bytes && *other_offset < offset + buffer.bytes
        });
        if !conflicts {
            offsets.push(offset);
            if fits(buffers, offsets, height, alignment) {
                return true;
            }
            offsets.pop();
        }
        offset += alignment;
    }
    false
}
