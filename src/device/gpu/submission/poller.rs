//! The poller thread. Callbacks of a native device run only while a thread polls the device; this thread polls while a
//! read is pending. Browsers poll by themselves and have no threads.

use super::batch::message_of;
use super::sync::{ServiceMutex, lock, sleep, yield_now};
use super::threads::Threads;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The device that is polled.
pub(super) trait Device: Send + Sync + 'static {
    /// Runs callbacks that are due, which may panic.
    fn poll(&self);

    fn is_lost(&self) -> bool;

    /// Checks whether the device is lost, after a panic.
    fn check_for_loss(&self);

    /// Wakes pending reads if the device is lost.
    fn wake_if_lost(&self);
}

/// The delay between two polls of a device: none at first, since most waits are short, then increasing.
///
/// wgpu's own blocking wait is not used. With a timeout, wgpu 30 panics when another thread observes the completion
/// just as the wait times out. Without a timeout, wgpu holds a lock that buffer destruction needs until the device is
/// idle.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    polls: u32,
}

impl Backoff {
    /// The number of polls after which the thread sleeps instead of yielding: about as many as a small read takes.
    const YIELDS: u32 = 200;
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(1);

    /// Yields or sleeps.
    pub(super) fn pause(&mut self) {
        self.polls += 1;
        match self.polls.checked_sub(Self::YIELDS) {
            None => yield_now(),
            Some(late) => sleep((Self::SHORTEST * (1 + late / 8)).min(Self::LONGEST)),
        }
    }
}

/// Polls the device while a read is pending. The thread starts with the first pending read and ends after the last.
#[derive(Debug, Default)]
pub(super) struct Poller {
    state: Arc<ServiceMutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of pending reads.
    awaited: usize,
    /// Whether a thread is running that will check `awaited` again.
    is_running: bool,
    is_closed: bool,
}

/// Keeps the poller thread polling until dropped.
#[derive(Debug)]
pub(crate) struct Polled(Arc<ServiceMutex<State>>);

impl Drop for Polled {
    fn drop(&mut self) {
        lock(&self.0).awaited -= 1;
    }
}

impl Poller {
    /// Makes the poller thread poll the device until the returned guard is dropped. Does not wait.
    pub(super) fn watch(&self, device: &Arc<impl Device>, threads: &Arc<Threads>) -> Polled {
        let mut state = lock(&self.state);
        state.awaited += 1;
        let mut refusal = None;
        if !state.is_running {
            // With the lock, so that no other read relies on a thread that is then refused.
            let (device, shared) = (Arc::clone(device), Arc::clone(&self.state));
            match threads.spawn("wgpu-pool poller", move || poll_while_awaited(&*device, &shared)) {
                Ok(()) => state.is_running = true,
                Err(error) => refusal = Some(error),
            }
        }
        drop(state);
        if let Some(error) = refusal {
            log::warn!("wgpu-pool: cannot spawn the poller thread, so the application must poll the device: {error}");
        }
        Polled(Arc::clone(&self.state))
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Stops the thread. Does not wait for its end.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
    }
}

/// The main loop of the poller thread: polls until no read is pending, or until the device is lost, and then wakes the reads.
fn poll_while_awaited(device: &impl Device, state: &ServiceMutex<State>) {
    let mut pause = Backoff::default();
    loop {
        {
            let mut state = lock(state);
            if state.awaited == 0 || state.is_closed || device.is_lost() {
                state.is_running = false;
                break;
            }
        }
        // A panic comes from an application callback, or from wgpu if the device is lost.
        let polled = catch_unwind(AssertUnwindSafe(|| device.poll()));
        if let Err(panic) = polled {
            log::error!("wgpu-pool: a callback panicked on the poller thread: {}", message_of(&*panic));
            device.check_for_loss();
        }
        pause.pause();
    }
    // The thread that noticed the loss may have held locks.
    device.wake_if_lost();
}
