//! The equivalent of `src/device/sync.rs` for a model checker, which runs the threads of a program in many orders of their steps.
//!
//! Time advances only while a thread waits for time, so that no wait ends because of the longest wait.

#![allow(dead_code, unused_imports, reason = "each program uses a part")]

pub(crate) use shuttle::sync::{Condvar, Mutex, Mutex as ServiceMutex, MutexGuard};
pub(crate) use shuttle::thread::{ThreadId, yield_now};

pub(crate) type JoinHandle = shuttle::thread::JoinHandle<()>;
pub(crate) use shuttle::thread_local;

use shuttle::rand::{Rng, thread_rng};
use std::cell::Cell;
use std::io;
use std::ops::Add;
use std::sync::PoisonError;
use std::time::Duration;

std::thread_local! {
    /// The time of the model, whose threads are run by one thread of the system.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };

    /// Whether the system sometimes has no thread.
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

shuttle::thread_local! {
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(NOW.get())
    }

    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The checker runs its threads on one system thread, so a panic in one may poison a lock of another.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time passes while other threads take a step.
pub(crate) fn wait<'a, T>(
    condvar: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    time: Option<Duration>,
) -> MutexGuard<'a, T> {
    let Some(time) = time else { return condvar.wait(guard).unwrap_or_else(PoisonError::into_inner) };
    drop(guard);
    sleep(time);
    lock(mutex)
}

/// Without a longest wait: whatever ends only because of it is a deadlock.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    _longest: Duration,
    blocks: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_while(guard, blocks).unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn sleep(time: Duration) {
    NOW.set(NOW.get() + time);
    yield_now();
}

pub(crate) fn this_thread() -> ThreadId {
    shuttle::thread::current().id()
}

pub(crate) fn spawn(_name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    if REFUSES.get() && thread_rng().gen_bool(0.3) {
        drop(act);
        REFUSED.with(|refused| refused.set(true));
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(shuttle::thread::spawn(act))
}

/// Whether the system has refused a thread to the calling thread since it last asked.
pub(crate) fn was_refused_a_thread() -> bool {
    REFUSED.with(|refused| refused.replace(false))
}

/// Has the system refuse some of the threads from now on, or none.
pub(crate) fn refuse_some_threads(refuses: bool) {
    REFUSES.set(refuses);
}

/// Runs a program in many orders of its steps: random ones, and some with few context switches at random places, which finds most rare
/// interleavings. A deadlock or an infinite loop is a panic.
pub(crate) fn check(iterations: usize, act: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = shuttle::Config::new();
    // Far more than any of these programs takes.
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    let random = shuttle::scheduler::RandomScheduler::new(iterations);
    shuttle::Runner::new(random, config.clone()).run(act);
    let rare = shuttle::scheduler::PctScheduler::new(3, iterations / 3);
    shuttle::Runner::new(rare, config).run(act);
}
