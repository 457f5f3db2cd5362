//! Errors of snapshot files.

use thiserror::Error;

/// The error of reading or writing a snapshot file.
///
/// Cause and remedy of each variant: [`guide::errors::snapshot_file`](crate::guide::errors::snapshot_file).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotFileError {
    /// The text is truncated.
    #[error("snapshot file is truncated at line {line}, column {column}")]
    CutOff {
        /// The number of the last line, counted from 1.
        line: usize,
        /// The column at which the text ends.
        column: usize,
    },
    /// The text is not a snapshot file.
    #[error("not a snapshot file: {reason}")]
    Malformed {
        /// The parser's message, with the position.
        reason: String,
    },
    /// The file was written by a later version of this crate.
    #[error("snapshot file has version {found}, and this crate reads versions up to {known}")]
    LaterVersion {
        /// The file's version.
        found: u64,
        /// The latest version that this crate reads.
        known: u64,
    },
    /// Two segments have the same number.
    #[error("segment {segment} occurs twice")]
    SegmentTwice {
        /// The segment's number.
        segment: u64,
    },
    /// A block begins before the end of the previous block.
    #[error("segment {segment}: the block at {offset} overlaps the previous block, which ends at {end}")]
    Overlap {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// The end of the previous block.
        end: u64,
    },
    /// Some bytes of a segment belong to no block.
    #[error("segment {segment}: no block covers bytes {start} to {end}")]
    Gap {
        /// The segment's number.
        segment: u64,
        /// The first such byte.
        start: u64,
        /// The byte after the last such byte.
        end: u64,
    },
    /// A block extends past the end of its segment.
    #[error("segment {segment}: the block at {offset} extends past the segment's end at {bytes}")]
    BeyondEnd {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// The segment's size in bytes.
        bytes: u64,
    },
    /// A block is empty, or smaller than its requested size.
    #[error("segment {segment}: the block at {offset} has {size} B, and {requested} B were requested")]
    BlockSize {
        /// The segment's number.
        segment: u64,
        /// The block's first byte.
        offset: u64,
        /// The block's size in bytes.
        size: u64,
        /// The requested size in bytes.
        requested: u64,
    },
    /// A site number or scope number does not exist in the file.
    #[error("{what} {number} does not exist, and the file lists {listed}")]
    Unlisted {
        /// `site` or `scope`.
        what: &'static str,
        /// The number.
        number: u32,
        /// The number of sites or scopes in the file.
        listed: usize,
    },
    /// A pin does not refer to an active block.
    #[error("segment {segment}: pin at {offset}, where no active block starts")]
    Pin {
        /// The segment's number.
        segment: u64,
        /// The offset of the pin.
        offset: u64,
    },
    /// A request of a plan ends before it begins, is outside of its segment, or is larger than its block.
    #[error("plan {plan}: request {request} is not within its segment or its block")]
    Plan {
        /// The number of the plan, from 0.
        plan: usize,
        /// The number of the request in the plan, from 0.
        request: usize,
    },
    /// The granule is not a power of two.
    #[error("granule of {granule} B is not a power of two")]
    Granule {
        /// The granule in bytes.
        granule: u64,
    },
    /// The active bytes of a segment are not the sum over its blocks.
    #[error("segment {segment} has {stated} active B, and its active blocks sum to {sum} B")]
    Active {
        /// The segment's number.
        segment: u64,
        /// The segment's stated active bytes.
        stated: u64,
        /// The sum over its active blocks.
        sum: u64,
    },
    /// A block in host memory has no bytes, fewer than requested, or together with the blocks before it 2^53 or more.
    #[error(
        "block {index} in host memory has {size} B, of which {requested} B are requested, or all have 2^53 B or more"
    )]
    HostBlock {
        /// The block's index in the file, counted from 0.
        index: usize,
        /// Its size in bytes.
        size: u64,
        /// The requested bytes.
        requested: u64,
    },
    /// A counter is not the sum over the segments and blocks.
    #[error("counter `{counter}` is {stated}, and the segments and blocks sum to {sum}")]
    Counter {
        /// The counter's name.
        counter: &'static str,
        /// The counter's value.
        stated: u64,
        /// The sum over the segments and blocks.
        sum: u64,
    },
    /// A size or an offset of an event is 2^53 or more, so a viewer cannot represent it exactly.
    #[error("event {event} has a number above 2^53 - 1, which a viewer cannot represent exactly")]
    Event {
        /// The event's index in the file, counted from 0.
        event: usize,
    },
    /// A size or an address of a segment is 2^53 or more, so a viewer cannot represent it exactly.
    #[error("segment {segment} of {bytes} B needs a number above 2^53 - 1, which a viewer cannot represent exactly")]
    TooLarge {
        /// The segment's number.
        segment: u64,
        /// Its size in bytes.
        bytes: u64,
    },
}
