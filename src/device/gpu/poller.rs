//! Someone has to poll a native device for its callbacks to run. While a readback is awaited, a thread of ours does.
//! Browsers poll by themselves, and have no threads.

use super::helpers::Helpers;
use super::{Progress, lock};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lets time pass between two polls of a device: next to none at first, since most waits are short, then more and more.
///
/// wgpu's own wait won't do. With a timeout, wgpu 30 panics when another thread's poll or submission takes note of the
/// end just as the wait times out; without one, it holds a lock that destroying a buffer needs for as long as the device works.
#[derive(Debug, Default)]
pub(super) struct Patience {
    polls: u32,
}

impl Patience {
    /// Polls between which a thread only yields: about as long as a small readback takes.
    const EAGER: u32 = 200;
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(1);

    /// Polls once; callbacks run inside. Says whether the device is idle, and lets time pass if it isn't.
    pub(super) fn poll(&mut self, device: &wgpu::Device) -> bool {
        // An error is a timeout, which a poll that doesn't wait can't meet.
        let is_idle = matches!(device.poll(wgpu::PollType::Poll), Ok(wgpu::PollStatus::QueueEmpty));
        if !is_idle {
            self.rest();
        }
        is_idle
    }

    /// Lets time pass.
    pub(super) fn rest(&mut self) {
        self.polls += 1;
        match self.polls.checked_sub(Self::EAGER) {
            None => std::thread::yield_now(),
            Some(late) => std::thread::sleep((Self::SHORTEST * (1 + late / 8)).min(Self::LONGEST)),
        }
    }
}

/// Polls the device as long as anyone waits. The thread starts with the first readback and ends after the last; it is done with
/// the device before the poller is gone, so that no driver is called while the program ends.
#[derive(Debug)]
pub(super) struct Poller {
    device: wgpu::Device,
    progress: Arc<Progress>,
    state: Arc<Mutex<State>>,
    helpers: Arc<Helpers>,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Whether there is a thread that will see who waits.
    running: bool,
}

/// Says that someone waits, as long as it lives.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Mutex<State>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.0).waiting -= 1;
    }
}

impl Poller {
    pub(super) fn new(device: wgpu::Device, progress: Arc<Progress>) -> Self {
        Self { device, progress, state: Arc::default(), helpers: Arc::default() }
    }

    /// Notes that someone waits for a callback, and sees to it that it will run.
    pub(super) fn watch(&self) -> Waiting {
        let was_running = {
            let mut state = lock(&self.state);
            state.waiting += 1;
            std::mem::replace(&mut state.running, true)
        };
        if !was_running {
            let (device, progress, state) = (self.device.clone(), Arc::clone(&self.progress), Arc::clone(&self.state));
            let poll = move || poll_while_awaited(&device, &progress, &state);
            if let Err(error) = self.helpers.spawn("wgpu-pool poller", poll) {
                log::warn!("wgpu-pool: no thread to poll the device, so the program has to poll it: {error}");
                lock(&self.state).running = false;
            }
        }
        Waiting(Arc::clone(&self.state))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.helpers.part();
    }
}

/// The thread: polls until nobody waits any more.
fn poll_while_awaited(device: &wgpu::Device, progress: &Progress, state: &Mutex<State>) {
    let mut patience = Patience::default();
    loop {
        {
            let mut state = lock(state);
            if state.waiting == 0 || progress.lost.get().is_some() {
                state.running = false;
                break;
            }
        }
        if patience.poll(device) {
            // Idle, but someone still waits: for a batch that is about to be submitted.
            patience.rest();
        }
    }
}
