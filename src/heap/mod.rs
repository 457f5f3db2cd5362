//! The heap: assigns byte ranges of segments to requests. Pure arithmetic, without memory access.
//!
//! A [`Heap`] divides segments into blocks. It never creates a segment: it serves a request from existing segments, or
//! returns the [`Shortfall`], the segment that it lacks. The owner of the memory creates the segment and adds it with
//! [`Heap::add_segment`]. Therefore one implementation serves every memory, and can be tested without one.
//!
//! # How a block is found
//! Inactive blocks are in free lists by size class, with 64 classes between two powers of two, and one bit for each
//! non-empty list. A request searches the first few blocks of its own class, then takes a block of the next non-empty
//! class: an approximate best fit in time independent of the number of blocks. An idle segment is divided only if no
//! other hole fits. The part of a block beyond the request is split off. A freed block coalesces immediately with
//! inactive neighbours on both sides.
//!
//! # Two sub-pools
//! Requests up to [`HeapOptions::small_limit`] are served from separate segments, so that a long-lived small block
//! never keeps a segment of large blocks. An idle segment can change its sub-pool: [`Heap::adopt`].
//!
//! # Cost
//! With `b` blocks, `s` segments, `p` blocks in a sub-pool, and `m` moved blocks in a plan.
//!
//! | call | cost | |
//! | --- | --- | --- |
//! | [`allocate`](Heap::allocate), [`free`](Heap::free), [`pin`](Heap::pin), [`unpin`](Heap::unpin), [`allocated_place`](Heap::allocated_place), [`active_place`](Heap::active_place), [`stats`](Heap::stats) | O(1) | a shortfall walks one free list |
//! | [`add_segment`](Heap::add_segment), [`release_segment`](Heap::release_segment), [`adopt`](Heap::adopt) | O(log s) | |
//! | [`plan_hole`](Heap::plan_hole) | O(p log p) | at most 24 windows are tried |
//! | [`plan_evacuation`](Heap::plan_evacuation) | O(p log p) | and each segment that is tried |
//! | [`plan_gathering`](Heap::plan_gathering), [`plan_sliding`](Heap::plan_sliding), [`plan_packing`](Heap::plan_packing) | O(p log p) | |
//! | [`commit`](Heap::commit) | O(m · blocks of a segment) | |
//! | [`repack_segment`](Heap::repack_segment) | O(blocks of the segment) | |
//! | [`repackable_segments`](Heap::repackable_segments) | O(b) | |
//! | [`check`](Heap::check), [`segments`](Heap::segments) | O(b) | |
//!
//! The steps of an allocation do not grow with the number of blocks, but the records do: 32 bytes per block and 8 per
//! hole. Once they exceed the CPU's caches, freeing a block that was not accessed recently causes cache misses, as in
//! every allocator. Measured by `cargo bench --bench heap`: nanoseconds for a free and an allocation of log-uniform
//! sizes, on a shared machine with 2 cores; in parentheses the crate offset-allocator in the same run. The freed block
//! is one of the 1,000 youngest, or any block:
//!
//! | live blocks | 1,000 | 10,000 | 100,000 | 1,000,000 |
//! | --- | --- | --- | --- | --- |
//! | a young one | 57 (49) | 56 (49) | 59 (50) | 55 (49) |
//! | any | 55 (48) | 64 (57) | 175 (149) | 377 (359) |
//!
//! The number of events and of segments has no effect: with 10,000 live blocks a pair takes 49 ns after 10⁵, 10⁶ and
//! 10⁷ events; with 100,000 live blocks in 16, 252 and 3,351 segments it takes 46, 46 and 49 ns.
//!
//! An event of four programs' traces takes 22 to 28 ns with warm caches (offset-allocator: 17 to 27). The time of a
//! plan depends on the number of blocks in the sub-pool, not on the number of segments; a pool plans only if no hole
//! fits. In microseconds, with a quarter of the blocks being holes:
//!
//! | segments | blocks | hole | evacuation | gathering | sliding |
//! | --- | --- | --- | --- | --- | --- |
//! | 10 | 947 | 11 | 14 | 39 | 4 |
//! | 10 | 9,332 | 172 | 177 | 841 | 41 |
//! | 100 | 9,441 | 167 | 82 | 855 | 35 |
//! | 10 | 92,073 | 2,734 | 2,877 | 7,881 | 531 |
//! | 100 | 93,765 | 2,567 | 2,063 | 9,495 | 431 |
//! | 1,000 | 94,608 | 2,640 | 2,072 | 10,816 | 449 |
//!
//! # Invariants
//! [`Heap::check`] lists and checks all invariants. They hold after every call, including calls that return an error.

mod address;
mod allocate;
mod blocks;
mod check;
mod class;
pub mod compaction;
mod detach;
mod lists;
mod planned;
mod segment;
mod segments;
mod stats;
mod view;

pub use address::{BlockId, Place, SegmentId, Shortfall, SubPool};
pub use detach::Detached;
pub(crate) use planned::PlannedSegment;
pub use stats::{Counter, Stats, SubPoolStats};
pub use view::{BlockState, BlockView, SegmentView};

use crate::error::HeapError;
use blocks::{Block, Blocks, Key};
use lists::FreeLists;
use segments::Segments;
use stats::Tallies;
use std::num::NonZeroU64;

/// The options of a heap: rounding, and the limit between small and large requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapOptions {
    /// The unit of all offsets and sizes, in bytes: a power of two from 16 to 4096.
    pub granule: u64,
    /// Requests up to this many bytes use the small sub-pool. 0 disables the small sub-pool.
    pub small_limit: u64,
}

impl HeapOptions {
    /// The smallest granule, in bytes.
    pub const LEAST_GRANULE: u64 = 16;
    /// The largest granule, in bytes.
    pub const MOST_GRANULE: u64 = 4096;
}

impl Default for HeapOptions {
    /// A granule of 256 bytes, which suits every device, and a small limit of 1 MiB.
    fn default() -> Self {
        Self { granule: 256, small_limit: 1 << 20 }
    }
}

/// Segments, and the blocks that tile them.
///
/// # Examples
/// ```
/// use std::num::NonZeroU64;
/// use wgpu_pool::heap::{Heap, HeapOptions};
///
/// let mut heap = Heap::new(HeapOptions::default())?;
/// let request = NonZeroU64::new(5000).expect("not zero");
/// let shortfall = heap.allocate(request).expect_err("the heap has no segment yet");
/// assert_eq!(shortfall.bytes, 5120);
///
/// heap.add_segment(shortfall.pool, 1 << 20)?;
/// let id = heap.allocate(request).expect("the segment has room");
/// assert_eq!(heap.allocated_place(id).expect("just allocated").size, 5120);
/// assert_eq!(heap.stats().requested.current, 5000);
///
/// heap.free(id)?;
/// assert_eq!(heap.allocated_place(id), None);
/// assert_eq!(heap.release_inactive().len(), 1);
/// # Ok::<(), wgpu_pool::error::HeapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Heap {
    /// The base-2 logarithm of the granule.
    granule_bits: u32,
    small_limit: u64,
    blocks: Blocks,
    segments: Segments,
    /// The free lists of the two sub-pools, by [`SubPool::index`].
    lists: [FreeLists; 2],
    tallies: Tallies,
    /// Counts changes, to detect stale plans.
    version: u64,
    /// Allocated bytes that [`Heap::reset_accumulated`] has removed from the counters.
    forgotten: u64,
}

/// The segments with a pinned block, which can be neither emptied nor released. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinnedSegments {
    /// The sum of their sizes.
    pub reserved: u64,
    /// Bytes of their active blocks, pinned or not.
    pub active: u64,
}

impl Heap {
    /// Creates a heap without segments.
    ///
    /// # Errors
    /// [`HeapError::Granule`] unless the granule is a power of two from 16 to 4096.
    pub fn new(options: HeapOptions) -> Result<Self, HeapError> {
        const LEAST: u64 = HeapOptions::LEAST_GRANULE;
        const MOST: u64 = HeapOptions::MOST_GRANULE;
        let HeapOptions { granule, small_limit } = options;
        if !granule.is_power_of_two() || !(LEAST..=MOST).contains(&granule) {
            return Err(HeapError::Granule { granule, least: LEAST, most: MOST });
        }
        Ok(Self {
            granule_bits: granule.ilog2(),
            small_limit,
            blocks: Blocks::new(),
            segments: Segments::new(),
            lists: [FreeLists::new(), FreeLists::new()],
            tallies: Tallies::default(),
            version: 0,
            forgotten: 0,
        })
    }

    /// Returns the unit of all offsets and sizes, in bytes.
    #[inline]
    #[must_use]
    pub const fn granule(&self) -> u64 {
        1 << self.granule_bits
    }

    /// Returns the size of the largest segment, and therefore of the largest block, in bytes: 2³² − 1 granules.
    #[must_use]
    pub const fn largest_segment(&self) -> u64 {
        self.bytes(u32::MAX)
    }

    /// Returns the sub-pool for requests of this size.
    #[inline]
    #[must_use]
    pub const fn pool_for(&self, requested: NonZeroU64) -> SubPool {
        if requested.get() <= self.small_limit { SubPool::Small } else { SubPool::Large }
    }

    /// Sets the largest size of a small request, in bytes. Existing blocks stay in their segments. O(1).
    pub const fn set_small_limit(&mut self, bytes: u64) {
        self.small_limit = bytes;
    }

    /// Returns the size of the block for a request of this size, in bytes: the next multiple of the granule.
    #[inline]
    #[must_use]
    pub const fn block_size(&self, requested: NonZeroU64) -> u64 {
        // If the next multiple exceeds a u64, the largest multiple: such a request exceeds every segment anyway.
        match requested.get().checked_next_multiple_of(self.granule()) {
            Some(size) => size,
            None => !(self.granule() - 1),
        }
    }

    /// Returns the counters. O(1).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tallies.stats(self.holes())
    }

    /// Sets the peak of every counter to the current value.
    pub fn reset_peaks(&mut self) {
        self.tallies.each().into_iter().for_each(stats::Tally::reset_peak);
    }

    /// Resets the totals of every counter: `allocated` becomes the current value and `freed` 0.
    pub fn reset_accumulated(&mut self) {
        let forgotten = self.tallies.allocated.allocated - self.tallies.allocated.current;
        self.forgotten = self.forgotten.saturating_add(forgotten);
        self.tallies.each().into_iter().for_each(stats::Tally::reset_accumulated);
    }

    /// Returns the current active and reserved bytes of both sub-pools together. Cheaper than [`Heap::stats`]. O(1).
    #[must_use]
    pub const fn held(&self) -> SubPoolStats {
        SubPoolStats { active: self.tallies.active.current, reserved: self.tallies.reserved.current }
    }

    /// Returns the most active bytes since the last call, and starts over. No other reset affects this value, so
    /// policies may depend on it. O(1).
    pub const fn take_recent_active(&mut self) -> u64 {
        std::mem::replace(&mut self.tallies.recent_active, self.tallies.active.current)
    }

    /// Returns the bytes of all blocks that were ever allocated. No reset affects this value, so policies may depend on
    /// it. O(1).
    #[must_use]
    pub const fn lifetime_allocated(&self) -> u64 {
        self.forgotten.saturating_add(self.tallies.allocated.allocated)
    }

    /// Returns the size and active bytes of the segments with a pinned block. O(1) if nothing is pinned, otherwise
    /// O(blocks).
    #[must_use]
    pub fn pinned_segments(&self) -> PinnedSegments {
        let mut sums = PinnedSegments::default();
        if self.tallies.pinned.current == 0 {
            return sums;
        }
        for (_, slot) in self.segments.by_number() {
            let segment = &self.segments[slot];
            if segment.pinned > 0 {
                sums.reserved += self.bytes(segment.size);
                sums.active += self.bytes(segment.active);
            }
        }
        sums
    }

    /// Returns whether a segment has a pinned block. O(1).
    pub(crate) fn has_pinned_block(&self, id: SegmentId) -> bool {
        self.segments.slot(id).is_some_and(|slot| self.segments[slot].pinned > 0)
    }

    /// Returns the size of the largest inactive block of both sub-pools, in bytes; 0 if there is none.
    ///
    /// Cost: walks one free list of each pool, the one of the highest class.
    #[must_use]
    pub fn largest_hole(&self) -> u64 {
        SubPool::ALL.map(|pool| self.largest_hole_in(pool)).into_iter().max().unwrap_or(0)
    }

    /// Returns the size of the largest inactive block of one sub-pool, in bytes; 0 if there is none. This is also the
    /// largest block that the sub-pool could allocate now.
    ///
    /// Cost: walks one free list, the one of the highest class.
    #[must_use]
    pub fn largest_hole_in(&self, pool: SubPool) -> u64 {
        self.bytes(self.lists[pool.index()].largest())
    }

    /// Returns the number of inactive blocks. O(1).
    #[must_use]
    pub const fn holes(&self) -> u64 {
        (self.lists[0].len() + self.lists[1].len()) as u64
    }

    /// Counts changes: two results are equal if and only if the heap was not changed in between. O(1).
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Converts granules to bytes.
    #[inline]
    const fn bytes(&self, granules: u32) -> u64 {
        (granules as u64) << self.granule_bits
    }

    /// Returns the id of the block in a slot.
    #[inline]
    fn id_of(&self, key: Key) -> BlockId {
        BlockId { key, generation: self.blocks[key].generation }
    }

    /// Returns the blocks from `first` to the end of its segment.
    fn blocks_of(&self, first: Key) -> impl Iterator<Item = (Key, &Block)> {
        let found = |key| self.blocks.get(key).map(|block| (key, block));
        std::iter::successors(found(first), move |(_, block)| found(block.after))
    }
}
