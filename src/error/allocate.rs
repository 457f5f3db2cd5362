//! Why there was no memory.

use super::{Bytes, DeviceError};
use std::fmt;
use thiserror::Error;

/// Why an allocation failed. Nothing was changed by the failure, and the pool stays usable.
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

/// The numbers at the moment when a request found no memory. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// Bytes asked for.
    pub requested: u64,
    /// Bytes of the block that would have served it, after rounding.
    pub rounded: u64,
    /// The pool's limit on reserved bytes, if one is set.
    pub limit: Option<u64>,
    /// Size of the segment that the device refused, if it was the device and not the limit.
    pub refused: Option<u64>,
    /// Bytes in blocks handed out.
    pub allocated: u64,
    /// Bytes of all segments.
    pub reserved: u64,
    /// Bytes of the largest inactive block.
    pub largest_hole: u64,
    /// Number of inactive blocks.
    pub holes: u64,
    /// The largest request, in bytes, that would be served now.
    pub largest_request: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: requested {}", Bytes(self.requested))?;
        match (self.limit, self.refused) {
            (_, Some(bytes)) => write!(f, ", the device refused {}", Bytes(bytes))?,
            (Some(limit), None) => write!(f, ", limit {}", Bytes(limit))?,
            (None, None) => {}
        }
        write!(
            f,
            ", allocated {}, reserved {}, largest hole {} of {}, largest request that fits {}",
            Bytes(self.allocated),
            Bytes(self.reserved),
            Bytes(self.largest_hole),
            self.holes,
            Bytes(self.largest_request)
        )
    }
}

impl std::error::Error for OutOfMemory {}

/// Why a pool cannot be made with these options.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The granule does not suit the device.
    #[error("granule of {granule} B is not a power of two from {least} B to {most} B")]
    Granule {
        /// The granule asked for, in bytes.
        granule: u64,
        /// The least that the device allows: its offset alignment for bindings, in bytes.
        least: u64,
        /// The most that the heap allows, in bytes.
        most: u64,
    },
    /// The smallest segment is larger than the device's largest buffer.
    #[error("smallest segment of {} is above the device's largest buffer, {}", Bytes(*bytes), Bytes(*limit))]
    Segment {
        /// The smallest segment asked for, in bytes.
        bytes: u64,
        /// The device's largest buffer, in bytes.
        limit: u64,
    },
    /// A limit as a share of the device's memory is not within 0 and 1.
    #[error("a limit of {fraction} of the device's memory is not above 0 and at most 1")]
    Fraction {
        /// The share asked for.
        fraction: String,
    },
    /// A limit as a share of the device's memory, where nothing tells how much the device has.
    #[error("the backend doesn't tell how much memory the device has: set the limit in bytes")]
    TotalUnknown,
    /// The device could not be opened or used.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> OutOfMemory {
        OutOfMemory {
            requested: 100 << 20,
            rounded: 100 << 20,
            limit: Some(128 << 20),
            refused: None,
            allocated: 64 << 20,
            reserved: 96 << 20,
            largest_hole: 16 << 20,
            holes: 3,
            largest_request: 32 << 20,
        }
    }

    #[test]
    fn out_of_memory_names_every_number_in_one_line() {
        assert_eq!(
            example().to_string(),
            "out of memory: requested 100.0 MiB, limit 128.0 MiB, allocated 64.0 MiB, reserved 96.0 MiB, \
             largest hole 16.0 MiB of 3, largest request that fits 32.0 MiB"
        );
        let refused = OutOfMemory { refused: Some(104 << 20), ..example() };
        assert!(refused.to_string().contains(", the device refused 104.0 MiB,"));
    }

    #[test]
    fn too_large_names_both_sides() {
        let error = AllocateError::TooLarge { requested: 5 << 30, limit: 2 << 30 };
        assert_eq!(error.to_string(), "requested 5.0 GiB, above the device's largest buffer of 2.0 GiB");
    }

    #[test]
    fn a_limit_by_share_says_why_it_is_refused() {
        let error = OptionsError::Fraction { fraction: "1.5".into() };
        assert_eq!(error.to_string(), "a limit of 1.5 of the device's memory is not above 0 and at most 1");
        let untold = "the backend doesn't tell how much memory the device has: set the limit in bytes";
        assert_eq!(OptionsError::TotalUnknown.to_string(), untold);
    }
}
