//! Deadlocks, turned into failures.

use std::sync::mpsc;
use std::time::Duration;

/// Far above what any of these tests needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `act` on a thread of its own and gives back what it returned.
///
/// # Panics
/// When it panicked, or did not return in time.
pub(crate) fn guarded<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(act()));
    let result = receiver.recv_timeout(PATIENCE);
    if matches!(result, Err(mpsc::RecvTimeoutError::Timeout)) {
        panic!("{what}: no end after {PATIENCE:?}, a deadlock");
    }
    // Its end is waited for: drivers clean up after a thread as it ends, and must not do so while the program ends.
    match (thread.join(), result) {
        (Err(panic), _) => std::panic::resume_unwind(panic),
        (Ok(_), result) => result.expect("a thread that ends without a panic has sent"),
    }
}
