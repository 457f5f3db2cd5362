//! The size of the next segment.
//!
//! A segment is created for a request that no hole serves. Its size follows the size of the pool, so that a pool of 10 MiB
//! has as little overhead as a pool of 10 GiB:
//! - The *target* of a segment for large blocks is 1/7 of the pool's reserved bytes while the pool is filled for the first
//!   time, which is until the pool has allocated twice its reserved bytes. From then on the part falls in proportion to the
//!   allocated bytes, down to 1/56: a pool whose memory was allocated `k` times over is likely to need about one part in `k`
//!   more. So a program that loads gigabytes creates few segments, and the last growth of a program, which decides its peak,
//!   is small.
//! - The target of a segment for small blocks is 1/16 of the pool (1/32 where blocks may not be moved).
//! - A target has bounds: for large blocks 1 MiB and 96 MiB (16 MiB where blocks may not be moved, because holes in larger
//!   segments cannot be closed then), for small blocks 64 KiB and 8 MiB. The target is also at least 1/128 of the sub-pool,
//!   so that a pool of many GiB has a few hundred segments: each wgpu buffer adds to the cost of every compute pass.
//! - The segment holds as many blocks of the requested size as fit the target. A program that requests a block of some size
//!   usually requests more blocks of this size soon, and they fill the segment to its end.
//! - A block above the target gets a segment of exactly its size, which is released as soon as the block is freed.
//! - Segments up to 4 MiB share driver blocks of 4 MiB. Their sizes are powers of two, which fill these blocks completely. A
//!   pool of at least 8 such blocks has no smaller segment for large blocks: one more driver block is a small part of the
//!   pool then, and a segment that is a whole driver block is freed when it is destroyed.
//! - A pool that has moved many bytes gets some slack with its next segment, because holes cost more moves the fuller the
//!   pool is.
//! - A block that grows in an append loop gets room for its next steps (`append.rs`).
//!
//! The boundary between small and large blocks also follows the size of the pool: 1/4096 of the pool, at least 4 KiB, and
//! from 400 MiB on [`PoolOptions::small_limit`](super::PoolOptions::small_limit) (where blocks may not be moved, 1/1024 of
//! the pool, at least 16 KiB, up to the option). In a small pool, two sub-pools that cannot use each other's holes cost more
//! than a small block that keeps a segment in use: the segments are small, and compaction moves the block.
//!
//! [`PoolOptions::smallest_segment`](super::PoolOptions::smallest_segment), if set, is the smallest size, and the boundary
//! is then `small_limit`. A smallest size below the size of the driver's blocks is also the target.
//!
//! # Number of segments
//! A segment for large blocks is larger than half the target. So a pool of `reserved` bytes that is filled for the first
//! time has at most `14 + 15 · ln(reserved / 14 MiB)` of them, from 14 to 672 MiB (112 MiB where blocks may not be moved):
//! 14 of 1 MiB up to 14 MiB, and then each adds at least 1/14. That is 28 segments at 32 MiB, 58 at 256 MiB. Later growth
//! adds at least 1/112 each time. If a program frees blocks, the pool creates some segments again, because idle segments
//! are released before the pool grows.
//!
//! # Measurements
//! Peak reserved over peak requested, geometric mean (worst), with blocks moved: four traces of training and inference,
//! twelve variants of them with jittered sizes, and six random programs, each with all sizes divided. *Before* was a target
//! of half the pool, from 16 to 96 MiB, and segments for blocks up to 1 MiB that begin with 8 MiB.
//!
//! | divided by | traces | before | variants | before | random | before |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | 1 | 1.02 (1.03) | 1.02 (1.04) | 1.03 (1.11) | 1.04 (1.16) | 1.11 (1.19) | 1.13 (1.26) |
//! | 8 | 1.03 (1.04) | 1.08 (1.16) | 1.06 (1.16) | 1.09 (1.25) | 1.13 (1.19) | 1.29 (1.40) |
//! | 32 | 1.04 (1.08) | 1.27 (1.48) | 1.04 (1.11) | 1.22 (1.38) | 1.20 (1.31) | 1.65 (1.91) |
//! | 128 | 1.08 (1.16) | 1.83 (3.47) | 1.09 (1.18) | 2.03 (4.16) | 1.26 (1.47) | 1.43 (2.05) |
//!
//! A driver with blocks of 4 MiB holds 1.02, 1.04, 1.12 and 1.31 times the requested peak of the traces; with the earlier
//! policy, as much as the pool. Programs whose peak depends on a few large blocks are chaotic: other constants of the same
//! order change which variant is the worst, and its value (1.03 to 1.17 at full size). The means are stable.

use crate::heap::SubPool;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The smallest segment for large blocks in bytes, unless the option sets another size. With 512 KiB, pools of 7 to 100 MiB
/// reserve less by 0.01 times the peak, and the driver holds more by 0.1 times the peak; with 2 MiB they reserve more by
/// 0.1 times the peak.
pub(super) const SMALLEST: u64 = MIB;
/// The smallest segment for small blocks, in bytes.
const SMALLEST_FOR_SMALL: u64 = 64 * KIB;
/// The target of a segment for large blocks, as a part of a pool that is filled for the first time.
const FIRST_PART: u64 = 7;
/// The smallest target of a segment for large blocks, as a part of the pool.
const LAST_PART: u64 = 56;
/// A pool is filled for the first time until it has allocated this many times its reserved bytes.
const FILLS: u64 = 2;
/// The largest target for large blocks in bytes where blocks may not be moved. Half and double were both measured to be
/// worse.
const MOST_LARGE: u64 = 16 * MIB;
/// The largest target for large blocks in bytes where blocks may be moved.
const MOST_MOVING: u64 = 96 * MIB;
/// The target of a segment for small blocks, as a part of the pool: where blocks may be moved, and where they may not.
const SMALL_PART_MOVING: u64 = 16;
const SMALL_PART: u64 = 32;
/// The largest target for small blocks in bytes.
const MOST_SMALL: u64 = 8 * MIB;
/// A target is at least this part of its sub-pool.
const SHARE: u64 = 128;
/// From this size of the pool on, in bytes, the boundary between small and large blocks is the option, where blocks may be
/// moved: segments for large blocks are then above 50 MiB, and a block of 1 MiB must not keep such a segment in use.
const LARGE_POOL: u64 = 400 * MIB;
/// The boundary in smaller pools, as a part of the pool: where blocks may be moved, and where they may not.
const SMALL_LIMIT_PART_MOVING: u64 = 4096;
const SMALL_LIMIT_PART: u64 = 1024;
/// The smallest boundary in bytes.
const LEAST_SMALL_LIMIT_MOVING: u64 = 4 * KIB;
const LEAST_SMALL_LIMIT: u64 = 16 * KIB;
/// A pool of at least this many driver blocks has no smaller segment for large blocks.
const MANY_BLOCKS: u64 = 8;
/// The slack of a pool that has moved many bytes, as a part of the sub-pool.
const SLACK_PART: u64 = 32;

/// A pool has moved many bytes when it has moved this part of the permitted bytes: with the default option, slightly less
/// than a twentieth of the allocated bytes.
const MUCH: f64 = 0.48;
/// The slack also requires that the pool has allocated this many times its reserved bytes: earlier, the share of moved
/// bytes is not meaningful yet.
const TURNOVERS: u64 = 16;

/// The rule by which segments are sized. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// The smallest segment.
    pub(super) minimum_segment: u64,
    /// Whether the program chose the smallest segment.
    pub(super) chosen: bool,
    /// The largest small request.
    pub(super) small_limit: u64,
    /// The largest segment: the device's largest buffer.
    pub(super) maximum_segment: u64,
    /// The size of the driver's blocks: segments up to this size share them.
    pub(super) driver_block: u64,
    /// Whether live blocks may be moved to avoid growing.
    pub(super) moving: bool,
    /// Every segment is a multiple of this: the heap's granule.
    pub(super) granule: u64,
}

/// The demand that the next segment has to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The sub-pool of the segment.
    pub(super) pool: SubPool,
    /// The size of the block for which the segment is created: a positive multiple of the granule.
    pub(super) lacking: u64,
    /// Bytes of the pool's segments now, without idle segments.
    pub(super) reserved: u64,
    /// Bytes of the sub-pool's segments now, without idle segments.
    pub(super) reserved_in_pool: u64,
    /// Bytes of all blocks that the pool has allocated.
    pub(super) allocated: u64,
    /// Bytes that the limit permits for the segment, if there is a limit.
    pub(super) room: Option<u64>,
    /// Whether the pool has moved so many bytes that the segment gets some slack.
    pub(super) slack: bool,
    /// Additional bytes for the block's next steps, if the block grows in an append loop (`append.rs`).
    pub(super) additional: u64,
}

/// The bytes that a pool has moved so far, and its limit. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// Bytes of all blocks that were moved.
    pub(super) moved: u64,
    /// Bytes of all blocks that were allocated.
    pub(super) allocated: u64,
    /// Bytes of all segments now.
    pub(super) reserved: u64,
    /// The limit on moved bytes, as a fraction of the allocated bytes.
    pub(super) share: f64,
}

impl Moved {
    /// Returns whether the pool has moved so many bytes that its next segment gets some slack.
    pub(super) fn is_much(&self) -> bool {
        self.allocated / TURNOVERS > self.reserved && self.moved > share_of(self.allocated, self.share * MUCH)
    }
}

/// Returns a fraction of `bytes`.
pub(super) fn share_of(bytes: u64, share: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of bytes needs no more than 53 bits")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast stops at the limits")]
    let share = (bytes as f64 * share) as u64;
    share
}

impl Growth {
    /// Returns the next segment's size in bytes: the size by the rule, or the available room if that is smaller. `None` if the
    /// room does not suffice for the block.
    pub(super) fn segment_bytes(&self, demand: &Demand) -> Option<u64> {
        let room = demand.room.unwrap_or(u64::MAX).min(self.maximum_segment);
        let most = room / self.granule * self.granule;
        (demand.lacking <= most).then(|| self.wanted(demand).min(most))
    }

    /// Returns the size without a limit: as many blocks of the requested size as fit the target, at least one.
    fn wanted(&self, demand: &Demand) -> u64 {
        let target = self.target(demand).max(demand.reserved_in_pool / SHARE);
        let twins = (target / demand.lacking).max(1);
        let slack = if demand.slack { demand.reserved_in_pool / SLACK_PART } else { 0 };
        // Room for a second block of the size is also room for a block that grows.
        let additional = if twins == 1 { demand.additional } else { 0 };
        let bytes = (demand.lacking * twins + slack.max(additional)).max(self.least(demand));
        let tiled = if self.chosen { bytes } else { self.tile(bytes) };
        tiled.next_multiple_of(self.granule)
    }

    /// Returns the smallest size of a segment.
    fn least(&self, demand: &Demand) -> u64 {
        match demand.pool {
            _ if self.chosen => self.minimum_segment,
            SubPool::Small => SMALLEST_FOR_SMALL.min(self.minimum_segment),
            SubPool::Large if demand.reserved / MANY_BLOCKS >= self.driver_block => {
                self.driver_block.max(self.minimum_segment)
            }
            SubPool::Large => self.minimum_segment,
        }
    }

    /// Returns the size of such a segment within a driver block.
    fn tile(&self, bytes: u64) -> u64 {
        if bytes >= self.driver_block {
            return bytes;
        }
        bytes.checked_next_power_of_two().map_or(bytes, |tile| tile.min(self.driver_block))
    }

    /// Returns the target of a segment, independent of the size of the block.
    fn target(&self, demand: &Demand) -> u64 {
        if self.chosen && self.minimum_segment < self.driver_block {
            return self.minimum_segment;
        }
        match demand.pool {
            SubPool::Small => {
                let part = if self.moving { SMALL_PART_MOVING } else { SMALL_PART };
                (demand.reserved / part).clamp(SMALLEST_FOR_SMALL, MOST_SMALL)
            }
            SubPool::Large => {
                let most = if self.moving { MOST_MOVING } else { MOST_LARGE };
                (demand.reserved / demand.part()).clamp(SMALLEST, most)
            }
        }
    }

    /// Returns the largest small request in a pool of `reserved` bytes.
    pub(super) fn small_limit_of(&self, reserved: u64) -> u64 {
        if self.chosen {
            return self.small_limit;
        }
        if self.moving && reserved >= LARGE_POOL {
            return self.small_limit;
        }
        let (part, least) = if self.moving {
            (SMALL_LIMIT_PART_MOVING, LEAST_SMALL_LIMIT_MOVING)
        } else {
            (SMALL_LIMIT_PART, LEAST_SMALL_LIMIT)
        };
        (reserved / part).max(least).min(self.small_limit)
    }
}

impl Demand {
    /// Returns the target of the next segment for large blocks, as a part of the pool.
    fn part(&self) -> u64 {
        let (allocated, filled) = (u128::from(self.allocated), u128::from(self.reserved.max(1)) * u128::from(FILLS));
        let part = u128::from(FIRST_PART) * allocated / filled;
        u64::try_from(part).unwrap_or(LAST_PART).clamp(FIRST_PART, LAST_PART)
    }
}

/// Returns the largest number of segments for large blocks in a pool of `reserved` bytes that is filled for the first time:
/// `14 + 15 · ln(reserved / 14 MiB)`.
#[cfg(test)]
fn most_segments(reserved: u64) -> u64 {
    const TWICE: u64 = 2 * FIRST_PART;
    let steps = std::iter::successors(Some(TWICE * SMALLEST), |size| Some(size + size / TWICE));
    TWICE + steps.take_while(|&size| size < reserved).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth {
        minimum_segment: SMALLEST,
        chosen: false,
        small_limit: MIB,
        maximum_segment: 4096 * MIB - 256,
        driver_block: 4 * MIB,
        moving: false,
        granule: 256,
    };
    const MOVING: Growth = Growth { moving: true, ..GROWTH };

    /// Returns the demand of a pool that is filled for the first time.
    fn large(lacking: u64, reserved: u64) -> Demand {
        Demand {
            pool: SubPool::Large,
            lacking,
            reserved,
            reserved_in_pool: reserved,
            allocated: reserved,
            room: None,
            slack: false,
            additional: 0,
        }
    }

    fn small(lacking: u64, reserved: u64) -> Demand {
        Demand { pool: SubPool::Small, ..large(lacking, reserved) }
    }

    #[test]
    fn a_segment_holds_as_many_of_the_lacking_blocks_as_fit_the_target() {
        assert_eq!(GROWTH.segment_bytes(&large(100 * KIB, 0)), Some(MIB));
        assert_eq!(GROWTH.segment_bytes(&large(3 * MIB, 112 * MIB)), Some(15 * MIB));
        assert_eq!(GROWTH.segment_bytes(&large(16 * MIB, 112 * MIB)), Some(16 * MIB));
        assert_eq!(GROWTH.segment_bytes(&small(3 * MIB / 4, 256 * MIB)), Some(30 * MIB / 4));
        assert_eq!(GROWTH.segment_bytes(&small(256, 0)), Some(64 * KIB));
    }

    #[test]
    fn a_block_above_the_target_gets_a_segment_of_its_own_size() {
        for lacking in [4 * MIB, 9 * MIB, 16 * MIB + 256, 1000 * MIB] {
            assert_eq!(GROWTH.segment_bytes(&large(lacking, 0)), Some(lacking));
        }
    }

    #[test]
    fn segments_grow_with_the_pool_up_to_a_maximum_and_then_with_the_sub_pool() {
        for (reserved, small_segment, large_segment) in
            [(2, 64 * KIB, MIB), (28, MIB, 4 * MIB), (56, 2 * MIB, 8 * MIB), (256, 8 * MIB, 16 * MIB)]
        {
            assert_eq!(GROWTH.segment_bytes(&small(256, reserved * MIB)), Some(small_segment), "{reserved}");
            assert_eq!(GROWTH.segment_bytes(&large(256, reserved * MIB)), Some(large_segment), "{reserved}");
        }
        let held = SHARE * 100 * MIB;
        assert_eq!(GROWTH.segment_bytes(&large(3 * MIB, held)), Some(99 * MIB));
        assert_eq!(GROWTH.segment_bytes(&large(60 * MIB, held)), Some(60 * MIB));
        assert_eq!(GROWTH.segment_bytes(&small(MIB, held)), Some(100 * MIB));
    }

    #[test]
    fn a_pool_that_moves_has_larger_segments_for_large_blocks_when_it_is_large() {
        for (reserved, bytes) in [(0, MIB), (56, 8 * MIB), (224, 32 * MIB), (4096, 96 * MIB)] {
            assert_eq!(MOVING.segment_bytes(&large(256, reserved * MIB)), Some(bytes), "{reserved}");
        }
        assert_eq!(MOVING.segment_bytes(&small(256, 128 * MIB)), Some(8 * MIB));
        assert_eq!(MOVING.segment_bytes(&small(256, 64 * MIB)), Some(4 * MIB));
    }

    #[test]
    fn the_oftener_a_pool_was_filled_the_smaller_a_part_of_it_is_the_next_segment() {
        let held = 560 * MIB;
        for (allocated, bytes) in
            [(0, 80), (2 * held, 80), (3 * held, 56), (8 * held, 20), (16 * held, 10), (u64::MAX, 10)]
        {
            let demand = Demand { allocated, ..large(256 * KIB, held) };
            assert_eq!(MOVING.segment_bytes(&demand), Some(bytes * MIB), "{allocated}");
        }
        assert_eq!(Demand { allocated: u64::MAX, ..large(256, 0) }.part(), LAST_PART);
        assert_eq!(Demand { allocated: u64::MAX, ..large(256, u64::MAX) }.part(), FIRST_PART);
    }

    #[test]
    fn segments_within_a_block_of_the_driver_are_powers_of_two_and_a_pool_of_many_blocks_has_none() {
        for (lacking, reserved, bytes) in
            [(256, 0, 1), (MIB + 256, 0, 2), (2 * MIB + 256, 0, 4), (2 * MIB, 0, 2), (256, 31, 1), (256, 32, 4)]
        {
            let demand = Demand { allocated: u64::MAX, ..large(lacking, reserved * MIB) };
            assert_eq!(MOVING.segment_bytes(&demand), Some(bytes * MIB), "{lacking} {reserved}");
        }
        assert_eq!(MOVING.segment_bytes(&large(MIB, 27 * MIB)), Some(4 * MIB), "room for three");
        let above = 4 * MIB + 256;
        assert_eq!(MOVING.segment_bytes(&large(above, 24 * MIB)), Some(above), "it shares no block");
        let room = Some(2 * MIB + 1000);
        assert_eq!(MOVING.segment_bytes(&Demand { room, ..large(2 * MIB + 256, 64 * MIB) }), Some(2 * MIB + 768));
        let odd = Growth { driver_block: 3 * MIB, ..MOVING };
        assert_eq!(odd.segment_bytes(&large(2 * MIB + 256, 0)), Some(3 * MIB), "no power of two fits");
        let unbounded = Growth { driver_block: u64::MAX, maximum_segment: u64::MAX - 255, ..MOVING };
        assert_eq!(unbounded.segment_bytes(&large((1 << 63) + 256, 0)), Some((1 << 63) + 256), "nor a u64");
    }

    #[test]
    fn the_boundary_between_small_and_large_follows_the_pool_up_to_the_option() {
        for (reserved, moving, rigid) in [
            (0, 4 * KIB, 16 * KIB),
            (64, 16 * KIB, 64 * KIB),
            (399, 399 * MIB / 4096, 399 * KIB),
            (400, MIB, 400 * KIB),
            (1 << 20, MIB, MIB),
        ] {
            assert_eq!(MOVING.small_limit_of(reserved * MIB), moving, "{reserved}");
            assert_eq!(GROWTH.small_limit_of(reserved * MIB), rigid, "{reserved}");
        }
        assert_eq!(Growth { small_limit: 0, ..MOVING }.small_limit_of(1 << 40), 0);
        assert_eq!(Growth { chosen: true, ..MOVING }.small_limit_of(0), MIB, "both options are the program's");
    }

    #[test]
    fn a_pool_that_has_moved_many_bytes_gets_a_part_of_its_segments_as_slack() {
        let demand = Demand { slack: true, ..large(100 * MIB, 3200 * MIB) };
        assert_eq!(GROWTH.segment_bytes(&demand), Some(200 * MIB));
        assert_eq!(GROWTH.segment_bytes(&Demand { room: Some(150 * MIB), ..demand }), Some(150 * MIB));
    }

    #[test]
    fn a_block_that_keeps_growing_gets_a_segment_with_room_for_its_next_steps() {
        let demand = Demand { additional: 4 * MIB, ..large(32 * MIB, 0) };
        assert_eq!(GROWTH.segment_bytes(&demand), Some(36 * MIB));
        assert_eq!(GROWTH.segment_bytes(&Demand { room: Some(33 * MIB), ..demand }), Some(33 * MIB));
        let five = Demand { lacking: 3 * MIB, reserved: 112 * MIB, ..demand };
        assert_eq!(GROWTH.segment_bytes(&five), Some(15 * MIB), "there is room for five");
    }

    #[test]
    fn a_pool_has_moved_much_only_after_it_was_allocated_many_times_over() {
        let moved = Moved { moved: 5 * MIB, allocated: 100 * MIB, reserved: MIB, share: 0.1 };
        assert!(moved.is_much());
        assert!(!Moved { moved: 4 * MIB, ..moved }.is_much());
        assert!(!Moved { share: 0.2, ..moved }.is_much());
        assert!(!Moved { reserved: 7 * MIB, ..moved }.is_much());
    }

    #[test]
    fn a_pool_that_grows_by_equal_blocks_has_no_more_than_a_few_hundred_segments() {
        let (mut held, mut segments) = (0, 0);
        while held < 64 << 30 {
            held += GROWTH.segment_bytes(&large(5 * MIB, held)).expect("there is no limit");
            segments += 1;
        }
        assert!(segments < 750, "{segments}");
    }

    #[test]
    fn a_pool_that_only_grows_creates_no_more_segments_than_is_stated() {
        // Blocks slightly larger than half the target are the worst case: a segment has room for only one of them.
        for (growth, end) in [(GROWTH, 112 * MIB), (MOVING, 672 * MIB)] {
            let (mut held, mut segments) = (0, 0);
            while held < end {
                let demand = large(256, held);
                let lacking = (growth.target(&demand) / 2 + 256).next_multiple_of(256);
                held += growth.segment_bytes(&Demand { lacking, ..demand }).expect("there is no limit");
                segments += 1;
                assert!(segments <= most_segments(held), "{segments} segments of {held} bytes");
            }
        }
    }

    #[test]
    fn no_segment_is_below_the_smallest_or_above_the_largest() {
        for (pool, least) in [(SubPool::Small, SMALLEST_FOR_SMALL), (SubPool::Large, SMALLEST)] {
            for shift in 8..32 {
                for lacking in [(1u64 << shift) - 256, 1 << shift, (1 << shift) + 256].map(|bytes| bytes.max(256)) {
                    for held in [0, 1 << 30, 1 << 40] {
                        let demand = Demand { pool, ..large(lacking, held) };
                        let Some(bytes) = GROWTH.segment_bytes(&demand) else {
                            assert!(lacking > GROWTH.maximum_segment, "{demand:?}");
                            continue;
                        };
                        assert!(bytes >= lacking.max(least), "{demand:?}: {bytes}");
                        assert!(bytes <= GROWTH.maximum_segment, "{demand:?}: {bytes}");
                        assert_eq!(bytes % GROWTH.granule, 0, "{demand:?}: {bytes}");
                    }
                }
            }
        }
    }

    #[test]
    fn near_the_limit_a_segment_takes_what_room_there_is_or_nothing() {
        let within = |room| GROWTH.segment_bytes(&Demand { room: Some(room), ..large(3 * MIB, 112 * MIB) });
        assert_eq!(within(15 * MIB), Some(15 * MIB));
        assert_eq!(within(7 * MIB + 100), Some(7 * MIB));
        assert_eq!(within(3 * MIB), Some(3 * MIB));
        assert_eq!(within(3 * MIB - 1), None);
    }

    #[test]
    fn a_smallest_segment_below_the_drivers_blocks_is_taken_at_its_word() {
        let growth = Growth { minimum_segment: MIB, chosen: true, ..GROWTH };
        assert_eq!(growth.segment_bytes(&large(MIB / 2, 0)), Some(MIB));
        assert_eq!(growth.segment_bytes(&large(MIB + 256, 0)), Some(MIB + 256));
    }

    #[test]
    fn a_smallest_segment_above_the_usual_size_holds() {
        let growth = Growth { minimum_segment: 64 * MIB + 256, chosen: true, ..GROWTH };
        assert_eq!(growth.segment_bytes(&large(3 * MIB, 0)), Some(64 * MIB + 256));
    }
}
