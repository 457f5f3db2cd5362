//! Compaction: selects live blocks to move, so that one large hole appears or a segment becomes idle.
//!
//! Planning reads the heap and returns a [`Plan`], which is printable data. Committing applies the plan to the heap's
//! data structures. In between, the owner of the memory copies the bytes, in the order of the plan. Block ids stay
//! valid; only their locations change.
//!
//! A plan moves blocks into holes that exist when it is made, outside the range that it clears, so the copies are
//! independent and never overlap. Pinned blocks never move. All locations of a plan are in the same sub-pool.

mod commit;
mod gathering;
mod holes;
mod packing;
mod repack;
mod segments;
mod window;

pub use packing::PackingBounds;
pub use repack::{Repackable, Repacked};

use super::address::{BlockId, SegmentId, SubPool};
use crate::error::{Bytes, Count};
use std::fmt;

/// The move of one block. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The block.
    pub block: BlockId,
    /// The block's size.
    pub size: u64,
    /// The segment from which the block moves.
    pub from_segment: SegmentId,
    /// The old offset in that segment.
    pub from_offset: u64,
    /// The segment to which the block moves, which may be the same.
    pub to_segment: SegmentId,
    /// The new offset in that segment.
    pub to_offset: u64,
}

/// A set of moves and its effect. Valid until the heap is changed otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    moves: Vec<Move>,
    pool: SubPool,
    gain: Gain,
    /// The heap's version for which the plan was made.
    version: u64,
}

/// The effect of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gain {
    /// A hole of at least this many bytes in one segment.
    Hole {
        /// The segment.
        segment: SegmentId,
        /// The hole's size.
        bytes: u64,
    },
    /// Segments without any active block.
    Idle {
        /// The segments.
        segments: Vec<SegmentId>,
        /// Their bytes.
        bytes: u64,
    },
}

impl Plan {
    /// Returns the moves, in the order in which they must be executed.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Returns the number of bytes that move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.moves.iter().map(|moved| moved.size).sum()
    }

    /// Returns the effect of the plan.
    #[must_use]
    pub const fn gain(&self) -> &Gain {
        &self.gain
    }
}

/// Formats one line for the effect, and one line for each move.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (moves, bytes) = (Count(self.moves.len(), "move"), Bytes(self.bytes()));
        match &self.gain {
            Gain::Hole { segment, bytes: hole } => {
                writeln!(f, "a hole of {} in segment {segment} for {moves} of {bytes}", Bytes(*hole))?;
            }
            Gain::Idle { segments, bytes: idle } => {
                let idle_segments = Count(segments.len(), "idle segment");
                writeln!(f, "{idle_segments} of {} for {moves} of {bytes}", Bytes(*idle))?;
            }
        }
        for Move { block, size, from_segment, from_offset, to_segment, to_offset } in &self.moves {
            let size = Bytes(*size);
            writeln!(f, "{block:?} {size}: {from_segment}+{from_offset:#x} -> {to_segment}+{to_offset:#x}")?;
        }
        Ok(())
    }
}
