//! Someone has to poll a native device for its callbacks to run. While a readback is awaited, a thread of ours does.
//! Browsers poll by themselves, and have no threads.

use super::{Progress, WAIT_SLICE, lock};
use std::sync::{Arc, Mutex};

/// Polls the device as long as anyone waits. The thread starts with the first readback and ends after the last.
#[derive(Debug)]
pub(super) struct Poller {
    device: wgpu::Device,
    progress: Arc<Progress>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
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
        Self { device, progress, state: Arc::default() }
    }

    /// Notes that someone waits for a callback, and sees to it that it will run.
    pub(super) fn watch(&self) -> Waiting {
        let mut state = lock(&self.state);
        state.waiting += 1;
        if !state.running {
            state.running = self.start();
        }
        drop(state);
        Waiting(Arc::clone(&self.state))
    }

    fn start(&self) -> bool {
        let (device, progress, state) = (self.device.clone(), Arc::clone(&self.progress), Arc::clone(&self.state));
        let poll = move || {
            loop {
                {
                    let mut state = lock(&state);
                    if state.waiting == 0 || progress.lost.get().is_some() {
                        state.running = false;
                        return;
                    }
                }
                let wait = wgpu::PollType::Wait { submission_index: None, timeout: Some(WAIT_SLICE) };
                if device.poll(wait).is_ok() {
                    // Idle, but someone still waits: for a batch that is about to be submitted.
                    std::thread::yield_now();
                }
            }
        };
        let thread = std::thread::Builder::new().name("wgpu-pool poller".into()).spawn(poll);
        if let Err(error) = &thread {
            log::warn!("wgpu-pool: no thread to poll the device, readbacks need the program to poll it: {error}");
        }
        thread.is_ok()
    }
}
