//! The names by which the heap speaks of blocks and segments, and what it answers.

use std::fmt;

/// The pool that a segment serves: one for small requests, one for large ones.
///
/// They are kept apart so that a long-lived block of a few bytes never holds a segment of large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum SubPool {
    /// Requests up to the small limit.
    Small,
    /// All others.
    Large,
}

impl SubPool {
    /// Both, in the order of [`SubPool::index`].
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Its place in a table of both.
    #[inline]
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
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

/// Names an active block until the block is freed and its last pin is gone; after that the id is stale, and every use of it
/// is refused.
///
/// A key and a generation: the key is the slot of the block's record, the generation tells its owners apart. It wraps after
/// 2³² owners of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId {
    pub(super) key: u32,
    pub(super) generation: u32,
}

impl BlockId {
    /// The slot of the block's record: no other active block has it, so it can index a table beside the heap. Small
    /// numbers; a freed block's is used again.
    #[inline]
    #[must_use]
    pub const fn key(self) -> usize {
        self.key as usize
    }

    /// The generation: which owner of the slot this is.
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

/// Names a segment. Numbers count up from 0 and are never used again within a heap, so a lower one is an older segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct SegmentId(pub(super) u64);

impl SegmentId {
    /// No segment has this id: numbers count up from 0.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The segment of a number that [`SegmentId::number`] gave.
    pub(crate) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number.
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

/// Where a block lies at the moment. All sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// The block's first byte, from the segment's start: a multiple of the granule.
    pub offset: u64,
    /// The block's size: a multiple of the granule.
    pub size: u64,
    /// The part of the size that was asked for.
    pub requested: u64,
}

/// What the heap lacks to serve a request: a segment for `pool`, of at least `bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The pool that has no inactive block of the size.
    pub pool: SubPool,
    /// The size of the block, in bytes: the request rounded up to a multiple of the granule.
    pub bytes: u64,
}
