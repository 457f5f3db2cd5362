//! The errors of offline planning: malformed lists of buffers.

use thiserror::Error;

/// The reason why a list of buffers cannot be planned.
///
/// Cause and remedy of each variant: [`guide::errors::plan`](crate::guide::errors::plan).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A line of a CSV text is malformed, or describes an invalid buffer.
    #[error("line {line}: {fault}")]
    Line {
        /// The line, counted from 1; the header is line 1.
        line: u64,
        /// The reason.
        fault: LineFault,
    },
    /// A buffer is invalid.
    #[error(transparent)]
    Buffer(#[from] BufferFault),
    /// An event of a trace contradicts the events before it.
    #[error("event {event}: {fault}")]
    Event {
        /// The event, counted from 0.
        event: u64,
        /// The reason.
        fault: EventFault,
    },
    /// The sizes of all buffers, rounded up to the alignment, add up to 2⁶⁴ bytes or more.
    #[error("the sizes of all buffers, rounded up to {alignment} B, add up to 2^64 bytes or more")]
    TotalTooLarge {
        /// The alignment in bytes.
        alignment: u64,
    },
    /// There are more buffers than a plan can have.
    #[error("{count} buffers are more than a plan can have, {limit}")]
    TooManyBuffers {
        /// The number of buffers.
        count: u64,
        /// The maximum number of buffers.
        limit: u64,
    },
    /// The alignment is zero.
    #[error("an alignment of 0 B was requested; the smallest is 1 B")]
    ZeroAlignment,
    /// Two buffers that are live together overlap in a plan.
    #[error("buffers {first} and {second} are live together and overlap in the plan")]
    Overlap {
        /// The id of the first buffer.
        first: u64,
        /// The id of the second buffer.
        second: u64,
    },
    /// A buffer ends above the height of its plan, or has an unaligned offset.
    #[error("buffer {id} at offset {offset} is not aligned to {alignment} B, or ends above {height} B")]
    OutOfPlan {
        /// The id of the buffer.
        id: u64,
        /// Its offset in bytes.
        offset: u64,
        /// The alignment of the plan in bytes.
        alignment: u64,
        /// The height of the plan in bytes.
        height: u64,
    },
}

/// The reason why a line of a CSV text of buffers is refused.
///
/// Cause and remedy of each variant: [`guide::errors::plan`](crate::guide::errors::plan).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The header does not name each column exactly once.
    #[error(
        "the header `{found}` does not name the columns id, lower, upper and size, each once, with or without offset"
    )]
    Header {
        /// The header, shortened.
        found: String,
    },
    /// A field is missing.
    #[error("the field `{field}` is missing")]
    MissingField {
        /// The name of the column.
        field: &'static str,
    },
    /// The line has more fields than the header.
    #[error("`{found}` is a field too many; the header has {columns} columns")]
    ExtraField {
        /// The first field too many, shortened.
        found: String,
        /// The number of columns.
        columns: usize,
    },
    /// A field is not a whole number below 2⁶⁴.
    #[error("the field `{field}` is `{found}`, which is no whole number below 2^64")]
    Number {
        /// The name of the column.
        field: &'static str,
        /// The field, shortened.
        found: String,
    },
    /// The text id of an earlier line.
    #[error("the field `id` is `{found}`, as in an earlier line")]
    DuplicateName {
        /// The id, shortened.
        found: String,
    },
    /// The fields describe an invalid buffer. Buffers with text ids are numbered from 0.
    #[error(transparent)]
    Buffer(#[from] BufferFault),
}

/// The reason why a buffer is refused.
///
/// Cause and remedy of each variant: [`guide::errors::plan`](crate::guide::errors::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BufferFault {
    /// The buffer is live at no moment.
    #[error("buffer {id} has lower {lower} and upper {upper}; upper is exclusive and must be above lower")]
    NeverLive {
        /// The id of the buffer.
        id: u64,
        /// The first moment.
        lower: u64,
        /// The moment after the last.
        upper: u64,
    },
    /// The buffer has no bytes.
    #[error("buffer {id} has size 0; leave out buffers without bytes")]
    ZeroBytes {
        /// The id of the buffer.
        id: u64,
    },
    /// An earlier buffer has the same id.
    #[error("id {id} is used twice")]
    DuplicateId {
        /// The id.
        id: u64,
    },
}

/// The reason why an event of a trace is refused.
///
/// Cause and remedy of each variant: [`guide::errors::plan`](crate::guide::errors::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventFault {
    /// The id was allocated before.
    #[error("id {id} is allocated twice")]
    AllocatedTwice {
        /// The id.
        id: u64,
    },
    /// The id is not live.
    #[error("id {id} is freed and is not live")]
    NotLive {
        /// The id.
        id: u64,
    },
}
