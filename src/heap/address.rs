//! Identifiers of blocks and segments, and the results of the heap.

use std::fmt;

/// The sub-pool of a segment: one for small requests, one for large requests.
///
/// They are separate so that a long-lived small block never keeps a segment of large blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum SubPool {
    /// Requests up to the small limit.
    Small,
    /// All other requests.
    Large,
}

impl SubPool {
    /// Both sub-pools, in the order of [`SubPool::index`].
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// The index in a table of both sub-pools.
    #[inline]
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Returns the other sub-pool.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Small => Self::Large,
            Self::Large => Self::Small,
        }
    }
}

impl fmt::Display for SubPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Small => "small",
            Self::Large => "large",
        })
    }
}

/// The largest number of slots.
pub(super) const MOST_SLOTS: u32 = 1 << 31;

/// Identifies an active block until the block is freed and its last pin is removed. After that the id is stale, and
/// every use of it is refused.
///
/// Consists of a key, which is the slot of the block's record, and a generation, which distinguishes successive blocks
/// in the same slot. The generation wraps after 2³² blocks in one slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId {
    pub(super) key: u32,
    pub(super) generation: u32,
}

impl BlockId {
    /// Returns the slot of the block's record. No other active block has the same slot, so it can index a table. Slots
    /// are small numbers; the slot of a freed block is reused.
    #[inline]
    #[must_use]
    pub const fn key(self) -> usize {
        self.key as usize
    }

    /// Returns an id that no block of a heap has, for a number below 2³¹.
    pub(crate) const fn outside(number: u32) -> Option<Self> {
        if number < MOST_SLOTS { Some(Self { key: number | MOST_SLOTS, generation: u32::MAX }) } else { None }
    }

    /// Returns the number of an id that no block of a heap has.
    pub(crate) const fn outside_number(self) -> Option<u32> {
        if self.key < MOST_SLOTS { None } else { Some(self.key - MOST_SLOTS) }
    }

    /// Returns the id as one number.
    pub(crate) const fn to_bits(self) -> u64 {
        (self.key as u64) << 32 | self.generation as u64
    }

    /// Returns the id of a number that [`BlockId::to_bits`] has returned.
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the number")]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { key: (bits >> 32) as u32, generation: bits as u32 }
    }

    /// Returns the generation, which counts the blocks in this slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({}.{})", self.key, self.generation)
    }
}

/// Identifies a segment. Numbers count up from 0 and are never reused within a heap, so a lower number is an older
/// segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct SegmentId(pub(super) u64);

impl SegmentId {
    /// Never the id of a segment: of a heap's other places, such as host memory.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the id with a number that [`SegmentId::number`] returned.
    pub(crate) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentId({})", self.0)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The current location of a block. All sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// The block's first byte, relative to the segment's start: a multiple of the granule.
    pub offset: u64,
    /// The block's size: a multiple of the granule.
    pub size: u64,
    /// The requested bytes.
    pub requested: u64,
}

/// The segment that the heap lacks to serve a request: at least `bytes` bytes, for `pool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The sub-pool without a sufficient inactive block.
    pub pool: SubPool,
    /// The size of the block, in bytes: the request rounded up to a multiple of the granule.
    pub bytes: u64,
}
