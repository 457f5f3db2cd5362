//! The pool's own threads. Dropping the pool waits for them to end, so that none is inside the driver at process exit,
//! which crashes Mesa's software Vulkan driver.
//!
//! With GL the system's end of a thread is waited for, too. The library between programs and GL drivers (GLVND's libEGL) frees its data of
//! all threads when the process exits, and those of a thread when it ends, after the thread's Rust values; both at once free some twice. So
//! the thread that drops the pool joins the others, and these end only then: a process may exit while the pool exists.
//!
//! `tests/threads_model.rs` runs this file, the timer and the poller with the locks, threads and clock of a model checker.

use super::sync::{Condvar, JoinHandle, Mutex, ThreadId, lock, spawn, this_thread, wait_while};
use crate::device::teardown;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for the threads to end. A thread ends after its current submission or poll. On a software driver a
/// submission takes as long as the preceding work; only an application callback that never returns takes longer than
/// this.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Threads {
    state: Mutex<State>,
    ended: Condvar,
    /// Whether threads are joined.
    joins: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that may still use the device.
    running: Vec<ThreadId>,
    /// The pool's threads that nothing has joined, if they are to be joined.
    unjoined: Vec<JoinHandle>,
    /// Whether the pool is being dropped.
    is_closed: bool,
}

/// Removes a thread from the list when it ends, also by a panic.
#[derive(Debug)]
pub(super) struct Running(Arc<Threads>);

impl Drop for Running {
    fn drop(&mut self) {
        let this_thread = this_thread();
        let running = &mut lock(&self.0.state).running;
        if let Some(index) = running.iter().position(|&thread| thread == this_thread) {
            running.swap_remove(index);
        }
        self.0.ended.notify_all();
    }
}

impl State {
    /// Takes the handles of the pool's threads that use the device no more and run their thread-local destructors, without that of the
    /// calling thread.
    fn take_ended(&mut self) -> Vec<JoinHandle> {
        let this_thread = this_thread();
        let Self { running, unjoined, .. } = self;
        let has_ended = |id: ThreadId| id != this_thread && !running.contains(&id);
        let (ended, others) = std::mem::take(unjoined).into_iter().partition(|handle| has_ended(handle.thread().id()));
        *unjoined = others;
        ended
    }
}

impl Threads {
    /// `joins`: whether the driver is one for which threads must be joined.
    pub(super) fn new(joins: bool) -> Self {
        Self { joins, ..Self::default() }
    }

    /// Spawns a thread that calls `act` and then drops everything it owns. Returns its id.
    ///
    /// # Errors
    /// The system's error if it cannot create a thread.
    pub(super) fn spawn(self: &Arc<Self>, name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<ThreadId> {
        // The thread registers its end with this lock, so its start is registered before.
        let mut state = lock(&self.state);
        let this = Arc::clone(self);
        let thread = spawn(name, move || {
            let _registration = Running(this);
            teardown::note_thread_of_pool();
            act();
        })?;
        let id = thread.thread().id();
        state.running.push(id);
        if self.joins {
            state.unjoined.push(thread);
        }
        Ok(id)
    }

    /// Makes [`Threads::join`] wait for the calling thread, a thread of the application, until the result is dropped. `None` if `join` has
    /// been called: the thread must then not use the device.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Running> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return None;
        }
        state.running.push(this_thread());
        Some(Running(Arc::clone(self)))
    }

    /// Waits until all threads except the calling thread have ended; they must have been told to stop. An application
    /// callback that drops the last handle of a pool may run on one of these threads, which then must not wait for
    /// itself.
    pub(super) fn join(&self) {
        let this_thread = this_thread();
        let mut state = lock(&self.state);
        state.is_closed = true;
        let others = |state: &mut State| state.running.iter().any(|&thread| thread != this_thread);
        let mut state = wait_while(&self.ended, state, JOIN_TIMEOUT, others);
        let is_late = others(&mut state);
        let ended = state.take_ended();
        drop(state);
        for thread in ended {
            // Its panics have been handled.
            drop(thread.join());
        }
        if is_late {
            log::warn!(
                "wgpu-pool: a thread of a dropped pool is still in a callback or in the driver after {JOIN_TIMEOUT:?}"
            );
        }
    }
}
