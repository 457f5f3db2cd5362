//! The destruction of a device, apart from the end of threads.
//!
//! NVIDIA's driver for Linux (580.159) deadlocks if a thread that has used the driver ends while another thread is in
//! `vkDestroyDevice`. By backtraces, that call joins a thread of the driver. The joined thread's destructors wait for a
//! lock that the destructors of the ending thread hold; those wait in turn for a lock of `vkDestroyDevice`.
//!
//! Therefore, on that driver, the crate destroys a device only when no thread that has used it through the crate has
//! ended within the last [`QUIET`], and such a thread does not end during the destruction. The destructors of Rust's
//! thread-local values run before the driver's, so the former can wait. The end of the latter cannot be observed; they
//! take far less than [`QUIET`]. Threads that use the driver without the crate are not covered, and neither is a device
//! that the application keeps longer than the pool.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time after the destructors of a thread's Rust values within which the driver's destructors have run.
const QUIET: Duration = Duration::from_millis(20);

/// The longest wait, of a device for the ends of threads or of a thread for a destruction.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

static GATE: Gate = Gate::new(QUIET, LONGEST_WAIT);

/// A reference to the device, which is destroyed as described above when the last one is dropped. Every object of the device
/// holds one and drops it last. On other drivers this holds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptDevice {
    _device: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept(Option<wgpu::Device>);

impl KeptDevice {
    pub(crate) fn new(device: &wgpu::Device, has_the_defect: bool) -> Self {
        Self { _device: has_the_defect.then(|| Arc::new(Kept(Some(device.clone())))) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        note_thread();
        GATE.destroy(|| drop(self.0.take()));
    }
}

/// Registers that the calling thread uses a driver.
pub(crate) fn note_thread() {
    struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            GATE.end_thread();
        }
    }

    thread_local! {
        static ENDS: Ends = const { Ends };
    }

    // During thread exit the value is gone, and the end is already noted.
    let _ = ENDS.try_with(|_| ());
}

/// Keeps destructions and the ends of threads apart.
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    quiet: Duration,
    longest_wait: Duration,
}

struct State {
    is_destroying: bool,
    last_end: Option<Instant>,
}

impl Gate {
    const fn new(quiet: Duration, longest_wait: Duration) -> Self {
        let state = Mutex::new(State { is_destroying: false, last_end: None });
        Self { state, changed: Condvar::new(), quiet, longest_wait }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `act` when no other destruction takes place and no thread has just ended; waits for both, at most the longest
    /// wait.
    fn destroy<R>(&self, act: impl FnOnce() -> R) -> R {
        /// Ends the destruction, also after a panic.
        struct Destroying<'a>(&'a Gate);

        impl Drop for Destroying<'_> {
            fn drop(&mut self) {
                self.0.state().is_destroying = false;
                self.0.changed.notify_all();
            }
        }

        let give_up = Instant::now() + self.longest_wait;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let noisy = state.last_end.map_or(Duration::ZERO, |end| (end + self.quiet).saturating_duration_since(now));
            let left = give_up.saturating_duration_since(now);
            let wait = if state.is_destroying { left } else { noisy.min(left) };
            if wait.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_destroying = true;
        drop(state);
        let _destroying = Destroying(self);
        act()
    }

    /// Notes the end of the calling thread. Waits for a destruction, at most the longest wait.
    fn end_thread(&self) {
        let waited = self.changed.wait_timeout_while(self.state(), self.longest_wait, |state| state.is_destroying);
        waited.unwrap_or_else(PoisonError::into_inner).0.last_end = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_device_is_destroyed_some_time_after_the_end_of_a_thread() {
        let quiet = Duration::from_millis(40);
        let gate = Gate::new(quiet, LONG);
        gate.destroy(|| ());
        gate.end_thread();
        let ended = gate.state().last_end.expect("a thread has ended");
        assert!(gate.destroy(|| ended.elapsed()) >= quiet);
    }

    #[test]
    fn neither_a_thread_ends_nor_another_device_is_destroyed_during_a_destruction() {
        let gate = &Gate::new(Duration::ZERO, LONG);
        let (started, start) = channel();
        let (finish, finished) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                gate.destroy(|| {
                    started.send(()).expect("the test waits");
                    finished.recv().expect("the test sends");
                });
            });
            start.recv().expect("the destruction starts");
            let end = scope.spawn(|| gate.end_thread());
            let other = scope.spawn(|| gate.destroy(|| ()));
            thread::sleep(Duration::from_millis(50));
            assert!(!end.is_finished() && !other.is_finished());
            finish.send(()).expect("the destruction waits");
        });
        assert!(gate.state().last_end.is_some() && !gate.state().is_destroying);
    }

    #[test]
    fn no_wait_lasts_longer_than_the_longest() {
        let gate = &Gate::new(LONG, Duration::from_millis(20));
        gate.end_thread();
        // Without a timeout these would last for ever.
        gate.destroy(|| {
            gate.end_thread();
            gate.destroy(|| ());
        });
    }

    #[test]
    fn a_panic_during_a_destruction_does_not_block_the_next() {
        let gate = Gate::new(Duration::ZERO, LONG);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gate.destroy(|| panic!("on purpose"))));
        assert!(panicked.is_err());
        gate.destroy(|| ());
    }

    #[test]
    fn the_end_of_a_registered_thread_is_noted() {
        let before = Instant::now();
        thread::spawn(note_thread).join().expect("no panic");
        assert!(GATE.state().last_end.is_some_and(|end| end >= before));
    }
}
