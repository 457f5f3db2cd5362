//! Threads of the crate's own. Whoever has them come waits for them to leave, so that none is in the driver while the program ends:
//! software Vulkan crashes of that.

use super::lock;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

/// How long a device that is given up waits for the threads to be done with it. Only a callback of the program's that hangs
/// takes longer; then the thread is left to itself.
const PARTING: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct Helpers {
    /// Threads that may still hold the device.
    present: Mutex<Vec<ThreadId>>,
    left: Condvar,
}

/// Takes a thread off the list when it ends, however it does.
struct Present(Arc<Helpers>);

impl Drop for Present {
    fn drop(&mut self) {
        let this_thread = std::thread::current().id();
        lock(&self.0.present).retain(|&thread| thread != this_thread);
        self.0.left.notify_all();
    }
}

impl Helpers {
    /// Has a thread do something, and drop whatever that owns.
    ///
    /// # Errors
    /// The system's, if it has no thread.
    pub(super) fn spawn(self: &Arc<Self>, name: &str, act: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut present = lock(&self.present);
        let presence = Present(Arc::clone(self));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let _presence = presence;
            act();
        })?;
        present.push(thread.thread().id());
        Ok(())
    }

    /// Waits until all threads have left, which they were told to. One that calls this has not to wait for its own end: a callback that
    /// drops the last handle of a pool may run on it.
    pub(super) fn part(&self) {
        let this_thread = std::thread::current().id();
        let others = |present: &mut Vec<ThreadId>| present.iter().any(|&thread| thread != this_thread);
        drop(self.left.wait_timeout_while(lock(&self.present), PARTING, others));
    }
}
