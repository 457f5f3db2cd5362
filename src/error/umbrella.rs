//! One error for programs that call several parts of the crate.

#[cfg(feature = "serde")]
use super::SnapshotFileError;
use super::{
    AllocateError, BudgetError, DeviceError, DryRunError, GrowthError, HeapError, InvariantBroken, MaxBatchError,
    OpenError, OptionsError, OutOfMemory, PlanError, RepeatError,
};
#[cfg(feature = "tensor")]
use super::{KernelError, TensorError, WarmUpError};
use std::fmt;

/// Any error of the crate.
///
/// Each function returns the error of its own family; `?` converts each of them into this error. The message and the
/// source are those of the family's error. [`guide::errors`](crate::guide::errors) has a page for each family, with the cause and the
/// remedy of each variant.
///
/// `Debug` writes the message, too, because a program whose `main` returns [`Result`] prints an error that way: the
/// advice of an out-of-memory error would be lost among its fields. `{:#?}` writes the fields.
///
/// # Examples
///
/// ```
/// use wgpu_pool::{HostMemory, Pool, PoolOptions};
///
/// fn allocated() -> wgpu_pool::Result<u64> {
///     let pool = Pool::new(HostMemory::default(), PoolOptions::default())?; // OptionsError
///     let storage = pool.allocate(1000)?; // AllocateError
///     storage.clear()?; // DeviceError
///     Ok(pool.stats().allocated.current)
/// }
///
/// assert_eq!(allocated()?, 1024);
/// # Ok::<(), wgpu_pool::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The options do not suit the memory.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// An allocation failed.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The device failed, or refused a command.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A tensor operation was refused.
    #[cfg(feature = "tensor")]
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A kernel of the program was refused.
    #[cfg(feature = "tensor")]
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The memory of a loop grew in an iteration.
    #[error(transparent)]
    Growth(#[from] GrowthError),
    /// A dry run did not start.
    #[error(transparent)]
    DryRun(#[from] DryRunError),
    /// The search for a batch has no result. Contains the error of the program in its umbrella form.
    #[error(transparent)]
    MaxBatch(MaxBatchError<Box<Error>>),
    /// A warm-up is incomplete.
    #[cfg(feature = "tensor")]
    #[error(transparent)]
    WarmUp(#[from] WarmUpError),
    /// A dry run does not match its budget.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A list of buffers cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A repeated step did not run.
    #[error(transparent)]
    Repeat(#[from] RepeatError),
    /// A snapshot file was refused.
    #[cfg(feature = "serde")]
    #[error(transparent)]
    SnapshotFile(#[from] SnapshotFileError),
    /// The heap refused an id or a size. Only callers of [`heap`](crate::heap) see this error.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// An invariant of the heap does not hold, which is a defect of this crate.
    #[error(transparent)]
    Invariant(#[from] InvariantBroken),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let (name, fields): (_, &dyn fmt::Debug) = match self {
            Self::Open(error) => ("Open", error),
            Self::Options(error) => ("Options", error),
            Self::Allocate(error) => ("Allocate", error),
            Self::Device(error) => ("Device", error),
            #[cfg(feature = "tensor")]
            Self::Tensor(error) => ("Tensor", error),
            #[cfg(feature = "tensor")]
            Self::Kernel(error) => ("Kernel", error),
            Self::Growth(error) => ("Growth", error),
            Self::DryRun(error) => ("DryRun", error),
            Self::MaxBatch(error) => ("MaxBatch", error),
            #[cfg(feature = "tensor")]
            Self::WarmUp(error) => ("WarmUp", error),
            Self::Budget(error) => ("Budget", error),
            Self::Plan(error) => ("Plan", error),
            Self::Repeat(error) => ("Repeat", error),
            #[cfg(feature = "serde")]
            Self::SnapshotFile(error) => ("SnapshotFile", error),
            Self::Heap(error) => ("Heap", error),
            Self::Invariant(error) => ("Invariant", error),
        };
        f.debug_tuple(name).field(fields).finish()
    }
}

impl Error {
    /// Returns the details if this is an out-of-memory error of a pool, whichever function returned it: an allocation, a tensor
    /// operation, a kernel, a budget, or the program of a search for a batch. `None` for all other errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{Error, HostMemory, Pool, PoolOptions};
    ///
    /// let pool = Pool::new(HostMemory::default(), PoolOptions { limit: Some(1 << 20), ..PoolOptions::default() })?;
    /// let error = Error::from(pool.allocate(2 << 20).unwrap_err());
    /// assert_eq!(error.out_of_memory().map(|details| details.requested), Some(2 << 20));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn out_of_memory(&self) -> Option<&OutOfMemory> {
        match self {
            Self::Allocate(error) => error.out_of_memory(),
            #[cfg(feature = "tensor")]
            Self::Tensor(error) | Self::Kernel(KernelError::Tensor(error)) => error.out_of_memory(),
            Self::MaxBatch(MaxBatchError::Program { error, .. }) => error.out_of_memory(),
            Self::Budget(BudgetError::DoesNotFit { error, .. }) => error.out_of_memory(),
            _ => None,
        }
    }
}

impl<E: Into<Error>> From<MaxBatchError<E>> for Error {
    fn from(error: MaxBatchError<E>) -> Self {
        Self::MaxBatch(match error {
            MaxBatchError::Empty { first, last } => MaxBatchError::Empty { first, last },
            MaxBatchError::Nested => MaxBatchError::Nested,
            MaxBatchError::Program { n, error } => MaxBatchError::Program { n, error: Box::new(error.into()) },
        })
    }
}

/// A result whose error is [`Error`] unless another one is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_message_is_that_of_the_family() {
        let refused = DeviceError::Refused { bytes: 1 << 20 };
        let error = Error::from(AllocateError::from(refused.clone()));
        assert_eq!(error.to_string(), refused.to_string());
        assert!(error.source().is_none(), "transparent errors have the source of what they hold");
    }

    #[test]
    fn a_program_that_ends_with_an_error_prints_its_message() {
        let too_large = AllocateError::TooLarge { requested: 2, limit: 1 };
        let error = Error::from(too_large.clone());
        assert_eq!(format!("{error:?}"), too_large.to_string());
        assert_eq!(format!("{error:#?}"), format!("{:#?}", Some(too_large)).replacen("Some", "Allocate", 1));
    }

    #[test]
    fn the_error_of_a_search_keeps_the_number_and_the_cause() {
        let cause = DeviceError::Refused { bytes: 1 << 20 };
        let of_program = MaxBatchError::Program { n: 7, error: cause.clone() };
        let error = Error::from(of_program.clone());
        assert_eq!(error.to_string(), of_program.to_string());
        let source = error.source().map(ToString::to_string);
        assert_eq!(source, Some(cause.to_string()));
    }
}
