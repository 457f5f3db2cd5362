//! The pool's own threads. Whoever closes the pool waits for their end, so that none of them is in the driver while the process ends:
//! software Vulkan crashes then.

use super::super::lock;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

/// How long the end of the threads is waited for. A thread ends after the submission or the poll that it is in. On a software driver
/// a submission takes as long as the work before it; only a callback of the application that never returns takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Threads {
    /// Threads that may still hold the device.
    running: Mutex<Vec<ThreadId>>,
    ended: Condvar,
}

/// Takes a thread off the list when it ends, however it does.
struct Running(Arc<Threads>);

impl Drop for Running {
    fn drop(&mut self) {
        let this_thread = std::thread::current().id();
        lock(&self.0.running).retain(|&thread| thread != this_thread);
        self.0.ended.notify_all();
    }
}

impl Threads {
    /// Spawns a thread that calls `act` and then drops what it owns.
    ///
    /// # Errors
    /// The system's, if it has no thread.
    pub(super) fn spawn(self: &Arc<Self>, name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut running = lock(&self.running);
        let registration = Running(Arc::clone(self));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let _registration = registration;
            act();
        })?;
        running.push(thread.thread().id());
        Ok(())
    }

    /// Waits until all threads but the caller's have ended. They have been told to. A callback that drops the last handle of a pool may
    /// run on one of them, which then does not wait for itself.
    pub(super) fn join(&self) {
        let this_thread = std::thread::current().id();
        let others = |running: &mut Vec<ThreadId>| running.iter().any(|&thread| thread != this_thread);
        let waited = self.ended.wait_timeout_while(lock(&self.running), PATIENCE, others);
        if waited.is_ok_and(|(_, outcome)| outcome.timed_out()) {
            log::warn!(
                "wgpu-pool: a thread of a dropped pool is still in a callback or in the driver after {PATIENCE:?}"
            );
        }
    }
}
