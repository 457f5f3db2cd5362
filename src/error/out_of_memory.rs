//! The error of a request that failed for lack of memory.

use super::{Bytes, Count, Holder};
use std::fmt;

/// The numbers at the time when a request failed for lack of memory. Sizes are in bytes.
///
/// `Display` writes a line with the numbers, a line with the gain of each remedy, a line for each of the largest
/// holders, and a line with the [advice](OutOfMemory::advice).
///
/// Cause and remedy: [`guide::errors::allocate`](crate::guide::errors::allocate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// The requested bytes.
    pub requested: u64,
    /// The size of the block for the request, after rounding.
    pub rounded: u64,
    /// The pool's limit on reserved bytes, if one is set.
    pub limit: Option<u64>,
    /// The size of the segment that the device refused. `None` if the limit is the reason of the failure.
    pub refused: Option<u64>,
    /// Bytes in allocated blocks.
    pub allocated: u64,
    /// Bytes in blocks that are allocated, or freed and still pinned.
    pub active: u64,
    /// Bytes in pinned blocks.
    pub pinned: u64,
    /// Bytes of the segments that hold a pinned block: these can neither move nor be released.
    pub pinned_segments: u64,
    /// Bytes of all segments.
    pub reserved: u64,
    /// Bytes of the largest inactive block.
    pub largest_hole: u64,
    /// Number of inactive blocks.
    pub holes: u64,
    /// The largest request in bytes that would be served now.
    pub largest_request: u64,
    /// Whether the pool may move blocks.
    pub moves: bool,
    /// Bytes of the blocks in host memory.
    pub host: u64,
    /// The limit on host bytes, if spilling is on.
    pub host_limit: Option<u64>,
    /// The gains of the remedies since the request was made.
    pub gains: Gains,
    /// The holders with the most bytes, largest first; at most five.
    pub holders: Vec<Holder>,
}

/// The gains of the remedies for one request, which include those of other threads at the same time. Sizes are in
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gains {
    /// Idle segments that were taken from the other sub-pool.
    pub adopted: u64,
    /// Compactions.
    pub compactions: u64,
    /// Bytes that the compactions moved.
    pub moved: u64,
    /// Idle segments that were released.
    pub released: u64,
    /// Bytes of the released segments.
    pub released_bytes: u64,
    /// Segments that were created.
    pub created: u64,
    /// Segments that the device refused.
    pub refusals: u64,
    /// Segments that were replaced by a smaller one by copying through host memory.
    pub host_copies: u64,
    /// Blocks that were moved to host memory.
    pub spilled: u64,
    /// Bytes of these blocks.
    pub spilled_bytes: u64,
    /// Waits for the device.
    pub waits: u64,
    /// Calls of the pressure callback.
    pub callbacks: u64,
    /// Bytes by which the allocated bytes of the pool fell during these calls.
    pub relieved: u64,
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
            ", allocated {}, reserved {}, {} of up to {}, largest request that fits {}",
            Bytes(self.allocated),
            Bytes(self.reserved),
            Count(self.holes, "hole"),
            Bytes(self.largest_hole),
            Bytes(self.largest_request)
        )?;
        if let Some(limit) = self.host_limit {
            write!(f, ", in host memory {} of at most {}", Bytes(self.host), Bytes(limit))?;
        }
        write!(f, "\n  tried: {}", self.gains)?;
        for holder in &self.holders {
            write!(f, "\n  held: {holder}")?;
        }
        write!(f, "\n  advice: {}", self.advice())
    }
}

impl std::error::Error for OutOfMemory {}

/// A list of all remedies, including those without any gain: `segments of the other pool 0, compactions 2 of 3.0 MiB,
/// idle segments released 1 of 8.0 MiB, …`.
impl fmt::Display for Gains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            adopted,
            compactions,
            moved,
            released,
            released_bytes,
            created,
            refusals,
            host_copies,
            spilled,
            spilled_bytes,
            waits,
            callbacks,
            relieved,
        } = *self;
        let [moved, released_bytes, relieved] = [moved, released_bytes, relieved].map(Bytes);
        write!(
            f,
            "segments of the other pool {adopted}, compactions {compactions} of {moved}, idle segments released {released} of \
             {released_bytes}, segments created {created} and refused {refusals}, segments copied through the host {host_copies}, waits {waits}, \
             pressure callbacks {callbacks} of {relieved}"
        )?;
        match spilled {
            0 => Ok(()),
            blocks => write!(f, ", blocks moved to host memory {blocks} of {}", Bytes(spilled_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Site;
    use std::panic::Location;

    const MIB: u64 = 1 << 20;

    fn example() -> OutOfMemory {
        OutOfMemory {
            requested: 100 * MIB,
            rounded: 100 * MIB,
            limit: Some(128 * MIB),
            refused: None,
            allocated: 64 * MIB,
            active: 64 * MIB,
            pinned: 0,
            pinned_segments: 0,
            reserved: 96 * MIB,
            largest_hole: 16 * MIB,
            holes: 3,
            largest_request: 32 * MIB,
            moves: true,
            host: 0,
            host_limit: None,
            gains: Gains { compactions: 2, moved: 3 * MIB, callbacks: 1, relieved: 512, ..Gains::default() },
            holders: Vec::new(),
        }
    }

    #[test]
    fn out_of_memory_names_every_number() {
        assert_eq!(
            example().to_string(),
            "out of memory: requested 100.0 MiB, limit 128.0 MiB, allocated 64.0 MiB, reserved 96.0 MiB, \
             3 holes of up to 16.0 MiB, largest request that fits 32.0 MiB\n  \
             tried: segments of the other pool 0, compactions 2 of 3.0 MiB, idle segments released 0 of 0 B, segments created 0 \
             and refused 0, segments copied through the host 0, waits 0, pressure callbacks 1 of 512 B\n  \
             advice: free 36.0 MiB or more, or raise the limit by as much"
        );
        let refused = OutOfMemory { refused: Some(104 << 20), ..example() };
        assert!(refused.to_string().contains(", the device refused 104.0 MiB,"));
    }

    #[test]
    fn each_holder_has_a_line_and_neither_label_nor_scope_breaks_it() {
        let site = Site::from(Location::caller());
        let holder = |label: &str, scope: Option<&str>, blocks| Holder {
            site: site.clone(),
            label: Some(label.into()),
            scope: scope.map(Into::into),
            blocks,
            bytes: blocks * MIB,
        };
        let error =
            OutOfMemory { holders: vec![holder("weights", Some("c\nd/e"), 40), holder("a\nb", None, 1)], ..example() };
        let text = error.to_string();
        let held: Vec<&str> = text.lines().filter(|line| line.starts_with("  held: ")).collect();
        assert_eq!(
            held,
            [
                format!("  held: 40.0 MiB in 40 blocks, {site} (weights) in c\\nd/e"),
                format!("  held: 1.0 MiB in 1 block, {site} (a\\nb)")
            ]
        );
    }

    #[test]
    fn every_error_that_contains_the_details_returns_them() {
        use crate::error::{AllocateError, BudgetError, Error, MaxBatchError};
        let refused = || AllocateError::OutOfMemory(Box::new(example()));
        let search = |error| Error::from(MaxBatchError::Program { n: 7, error });
        let of_tensors = {
            #[cfg(feature = "tensor")]
            {
                use crate::error::{KernelError, TensorError};
                let tensor = || TensorError::from(refused());
                assert_eq!(tensor().out_of_memory(), Some(&example()));
                vec![Error::from(tensor()), search(Error::from(tensor())), Error::from(KernelError::from(tensor()))]
            }
            #[cfg(not(feature = "tensor"))]
            Vec::new()
        };
        let of_budget = Error::from(BudgetError::DoesNotFit { site: None, error: refused() });
        let errors = [Error::from(refused()), search(Error::from(refused())), of_budget];
        for error in errors.into_iter().chain(of_tensors) {
            assert_eq!(error.out_of_memory(), Some(&example()), "{error:?}");
        }
        let other = Error::from(AllocateError::TooLarge { requested: 2, limit: 1 });
        assert_eq!(other.out_of_memory(), None);
    }
}
