//! The errors of dry runs.

#[cfg(feature = "tensor")]
use super::DeviceError;
use thiserror::Error;

/// The reason why a dry run did not start.
///
/// Cause and remedy of each variant: [`guide::errors::dry_run`](crate::guide::errors::dry_run).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// This thread is in a dry run of the same pool.
    #[error("this thread is already in a dry run of this pool: end it before the next one starts")]
    Nested,
}

/// The reason why a warm-up is incomplete.
///
/// Cause and remedy of each variant: [`guide::errors::warm_up`](crate::guide::errors::warm_up).
#[cfg(feature = "tensor")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WarmUpError {
    /// This thread is in a dry run or a warm-up of the same pool.
    #[error("this thread is already in a dry run of this pool: end it before the warm-up starts")]
    Nested,
    /// A kernel cannot be compiled, or the device is lost.
    #[error("a kernel of the warm-up cannot be compiled: {0}")]
    Compile(#[from] DeviceError),
}

#[cfg(feature = "tensor")]
impl From<DryRunError> for WarmUpError {
    fn from(error: DryRunError) -> Self {
        match error {
            DryRunError::Nested => Self::Nested,
        }
    }
}

/// The reason why the search for a batch has no result.
///
/// Cause and remedy of each variant: [`guide::errors::max_batch`](crate::guide::errors::max_batch).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MaxBatchError<E> {
    /// The range is empty.
    #[error("the range {first}..={last} is empty: the first number is at most the last one")]
    Empty {
        /// The first number of the range.
        first: usize,
        /// The last number of the range.
        last: usize,
    },
    /// This thread is in a dry run of the same pool.
    #[error("this thread is already in a dry run of this pool: end it before the search starts")]
    Nested,
    /// The program failed for a reason other than a lack of memory.
    #[error("the program failed with n = {n}, and no request was refused: {error}")]
    Program {
        /// The number for which the program failed.
        n: usize,
        /// The error of the program.
        #[source]
        error: E,
    },
}
