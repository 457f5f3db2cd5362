//! The input of planning: buffers with lifetimes and sizes.

use super::csv::Names;
use super::{Plan, PlanOptions, search};
use crate::error::{BufferFault, PlanError};
use rustc_hash::FxHashSet;

/// A buffer with a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// A number that is unique among the buffers of a problem.
    pub id: u64,
    /// The first moment at which the buffer is live, in any unit of time.
    pub lower: u64,
    /// The moment after the last at which the buffer is live.
    pub upper: u64,
    /// The size in bytes.
    pub bytes: u64,
}

/// The maximum number of buffers of a problem.
pub(super) const MOST_BUFFERS: usize = 1 << 30;

/// A valid list of buffers to plan.
///
/// Every buffer has at least one byte and is live for at least one moment; ids are unique; the sizes add up to less than 2⁶⁴ bytes.
///
/// # Examples
///
/// ```
/// use wgpu_pool::plan::{Buffer, PlanOptions, Problem};
///
/// let problem = Problem::new(vec![
///     Buffer { id: 0, lower: 0, upper: 2, bytes: 100 },
///     Buffer { id: 1, lower: 1, upper: 3, bytes: 200 },
///     Buffer { id: 2, lower: 2, upper: 4, bytes: 100 }, // at the same offset as buffer 0, which has ended
/// ])?;
/// let plan = problem.plan(&PlanOptions::default())?;
/// assert_eq!(plan.height(), 300);
/// assert!(plan.is_optimal());
/// # Ok::<(), wgpu_pool::error::PlanError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    buffers: Vec<Buffer>,
    pub(super) names: Names,
}

impl Problem {
    /// Checks a list of buffers. Costs O(n).
    ///
    /// # Errors
    ///
    /// [`PlanError::Buffer`] for a buffer without bytes or moments, or with the id of an earlier one; [`PlanError::TotalTooLarge`] if the
    /// sizes add up to 2⁶⁴ bytes or more; [`PlanError::TooManyBuffers`] above 2³⁰ buffers.
    pub fn new(buffers: Vec<Buffer>) -> Result<Self, PlanError> {
        if buffers.len() > MOST_BUFFERS {
            return Err(PlanError::TooManyBuffers { count: buffers.len() as u64, limit: MOST_BUFFERS as u64 });
        }
        let mut builder = Builder::default();
        for buffer in buffers {
            builder.add(buffer)?;
        }
        builder.finish()
    }

    /// Returns the buffers, in the order of the input.
    #[must_use]
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Assigns an offset to each buffer, so that buffers that are live together do not overlap and the highest end is as low as the search
    /// can make it. [The module](crate::plan) describes the search and its cost.
    ///
    /// # Errors
    ///
    /// [`PlanError::ZeroAlignment`], or [`PlanError::TotalTooLarge`] if the sizes add up to 2⁶⁴ bytes or more once they are rounded up to the
    /// alignment. That no plan fits the capacity is not an error: see [`Plan::fits`].
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan, PlanError> {
        search::plan(self, options)
    }
}

/// A problem under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    buffers: Vec<Buffer>,
    ids: FxHashSet<u64>,
}

impl Builder {
    /// Adds a buffer, or tells what is wrong with it.
    pub(super) fn add(&mut self, buffer: Buffer) -> Result<(), BufferFault> {
        let Buffer { id, lower, upper, bytes } = buffer;
        if lower >= upper {
            return Err(BufferFault::NeverLive { id, lower, upper });
        }
        if bytes == 0 {
            return Err(BufferFault::ZeroBytes { id });
        }
        if !self.ids.insert(id) {
            return Err(BufferFault::DuplicateId { id });
        }
        self.buffers.push(buffer);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Problem, PlanError> {
        let buffers = self.buffers;
        if buffers.len() > MOST_BUFFERS {
            return Err(PlanError::TooManyBuffers { count: buffers.len() as u64, limit: MOST_BUFFERS as u64 });
        }
        let total = buffers.iter().try_fold(0_u64, |total, buffer| total.checked_add(buffer.bytes));
        total.ok_or(PlanError::TotalTooLarge { alignment: 1 })?;
        Ok(Problem { buffers, names: Names::default() })
    }
}
