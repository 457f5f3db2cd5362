//! The requests and frees of an observed run.

use crate::heap::BlockId;
use std::panic::Location;

/// The end of a block that outlives the run.
pub(super) const NEVER: u32 = u32::MAX;

/// A request, and the lifetime of its block in numbers of events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The requested bytes.
    pub(super) bytes: u64,
    /// The event that allocated the block.
    pub(super) lower: u32,
    /// The event that freed the block. [`NEVER`] if the block outlives the run.
    pub(super) upper: u32,
    pub(super) site: &'static Location<'static>,
}

impl Request {
    /// Returns whether a run with the other request can have the same plan.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.bytes, self.lower, self.upper) == (other.bytes, other.lower, other.upper)
    }
}

/// The requests of a run, in their order.
#[derive(Debug, Default)]
pub(super) struct Log {
    requests: Vec<Request>,
    /// The numbers of the requests whose blocks have ended, and the events. Not stored in the requests until the end, because those are rarely
    /// in the cache by then.
    ends: Vec<(u32, u32)>,
    /// The number of the request of a block, by the slot of the block. [`NEVER`] if the run has not allocated the block.
    numbers: Vec<u32>,
    events: u32,
}

impl Log {
    #[inline]
    pub(super) fn allocated(&mut self, block: BlockId, bytes: u64, site: &'static Location<'static>) {
        // A run of 2^31 requests is not planned completely: the rest goes to the heap.
        let Ok(number) = u32::try_from(self.requests.len()) else { return };
        if self.events >= NEVER - 1 {
            return;
        }
        let key = block.key();
        if key >= self.numbers.len() {
            self.numbers.resize(key + 1, NEVER);
        }
        self.numbers[key] = number;
        self.requests.push(Request { bytes, lower: self.events, upper: NEVER, site });
        self.events += 1;
    }

    /// Notes the end of a block, which may be one that the run has not allocated.
    #[inline]
    pub(super) fn freed(&mut self, block: BlockId) {
        let Some(number) = self.numbers.get_mut(block.key()) else { return };
        let number = std::mem::replace(number, NEVER);
        if number != NEVER && self.events < NEVER - 1 {
            self.ends.push((number, self.events));
            self.events += 1;
        }
    }

    pub(super) fn into_requests(mut self) -> Vec<Request> {
        for (number, event) in self.ends {
            self.requests[number as usize].upper = event;
        }
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{Heap, HeapOptions, SubPool};
    use std::num::NonZeroU64;

    #[test]
    fn lifetimes_are_numbers_of_events_and_other_blocks_have_none() {
        let mut heap = Heap::new(HeapOptions::default()).expect("the default options suit");
        heap.add_segment(SubPool::Small, 1 << 20).expect("there is room");
        let mut block = || heap.allocate(NonZeroU64::MIN).expect("there is room");
        let (before, first, second) = (block(), block(), block());
        let site = Location::caller();
        let mut log = Log::default();
        log.freed(before);
        log.allocated(first, 3, site);
        log.allocated(second, 5, site);
        log.freed(first);
        // The slot is used again, first by a block that is not of the run.
        heap.free(first).expect("allocated");
        let third = heap.allocate(NonZeroU64::MIN).expect("there is room");
        assert_eq!(third.key(), first.key());
        log.freed(third);
        heap.free(third).expect("allocated");
        let fourth = heap.allocate(NonZeroU64::MIN).expect("there is room");
        assert_eq!(fourth.key(), first.key());
        log.allocated(fourth, 3, site);
        let lifetimes: Vec<_> =
            log.into_requests().iter().map(|request| (request.bytes, request.lower, request.upper)).collect();
        assert_eq!(lifetimes, [(3, 0, 2), (5, 1, NEVER), (3, 3, NEVER)]);
    }
}
