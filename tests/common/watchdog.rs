//! A watchdog that turns deadlocks into test failures.

use std::time::Duration;

/// After this time a test counts as deadlocked. The tests take a second or two; a factor of several hundred makes the
/// result independent of the speed and the load of the machine. The timeout is below that of the test runner, whose
/// message would not name the deadlock, and leaves a run with one deadlock within half an hour.
pub(crate) const DEADLOCK: Duration = Duration::from_secs(8 * 60);

/// Runs `act` on another thread and returns its result.
///
/// # Panics
/// If `act` panics, or has not returned after [`DEADLOCK`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn guarded<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    use std::sync::mpsc;

    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || sender.send(act()));
    let result = receiver.recv_timeout(DEADLOCK);
    if matches!(result, Err(mpsc::RecvTimeoutError::Timeout)) {
        panic!("{what}: no end after {DEADLOCK:?}, a deadlock");
    }
    // Joins the thread: drivers free per-thread state at its end, which must not happen while the process exits.
    match (thread.join(), result) {
        (Err(panic), _) => std::panic::resume_unwind(panic),
        (Ok(_), result) => result.expect("a thread that ends without a panic has sent"),
    }
}

/// Runs `act` and returns its result. In a browser there is no other thread, and the driver of the suites notices a test that hangs.
#[cfg(target_arch = "wasm32")]
pub(crate) fn guarded<T: Send + 'static>(_what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    act()
}
