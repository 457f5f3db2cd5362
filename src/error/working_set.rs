//! The error of a command whose tensors do not fit on the device together.

use super::Bytes;
use std::fmt;

/// The numbers at the time when the tensors of a command did not fit on the device. Sizes are in bytes.
///
/// Cause and remedy: [`guide::errors::device`](crate::guide::errors::device).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkingSet {
    /// The blocks of all tensors of the command.
    pub bytes: u64,
    /// The block for which there is no room.
    pub missing: u64,
    /// The pool's limit on reserved bytes, if one is set.
    pub limit: Option<u64>,
    /// The size of the segment that the device refused. `None` if the limit is the reason of the failure.
    pub refused: Option<u64>,
    /// Bytes of the segments that hold a pinned block.
    pub pinned_segments: u64,
    /// Bytes of the blocks that [`keep_on_device`](crate::Storage::keep_on_device) keeps.
    pub kept: u64,
    /// Bytes of all segments on the device.
    pub reserved: u64,
    /// Bytes in host memory.
    pub host: u64,
    /// The limit on host bytes.
    pub host_limit: u64,
}

impl fmt::Display for WorkingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, missing, limit, refused, pinned_segments, kept, reserved, host, host_limit } = *self;
        write!(f, "the tensors of one command take {}, and {} of that do not fit: ", Bytes(bytes), Bytes(missing))?;
        match (limit, refused) {
            (_, Some(refused)) => write!(f, "the device refused {}", Bytes(refused))?,
            (Some(limit), None) => write!(f, "limit {}", Bytes(limit))?,
            (None, None) => write!(f, "no limit")?,
        }
        write!(
            f,
            ", reserved {}, in segments with pins {}, kept on the device {}, in host memory {} of at most {}",
            Bytes(reserved),
            Bytes(pinned_segments),
            Bytes(kept),
            Bytes(host),
            Bytes(host_limit)
        )?;
        match limit {
            Some(limit) if bytes > limit => write!(f, "; raise the limit, or divide the command"),
            _ if host.saturating_add(missing) > host_limit => {
                write!(f, "; raise `PoolOptions::spill`, or free tensors")
            }
            _ => write!(f, "; drop guards and tensors that stay on the device"),
        }
    }
}

impl std::error::Error for WorkingSet {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn both_sides_and_the_remedy_are_named() {
        let set = WorkingSet {
            bytes: 96 * MIB,
            missing: 32 * MIB,
            limit: Some(64 * MIB),
            refused: None,
            pinned_segments: 0,
            kept: 0,
            reserved: 64 * MIB,
            host: 32 * MIB,
            host_limit: 512 * MIB,
        };
        assert_eq!(
            set.to_string(),
            "the tensors of one command take 96.0 MiB, and 32.0 MiB of that do not fit: limit 64.0 MiB, reserved 64.0 MiB, \
             in segments with pins 0 B, kept on the device 0 B, in host memory 32.0 MiB of at most 512.0 MiB; raise the \
             limit, or divide the command"
        );
        let full = WorkingSet { bytes: 60 * MIB, host: 500 * MIB, ..set.clone() };
        assert!(full.to_string().ends_with("; raise `PoolOptions::spill`, or free tensors"));
        let refused = WorkingSet { bytes: 60 * MIB, refused: Some(33 * MIB), ..set };
        assert!(refused.to_string().contains("the device refused 33.0 MiB, "));
        assert!(refused.to_string().ends_with("; drop guards and tensors that stay on the device"));
    }
}
