//! Errors: of a trace, which is then refused, and of a replay.

use std::io;
use thiserror::Error;
use wgpu_pool::error::{InvariantBroken, PlanError};
use wgpu_pool::{AllocateError, Bytes, DeviceError, Error as PoolError};

/// The error of a refused trace: its file, the line, and the reason.
#[derive(Debug, Error)]
#[error("{path}:{}{fault}", LineNumber(*line))]
pub(crate) struct TraceError {
    pub(crate) path: String,
    /// Counted from 1; 0 if the file could not be read at all.
    pub(crate) line: u64,
    pub(crate) fault: Fault,
}

/// The number of a line in a message, omitted if it is 0.
struct LineNumber(u64);

impl std::fmt::Display for LineNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 > 0 { write!(f, "{}: ", self.0) } else { write!(f, " ") }
    }
}

/// The reason why a line of a trace is refused.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("the gzip stream, or something that follows it, is cut off")]
    CutOff,
    #[error("the gzip stream is corrupt, or something follows it: {0}")]
    Corrupt(io::Error),
    #[error("the line is empty")]
    Empty,
    #[error("the line is longer than {most} bytes")]
    TooLong { most: u64 },
    #[error("unknown event `{found}`: an event is `a ID BYTES` or `f ID`")]
    UnknownEvent { found: String },
    #[error("a number is missing: an event is `a ID BYTES` or `f ID`")]
    Missing,
    #[error("`{found}` is no whole number")]
    NoNumber { found: String },
    #[error("`{found}` is too large, numbers have 64 bits")]
    NumberTooLarge { found: String },
    #[error("`{found}` is too much: an event is `a ID BYTES` or `f ID`")]
    Extra { found: String },
    #[error("id {found} is out of order, {expected} is next")]
    OutOfOrder { found: u64, expected: u64 },
    #[error("id {id} is freed and was never allocated")]
    UnknownId { id: u64 },
    #[error("id {id} is freed twice")]
    FreedTwice { id: u64 },
    #[error("the bytes of all allocations together are above 2^64")]
    TotalTooLarge,
    #[error("more than 2^32 allocations live at once")]
    TooManyLive,
    #[error("`{found}` is no address: addresses are hexadecimal and begin with 0x")]
    NoAddress { found: String },
    #[error(
        "`{found}` is neither an event, `1 ADDRESS BYTES STREAM` or `0 ADDRESS BYTES STREAM`, nor a mark of STAlloc"
    )]
    UnknownMark { found: String },
    #[error("address {address:#x} is allocated while it is in use")]
    InUse { address: u64 },
    #[error("address {address:#x} is freed and is not in use")]
    NotInUse { address: u64 },
    #[error("address {address:#x} is freed with {found} bytes and has {allocated}")]
    OtherSize { address: u64, found: u64, allocated: u64 },
    #[error("not a snapshot of PyTorch: {0}")]
    NoSnapshot(String),
    #[error("not a snapshot of PyTorch: its values are nested in more than {most} levels")]
    TooDeep { most: u32 },
    #[error("event {event} of device {device}: {fault}")]
    Event { event: usize, device: usize, fault: Box<Fault> },
    #[error(
        "the snapshot has no history; call torch.cuda.memory._record_memory_history() before the part of the program that \
         matters"
    )]
    NoHistory,
    #[error("the snapshot has a history of the devices {with}, and none of device {device}")]
    NoSuchDevice { device: usize, with: String },
    #[error("the snapshot has a history of the devices {with}; choose one with --device")]
    SeveralDevices { with: String },
}

impl Fault {
    /// The decoder's message.
    pub(crate) fn of_gzip(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutOff,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Corrupt(error),
            _ => Self::Unreadable(error),
        }
    }
}

/// The error that ended a replay.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("no pool: {0}")]
    Pool(PoolError),
    #[error("line {line}: {error}")]
    Allocate { line: usize, error: AllocateError },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(
        "block {id} of {}: the byte at {offset} is {found:#04x} when it is freed, and was stamped {stamped:#04x}",
        Bytes(*bytes)
    )]
    Stamp { id: u64, bytes: u64, offset: u64, stamped: u8, found: u8 },
    #[error("the pool counted a peak of {counted} requested bytes, the trace asks for {asked}")]
    Miscounted { counted: u64, asked: u64 },
    #[error("{left} bytes are still allocated after everything was dropped")]
    Leak { left: u64 },
    #[error("the heap broke an invariant: {0}")]
    Invariant(#[from] InvariantBroken),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{path} can't be written: {error}")]
    Intervals { path: String, error: io::Error },
}
