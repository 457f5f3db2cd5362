//! Lifetimes from a sequence of allocations and frees.

use super::{Buffer, Plan, PlanOptions, Problem};
use crate::error::{EventFault, PlanError};
use rustc_hash::FxHashMap;

/// A sequence of allocations and frees, one moment apart.
///
/// An allocation is live from its event to the event that frees it, or to the end of the trace. An allocation of zero bytes takes no place
/// in a plan.
///
/// # Examples
///
/// ```
/// use wgpu_pool::plan::{PlanOptions, Trace};
///
/// let mut trace = Trace::new();
/// trace.allocate(0, 100)?;
/// trace.allocate(1, 50)?;
/// trace.free(0)?;
/// trace.allocate(2, 80)?;
/// assert_eq!(trace.plan(&PlanOptions::default())?.height(), 150);
/// # Ok::<(), wgpu_pool::error::PlanError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trace {
    buffers: Vec<Buffer>,
    /// By id: the index of a live buffer; `None` once it is freed.
    live: FxHashMap<u64, Option<usize>>,
    events: u64,
}

impl Trace {
    /// Creates an empty trace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an allocation.
    ///
    /// # Errors
    ///
    /// [`PlanError::Event`] if the id was allocated before.
    pub fn allocate(&mut self, id: u64, bytes: u64) -> Result<(), PlanError> {
        if self.live.contains_key(&id) {
            return Err(self.refusal(EventFault::AllocatedTwice { id }));
        }
        self.live.insert(id, Some(self.buffers.len()));
        self.buffers.push(Buffer { id, lower: self.events, upper: u64::MAX, bytes });
        self.events += 1;
        Ok(())
    }

    /// Appends a free.
    ///
    /// # Errors
    ///
    /// [`PlanError::Event`] if the id is not live.
    pub fn free(&mut self, id: u64) -> Result<(), PlanError> {
        let Some(index) = self.live.get_mut(&id).and_then(Option::take) else {
            return Err(self.refusal(EventFault::NotLive { id }));
        };
        self.buffers[index].upper = self.events;
        self.events += 1;
        Ok(())
    }

    /// Returns the lifetimes of all allocations of at least one byte. The moments are the numbers of the events.
    ///
    /// # Errors
    ///
    /// [`PlanError::TotalTooLarge`] if the sizes add up to 2⁶⁴ bytes or more.
    pub fn problem(&self) -> Result<Problem, PlanError> {
        let ended = |buffer: &Buffer| Buffer { upper: buffer.upper.min(self.events), ..*buffer };
        Problem::new(self.buffers.iter().filter(|buffer| buffer.bytes > 0).map(ended).collect())
    }

    /// Assigns an offset to each allocation of at least one byte: [`problem`](Self::problem), then [`Problem::plan`].
    ///
    /// # Errors
    ///
    /// Those of [`problem`](Self::problem) and [`Problem::plan`].
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan, PlanError> {
        self.problem()?.plan(options)
    }

    fn refusal(&self, fault: EventFault) -> PlanError {
        PlanError::Event { event: self.events, fault }
    }
}
