//! The search for the largest batch that fits.

use super::super::Pool;
use super::DryRun;
use crate::device::Memory;
use crate::error::MaxBatchError;
use std::ops::RangeInclusive;

/// The result of [`Pool::max_batch`].
#[derive(Clone, Debug)]
pub struct MaxBatch {
    /// The largest number that fits. `None` if the first number of the range does not fit.
    pub largest: Option<usize>,
    /// The dry run with this number, or with the first number of the range if none fits.
    pub dry_run: DryRun,
    /// The number of dry runs.
    pub runs: u32,
}

impl<M: Memory> Pool<M> {
    /// Returns the largest `n` of a range for which `act(n)` fits into the limit: all its requests are served in a
    /// [dry run](Pool::dry_run), and the tensors of each command fit on the device together. Nothing is executed.
    /// Each dry run starts from the pool's present state.
    ///
    /// Assumes that the program needs no less memory for a larger `n`: the search doubles the step from the first number of the range until a
    /// number does not fit, and halves it from there. At most 2 · log₂(length) + 2 dry runs, none with more than twice the distance of the
    /// result from the first number, so a large last number costs nothing.
    ///
    /// Without a limit, only requests above the device's largest buffer do not fit.
    ///
    /// # Errors
    /// [`MaxBatchError::Empty`] for an empty range, [`MaxBatchError::Nested`] in a dry run, and [`MaxBatchError::Program`] if the closure
    /// returns an error although no request was refused, such as the error of a read.
    ///
    /// # Examples
    /// ```
    /// use wgpu_pool::{HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions { limit: Some(1 << 30), ..PoolOptions::default() })?;
    /// let weights = pool.allocate(256 << 20)?;
    /// let found = pool.max_batch(1..=4096, |batch| pool.allocate(batch as u64 * (6 << 20)))?;
    /// assert_eq!(found.largest, Some(128), "the remaining 768 MiB");
    /// assert!(found.dry_run.reserved_peak().bytes <= 1 << 30);
    /// # drop(weights);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_batch<T, E>(
        &self,
        range: RangeInclusive<usize>,
        mut act: impl FnMut(usize) -> Result<T, E>,
    ) -> Result<MaxBatch, MaxBatchError<E>> {
        let (first, last) = (*range.start(), *range.end());
        if range.is_empty() {
            return Err(MaxBatchError::Empty { first, last });
        }
        let mut runs = 0;
        let mut attempt = |n: usize| {
            runs += 1;
            let (output, dry_run) = self.dry_run(|| act(n).map(drop)).map_err(|_| MaxBatchError::Nested)?;
            match output {
                Err(error) if dry_run.fits() => Err(MaxBatchError::Program { n, error }),
                _ => Ok(dry_run),
            }
        };
        let smallest = attempt(first)?;
        if !smallest.fits() {
            return Ok(MaxBatch { largest: None, dry_run: smallest, runs });
        }
        // `fitting` fits. `failing` does not, once it is set.
        let (mut fitting, mut best, mut failing, mut step) = (first, smallest, None, 1);
        loop {
            let next = match failing {
                None => fitting.saturating_add(step).min(last),
                Some(failing) => fitting + (failing - fitting) / 2,
            };
            if next == fitting {
                return Ok(MaxBatch { largest: Some(fitting), dry_run: best, runs });
            }
            let dry_run = attempt(next)?;
            if dry_run.fits() {
                (fitting, best) = (next, dry_run);
                step = step.saturating_mul(2);
            } else {
                failing = Some(next);
            }
        }
    }
}
