//! The errors of allocations.

use super::{Bytes, DeviceError, OutOfMemory};
use thiserror::Error;

/// The reason why an allocation failed. No block is lost or changed by the failure, although blocks may have moved, and
/// the pool stays usable.
///
/// Cause and remedy of each variant: [`guide::errors::allocate`](crate::guide::errors::allocate).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// The pool's limit or the device leaves no room, after all remedies were tried.
    #[error(transparent)]
    OutOfMemory(Box<OutOfMemory>),
    /// The request is above the device's largest buffer, or for a tensor above 4,096 of the largest blocks, independent of the
    /// free memory.
    #[error("requested {}, above the largest possible request of {}", Bytes(*requested), Bytes(*limit))]
    TooLarge {
        /// The requested bytes.
        requested: u64,
        /// The largest possible request, in bytes.
        limit: u64,
    },
    /// In a browser: the limit has room only after the device has finished with released segments, for which nothing can
    /// wait here. Await [`Pool::synchronize`](crate::Pool::synchronize) and try again, or use
    /// [`Pool::allocate_accepted`](crate::Pool::allocate_accepted).
    #[error(
        "requested {}, and the device still uses {} of released segments: await `synchronize` and try again",
        Bytes(*requested),
        Bytes(*pending)
    )]
    Unfinished {
        /// The requested bytes.
        requested: u64,
        /// Bytes of released segments that the device still uses.
        pending: u64,
    },
    /// The device failed for a reason other than a lack of memory.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl AllocateError {
    /// Returns the details of an out-of-memory error; `None` for all other errors.
    #[must_use]
    pub fn out_of_memory(&self) -> Option<&OutOfMemory> {
        if let Self::OutOfMemory(details) = self { Some(details) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_names_both_sides() {
        let error = AllocateError::TooLarge { requested: 5 << 30, limit: 2 << 30 };
        assert_eq!(error.to_string(), "requested 5.0 GiB, above the largest possible request of 2.0 GiB");
    }
}
