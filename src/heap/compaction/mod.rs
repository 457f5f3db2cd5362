//! Compaction: which live blocks to move where, so that one large hole appears or a segment falls idle.
//!
//! Decide, then do: planning reads the heap and answers with a [`Plan`], which is data and can be printed; committing carries
//! it out in the heap's books. Whoever owns the memory copies the bytes in between, and in the order of the plan. Block ids
//! stay valid; only the places they resolve to change.
//!
//! A plan moves blocks into holes that exist while it is made, outside of what it clears, so no move waits for another one
//! and the copies never overlap. Pinned blocks never move. All places are in one of the heap's two pools.

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
use crate::error::Bytes;
use std::fmt;

/// One block's move. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The block.
    pub block: BlockId,
    /// The block's size.
    pub size: u64,
    /// The segment that it leaves.
    pub from_segment: SegmentId,
    /// Where it is in that segment.
    pub from_offset: u64,
    /// The segment that it comes to, which may be the same.
    pub to_segment: SegmentId,
    /// Where it will be in that segment.
    pub to_offset: u64,
}

/// Moves that belong together, and what they are good for. It holds as long as the heap isn't changed otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    moves: Vec<Move>,
    pool: SubPool,
    gain: Gain,
    /// The heap's version that the plan was made for.
    version: u64,
}

/// What a plan is good for.
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
    /// The moves, in the order in which they have to be made.
    #[must_use]
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Bytes that move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.moves.iter().map(|one| one.size).sum()
    }

    /// What the moves are good for.
    #[must_use]
    pub const fn gain(&self) -> &Gain {
        &self.gain
    }
}

/// A line for the gain, and one for each move.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, bytes) = (self.moves.len(), Bytes(self.bytes()));
        match &self.gain {
            Gain::Hole { segment, bytes: hole } => {
                writeln!(f, "a hole of {} in segment {segment} for {count} moves of {bytes}", Bytes(*hole))?;
            }
            Gain::Idle { segments, bytes: idle } => {
                let count_idle = segments.len();
                writeln!(f, "{count_idle} idle segments of {} for {count} moves of {bytes}", Bytes(*idle))?;
            }
        }
        for Move { block, size, from_segment, from_offset, to_segment, to_offset } in &self.moves {
            let size = Bytes(*size);
            writeln!(f, "{block:?} {size}: {from_segment}+{from_offset:#x} -> {to_segment}+{to_offset:#x}")?;
        }
        Ok(())
    }
}
