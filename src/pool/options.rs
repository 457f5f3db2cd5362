//! How a pool is made.

use super::growth::{Growth, SMALLEST};
use crate::device::{GpuOptions, MemoryLimits};
use crate::error::OptionsError;
use crate::heap::HeapOptions;
use std::time::Duration;

/// How a pool is made. Sizes are in bytes; the defaults suit most programs.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The most that all segments together may have. Unlimited by default: many drivers never refuse memory that they
    /// haven't got, so a program that shares its machine should set one.
    pub limit: Option<u64>,
    /// The unit of offsets and block sizes: a power of two, at least the device's alignment for bindings, which is the
    /// default.
    pub granule: Option<u64>,
    /// Requests up to this size are kept in segments of their own, so that a small tensor never keeps a large segment in use. 1 MiB by
    /// default. It is an upper bound: in a small pool, whose segments are small anyway, the boundary is lower, 1/4096 of the reserved
    /// bytes and at least 4 KiB up to 400 MiB (without compaction 1/1024 and 16 KiB). If `smallest_segment` is set, the boundary is this size in every
    /// pool.
    pub small_limit: u64,
    /// The smallest segment. By default segments follow the size of the pool, from 1 MiB on (64 KiB for small requests), so that a pool of
    /// some MiB reserves little more than it needs.
    ///
    /// Segments up to 4 MiB share the driver's blocks of 4 MiB: such a block returns to the driver when all segments in it are destroyed,
    /// and the driver keeps the last one. With `Some((4 << 20) + 1)` each segment has a block of its own, which returns when the
    /// segment is destroyed. A size of at most 4 MiB is also the size that the pool's segments have if the blocks allow it.
    pub smallest_segment: Option<u64>,
    /// The most bytes that the pool moves to avoid growing, as a share of all bytes allocated so far. 0 turns this off;
    /// 0.1 by default. Before the pool would answer that it is out of memory it may move more, unless this is 0: the guarantee of
    /// [`Pool::allocate`](super::Pool::allocate) holds with any share above 0.
    ///
    /// The default is a bound that programs rarely meet: over four traces of training and inference and 12 variants of them with
    /// jittered sizes, all with sizes divided by 1, 8, 32 and 128, the pool moved at most 0.05 of what was allocated. Bounds that bind cost
    /// memory, since a program needs its moves where it first grows: with 0.048 the four traces divided by 32 took 1.23 times the requested
    /// peak at worst, with 0.1 they take 1.08.
    pub compaction_share: f64,
    /// Clears a block's bytes when it is freed, so that no later block, and no other user of the memory after a trim, finds what
    /// it held: for secrets, and to find programs that read what they haven't written. Off by default, when a new block holds
    /// whatever was there before.
    ///
    /// The clear is recorded behind the commands that use the block and before those of its next owner. A block that is pinned
    /// when it is freed is cleared when its last pin is dropped, so that commands which the program has submitted by then come
    /// first. Compaction clears the places that it moves blocks away from. With it every block reads as zeros when it is new.
    /// Not covered are copies on their way: staging, bounce and readback buffers.
    ///
    /// Cost: dropping the last handle of a block takes the recorder's lock, records a command, and may submit the batch as every
    /// command may.
    pub scrub_on_free: bool,
    /// How long memory stays reserved beyond what the program needs. By default 1 s; None keeps it until [`Pool::trim`](super::Pool::trim)
    /// or the limit requires it.
    ///
    /// *Needed* is the most that was active at any moment of the last two periods of this length, and a quarter of that, and one
    /// smallest segment; nothing if nothing was active. When reserved bytes exceed that, segments without an active block go back to the
    /// driver, longest idle first; if that does not suffice, blocks move out of sparse segments within
    /// [`compaction_share`](Self::compaction_share). A loop whose iterations are alike therefore keeps all its memory, and a program whose
    /// need falls loses the excess after one to two periods. Where memory is needed again within a period of its release, as in a loop
    /// with iterations longer than two periods, the period doubles, up to 64 times its length, and shrinks slowly when nothing
    /// grows.
    ///
    /// The release happens on a thread of the pool, apart from allocations, and waits for nothing; an allocation on another thread
    /// may wait for the heap's lock while moves are planned. On GL and in browsers, which have no such thread, and on the host's memory it
    /// happens when commands are submitted. jemalloc's decay and mimalloc's purge delay do the same for host memory.
    pub release_after: Option<Duration>,
    /// Releases idle segments, longest idle first, before the pool grows beyond this fraction of the limit: above 0 and at most 1. By
    /// default 1: idle memory goes when the limit requires it. Does nothing without a limit. PyTorch's
    /// `garbage_collection_threshold`.
    pub release_above: f64,
    /// Which adapter to open; used by [`Pool::request`](super::Pool::request) alone.
    pub gpu: GpuOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            limit: None,
            granule: None,
            small_limit: 1 << 20,
            smallest_segment: None,
            compaction_share: 0.1,
            scrub_on_free: false,
            release_after: Some(Duration::from_secs(1)),
            release_above: 1.0,
            gpu: GpuOptions::default(),
        }
    }
}

impl PoolOptions {
    /// The granule on a memory with these limits.
    pub(super) fn granule_for(&self, limits: &MemoryLimits) -> Result<u64, OptionsError> {
        let granule = self.granule.unwrap_or(limits.alignment);
        if granule.is_power_of_two() && (limits.alignment..=HeapOptions::MOST_GRANULE).contains(&granule) {
            Ok(granule)
        } else {
            Err(OptionsError::Granule { granule, least: limits.alignment, most: HeapOptions::MOST_GRANULE })
        }
    }

    /// Checks the options about releasing memory.
    pub(super) fn check_release(&self) -> Result<(), OptionsError> {
        let fraction = self.release_above;
        if fraction > 0.0 && fraction <= 1.0 {
            Ok(())
        } else {
            Err(OptionsError::ReleaseAbove { fraction: fraction.to_string() })
        }
    }

    /// The growth policy on a memory with these limits.
    pub(super) fn growth_for(&self, limits: &MemoryLimits, granule: u64) -> Result<Growth, OptionsError> {
        // The largest multiple there is, where the next one isn't a u64: it is above every device's largest buffer.
        let wanted = self.smallest_segment.unwrap_or(SMALLEST);
        let smallest = wanted.checked_next_multiple_of(granule).unwrap_or(u64::MAX - u64::MAX % granule);
        let largest = limits.largest_segment.min(u64::from(u32::MAX) * granule);
        let largest = largest - largest % granule;
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
