//! Someone has to poll a native device for its callbacks to run. While a readback is awaited, a thread of ours does.
//! Browsers poll by themselves, and have no threads.

use super::{Progress, lock};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
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

/// How long a device that is given up waits for the thread to be done with it. Only a callback of the program's that hangs
/// takes longer; then the thread is left to itself.
const PARTING: Duration = Duration::from_millis(250);

/// Polls the device as long as anyone waits. The thread starts with the first readback and ends after the last; it is done with
/// the device before the poller is gone, so that no driver is called while the program ends.
#[derive(Debug)]
pub(super) struct Poller {
    device: wgpu::Device,
    progress: Arc<Progress>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    thread_left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Whether there is a thread that will see who waits.
    running: bool,
    /// Threads that still hold the device.
    threads: Vec<ThreadId>,
}

/// Says that someone waits, as long as it lives.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Shared>);

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.0.state).waiting -= 1;
    }
}

impl Poller {
    pub(super) fn new(device: wgpu::Device, progress: Arc<Progress>) -> Self {
        Self { device, progress, shared: Arc::default() }
    }

    /// Notes that someone waits for a callback, and sees to it that it will run.
    pub(super) fn watch(&self) -> Waiting {
        let mut state = lock(&self.shared.state);
        state.waiting += 1;
        if !state.running {
            let (device, progress, shared) =
                (self.device.clone(), Arc::clone(&self.progress), Arc::clone(&self.shared));
            let poll = move || poll_while_awaited(device, &progress, &shared);
            match std::thread::Builder::new().name("wgpu-pool poller".into()).spawn(poll) {
                Ok(thread) => {
                    state.running = true;
                    state.threads.push(thread.thread().id());
                }
                Err(error) => {
                    log::warn!("wgpu-pool: no thread to poll the device, so the program has to poll it: {error}");
                }
            }
        }
        drop(state);
        Waiting(Arc::clone(&self.shared))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // A callback that drops the last handle may run on the thread itself, which can't wait for its own end.
        let this_thread = std::thread::current().id();
        let others = |state: &mut State| state.threads.iter().any(|&thread| thread != this_thread);
        let state = lock(&self.shared.state);
        drop(self.shared.thread_left.wait_timeout_while(state, PARTING, others));
    }
}

/// The thread: polls until nobody waits any more.
fn poll_while_awaited(device: wgpu::Device, progress: &Progress, shared: &Shared) {
    let mut patience = Patience::default();
    loop {
        {
            let mut state = lock(&shared.state);
            if state.waiting == 0 || progress.lost.get().is_some() {
                state.running = false;
                break;
            }
        }
        if patience.poll(&device) {
            // Idle, but someone still waits: for a batch that is about to be submitted.
            patience.rest();
        }
    }
    drop(device);
    let this_thread = std::thread::current().id();
    lock(&shared.state).threads.retain(|&thread| thread != this_thread);
    shared.thread_left.notify_all();
}
