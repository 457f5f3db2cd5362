//! The errors of repeated steps.

use super::Bytes;
use thiserror::Error;

/// The reason why a step did not run, or why its requests were not planned.
///
/// Cause and remedy of each variant: [`guide::errors::repeat`](crate::guide::errors::repeat).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RepeatError {
    /// This thread is in a step of the same pool.
    #[error("this thread is already in a step of this pool: a step cannot contain another step")]
    Nested,
    /// Another thread runs a step of the same [`Repeat`](crate::Repeat).
    #[error("another thread is in a step of this loop: create a `Repeat` for each thread")]
    Running,
    /// The limit has no room for the arena, so the requests of the step go to the heap.
    #[error(
        "the plan needs an arena of {}, the limit of {} leaves room for {}: the step runs without the plan",
        Bytes(*arena),
        Bytes(*limit),
        Bytes(*room)
    )]
    ArenaAboveLimit {
        /// The size of the arena in bytes.
        arena: u64,
        /// The pool's limit in bytes.
        limit: u64,
        /// The bytes that the limit leaves for the arena.
        room: u64,
    },
    /// The device refused the arena, so the requests of the step go to the heap.
    #[error("the device refused a segment of {} for the arena: the step runs without the plan", Bytes(*bytes))]
    ArenaRefused {
        /// The size of the refused segment in bytes.
        bytes: u64,
    },
}
