//! Empty, single and equal buffers, the largest numbers, and invalid buffers.

use super::{assert_valid, unhurried};
use wgpu_pool::error::{BufferFault, EventFault, PlanError};
use wgpu_pool::plan::{Buffer, PlanOptions, Problem, Trace};

fn buffer(id: u64, lower: u64, upper: u64, bytes: u64) -> Buffer {
    Buffer { id, lower, upper, bytes }
}

#[test]
fn no_buffers_need_no_bytes() {
    let plan = Problem::default().plan(&PlanOptions::default()).expect("there is nothing to refuse");
    assert_eq!((plan.height(), plan.lower_bound(), plan.placements().len()), (0, 0, 0));
    assert!(plan.is_optimal() && plan.fits(0));
    assert_eq!(Trace::new().plan(&PlanOptions::default()), Ok(plan));
}

#[test]
fn one_buffer_is_at_offset_0_and_its_size_is_rounded_up_to_the_alignment() {
    let problem = Problem::new(vec![buffer(7, 3, 4, 1000)]).expect("the buffer is valid");
    for (alignment, height) in [(1, 1000), (256, 1024), (1000, 1000), (4096, 4096)] {
        let plan = problem.plan(&PlanOptions::default().alignment(alignment)).expect("the alignment is positive");
        assert_eq!((plan.height(), plan.placements()[0].offset), (height, 0));
        assert!(plan.is_optimal());
    }
    assert_eq!(problem.plan(&PlanOptions::default().alignment(0)), Err(PlanError::ZeroAlignment));
}

#[test]
fn equal_buffers_are_stacked_without_a_search() {
    let problem = Problem::new((0..500).map(|id| buffer(id, 10, 20, 7)).collect()).expect("every buffer is valid");
    let plan = problem.plan(&unhurried(0)).expect("the problem is valid");
    assert_valid(&problem, &plan, 1);
    assert_eq!((plan.height(), plan.is_optimal(), plan.nodes()), (3500, true, 0));
}

#[test]
fn the_largest_moments_and_sizes_are_planned() {
    let half = u64::MAX / 2;
    let all = vec![buffer(u64::MAX, 0, u64::MAX, half), buffer(0, 0, 1, half), buffer(1, u64::MAX - 1, u64::MAX, 1)];
    let problem = Problem::new(all).expect("the sizes add up to 2^64 - 1");
    let plan = problem.plan(&PlanOptions::default()).expect("the problem is valid");
    assert_valid(&problem, &plan, 1);
    assert_eq!((plan.height(), plan.is_optimal()), (u64::MAX - 1, true));
    // Rounded up to 2 bytes, the sum is 2^64 or more.
    let refused = problem.plan(&PlanOptions::default().alignment(2));
    assert_eq!(refused, Err(PlanError::TotalTooLarge { alignment: 2 }));
    let huge = problem.plan(&PlanOptions::default().alignment(u64::MAX));
    assert_eq!(huge, Err(PlanError::TotalTooLarge { alignment: u64::MAX }));
}

#[test]
fn large_sizes_that_have_to_be_searched_do_not_overflow() {
    // The optimum is above the largest live sum: the buffers of a known example, scaled to fill 63 bits.
    let shape = [(0, 3, 4), (1, 5, 2), (2, 8, 3), (4, 9, 4), (6, 10, 2), (0, 2, 3), (7, 10, 4)];
    let unit = u64::MAX / 44;
    let scaled = (0..).zip(shape).map(|(id, (lower, upper, size))| buffer(id, lower, upper, size * unit + id));
    let problem = Problem::new(scaled.collect()).expect("the sizes add up to less than 2^64");
    let plan = problem.plan(&unhurried(100_000)).expect("the problem is valid");
    assert_valid(&problem, &plan, 1);
    assert!(plan.is_optimal());
}

#[test]
fn invalid_buffers_are_refused_with_their_id() {
    let valid = buffer(1, 0, 2, 10);
    let cases = [
        (
            vec![valid, buffer(2, 5, 5, 1)],
            "buffer 2 has lower 5 and upper 5; upper is exclusive and must be above lower",
        ),
        (
            vec![buffer(2, 6, 5, 1), valid],
            "buffer 2 has lower 6 and upper 5; upper is exclusive and must be above lower",
        ),
        (vec![valid, buffer(3, 0, 1, 0)], "buffer 3 has size 0; leave out buffers without bytes"),
        (vec![valid, buffer(1, 5, 6, 1)], "id 1 is used twice"),
        (
            vec![valid, buffer(2, 5, 6, u64::MAX)],
            "the sizes of all buffers, rounded up to 1 B, add up to 2^64 bytes or more",
        ),
    ];
    for (buffers, expected) in cases {
        assert_eq!(Problem::new(buffers).map_err(|error| error.to_string()), Err(expected.to_string()));
    }
    let duplicate = Problem::new(vec![valid, valid]);
    assert_eq!(duplicate, Err(PlanError::Buffer(BufferFault::DuplicateId { id: 1 })));
}

#[test]
fn a_trace_is_live_from_allocation_to_free_and_refuses_events_that_contradict() {
    let mut trace = Trace::new();
    trace.allocate(5, 10).expect("the id is new");
    trace.allocate(6, 0).expect("the id is new");
    trace.free(5).expect("the id is live");
    trace.allocate(7, 20).expect("the id is new");
    let refused = [trace.free(5), trace.free(8), trace.allocate(5, 1), trace.allocate(7, 1)];
    let fault = |fault| Err(PlanError::Event { event: 4, fault });
    assert_eq!(
        refused,
        [
            fault(EventFault::NotLive { id: 5 }),
            fault(EventFault::NotLive { id: 8 }),
            fault(EventFault::AllocatedTwice { id: 5 }),
            fault(EventFault::AllocatedTwice { id: 7 }),
        ]
    );
    // What was refused changed nothing; an allocation that is never freed lives to the end; one of zero bytes has no place.
    let problem = trace.problem().expect("the sizes are small");
    assert_eq!(problem.buffers(), [buffer(5, 0, 2, 10), buffer(7, 3, 4, 20)]);
    assert_eq!(trace.plan(&PlanOptions::default()).expect("the sizes are small").height(), 20);
}
