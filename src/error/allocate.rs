//! Why there was no memory.

use super::{Bytes, DeviceError, OutOfMemory};
use thiserror::Error;

/// Why an allocation failed. No block was lost or changed by the failure, though blocks may have moved, and the pool stays usable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// The pool's limit or the device leaves no room, after every remedy of the ladder.
    #[error(transparent)]
    OutOfMemory(Box<OutOfMemory>),
    /// The request is above what the device can hold in one buffer, whatever is free.
    #[error("requested {}, above the device's largest buffer of {}", Bytes(*requested), Bytes(*limit))]
    TooLarge {
        /// Bytes asked for.
        requested: u64,
        /// The device's largest buffer, in bytes.
        limit: u64,
    },
    /// The device failed for a reason other than a lack of memory.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_names_both_sides() {
        let error = AllocateError::TooLarge { requested: 5 << 30, limit: 2 << 30 };
        assert_eq!(error.to_string(), "requested 5.0 GiB, above the device's largest buffer of 2.0 GiB");
    }
}
