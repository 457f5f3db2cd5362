//! The poller thread. Callbacks of a native device run only while a thread polls the device; this thread polls while a
//! read is pending. Browsers poll by themselves and have no threads.

use super::batch::message_of;
use super::sync::{Condvar, ServiceMutex, ThreadId, lock, sleep, this_thread, wait, wait_while, yield_now};
use super::threads::Threads;
use std::collections::BTreeSet;
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

/// Polls the device while a read is pending. The thread starts with the first pending read and ends with the pool: a thread that ends
/// while the process exits crashes GLVND's libEGL (see [`super::threads`]).
#[derive(Debug, Default)]
pub(super) struct Poller {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: ServiceMutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The numbers of the pending reads.
    pending: BTreeSet<u64>,
    /// The number of reads so far.
    newest: u64,
    /// `None` before the first read, and if the system has refused the thread.
    thread: Option<ThreadId>,
    /// Whether the thread may be in a poll.
    is_polling: bool,
    is_closed: bool,
}

impl State {
    /// Whether the thread still polls for reads up to a number, or is in its last poll for them. Not if later reads are pending.
    fn polls_for(&self, newest: u64) -> bool {
        let polls = self.pending.first().map_or(self.is_polling, |&oldest| oldest <= newest);
        polls && self.thread.is_some() && !self.is_closed
    }
}

/// Keeps the poller thread polling until dropped. The caller must hold no lock but the context.
#[derive(Debug)]
pub(crate) struct Polled {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Polled {
    fn drop(&mut self) {
        lock(&self.shared.state).pending.remove(&self.number);
        self.shared.changed.notify_all();
    }
}

/// What the thread does next.
enum Step {
    Poll,
    /// The device is lost, and the pending reads have been removed: wake them.
    Wake,
    End,
}

impl Poller {
    /// Makes the poller thread poll the device until the returned guard is dropped. Does not wait.
    pub(super) fn watch(&self, device: &Arc<impl Device>, threads: &Arc<Threads>) -> Polled {
        let mut state = lock(&self.shared.state);
        state.newest += 1;
        let number = state.newest;
        state.pending.insert(number);
        let mut refusal = None;
        if state.thread.is_none() && !state.is_closed {
            // With the lock, so that no other read relies on a thread that is then refused.
            let (device, shared) = (Arc::clone(device), Arc::clone(&self.shared));
            match threads.spawn("wgpu-pool poller", move || shared.serve(&*device)) {
                Ok(thread) => state.thread = Some(thread),
                Err(error) => refusal = Some(error),
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        if let Some(error) = refusal {
            log::warn!("wgpu-pool: cannot spawn the poller thread, so the application must poll the device: {error}");
        }
        Polled { shared: Arc::clone(&self.shared), number }
    }

    /// Waits until the reads that are pending now have ended and, unless others have begun meanwhile, the thread is in no poll. At most
    /// `longest`.
    pub(super) fn settle(&self, longest: Duration) {
        let state = lock(&self.shared.state);
        let newest = state.newest;
        // Timed out or not, the caller continues.
        drop(wait_while(&self.shared.changed, state, longest, |state| state.polls_for(newest)));
    }

    /// Whether the calling thread is the one that polls: it is then in a callback inside a poll.
    pub(super) fn is_this_thread(&self) -> bool {
        lock(&self.shared.state).thread == Some(this_thread())
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.shared.state).is_closed
    }

    /// Stops the thread. Does not wait for its end.
    pub(super) fn close(&self) {
        lock(&self.shared.state).is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// The poller thread.
    fn serve(&self, device: &impl Device) {
        let mut pause = Backoff::default();
        loop {
            // A panic comes from an application callback or waker, or from wgpu if the device is lost.
            let panicked = match self.next(device, &mut pause) {
                Step::Poll => catch_unwind(AssertUnwindSafe(|| device.poll())),
                // Not the thread that noticed the loss, which may have held locks.
                Step::Wake => catch_unwind(AssertUnwindSafe(|| device.wake_if_lost())),
                Step::End => break,
            };
            if let Err(panic) = panicked {
                log::error!("wgpu-pool: a callback panicked on the poller thread: {}", message_of(&*panic));
                device.check_for_loss();
            }
            pause.pause();
        }
        device.wake_if_lost();
    }

    /// Waits until a read is pending, or until the pool is being dropped.
    fn next(&self, device: &impl Device, pause: &mut Backoff) -> Step {
        let mut state = lock(&self.state);
        loop {
            let step = if state.is_closed {
                Some(Step::End)
            } else if state.pending.is_empty() {
                None
            } else if device.is_lost() {
                state.pending.clear();
                Some(Step::Wake)
            } else {
                Some(Step::Poll)
            };
            state.is_polling = matches!(step, Some(Step::Poll));
            if !state.is_polling {
                self.changed.notify_all();
            }
            if let Some(step) = step {
                return step;
            }
            state = wait(&self.changed, &self.state, state, None);
            *pause = Backoff::default();
        }
    }
}
