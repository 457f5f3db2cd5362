//! The poller thread. Callbacks of a native device run only while a thread polls the device; this thread polls while a
//! read is pending. Browsers poll by themselves and have no threads.

use super::super::lock;
use super::batch::{Handover, message_of};
use super::threads::Threads;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
            None => std::thread::yield_now(),
            Some(late) => std::thread::sleep((Self::SHORTEST * (1 + late / 8)).min(Self::LONGEST)),
        }
    }
}

/// Polls the device while a read is pending. The thread starts with the first pending read and ends after the last.
#[derive(Debug, Default)]
pub(super) struct Poller {
    state: Arc<Mutex<State>>,
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
pub(in super::super) struct Polled(Arc<Mutex<State>>);

impl Drop for Polled {
    fn drop(&mut self) {
        lock(&self.0).awaited -= 1;
    }
}

impl Poller {
    /// Makes the poller thread poll the device until the returned guard is dropped. Does not wait.
    pub(super) fn watch(&self, handover: &Arc<Handover>, threads: &Arc<Threads>) -> Polled {
        let was_running = {
            let mut state = lock(&self.state);
            state.awaited += 1;
            std::mem::replace(&mut state.is_running, true)
        };
        if !was_running {
            let (handover, state) = (Arc::clone(handover), Arc::clone(&self.state));
            if let Err(error) = threads.spawn("wgpu-pool poller", move || poll_while_awaited(&handover, &state)) {
                log::warn!(
                    "wgpu-pool: cannot spawn the poller thread, so the application must poll the device: {error}"
                );
                lock(&self.state).is_running = false;
            }
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

/// The main loop of the poller thread: polls until no read is pending, or the device is lost.
fn poll_while_awaited(handover: &Handover, state: &Mutex<State>) {
    let mut pause = Backoff::default();
    loop {
        {
            let mut state = lock(state);
            if state.awaited == 0 || state.is_closed || handover.health.is_lost() {
                state.is_running = false;
                break;
            }
        }
        // A panic comes from an application callback, or from wgpu if the device is lost.
        let polled = catch_unwind(AssertUnwindSafe(|| handover.checked.poll()));
        if let Err(panic) = polled {
            log::error!("wgpu-pool: a callback panicked on the poller thread: {}", message_of(&*panic));
            handover.check_for_loss();
        }
        pause.pause();
    }
}
