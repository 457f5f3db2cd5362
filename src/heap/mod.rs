//! Which bytes of which segment a request gets: pure arithmetic, without a byte of memory behind it.
//!
//! A [`Heap`] carves segments into blocks. It never makes a segment: it serves a request from what it has, or answers with
//! the [`Shortfall`], the segment that it lacks; whoever owns the memory decides where that comes from and tells the heap
//! with [`Heap::add_segment`]. So one logic serves every memory, and all of it can be tested without one.
//!
//! # How a block is found
//! Inactive blocks are kept in free lists by size class, 64 classes between two powers of two, with one bit for each list that
//! holds a block. A request looks through the first few blocks of its own class, then takes from the next class that has any:
//! near best fit, in a time that doesn't depend on how many blocks there are. A wholly inactive segment is cut only when no
//! other hole fits. What a block has beyond the request is split off; a freed block coalesces at once with inactive neighbours
//! on both sides.
//!
//! # Two pools
//! Requests up to [`HeapOptions::small_limit`] are served from segments of their own, so that no small block that lives long
//! holds a segment of large ones. A segment that is wholly inactive can change over: [`Heap::adopt`].
//!
//! # What it costs
//! With `b` blocks and `s` segments, of which a pool has `p` blocks; `m` is what a plan moves, in blocks.
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
//! | [`check`](Heap::check), [`snapshot`](Heap::snapshot) | O(b) | |
//!
//! The steps of an allocation don't grow with the number of blocks, but the records do: 32 bytes a block, and 8 a hole. Once they
//! outgrow the processor's caches, freeing a block that nobody has touched for long waits for memory, in every allocator.
//! Measured by `cargo bench --bench heap`: nanoseconds for a free and an allocation of log-uniform sizes, on a shared machine with
//! 2 cores; in parentheses those of the crate offset-allocator in the same run. One of the 1,000 youngest blocks is freed, as in
//! programs that free what they have just made, or any block:
//!
//! | live blocks | 1,000 | 10,000 | 100,000 | 1,000,000 |
//! | --- | --- | --- | --- | --- |
//! | a young one | 57 (49) | 56 (49) | 59 (50) | 55 (49) |
//! | any | 55 (48) | 64 (57) | 175 (149) | 377 (359) |
//!
//! Neither events nor segments change it: with 10,000 live blocks a pair takes 49 ns after 10⁵, after 10⁶ and after 10⁷ events; with
//! 100,000 live blocks in 16, 252 and 3,351 segments it takes 46, 46 and 49.
//!
//! An event of four programs' traces takes 22 to 28 ns when it is warm (17 to 27). A plan's time follows the pool's blocks, however
//! many segments they are in; a pool plans only when no hole serves. In microseconds, where a fourth of the blocks are holes:
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
//! # Laws
//! [`Heap::check`] states and proves them all. They hold after every call, also after one that was refused.

mod address;
mod allocate;
mod blocks;
mod check;
mod class;
pub mod compaction;
mod lists;
mod segment;
mod segments;
mod snapshot;
mod stats;

pub use address::{BlockId, Place, SegmentId, Shortfall, SubPool};
pub use snapshot::{BlockSnapshot, BlockState, SegmentSnapshot, Snapshot};
pub use stats::{Counter, Stats, SubPoolStats};

use crate::error::HeapError;
use blocks::{Block, Blocks, Key};
use lists::FreeLists;
use segments::Segments;
use stats::Tallies;
use std::num::NonZeroU64;

/// How a heap rounds, and where it draws the line between small and large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapOptions {
    /// The unit of every offset and size, in bytes: a power of two from 16 to 4096.
    pub granule: u64,
    /// Requests up to this many bytes live in the small pool. 0 puts all in the large one.
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
/// # Ok::<(), wgpu_pool::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Heap {
    /// Base-2 logarithm of the granule.
    granule_bits: u32,
    small_limit: u64,
    blocks: Blocks,
    segments: Segments,
    /// The free lists of the two pools, by [`SubPool::index`].
    lists: [FreeLists; 2],
    tallies: Tallies,
    /// Counts changes, so that a plan can tell whether it still holds.
    version: u64,
    /// Bytes handed out that [`Heap::reset_accumulated`] has taken from the counters.
    forgotten: u64,
}

/// The segments that hold a pinned block, which can neither be emptied nor released. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinnedSegments {
    /// Their sizes, added up.
    pub reserved: u64,
    /// Bytes of their active blocks, pinned or not.
    pub active: u64,
}

impl Heap {
    /// A heap without segments.
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

    /// The unit of every offset and size, in bytes.
    #[inline]
    #[must_use]
    pub const fn granule(&self) -> u64 {
        1 << self.granule_bits
    }

    /// The largest segment, and so the largest block, that the heap can hold, in bytes: 2³² − 1 granules.
    #[must_use]
    pub const fn largest_segment(&self) -> u64 {
        self.bytes(u32::MAX)
    }

    /// The pool that serves requests of this size.
    #[inline]
    #[must_use]
    pub const fn pool_for(&self, requested: NonZeroU64) -> SubPool {
        if requested.get() <= self.small_limit { SubPool::Small } else { SubPool::Large }
    }

    /// The size of the block that a request of this size gets, in bytes: the next multiple of the granule.
    #[inline]
    #[must_use]
    pub const fn block_size(&self, requested: NonZeroU64) -> u64 {
        // The largest multiple there is, where the next one isn't a u64: such a request is beyond every segment anyway.
        match requested.get().checked_next_multiple_of(self.granule()) {
            Some(size) => size,
            None => !(self.granule() - 1),
        }
    }

    /// The counters. O(1).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.tallies.stats(self.holes())
    }

    /// Sets the peak of every counter to its current value.
    pub fn reset_peaks(&mut self) {
        self.tallies.each().into_iter().for_each(stats::Tally::reset_peak);
    }

    /// Forgets what has come and gone: of every counter, `allocated` becomes the current value and `freed` 0.
    pub fn reset_accumulated(&mut self) {
        self.forgotten += self.tallies.allocated.allocated - self.tallies.allocated.current;
        self.tallies.each().into_iter().for_each(stats::Tally::reset_accumulated);
    }

    /// Bytes of all blocks that were ever handed out. Unlike the counters, nothing resets it, so policies may depend on it. O(1).
    #[must_use]
    pub const fn lifetime_allocated(&self) -> u64 {
        self.forgotten + self.tallies.allocated.allocated
    }

    /// What the segments hold that have a pinned block. O(1) while nothing is pinned, else O(blocks).
    #[must_use]
    pub fn pinned_segments(&self) -> PinnedSegments {
        let mut sums = PinnedSegments::default();
        if self.tallies.pinned.current == 0 {
            return sums;
        }
        for (_, slot) in self.segments.by_number() {
            let segment = &self.segments[slot];
            if !self.blocks_of(segment.first).all(|(_, block)| block.gives_way()) {
                sums.reserved += self.bytes(segment.size);
                sums.active += self.bytes(segment.active);
            }
        }
        sums
    }

    /// The largest inactive block of both pools, in bytes; 0 if there is none.
    ///
    /// Cost: walks one free list of each pool, the one of the highest class.
    #[must_use]
    pub fn largest_hole(&self) -> u64 {
        SubPool::ALL.map(|pool| self.largest_hole_in(pool)).into_iter().max().unwrap_or(0)
    }

    /// The largest inactive block of one pool, in bytes; 0 if there is none. It is also the largest block that the pool could
    /// hand out now.
    ///
    /// Cost: walks one free list, the one of the highest class.
    #[must_use]
    pub fn largest_hole_in(&self, pool: SubPool) -> u64 {
        self.bytes(self.lists[pool.index()].largest())
    }

    /// Number of inactive blocks. O(1).
    #[must_use]
    pub const fn holes(&self) -> u64 {
        (self.lists[0].len() + self.lists[1].len()) as u64
    }

    /// Counts changes: equal before and after if and only if nothing was changed in between. O(1).
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// A number of granules in bytes.
    #[inline]
    const fn bytes(&self, granules: u32) -> u64 {
        (granules as u64) << self.granule_bits
    }

    /// The id of the block in a slot.
    #[inline]
    fn id_of(&self, key: Key) -> BlockId {
        BlockId { key, generation: self.blocks[key].generation }
    }

    /// The blocks from `first` to the end of its segment.
    fn blocks_of(&self, first: Key) -> impl Iterator<Item = (Key, &Block)> {
        let found = |key| self.blocks.get(key).map(|block| (key, block));
        std::iter::successors(found(first), move |(_, block)| found(block.after))
    }
}
