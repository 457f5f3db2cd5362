//! The gate that keeps destructions of devices apart from calls of the driver and from the ends of threads. `tests/teardown_model.rs` runs this
//! file with the locks, threads and clock of a model checker.

use super::sync::{Condvar, Instant, Mutex, MutexGuard, lock, thread_local, wait, wait_while};
use std::cell::Cell;
#[cfg(not(target_arch = "wasm32"))]
use std::fmt;
use std::time::Duration;

thread_local! {
    /// The calls of this thread that are in progress: one in an application callback is inside another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };

    /// The memories that this thread is dropping.
    static OWN_DROPS: Cell<usize> = const { Cell::new(0) };

    /// Whether this is a thread of a pool.
    static IS_OF_POOL: Cell<bool> = const { Cell::new(false) };
}

/// Keeps destructions apart from calls and from the ends of threads.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    times: Times,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    /// The time after the end of a thread within which no device is destroyed.
    pub(super) quiet: Duration,
    /// The time for which a device that waits delays new calls, and then the time for which it admits them.
    pub(super) turn: Duration,
    pub(super) longest_wait: Duration,
}

pub(super) struct State {
    pub(super) calls: usize,
    /// More than one only after the longest wait, or where one destroys another.
    pub(super) destructions: usize,
    /// Devices that wait for calls to end, and whose turn keeps new calls from beginning.
    pub(super) closing: usize,
    /// Memories that are being dropped.
    pub(super) drops: usize,
    pub(super) last_end: Option<Instant>,
}

/// A call of the driver that is in progress.
pub(super) struct InCall<'a>(&'a Gate);

impl Drop for InCall<'_> {
    fn drop(&mut self) {
        self.0.state().calls -= 1;
        self.0.changed.notify_all();
    }
}

/// The drop of a memory, on one thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Dropping<'a>(&'a Gate);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        OWN_DROPS.with(|drops| drops.set(drops.get() - 1));
        self.0.state().drops -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl fmt::Debug for Dropping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dropping")
    }
}

impl Gate {
    pub(super) const fn new(times: Times) -> Self {
        let state = State { calls: 0, destructions: 0, closing: 0, drops: 0, last_end: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), times }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Begins a call; waits for destructions, at most the longest wait. A call inside another one does not wait for those that
    /// have not begun, since they wait for the outer call.
    pub(super) fn enter(&self, is_inside: bool) -> InCall<'_> {
        let blocks = |state: &mut State| state.destructions > 0 || state.closing > 0 && !is_inside;
        wait_while(&self.changed, self.state(), self.times.longest_wait, blocks).calls += 1;
        InCall(self)
    }

    /// Calls `act` while no device is destroyed.
    pub(super) fn call<R>(&self, act: impl FnOnce() -> R) -> R {
        /// Restores the depth, also after a panic.
        struct Inside(usize);

        impl Drop for Inside {
            fn drop(&mut self) {
                let _ = DEPTH.try_with(|depth| depth.set(self.0));
            }
        }

        // During thread exit no callback runs.
        let depth = DEPTH.try_with(|depth| depth.replace(depth.get() + 1)).unwrap_or(0);
        let _inside = Inside(depth);
        let _call = self.enter(depth > 0);
        act()
    }

    /// Calls `act` when no other thread is in a call, no other device is destroyed, and no thread has just ended; waits for
    /// these, at most the longest wait.
    pub(super) fn destroy<R>(&self, act: impl FnOnce() -> R) -> R {
        /// Ends the destruction, also after a panic.
        struct Destroying<'a>(&'a Gate);

        impl Drop for Destroying<'_> {
            fn drop(&mut self) {
                self.0.state().destructions -= 1;
                self.0.changed.notify_all();
            }
        }

        let Times { quiet, turn, longest_wait } = self.times;
        let own_calls = DEPTH.try_with(Cell::get).unwrap_or(0);
        let begun = Instant::now();
        let mut turn_ends = begun + turn;
        let mut is_closing = true;
        let mut state = self.state();
        state.closing += 1;
        loop {
            let now = Instant::now();
            let left = (begun + longest_wait).saturating_duration_since(now);
            let is_busy = state.destructions > 0 || state.calls > own_calls;
            let quiet = state.last_end.map_or(Duration::ZERO, |end| (end + quiet).saturating_duration_since(now));
            if left.is_zero() || !is_busy && quiet.is_zero() {
                break;
            }
            if now >= turn_ends {
                turn_ends = now + turn;
                is_closing = !is_closing;
                state.closing = if is_closing { state.closing + 1 } else { state.closing - 1 };
                self.changed.notify_all();
            }
            let time = if is_busy { left } else { quiet.min(left) };
            let time = time.min(turn_ends.saturating_duration_since(now));
            state = wait(&self.changed, &self.state, state, Some(time));
        }
        state.closing -= usize::from(is_closing);
        state.destructions += 1;
        drop(state);
        let _destroying = Destroying(self);
        act()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn drop_memory(&self) -> Dropping<'_> {
        self.state().drops += 1;
        OWN_DROPS.with(|drops| drops.set(drops.get() + 1));
        Dropping(self)
    }

    /// Notes the end of the calling thread. Waits for a destruction, and on a thread of the application for the drop of a memory on
    /// another thread; at most the longest wait.
    pub(super) fn end_thread(&self) {
        // A thread whose thread-local values are already destroyed does not wait.
        let own = || OWN_DROPS.try_with(Cell::get).unwrap_or(usize::MAX);
        let drops = if IS_OF_POOL.try_with(Cell::get).unwrap_or(true) { usize::MAX } else { own() };
        let blocks = |state: &mut State| state.destructions > 0 || state.drops > drops;
        let mut state = wait_while(&self.changed, self.state(), self.times.longest_wait, blocks);
        // After the wait: an assignment evaluates its right side first.
        state.last_end = Some(Instant::now());
    }
}

/// Makes the end of the calling thread wait for no drop of a memory.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn mark_thread_of_pool() {
    IS_OF_POOL.with(|is_of_pool| is_of_pool.set(true));
}

/// The calls that the calling thread has in progress.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn calls_of_this_thread() -> usize {
    DEPTH.with(Cell::get)
}
