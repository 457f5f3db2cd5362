//! A call after a delay, on a thread of its own. The pool releases unneeded memory that way.
//!
//! The thread starts with the first call and ends with the pool. At most one call is pending.

use super::batch::message_of;
use super::sync::{Condvar, Instant, ServiceMutex, lock, wait, wait_while};
use super::threads::{JOIN_TIMEOUT, Threads};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The time without a call after a thread that used the pool has ended: the thread may be ending the process, which must not happen
/// while a call is in the driver.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// The longest delay, ten years: a moment after a longer one may be more than the system's clock can represent.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

type Call = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    pending: Option<(Instant, Call)>,
    /// No call is made before this time.
    held_until: Option<Instant>,
    is_calling: bool,
    has_thread: bool,
    is_closed: bool,
}

#[derive(Default)]
pub(super) struct Timer {
    state: ServiceMutex<State>,
    changed: Condvar,
}

impl Timer {
    /// Has the timer thread call `act` after `delay`, in place of a pending call. Returns false, and drops `act`, if the timer is closed or
    /// the system has no thread for it. Does not wait.
    pub(super) fn call_after(self: &Arc<Self>, threads: &Arc<Threads>, delay: Duration, act: Call) -> bool {
        let mut state = lock(&self.state);
        if state.is_closed {
            // Outside of the lock, as in `close`.
            drop(state);
            return false;
        }
        if !state.has_thread {
            // With the lock, so that no other thread relies on a thread that is then refused.
            let this = Arc::clone(self);
            if let Err(error) = threads.spawn("wgpu-pool timer", move || this.serve()) {
                drop(state);
                log::warn!("wgpu-pool: no thread to release unneeded memory, so that submissions do: {error}");
                return false;
            }
            state.has_thread = true;
        }
        let replaced = state.pending.replace((Instant::now() + delay.min(LONGEST), act));
        drop(state);
        drop(replaced);
        self.changed.notify_all();
        true
    }

    /// Waits for the end of the call that is being made, at most [`JOIN_TIMEOUT`], and has the next one wait for [`HOLD`] after that.
    pub(super) fn hold(&self) {
        let mut state = lock(&self.state);
        // The next one must not begin before this thread continues.
        state.held_until = Some(Instant::now() + HOLD);
        // Timed out or not, the thread ends.
        state = wait_while(&self.changed, state, JOIN_TIMEOUT, |state| state.is_calling);
        state.held_until = Some(Instant::now() + HOLD);
    }

    /// Ends the thread, without a further call. Does not wait for its end.
    pub(super) fn close(&self) {
        let pending = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            state.pending.take()
        };
        // Outside of the lock: dropping the values that the call owns may schedule another call.
        drop(pending);
        self.changed.notify_all();
    }

    /// The timer thread.
    fn serve(&self) {
        while let Some(act) = self.next() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(act)) {
                log::error!("wgpu-pool: a callback panicked on the timer thread: {}", message_of(&*panic));
            }
            lock(&self.state).is_calling = false;
            self.changed.notify_all();
        }
    }

    /// Waits until a call is due and returns it. None once the timer is closed.
    fn next(&self) -> Option<Call> {
        let mut state = lock(&self.state);
        loop {
            if state.is_closed {
                return None;
            }
            let Some((due, _)) = state.pending else {
                state = wait(&self.changed, &self.state, state, None);
                continue;
            };
            let due = state.held_until.map_or(due, |held| due.max(held));
            let delay = due.saturating_duration_since(Instant::now());
            if delay.is_zero() {
                state.is_calling = true;
                return state.pending.take().map(|(_, act)| act);
            }
            state = wait(&self.changed, &self.state, state, Some(delay));
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { pending, held_until, is_calling, has_thread, is_closed } = &*lock(&self.state);
        f.debug_struct("Timer")
            .field("due", &pending.as_ref().map(|(due, _)| due))
            .field("held_until", held_until)
            .field("is_calling", is_calling)
            .field("has_thread", has_thread)
            .field("is_closed", is_closed)
            .finish()
    }
}
