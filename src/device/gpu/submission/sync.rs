//! The synchronization primitives of the queue's core. The model tests (`tests/submission_model`) compile the same core
//! with the types of a model checker instead.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::ThreadId;

use std::sync::PoisonError;
use std::time::Duration;

/// Locks a mutex and ignores poisoning: no critical section of the core calls foreign code.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition variable is notified, or until `pause` is over. May return early. `guard` is that of
/// `mutex`.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    pause: Option<Duration>,
) -> MutexGuard<'a, T> {
    match pause {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(pause) => condvar.wait_timeout(guard, pause).unwrap_or_else(PoisonError::into_inner).0,
    }
}

/// The id of the calling thread.
pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}
