//! The options of a pool.

use super::growth::{Growth, SMALLEST};
use crate::device::{GpuOptions, MemoryLimits};
use crate::error::{Number, OptionsError};
use crate::heap::HeapOptions;
use std::time::Duration;

/// The smallest value of [`PoolOptions::largest_block`].
const LEAST_BLOCK: u64 = 64;

/// The options of a pool. Sizes are in bytes; the defaults suit most programs.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The limit on the sum of all segments. Unlimited by default. Many drivers never refuse an allocation, even beyond the
    /// device's memory, so a program that shares the machine with others should set a limit.
    pub limit: Option<u64>,
    /// The unit of offsets and block sizes: a power of two, and at least the device's alignment for bindings, which is the
    /// default.
    pub granule: Option<u64>,
    /// The largest small request. Small requests have separate segments, so that a small tensor does not keep a large segment
    /// in use. 1 MiB by default.
    ///
    /// This is an upper bound. Up to 400 MiB of reserved bytes the boundary is 1/4096 of the reserved bytes and at least 4 KiB
    /// (without compaction 1/1024 and 16 KiB), because small pools have small segments. If `smallest_segment` is set, the
    /// boundary is this size in every pool.
    pub small_limit: u64,
    /// The smallest size of a segment. By default the size of segments follows the size of the pool, starting at 1 MiB
    /// (64 KiB for small requests), so that a pool of a few MiB reserves little more than it needs.
    ///
    /// Segments up to 4 MiB share driver blocks of 4 MiB. Such a block is freed when all segments in the block are destroyed,
    /// except for the last block, which the driver keeps. With `Some((4 << 20) + 1)` each segment has a separate driver
    /// block, which is freed when the segment is destroyed. A size of at most 4 MiB is also the usual size of the pool's
    /// segments, unless a block needs a larger one.
    pub smallest_segment: Option<u64>,
    /// The largest block of a tensor in bytes. Larger tensors consist of several blocks; see the guide
    /// (`docs/guide/large_tensors.md`). By default, and at most, what the device can bind: 128 MiB with
    /// WebGPU's default limits, 2 GiB on most GPUs. At least 64 bytes. Smaller blocks need smaller holes, and more launches.
    pub largest_block: Option<u64>,
    /// The limit on the bytes that the pool moves to avoid growing, as a fraction of all bytes allocated so far. 0.1 by
    /// default; 0 disables these moves. Before an out-of-memory error the pool may move more, unless this is 0: the guarantee
    /// of [`Pool::allocate`](super::Pool::allocate) holds for every fraction above 0.
    ///
    /// Programs rarely reach the default. Over four traces of training and inference and 12 variants with jittered sizes, all
    /// with sizes divided by 1, 8, 32 and 128, the pool moved at most 0.05 of the allocated bytes. A lower limit costs memory,
    /// because most moves are needed while the program grows for the first time: with 0.048 the four traces divided by 32
    /// reserved up to 1.23 times the requested peak, with 0.1 up to 1.08 times.
    pub compaction_share: f64,
    /// Clears the bytes of a block when the block is freed, so that neither a later block nor, after a trim, another program
    /// can read them: for secret data, and to find reads of uninitialized memory, since every new block then contains zeros.
    /// Disabled by default: a new block contains stale bytes.
    ///
    /// The clear is recorded after the commands that use the block and before the commands of the next block there. A block
    /// that is pinned when it is freed is cleared when its last pin is dropped, after all commands that the application has
    /// submitted by then. Compaction clears the old locations of moved blocks. Staging, bounce and readback buffers are not
    /// cleared.
    ///
    /// Cost: dropping the last handle of a block takes the recorder's lock, records a command, and may submit the batch.
    pub scrub_on_free: bool,
    /// The period after which memory that the program no longer needs is released. 1 s by default. With `None` memory stays
    /// reserved until [`Pool::trim`](super::Pool::trim) is called or the limit requires a release.
    ///
    /// The need is the peak of the active bytes over the last two periods, plus a quarter of that peak, plus one smallest
    /// segment; or zero if no block was active. When reserved bytes exceed the need, idle segments are released, longest idle
    /// first. If that does not suffice, blocks move out of sparse segments, within
    /// [`compaction_share`](Self::compaction_share). A loop with similar iterations therefore keeps all its memory, and a
    /// program whose need falls releases the excess after one to two periods. If memory is needed again within a period of its
    /// release, as in a loop with iterations longer than two periods, the period doubles, up to 64 times the option. The
    /// period shrinks slowly while the pool does not grow.
    ///
    /// Memory is released on a thread of the pool, not in allocations, and without waiting for the device. An allocation on
    /// another thread may wait for the heap's lock while moves are planned. On GL, in browsers and on host memory, where the
    /// pool has no such thread, memory is released when commands are submitted. Corresponds to jemalloc's decay and mimalloc's
    /// purge delay.
    pub release_after: Option<Duration>,
    /// The fraction of the limit above which idle segments are released, longest idle first, before the pool grows: above 0
    /// and at most 1. 1 by default: idle segments are released when the limit requires it. No effect without a limit. Equals
    /// PyTorch's `garbage_collection_threshold`.
    pub release_above: f64,
    /// Enables spilling, with this limit on host bytes: before the pool runs out of memory, blocks that are not needed soon
    /// move to host memory, and return before a command that uses them. `None` by default: spilling is off and costs
    /// nothing.
    ///
    /// The program does not change, and results are bit-identical. The pool learns the order in which a program uses its
    /// blocks, and moves the block whose next use is last; before a repetition is found, the least recently used block. A
    /// loop over slightly more than fits on the device moves little more than the excess. All tensors of one command must
    /// fit on the device together. Pinned blocks stay. See [`guide::spilling`](crate::guide::spilling).
    ///
    /// The record of uses takes 256 KiB of host memory, and up to 32 MiB if blocks return only after many thousand uses.
    ///
    /// Blocks count as reserved and allocated only while they are on the device; [`Stats::spilled`](crate::Stats::spilled)
    /// counts the others. The limit includes host buffers that are kept for reuse, which [`Pool::trim`](super::Pool::trim)
    /// frees. In browsers no thread can wait for the bytes, so blocks do not move.
    pub spill: Option<u64>,
    /// The adapter to open. Only used by [`Pool::request`](super::Pool::request).
    pub gpu: GpuOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            limit: None,
            granule: None,
            small_limit: 1 << 20,
            smallest_segment: None,
            largest_block: None,
            compaction_share: 0.1,
            scrub_on_free: false,
            release_after: Some(Duration::from_secs(1)),
            release_above: 1.0,
            spill: None,
            gpu: GpuOptions::default(),
        }
    }
}

impl PoolOptions {
    /// Returns the granule on a memory with these limits.
    pub(super) fn granule_for(&self, limits: &MemoryLimits) -> Result<u64, OptionsError> {
        let granule = self.granule.unwrap_or(limits.alignment);
        if granule.is_power_of_two() && (limits.alignment..=HeapOptions::MOST_GRANULE).contains(&granule) {
            Ok(granule)
        } else {
            Err(OptionsError::Granule { granule, least: limits.alignment, most: HeapOptions::MOST_GRANULE })
        }
    }

    /// Checks the options for releasing memory.
    pub(super) fn check_release(&self) -> Result<(), OptionsError> {
        let fraction = self.release_above;
        if fraction > 0.0 && fraction <= 1.0 {
            Ok(())
        } else {
            Err(OptionsError::ReleaseAbove { fraction: Number(fraction) })
        }
    }

    /// Returns the largest block of a tensor on a memory with these limits, where `largest_segment` is the pool's.
    pub(super) fn largest_block_for(&self, limits: &MemoryLimits, growth: &Growth) -> Result<u64, OptionsError> {
        // A block is rounded up to the granule, and is bound as a whole.
        let bindable = limits.largest_binding - limits.largest_binding % growth.granule;
        let most = growth.maximum_segment.min(bindable);
        match self.largest_block {
            Some(bytes @ ..LEAST_BLOCK) => Err(OptionsError::Block { bytes, least: LEAST_BLOCK }),
            wanted => Ok(wanted.map_or(most, |bytes| bytes.min(most))),
        }
    }

    /// Returns the growth policy on a memory with these limits.
    pub(super) fn growth_for(&self, limits: &MemoryLimits, granule: u64) -> Result<Growth, OptionsError> {
        // If the next multiple exceeds u64, the largest multiple, which is above every device's largest buffer.
        let largest = limits.largest_segment.min(u64::from(u32::MAX) * granule);
        let largest = largest - largest % granule;
        // By default a device with small buffers has small segments; a size that the application asks for is kept or refused.
        let wanted = self.smallest_segment.unwrap_or(SMALLEST.min(largest));
        let smallest = wanted.checked_next_multiple_of(granule).unwrap_or(u64::MAX - u64::MAX % granule);
        if smallest <= largest {
            let moving = self.compaction_share > 0.0;
            let chosen = self.smallest_segment.is_some();
            Ok(Growth {
                minimum_segment: smallest,
                chosen,
                small_limit: self.small_limit,
                maximum_segment: largest,
                driver_block: limits.shared_below,
                moving,
                granule,
            })
        } else {
            Err(OptionsError::Segment { bytes: smallest, limit: largest })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MemoryLimits =
        MemoryLimits { alignment: 256, largest_segment: 1 << 30, largest_binding: 1 << 27, shared_below: 4 << 20 };

    #[test]
    fn a_granule_below_the_devices_alignment_is_refused() {
        let options = PoolOptions { granule: Some(64), ..PoolOptions::default() };
        let error = OptionsError::Granule { granule: 64, least: 256, most: 4096 };
        assert_eq!(options.granule_for(&LIMITS), Err(error));
        assert_eq!(PoolOptions::default().granule_for(&LIMITS), Ok(256));
    }

    #[test]
    fn a_device_with_small_buffers_has_small_segments_by_default() {
        for largest_segment in [3 << 20, 300 << 10, 256] {
            let limits = MemoryLimits { largest_segment, ..LIMITS };
            let growth = PoolOptions::default().growth_for(&limits, 256).expect("the default suits every device");
            assert_eq!(growth.minimum_segment, SMALLEST.min(largest_segment));
            assert_eq!(growth.maximum_segment, largest_segment);
        }
    }

    #[test]
    fn a_smallest_segment_above_the_largest_buffer_is_refused() {
        let options = PoolOptions { smallest_segment: Some(2 << 30), ..PoolOptions::default() };
        let error = OptionsError::Segment { bytes: 2 << 30, limit: 1 << 30 };
        assert_eq!(options.growth_for(&LIMITS, 256).err(), Some(error));
        for bytes in [u64::MAX, u64::MAX - 1, u64::MAX - 255] {
            let options = PoolOptions { smallest_segment: Some(bytes), ..PoolOptions::default() };
            let error = OptionsError::Segment { bytes: u64::MAX - 255, limit: 1 << 30 };
            assert_eq!(options.growth_for(&LIMITS, 256).err(), Some(error));
        }
        let boundless = MemoryLimits { largest_segment: u64::MAX, shared_below: u64::MAX, ..LIMITS };
        let error = OptionsError::Segment { bytes: u64::MAX - 255, limit: u64::from(u32::MAX) * 256 };
        let options = PoolOptions { smallest_segment: Some(u64::MAX), ..PoolOptions::default() };
        assert_eq!(options.growth_for(&boundless, 256).err(), Some(error));
        assert!(PoolOptions::default().growth_for(&boundless, 256).is_ok());
    }
}
