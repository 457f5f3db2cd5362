//! The locks, threads and clock of the modules that a model checker runs: the core of the submission queue, the pool's threads, the gate of
//! destructions. `tests/model/sync.rs` is the checker's equivalent.

pub(crate) use std::sync::Condvar;
pub(crate) use std::thread::ThreadId;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use std::thread::{sleep, yield_now};
pub(crate) use std::thread_local;
pub(crate) use std::time::Instant;

#[cfg(not(target_arch = "wasm32"))]
use super::lock::rank;
use super::lock::{Guard, Lock, Rank};
#[cfg(not(target_arch = "wasm32"))]
use std::io;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) type JoinHandle = std::thread::JoinHandle<()>;
pub(crate) type Mutex<T> = Lock<T>;
pub(crate) type MutexGuard<'a, T> = Guard<'a, T>;

/// A lock whose holder may start a thread of a pool.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type ServiceMutex<T> = Lock<T, rank::Service>;

/// Locks a mutex.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn lock<T, R: Rank>(mutex: &Lock<T, R>) -> Guard<'_, T, R> {
    mutex.lock()
}

/// Waits until the condition variable is notified, or until `time` is over. May return early. `guard` is that of `mutex`.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn wait<'a, T, R: Rank>(
    condvar: &Condvar,
    _mutex: &'a Lock<T, R>,
    guard: Guard<'a, T, R>,
    time: Option<Duration>,
) -> Guard<'a, T, R> {
    guard.wait(condvar, time)
}

/// Waits while `blocks` returns true, at most `longest`.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn wait_while<'a, T, R: Rank>(
    condvar: &Condvar,
    guard: Guard<'a, T, R>,
    longest: Duration,
    blocks: impl FnMut(&mut T) -> bool,
) -> Guard<'a, T, R> {
    guard.wait_while(condvar, longest, blocks)
}

/// The id of the calling thread.
pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}

/// Starts a thread.
///
/// # Errors
/// The system's error if it cannot create a thread; `act` is dropped.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn spawn(name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    std::thread::Builder::new().name(name.into()).spawn(act)
}
