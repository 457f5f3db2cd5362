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

/// The bit of an event that distinguishes an allocation from a free. The slots of blocks are smaller.
const ALLOCATION: u32 = 1 << 31;

/// The requests and frees of a run, in their order.
///
/// During the run the log only appends: which request a freed block belongs to is found at the end, so that an event writes 4 bytes and a
/// request 16 more, and none reads memory that is not in the cache.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The requested bytes and the call site of each request.
    requests: Vec<(u64, &'static Location<'static>)>,
    /// The slot of the block of each event, with [`ALLOCATION`] or without. The run may not have allocated a block that it frees.
    events: Vec<u32>,
}

impl Log {
    #[inline]
    pub(super) fn allocated(&mut self, block: BlockId, bytes: u64, site: &'static Location<'static>) {
        // A run of 2^32 events is not planned completely: the rest goes to the heap.
        if self.push(block, ALLOCATION) {
            self.requests.push((bytes, site));
        }
    }

    /// Notes the end of a block, which may be one that the run has not allocated.
    #[inline]
    pub(super) fn freed(&mut self, block: BlockId) {
        self.push(block, 0);
    }

    #[inline]
    fn push(&mut self, block: BlockId, kind: u32) -> bool {
        let Ok(slot) = u32::try_from(block.key()) else { return false };
        let has_room = self.events.len() < NEVER as usize;
        if has_room {
            self.events.push(slot | kind);
        }
        has_room
    }

    /// Returns the requests with the lifetimes of their blocks. Only events of the run's own blocks are counted.
    pub(super) fn into_requests(self) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::with_capacity(self.requests.len());
        let mut made = self.requests.into_iter();
        // The number of the request of a block, by the slot of the block. NEVER if the run has not allocated the block.
        let mut numbers: Vec<u32> = Vec::new();
        let mut now = 0;
        for event in self.events {
            let slot = (event & !ALLOCATION) as usize;
            if slot >= numbers.len() {
                numbers.resize(slot + 1, NEVER);
            }
            if event & ALLOCATION == 0 {
                let number = std::mem::replace(&mut numbers[slot], NEVER);
                if number != NEVER {
                    requests[number as usize].upper = now;
                    now += 1;
                }
            } else if let Some((bytes, site)) = made.next() {
                numbers[slot] = u32::try_from(requests.len()).unwrap_or(NEVER);
                requests.push(Request { bytes, lower: now, upper: NEVER, site });
                now += 1;
            }
        }
        requests
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
