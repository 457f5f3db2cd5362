//! What is wrong with a snapshot file.

use thiserror::Error;

/// Why a snapshot file was refused, or could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotFileError {
    /// The text ends before the file does.
    #[error("snapshot file is cut off at line {line}, column {column}")]
    CutOff {
        /// The last line, counted from 1.
        line: usize,
        /// The column at which the text ends.
        column: usize,
    },
    /// The text is no snapshot file.
    #[error("no snapshot file: {reason}")]
    Malformed {
        /// What the parser met, and where.
        reason: String,
    },
    /// A later version of this crate wrote the file.
    #[error("snapshot file of version {found}, and the latest known is {known}")]
    LaterVersion {
        /// The file's version.
        found: u64,
        /// The latest version that this crate reads.
        known: u64,
    },
    /// Two segments have one number.
    #[error("segment {segment} is listed twice")]
    SegmentTwice {
        /// The segment's number.
        segment: u64,
    },
    /// A block starts before the one ahead of it ends.
    #[error("segment {segment}: the block at {offset} overlaps the one before it, which ends at {end}")]
    Overlap {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// Where the block ahead of it ends.
        end: u64,
    },
    /// Bytes of a segment belong to no block.
    #[error("segment {segment}: no block holds the bytes from {start} to {end}")]
    Gap {
        /// The segment's number.
        segment: u64,
        /// The first such byte.
        start: u64,
        /// The byte after the last one.
        end: u64,
    },
    /// A block reaches beyond its segment.
    #[error("segment {segment}: the block at {offset} reaches beyond the segment's end at {bytes}")]
    BeyondEnd {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// The segment's size in bytes.
        bytes: u64,
    },
    /// A block is empty, or holds less than was asked for.
    #[error("segment {segment}: the block at {offset} of {size} B can't hold the {requested} B requested")]
    BlockSize {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// Its size in bytes.
        size: u64,
        /// The bytes asked for.
        requested: u64,
    },
    /// A number names no call site or scope of the file.
    #[error("{what} {number} is named, and the file lists {listed}")]
    Unlisted {
        /// Whether it is a site or a scope.
        what: &'static str,
        /// The number.
        number: u32,
        /// How many there are.
        listed: usize,
    },
    /// A pin is on no active block.
    #[error("segment {segment}: a pin at {offset}, where no active block starts")]
    Pin {
        /// The segment's number.
        segment: u64,
        /// The first byte of the block that it should be on.
        offset: u64,
    },
    /// The unit of offsets is no power of two.
    #[error("granule of {granule} B is no power of two")]
    Granule {
        /// The unit.
        granule: u64,
    },
    /// The active bytes of a segment aren't the sum over its blocks.
    #[error("segment {segment} says that {says} B of it are active, and its active blocks add up to {sum}")]
    Active {
        /// The segment's number.
        segment: u64,
        /// What it says.
        says: u64,
        /// What its active blocks add up to.
        sum: u64,
    },
    /// A counter isn't the sum over the segments and blocks.
    #[error("the counter `{counter}` says {says}, and the segments and blocks add up to {sum}")]
    Counter {
        /// Which counter.
        counter: &'static str,
        /// What it says.
        says: u64,
        /// What the blocks add up to.
        sum: u64,
    },
    /// An event's time or place is beyond the numbers that a viewer can hold.
    #[error("event {event} is beyond the numbers that a viewer tells apart")]
    Event {
        /// Its place in the file, counted from 0.
        event: usize,
    },
    /// The segments' sizes, or their addresses, don't fit the numbers that a viewer can hold.
    #[error("segment {segment} of {bytes} B is beyond the numbers that a viewer tells apart")]
    TooLarge {
        /// The segment's number.
        segment: u64,
        /// Its size in bytes.
        bytes: u64,
    },
}
