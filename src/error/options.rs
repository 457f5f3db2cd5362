//! The errors of pool options.

use super::{Bytes, Number};
use thiserror::Error;

/// The reason why a pool cannot be created with the given options.
///
/// Cause and remedy of each variant: [`guide::errors::options`](crate::guide::errors::options).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The granule does not suit the device.
    #[error("granule of {granule} B is not a power of two from {least} B to {most} B")]
    Granule {
        /// The requested granule in bytes.
        granule: u64,
        /// The device's minimum in bytes: its offset alignment for bindings.
        least: u64,
        /// The heap's maximum in bytes.
        most: u64,
    },
    /// The smallest segment is larger than the device's largest buffer.
    #[error("smallest segment of {} is above the device's largest buffer, {}", Bytes(*bytes), Bytes(*limit))]
    Segment {
        /// The requested smallest segment in bytes.
        bytes: u64,
        /// The device's largest buffer, in bytes.
        limit: u64,
    },
    /// [`PoolOptions::largest_block`](crate::PoolOptions::largest_block) is too small.
    #[error("largest_block is {bytes} B, below the minimum of {least} B")]
    Block {
        /// The requested largest block in bytes.
        bytes: u64,
        /// The minimum in bytes.
        least: u64,
    },
    /// A limit as a share of the device's memory is not above 0 and at most 1.
    #[error("a limit of {fraction} of the device's memory is not above 0 and at most 1")]
    Fraction {
        /// The requested share.
        fraction: Number,
    },
    /// [`PoolOptions::release_above`](crate::PoolOptions::release_above) is not above 0 and at most 1.
    #[error("release_above is {fraction}, a fraction of the limit that must be above 0 and at most 1")]
    ReleaseAbove {
        /// The requested fraction.
        fraction: Number,
    },
    /// The limit is a share of the device's memory, and the backend does not report the size of that memory.
    #[error("the backend doesn't tell how much memory the device has: set the limit in bytes")]
    TotalUnknown,
}

#[cfg(test)]
mod tests {
    use super::{Number, OptionsError};

    #[test]
    fn a_limit_by_share_says_why_it_is_refused() {
        let error = OptionsError::Fraction { fraction: Number(1.5) };
        assert_eq!(error.to_string(), "a limit of 1.5 of the device's memory is not above 0 and at most 1");
        let untold = "the backend doesn't tell how much memory the device has: set the limit in bytes";
        assert_eq!(OptionsError::TotalUnknown.to_string(), untold);
    }
}
