//! Offline planning: lifetimes and sizes in, offsets out.
//!
//! A [`Problem`] is a list of [`Buffer`]s, each with a first moment, an end and a size. [`Problem::plan`] assigns an offset to each buffer, so
//! that buffers which are live together do not overlap and the highest end is as low as possible. The result, a [`Plan`], states its height,
//! a lower bound that no plan undercuts, and so whether it is optimal or how large the remaining gap is. A [`Trace`] turns allocations and
//! frees into a problem. Problems are read and written as CSV in the form of MiniMalloc ([`Problem::from_csv`]).
//!
//! This module needs no device and no pool. Its arithmetic is exact in 64 bits; an alignment is handled by counting in units of it.
//!
//! ```
//! use wgpu_pool::plan::{PlanOptions, Problem};
//!
//! let csv = "id,lower,upper,size\n0,0,10,600\n1,5,20,300\n2,10,30,500\n";
//! let problem = Problem::from_csv(csv)?;
//! let plan = problem.plan(&PlanOptions::default().alignment(256))?;
//! assert_eq!((plan.height(), plan.lower_bound()), (1280, 1280)); // 768 + 512
//! plan.check()?;
//! for placement in plan.placements() {
//!     println!("buffer {} at offset {}", placement.buffer.id, placement.offset);
//! }
//! # Ok::<(), wgpu_pool::error::PlanError>(())
//! ```
//!
//! # Method
//! The problem is NP-hard. The search applies, in this order:
//!
//! 1. *Reductions*, which never raise the optimum. Only maximal sets of buffers that are live together constrain a plan; the search counts
//!    time in those ("sections"). Buffers that are live in all sections of a part go to its bottom. What remains is split wherever no buffer is
//!    live in two neighbouring sections. Both are repeated.
//! 2. *Greedy placements*: twelve orders (by beginning, size, lifetime, area, peak load, and their binary logarithms), each buffer at the lowest
//!    offset or in the smallest gap where it fits. The first that reaches the goal ends the search.
//! 3. *Improvements* of the component with the greatest height, in turns: branch and bound aimed at the goal and at heights between the goal
//!    and the best, and greedy placements in which buffers that end above the goal move forward in the order.
//!
//! The goal is the lower bound, or [`PlanOptions::capacity`] where that is larger. The lower bound is the largest live sum, until branch and
//! bound proves that a height is out of reach.
//!
//! # Branch and bound
//! [The guide](crate::guide::planning) explains the bounds and the pruning, and names the papers whose ideas it uses.
//!
//! # Cost
//! With n buffers of which at most w are live at once: the reductions O(n log n); a greedy placement O(n · w) in practice, with memory for
//! about 2 n entries. Branch and bound stores pairs of buffers that are live together, and is left out for components with more than 4
//! million. Its nodes take 1 to 100 µs. The result depends on the number of nodes alone; the clock only ends the search.

mod budget;
mod components;
mod csv;
mod exact;
mod greedy;
mod job;
mod orders;
mod problem;
mod random;
mod result;
mod search;
mod sections;
mod trace;

pub use problem::{Buffer, Problem};
pub use result::{Placement, Plan, PlanOptions};
pub use trace::Trace;

/// An index as the search stores it. [`Problem::new`] limits the number of buffers, so that every index fits.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("a problem has at most 2^30 buffers")
}
