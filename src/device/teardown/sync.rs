//! The synchronization primitives of the gate. `tests/teardown_model.rs` has the equivalent for a model checker.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
pub(super) use std::thread_local;
pub(super) use std::time::Instant;

use std::sync::PoisonError;
use std::time::Duration;

/// Locks a mutex and ignores poisoning: no critical section calls foreign code.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while `blocks` returns true, at most `longest`.
pub(super) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    longest: Duration,
    blocks: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout_while(guard, longest, blocks).unwrap_or_else(PoisonError::into_inner).0
}

/// Waits until the condition variable is notified, or until `time` is over. May return early. `guard` is that of `mutex`.
pub(super) fn wait<'a, T>(
    condvar: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0
}
