//! The synchronization that the queue's core is built on. The model tests (`tests/submission_model`) compile the same core with the
//! types of a model checker in place of these.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::ThreadId;

use std::sync::PoisonError;
use std::time::Duration;

/// Locks, whether or not a thread panicked while it held the lock: no critical section of the core runs foreign code.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition variable is notified, or the pause is over if there is one. May return early. `guard` is that of `mutex`.
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

/// The calling thread.
pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}
