//! Deadlocks, turned into failures.

use std::sync::mpsc;
use std::time::Duration;

/// After this time a test counts as deadlocked. These tests take a second or two; the factor of several hundred keeps the result independent
/// of the speed and the load of the machine. It is below the test runner's own limit, which would not name the deadlock.
pub(crate) const DEADLOCK: Duration = Duration::from_secs(20 * 60);

/// Runs `act` on another thread and returns its result.
///
/// # Panics
/// When `act` panics, or has not returned after [`DEADLOCK`].
pub(crate) fn guarded<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(act()));
    let result = receiver.recv_timeout(DEADLOCK);
    if matches!(result, Err(mpsc::RecvTimeoutError::Timeout)) {
        panic!("{what}: no end after {DEADLOCK:?}, a deadlock");
    }
    // Its end is waited for: drivers clean up after a thread as it ends, and must not do so while the program ends.
    match (thread.join(), result) {
        (Err(panic), _) => std::panic::resume_unwind(panic),
        (Ok(_), result) => result.expect("a thread that ends without a panic has sent"),
    }
}
