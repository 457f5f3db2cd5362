//! Host segments: buffers in host memory that commands copy from and to. They are kept for reuse, because creating one takes
//! 170 ms per GiB on an H100.
//!
//! Programs with varying shapes rarely ask for the same size twice. Therefore a segment is created with a size of one of eight
//! classes per power of two, and serves blocks that are up to a quarter smaller. Before a segment is created, idle segments are
//! dropped until all segments have at most twice the bytes that were ever in use at once.

use super::super::State;
use crate::device::{CacheUse, Location, Memory};
use crate::heap::SegmentId;
use std::collections::BTreeMap;

/// The number of sizes per power of two, and so the largest excess of a new segment: an eighth of its block.
const CLASS_BITS: u32 = 3;

/// A segment in host memory.
#[derive(Clone, Debug)]
pub(in crate::pool) struct HostSegment<S> {
    segment: S,
    bytes: u64,
    /// The size of the block in it; 0 if there is none.
    block: u64,
}

impl<S: Clone> HostSegment<S> {
    pub(super) const fn new(segment: S, bytes: u64) -> Self {
        Self { segment, bytes, block: 0 }
    }

    /// Returns the first `size` bytes.
    pub(super) fn location(&self, size: u64) -> Location<S> {
        Location { id: SegmentId::NEVER, segment: self.segment.clone(), offset: 0, size }
    }
}

/// The host segments of a pool.
#[derive(Debug)]
pub(super) struct HostSegments<S> {
    /// The idle segments by size, and the sum of their sizes.
    idle: BTreeMap<u64, Vec<S>>,
    idle_bytes: u64,
    /// The bytes of segments in use, the most so far, and the bytes by which they exceed their blocks.
    in_use: u64,
    most_in_use: u64,
    excess: u64,
}

impl<S> Default for HostSegments<S> {
    fn default() -> Self {
        Self { idle: BTreeMap::new(), idle_bytes: 0, in_use: 0, most_in_use: 0, excess: 0 }
    }
}

impl<S> HostSegment<S> {
    /// Returns a copy in another memory.
    pub(super) fn in_memory<T>(&self, segment: T) -> HostSegment<T> {
        HostSegment { segment, bytes: self.bytes, block: self.block }
    }
}

impl<S> HostSegments<S> {
    /// Returns a copy in another memory, in which `create` creates segments.
    pub(super) fn in_memory<T>(&self, create: impl Fn() -> T) -> HostSegments<T> {
        let copies = |segments: &Vec<S>| segments.iter().map(|_| create()).collect();
        let idle = self.idle.iter().map(|(&bytes, segments)| (bytes, copies(segments))).collect();
        let Self { idle: _, idle_bytes, in_use, most_in_use, excess } = *self;
        HostSegments { idle, idle_bytes, in_use, most_in_use, excess }
    }

    pub(super) const fn idle_bytes(&self) -> u64 {
        self.idle_bytes
    }

    /// Returns the usage of the cache of idle segments, of at most `limit` bytes.
    pub(super) fn cache_use(&self, limit: u64) -> CacheUse {
        CacheUse {
            entries: self.idle.values().map(Vec::len).sum::<usize>() as u64,
            bytes: Some(self.idle_bytes),
            most_bytes: Some(self.most_in_use.saturating_mul(2).min(limit)),
            ..CacheUse::named("idle host buffers")
        }
    }

    pub(super) const fn excess(&self) -> u64 {
        self.excess
    }

    /// Returns the size of the idle segment that serves a block of `size` bytes, of at most `room` bytes.
    fn size_for(&self, size: u64, room: u64) -> Option<u64> {
        let most = size.saturating_add(size / 4).min(room);
        if size > most { None } else { self.idle.range(size..=most).next().map(|(&bytes, _)| bytes) }
    }

    /// Takes an idle segment for a block of `size` bytes, of at most `room` bytes.
    pub(super) fn take(&mut self, size: u64, room: u64) -> Option<HostSegment<S>> {
        self.remove(self.size_for(size, room)?)
    }

    /// Counts a segment as in use by a block of `size` bytes.
    pub(super) fn put_in_use(&mut self, segment: &mut HostSegment<S>, size: u64) {
        segment.block = size;
        self.excess += segment.bytes - size;
        self.in_use += segment.bytes;
        self.most_in_use = self.most_in_use.max(self.in_use);
    }

    /// Makes a segment idle that was in use. Returns the segment instead if the idle segments, with what the others exceed their
    /// blocks by, would exceed `room`.
    pub(super) fn put_back(&mut self, segment: HostSegment<S>, room: u64) -> Option<HostSegment<S>> {
        self.excess -= segment.bytes - segment.block;
        self.in_use -= segment.bytes;
        if self.idle_bytes.saturating_add(self.excess).saturating_add(segment.bytes) > room {
            return Some(segment);
        }
        self.add_idle(segment);
        None
    }

    /// Makes a segment idle that no block uses.
    pub(super) fn add_idle(&mut self, HostSegment { segment, bytes, block: _ }: HostSegment<S>) {
        self.idle.entry(bytes).or_default().push(segment);
        self.idle_bytes += bytes;
    }

    fn remove(&mut self, bytes: u64) -> Option<HostSegment<S>> {
        let segments = self.idle.get_mut(&bytes)?;
        let segment = segments.pop()?;
        if segments.is_empty() {
            self.idle.remove(&bytes);
        }
        self.idle_bytes -= bytes;
        Some(HostSegment { segment, bytes, block: 0 })
    }

    /// Drops idle segments, largest first, until they have at most `room` bytes, and until there is room for a new segment of
    /// `size` bytes.
    fn trim(&mut self, size: u64, room: u64) {
        let in_use = self.in_use.saturating_add(size);
        let room = room.min(in_use.max(self.most_in_use).saturating_mul(2).saturating_sub(in_use));
        while self.idle_bytes > room {
            let Some((&largest, _)) = self.idle.last_key_value() else { break };
            drop(self.remove(largest));
        }
    }

    /// Removes all idle segments.
    pub(super) fn take_all_idle(&mut self) -> BTreeMap<u64, Vec<S>> {
        self.idle_bytes = 0;
        std::mem::take(&mut self.idle)
    }
}

/// Returns the size of a new segment for a block: the smallest class that holds it, or `room` if that is less.
pub(super) fn new_bytes(size: u64, room: u64) -> u64 {
    let step = 1 << size.checked_ilog2().unwrap_or(0).saturating_sub(CLASS_BITS);
    size.checked_next_multiple_of(step).filter(|&bytes| bytes <= room).unwrap_or(size)
}

impl<M: Memory> State<M> {
    /// Returns the bytes that may move to host memory, if its limit may be exceeded by `allowance` bytes.
    pub(super) fn host_room(&self, allowance: u64) -> u64 {
        let limit = self.spilling.as_ref().map_or(0, |spilling| spilling.limit);
        limit.saturating_add(allowance).saturating_sub(self.host_bytes())
    }

    /// Returns the bytes that the limit on host bytes leaves for a block, if it has room for one of `size` bytes. With
    /// `reuses`, an idle segment of a suitable size serves the block; otherwise idle segments that are in the way are dropped.
    /// `allowance` is the number of bytes by which the host may exceed the limit.
    pub(super) fn make_host_room(&mut self, size: u64, reuses: bool, allowance: u64) -> Option<u64> {
        let (used, room) = (self.host_bytes(), self.host_room(allowance));
        let spilling = self.spilling.as_mut()?;
        if size > room {
            return None;
        }
        if !reuses || spilling.host.size_for(size, room).is_none() {
            spilling.host.trim(size, spilling.limit.saturating_sub(used.saturating_add(size)));
        }
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_segment_exceeds_its_block_by_an_eighth_at_most_and_never_the_room() {
        for size in [1, 255, 256, 4096, 4352, 1_000_192, 1 << 30, (1 << 30) + 256, u64::MAX] {
            let bytes = new_bytes(size, u64::MAX);
            assert!(bytes >= size && bytes - size <= size / 8, "{bytes} for {size}");
            assert_eq!(new_bytes(bytes, u64::MAX), bytes, "a class");
            assert_eq!(new_bytes(size, size), size);
        }
        assert_eq!([new_bytes(4352, u64::MAX), new_bytes(4353, 5000), new_bytes(4353, 4500)], [4608, 4608, 4353]);
    }

    #[test]
    fn a_segment_serves_blocks_that_are_up_to_a_quarter_smaller_within_the_room() {
        let mut host = HostSegments::default();
        host.add_idle(HostSegment::new("a", 1000));
        host.add_idle(HostSegment::new("b", 1100));
        assert_eq!(
            [host.size_for(900, 5000), host.size_for(700, 5000), host.size_for(900, 950)],
            [Some(1000), None, None]
        );
        let mut taken = host.take(1001, 5000).expect("a segment of 1100 bytes is idle");
        assert_eq!((taken.segment, host.idle_bytes()), ("b", 1000));
        host.put_in_use(&mut taken, 1001);
        assert_eq!(host.excess(), 99);
        assert!(host.put_back(taken, 2000).is_some(), "1000 bytes are idle");
        assert_eq!((host.excess(), host.idle_bytes()), (0, 1000));
        host.trim(1, 999);
        assert_eq!((host.idle_bytes(), host.take_all_idle().len()), (0, 0));
    }
}
