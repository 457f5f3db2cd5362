//! A call after a delay, on a thread of its own. The pool releases unneeded memory that way.
//!
//! The thread starts with the first call and ends with the pool. At most one call is pending.

use super::super::lock;
use super::batch::message_of;
use super::threads::{JOIN_TIMEOUT, Threads};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long no call is made after a thread that used the pool has ended: the thread may be ending the process, which must not happen
/// while a call is in the driver.
const HOLD: Duration = Duration::from_secs(1);

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
    state: Mutex<State>,
    changed: Condvar,
}

impl Timer {
    /// Has the timer thread call `act` after `delay`, in place of a pending call. Returns false, and drops `act`, if the timer is closed or
    /// the system has no thread for it. Does not wait.
    pub(super) fn call_after(self: &Arc<Self>, threads: &Arc<Threads>, delay: Duration, act: Call) -> bool {
        let needs_thread = {
            let mut state = lock(&self.state);
            if state.is_closed {
                return false;
            }
            state.pending = Some((Instant::now() + delay, act));
            !std::mem::replace(&mut state.has_thread, true)
        };
        if needs_thread {
            let this = Arc::clone(self);
            if let Err(error) = threads.spawn("wgpu-pool timer", move || this.serve()) {
                log::warn!("wgpu-pool: no thread to release unneeded memory, so that submissions do: {error}");
                let mut state = lock(&self.state);
                (state.has_thread, state.pending) = (false, None);
                return false;
            }
        }
        self.changed.notify_all();
        true
    }

    /// Waits for the end of the call that is being made, at most [`JOIN_TIMEOUT`], and has the next one wait for [`HOLD`].
    pub(super) fn hold(&self) {
        let mut state = lock(&self.state);
        state.held_until = Some(Instant::now() + HOLD);
        // Timed out or not, the thread ends.
        let _ = self.changed.wait_timeout_while(state, JOIN_TIMEOUT, |state| state.is_calling);
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
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let due = state.held_until.map_or(due, |held| due.max(held));
            let delay = due.saturating_duration_since(Instant::now());
            if delay.is_zero() {
                state.is_calling = true;
                return state.pending.take().map(|(_, act)| act);
            }
            let waited = self.changed.wait_timeout(state, delay);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// Longer than any of these tests waits for something that happens.
    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn a_call_is_made_after_its_delay_and_may_ask_for_the_next() {
        let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
        let (sender, receiver) = channel();
        let begun = Instant::now();
        let again = {
            let (timer, threads, sender) = (Arc::clone(&timer), Arc::clone(&threads), sender.clone());
            Box::new(move || {
                sender.send(1).expect("the test waits");
                let second = Box::new(move || sender.send(2).expect("the test waits"));
                assert!(timer.call_after(&threads, Duration::ZERO, second));
            })
        };
        assert!(timer.call_after(&threads, Duration::from_millis(20), again));
        assert_eq!(receiver.recv_timeout(SOON), Ok(1));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert_eq!(receiver.recv_timeout(SOON), Ok(2));
        timer.close();
        threads.join();
    }

    #[test]
    fn a_closed_timer_drops_its_call_and_takes_no_other() {
        let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
        let (sender, receiver) = channel::<()>();
        let act = Box::new(move || sender.send(()).expect("the test waits"));
        assert!(timer.call_after(&threads, SOON * 60, act));
        timer.close();
        threads.join();
        assert!(receiver.recv().is_err());
        assert!(!timer.call_after(&threads, Duration::ZERO, Box::new(|| panic!("never called"))));
    }

    #[test]
    fn a_panic_in_a_call_ends_nothing() {
        let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
        let (sender, receiver) = channel();
        let (first, second) = (sender.clone(), sender);
        let act = Box::new(move || {
            first.send(1).expect("the test waits");
            panic!("on purpose");
        });
        assert!(timer.call_after(&threads, Duration::ZERO, act));
        assert_eq!(receiver.recv_timeout(SOON), Ok(1));
        assert!(timer.call_after(&threads, Duration::ZERO, Box::new(move || second.send(2).expect("the test waits"))));
        assert_eq!(receiver.recv_timeout(SOON), Ok(2));
        timer.close();
        threads.join();
    }

    #[test]
    fn a_thread_that_ends_waits_for_the_call_and_delays_the_next() {
        let (timer, threads) = (Arc::new(Timer::default()), Arc::new(Threads::default()));
        let (entered, is_entered) = channel();
        let (leave, may_leave) = channel::<()>();
        let act = Box::new(move || {
            entered.send(()).expect("the test waits");
            may_leave.recv().expect("the test goes on");
        });
        assert!(timer.call_after(&threads, Duration::ZERO, act));
        is_entered.recv_timeout(SOON).expect("the call is made");
        let begun = Instant::now();
        let ending = std::thread::spawn({
            let timer = Arc::clone(&timer);
            move || {
                timer.hold();
                Instant::now()
            }
        });
        let released = Instant::now();
        leave.send(()).expect("the test waits");
        assert!(ending.join().expect("no panic") >= released);
        let (sender, receiver) = channel();
        assert!(timer.call_after(&threads, Duration::ZERO, Box::new(move || sender.send(()).expect("the test waits"))));
        receiver.recv_timeout(SOON).expect("the call is made");
        assert!(begun.elapsed() >= HOLD);
        timer.close();
        threads.join();
    }
}
