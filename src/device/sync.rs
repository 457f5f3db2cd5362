//! The locks, threads and clock of the modules that a model checker runs: the core of the submission queue, the pool's threads, the gate of
//! destructions. `tests/model/sync.rs` is the checker's equivalent.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::ThreadId;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use std::thread::{sleep, yield_now};
pub(crate) use std::thread_local;
pub(crate) use std::time::Instant;

#[cfg(not(target_arch = "wasm32"))]
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

/// Locks a mutex and ignores poisoning: no critical section calls foreign code.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the condition variable is notified, or until `time` is over. May return early. `guard` is that of `mutex`.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    time: Option<Duration>,
) -> MutexGuard<'a, T> {
    match time {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(time) => condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0,
    }
}

/// Waits while `blocks` returns true, at most `longest`.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    longest: Duration,
    blocks: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout_while(guard, longest, blocks).unwrap_or_else(PoisonError::into_inner).0
}

/// The id of the calling thread.
pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}

/// Starts a thread and returns its id.
///
/// # Errors
/// The system's error if it cannot create a thread; `act` is dropped.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn spawn(name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<ThreadId> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(act)?;
    Ok(thread.thread().id())
}
