//! Callbacks of a native device run only while somebody polls it. While a read is awaited, the poller thread does.
//! Browsers poll by themselves, and have no threads.

use super::super::{checked, lock};
use super::batch::{Handover, message_of};
use super::threads::Threads;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lets time pass between two polls of a device: next to none at first, since most waits are short, then more and more.
///
/// wgpu's own wait is not used. With a timeout, wgpu 30 panics when another thread's poll or submission takes note of the
/// end just as the wait times out; without one, it holds a lock that destroying a buffer needs for as long as the device works.
#[derive(Debug, Default)]
pub(super) struct Pause {
    polls: u32,
}

impl Pause {
    /// Polls between which a thread only yields: about as long as a small read takes.
    const EAGER: u32 = 200;
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(1);

    /// Lets time pass.
    pub(super) fn rest(&mut self) {
        self.polls += 1;
        match self.polls.checked_sub(Self::EAGER) {
            None => std::thread::yield_now(),
            Some(late) => std::thread::sleep((Self::SHORTEST * (1 + late / 8)).min(Self::LONGEST)),
        }
    }
}

/// Polls the device as long as a read is awaited. The thread starts with the first awaited read and ends after the last.
#[derive(Debug, Default)]
pub(super) struct Poller {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Reads that are awaited.
    awaited: usize,
    /// Whether there is a thread that will look at `awaited` again.
    is_running: bool,
    is_closed: bool,
}

/// Has the device polled as long as it lives.
#[derive(Debug)]
pub(in super::super) struct Polled(Arc<Mutex<State>>);

impl Drop for Polled {
    fn drop(&mut self) {
        lock(&self.0).awaited -= 1;
    }
}

impl Poller {
    /// Has the poller thread poll the device until the answer is dropped. Does not wait.
    pub(super) fn watch(&self, handover: &Arc<Handover>, threads: &Arc<Threads>) -> Polled {
        let was_running = {
            let mut state = lock(&self.state);
            state.awaited += 1;
            std::mem::replace(&mut state.is_running, true)
        };
        if !was_running {
            let (handover, state) = (Arc::clone(handover), Arc::clone(&self.state));
            if let Err(error) = threads.spawn("wgpu-pool poller", move || poll_while_awaited(&handover, &state)) {
                log::warn!("wgpu-pool: no thread to poll the device, so the application has to poll it: {error}");
                lock(&self.state).is_running = false;
            }
        }
        Polled(Arc::clone(&self.state))
    }

    /// Ends the thread. Does not wait for it.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
    }
}

/// The poller thread: polls until no read is awaited any more, or the device is lost.
fn poll_while_awaited(handover: &Handover, state: &Mutex<State>) {
    let mut pause = Pause::default();
    loop {
        {
            let mut state = lock(state);
            if state.awaited == 0 || state.is_closed || handover.health.is_lost() {
                state.is_running = false;
                break;
            }
        }
        // A panic comes from a callback of the application, or from wgpu if the device is lost.
        let polled = catch_unwind(AssertUnwindSafe(|| checked::poll(&handover.device)));
        if let Err(panic) = polled {
            log::error!("wgpu-pool: a callback panicked on the poller thread: {}", message_of(&*panic));
            handover.notice_loss();
        }
        pause.rest();
    }
}
