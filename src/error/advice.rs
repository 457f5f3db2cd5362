//! Advice for a request that failed for lack of memory, chosen from the numbers of the failure.

use super::{Bytes, OutOfMemory};
use std::fmt;

/// The measure that helps a request which failed for lack of memory. `Display` writes a sentence. Sizes are in bytes.
///
/// Cause and remedy of each variant: [`guide::errors::allocate`](crate::guide::errors::allocate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The device refused, not the limit, and the pool's own blocks are small: other pools or programs use the memory.
    DeviceFull,
    /// The device refused, and the pool's own live blocks use most of the memory.
    FreeOnDevice {
        /// Bytes in allocated blocks.
        allocated: u64,
    },
    /// The request alone is above the limit, independent of what is freed.
    AboveLimit {
        /// The smallest limit that could serve the request.
        least_limit: u64,
    },
    /// The limit is below the allocated bytes.
    LimitBelowLive {
        /// The smallest limit that could serve the request together with all live blocks.
        least_limit: u64,
    },
    /// Enough memory is free, but pinned blocks prevent joining it.
    Unpin {
        /// Bytes of pinned blocks.
        pinned: u64,
    },
    /// Enough memory is free in separate holes, and compaction is disabled.
    AllowMoving {
        /// Bytes that are free: those that the limit leaves in addition to the allocated bytes, or, if the device
        /// refused, those of the holes.
        free: u64,
    },
    /// Enough memory is free in separate holes, and blocks could not be moved: in a browser, where no call can wait, or
    /// because there was no memory for copying the blocks.
    Smaller {
        /// The largest request that fits now.
        largest: u64,
    },
    /// Live blocks leave too little memory, and the blocks of one call site are large enough.
    FreeHolder {
        /// The smallest number of bytes that must be freed.
        lacking: u64,
    },
    /// Live blocks leave too little memory.
    FreeMore {
        /// The smallest number of bytes that must be freed.
        lacking: u64,
    },
}

impl OutOfMemory {
    /// Returns the advice that follows from the numbers. O(1).
    #[must_use]
    pub fn advice(&self) -> Advice {
        // Without a limit, only the device can have refused.
        let (None, Some(limit)) = (self.refused, self.limit) else { return self.advice_on_a_full_device() };
        if self.rounded > limit {
            return Advice::AboveLimit { least_limit: self.rounded };
        }
        if self.allocated > limit {
            return Advice::LimitBelowLive { least_limit: self.allocated.saturating_add(self.rounded) };
        }
        let free = limit - self.allocated;
        if free < self.rounded {
            let lacking = self.rounded - free;
            let one_is_enough = self.holders.first().is_some_and(|holder| holder.bytes >= lacking);
            return if one_is_enough { Advice::FreeHolder { lacking } } else { Advice::FreeMore { lacking } };
        }
        self.advice_on_holes(free)
    }

    fn advice_on_a_full_device(&self) -> Advice {
        let free = self.reserved.saturating_sub(self.active);
        if free >= self.rounded {
            return self.advice_on_holes(free);
        }
        let mostly_ours = self.allocated >= self.rounded;
        if mostly_ours { Advice::FreeOnDevice { allocated: self.allocated } } else { Advice::DeviceFull }
    }

    /// Returns the advice if enough memory is free in separate holes.
    const fn advice_on_holes(&self, free: u64) -> Advice {
        match (self.moves, self.pinned) {
            (false, _) => Advice::AllowMoving { free },
            (true, 0) => Advice::Smaller { largest: self.largest_request },
            (true, pinned) => Advice::Unpin { pinned },
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DeviceFull => write!(f, "other programs or pools use the device's memory: close them"),
            Self::FreeOnDevice { allocated } => {
                write!(
                    f,
                    "the device is out of memory: free some of the {} that this pool has allocated",
                    Bytes(allocated)
                )
            }
            Self::AboveLimit { least_limit } => {
                write!(f, "raise the limit to {} or more, or ask for less at a time", Bytes(least_limit))
            }
            Self::LimitBelowLive { least_limit } => {
                write!(f, "the limit is below the allocated bytes: raise it to {} or more", Bytes(least_limit))
            }
            Self::Unpin { pinned } => {
                write!(f, "enough is free, but {} are pinned and can't move: drop their guards", Bytes(pinned))
            }
            Self::AllowMoving { free } => {
                write!(
                    f,
                    "{} are free, but in pieces, and compaction is off: set a compaction share above 0",
                    Bytes(free)
                )
            }
            Self::Smaller { largest } => {
                write!(
                    f,
                    "enough is free, but in pieces, and they could not be joined: ask for {} or less",
                    Bytes(largest)
                )
            }
            Self::FreeHolder { lacking } => {
                write!(f, "free {} of the first call site above, or raise the limit by as much", Bytes(lacking))
            }
            Self::FreeMore { lacking } => {
                write!(f, "free {} or more, or raise the limit by as much", Bytes(lacking))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Gains, Holder};
    use std::panic::Location;

    const MIB: u64 = 1 << 20;

    fn numbers(limit: u64, allocated: u64, pinned: u64) -> OutOfMemory {
        OutOfMemory {
            requested: 100 * MIB,
            rounded: 100 * MIB,
            limit: Some(limit * MIB),
            refused: None,
            allocated: allocated * MIB,
            active: allocated * MIB,
            pinned: pinned * MIB,
            pinned_segments: pinned * MIB,
            reserved: limit * MIB,
            largest_hole: 16 * MIB,
            holes: 3,
            largest_request: 16 * MIB,
            moves: true,
            host: 0,
            host_limit: None,
            gains: Gains::default(),
            holders: Vec::new(),
        }
    }

    #[test]
    fn advice_follows_from_the_numbers() {
        let refused = |allocated| {
            let numbers = numbers(512, allocated, 0);
            OutOfMemory { refused: Some(MIB), reserved: numbers.active, ..numbers }
        };
        assert_eq!(refused(64).advice(), Advice::DeviceFull);
        assert_eq!(refused(100).advice(), Advice::FreeOnDevice { allocated: 100 * MIB });
        let in_holes = OutOfMemory { reserved: 300 * MIB, ..refused(200) };
        assert_eq!(in_holes.advice(), Advice::Smaller { largest: 16 * MIB });
        let rigid = OutOfMemory { moves: false, ..in_holes.clone() };
        assert_eq!(rigid.advice(), Advice::AllowMoving { free: 100 * MIB });
        assert_eq!(OutOfMemory { pinned: MIB, ..in_holes }.advice(), Advice::Unpin { pinned: MIB });
        assert_eq!(numbers(99, 0, 0).advice(), Advice::AboveLimit { least_limit: 100 * MIB });
        assert_eq!(numbers(100, 1, 0).advice(), Advice::FreeMore { lacking: MIB });
        assert_eq!(numbers(100, 150, 0).advice(), Advice::LimitBelowLive { least_limit: 250 * MIB });
        assert_eq!(numbers(200, 100, 0).advice(), Advice::Smaller { largest: 16 * MIB });
        assert_eq!(numbers(200, 100, 8).advice(), Advice::Unpin { pinned: 8 * MIB });
        let rigid = OutOfMemory { moves: false, ..numbers(200, 100, 8) };
        assert_eq!(rigid.advice(), Advice::AllowMoving { free: 100 * MIB });
        let holder =
            |bytes| vec![Holder { site: Location::caller().into(), label: None, scope: None, blocks: 1, bytes }];
        let held = |bytes| OutOfMemory { holders: holder(bytes), ..numbers(100, 60, 0) };
        assert_eq!(held(60 * MIB).advice(), Advice::FreeHolder { lacking: 60 * MIB });
        assert_eq!(held(59 * MIB).advice(), Advice::FreeMore { lacking: 60 * MIB });
    }

    #[test]
    fn each_advice_names_its_number() {
        assert_eq!(numbers(100, 1, 0).advice().to_string(), "free 1.0 MiB or more, or raise the limit by as much");
        assert_eq!(
            numbers(200, 100, 8).advice().to_string(),
            "enough is free, but 8.0 MiB are pinned and can't move: drop their guards"
        );
    }
}
