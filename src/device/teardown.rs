//! The destruction of a device, apart from other calls of the driver and from the ends of threads.
//!
//! NVIDIA's driver for Linux (580.159) deadlocks in `vkDestroyDevice`. That call joins a thread of the driver, whose destructors take two
//! of the driver's locks. By backtraces on an H100, another thread holds one of them and waits for the other: a thread that has used the
//! driver and now ends, or one that calls the driver for another device, with Vulkan or with GL.
//!
//! Therefore, on that driver, the crate destroys a device only when no thread is in a call of the crate that creates or submits
//! anything, and no thread that has used the driver through the crate has ended within the last [`QUIET`]. Such calls, and the ends of such
//! threads, wait for the destruction. Callbacks of the application run inside such calls and may wait for other threads, so new calls are
//! kept from beginning only every other [`TURN`] while a device waits. The destructors of Rust's thread-local values run before the
//! driver's, so the former can wait; the end of the latter cannot be observed, and they take far less than [`QUIET`]. Not covered are calls
//! and threads that use the driver without the crate, and a device that the application keeps longer than the pool.
//!
//! On every driver, a thread of the application that has used the crate and ends waits until no other thread is dropping a memory. It may
//! be ending the process: `exit` runs the destructors of its thread-local values before those of libraries. Without the wait, Mesa's
//! software driver compiles kernels with LLVM while LLVM is being destroyed, and crashes. The pool's own threads do not wait, because they
//! end before the memory is dropped.

use std::cell::Cell;
#[cfg(not(target_arch = "wasm32"))]
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time after the destructors of a thread's Rust values within which the driver's destructors have run.
const QUIET: Duration = Duration::from_millis(20);

/// The longest wait, of a device for calls and threads or of these for a destruction.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// While a device waits for calls to end, it keeps new ones from beginning for this time, then lets them begin for as long, and so on:
/// a call may be in a callback of the application that waits for a call of another thread.
const TURN: Duration = Duration::from_millis(50);

static GATE: Gate = Gate::new(Times { quiet: QUIET, turn: TURN, longest_wait: LONGEST_WAIT });

#[cfg(all(test, not(target_arch = "wasm32")))]
thread_local! {
    static ASSUMED: Cell<bool> = const { Cell::new(false) };
}

thread_local! {
    /// The calls of this thread that are in progress: one in an application callback is inside another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };

    /// The memories that this thread is dropping.
    static OWN_DROPS: Cell<usize> = const { Cell::new(0) };

    /// Whether this is a thread of a pool.
    static IS_OF_POOL: Cell<bool> = const { Cell::new(false) };
}

/// A reference to the device, which is destroyed as described above when the last one is dropped. Every object of the device
/// holds one and drops it last. On other drivers this holds nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptDevice(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept(Option<wgpu::Device>);

impl KeptDevice {
    pub(crate) fn new(device: &wgpu::Device, has_the_defect: bool) -> Self {
        Self(has_the_defect.then(|| Arc::new(Kept(Some(device.clone())))))
    }

    /// Calls `act`, which calls the driver, while no device is destroyed.
    #[inline]
    pub(crate) fn call<R>(&self, act: impl FnOnce() -> R) -> R {
        if self.0.is_some() { GATE.call(act) } else { act() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        note_thread();
        GATE.destroy(|| drop(self.0.take()));
    }
}

/// Whether a test treats the driver of the devices that its thread opens like the one with the defect. Not all tests do, because those
/// whose callbacks wait for other threads would wait for each other.
pub(crate) fn is_assumed() -> bool {
    #[cfg(all(test, not(target_arch = "wasm32")))]
    return ASSUMED.get();
    #[cfg(not(all(test, not(target_arch = "wasm32"))))]
    false
}

/// Calls `act`, which opens devices whose driver is treated like the one with the defect.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn assumed<R>(act: impl FnOnce() -> R) -> R {
    super::with_choice(&ASSUMED, true, act)
}

/// Keeps devices from being destroyed while one is opened, until the result is dropped.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn opening() -> impl Send + Sync {
    GATE.enter(false)
}

/// Whether a device is being destroyed.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn is_destroying() -> bool {
    GATE.state().destructions > 0
}

/// The calls that the calling thread has in progress.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn calls_of_this_thread() -> usize {
    DEPTH.get()
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

/// As [`note_thread`], for a thread of a pool.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn note_thread_of_pool() {
    IS_OF_POOL.set(true);
    note_thread();
}

/// Makes the ends of other threads of the application wait until the result is dropped, on this thread, which drops a memory.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn dropping() -> Dropping<'static> {
    GATE.drop_memory()
}

/// Keeps destructions apart from calls and from the ends of threads.
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    times: Times,
}

#[derive(Clone, Copy)]
struct Times {
    quiet: Duration,
    turn: Duration,
    longest_wait: Duration,
}

struct State {
    calls: usize,
    /// More than one only after the longest wait, or where one destroys another.
    destructions: usize,
    /// Devices that wait for calls to end, and whose turn keeps new calls from beginning.
    closing: usize,
    /// Memories that are being dropped.
    drops: usize,
    last_end: Option<Instant>,
}

/// A call of the driver that is in progress.
struct InCall<'a>(&'a Gate);

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
        OWN_DROPS.set(OWN_DROPS.get() - 1);
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
    const fn new(times: Times) -> Self {
        let state = State { calls: 0, destructions: 0, closing: 0, drops: 0, last_end: None };
        Self { state: Mutex::new(state), changed: Condvar::new(), times }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call; waits for destructions, at most the longest wait. A call inside another one does not wait for those that
    /// have not begun, since they wait for the outer call.
    fn enter(&self, is_inside: bool) -> InCall<'_> {
        let blocks = |state: &mut State| state.destructions > 0 || state.closing > 0 && !is_inside;
        let waited = self.changed.wait_timeout_while(self.state(), self.times.longest_wait, blocks);
        waited.unwrap_or_else(PoisonError::into_inner).0.calls += 1;
        InCall(self)
    }

    /// Calls `act` while no device is destroyed.
    fn call<R>(&self, act: impl FnOnce() -> R) -> R {
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
    fn destroy<R>(&self, act: impl FnOnce() -> R) -> R {
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
            let wait = if is_busy { left } else { quiet.min(left) };
            let wait = wait.min(turn_ends.saturating_duration_since(now));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closing -= usize::from(is_closing);
        state.destructions += 1;
        drop(state);
        let _destroying = Destroying(self);
        act()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn drop_memory(&self) -> Dropping<'_> {
        self.state().drops += 1;
        OWN_DROPS.set(OWN_DROPS.get() + 1);
        Dropping(self)
    }

    /// Notes the end of the calling thread. Waits for a destruction, and on a thread of the application for the drop of a memory on
    /// another thread; at most the longest wait.
    fn end_thread(&self) {
        let drops = if IS_OF_POOL.get() { usize::MAX } else { OWN_DROPS.get() };
        let blocks = |state: &mut State| state.destructions > 0 || state.drops > drops;
        let waited = self.changed.wait_timeout_while(self.state(), self.times.longest_wait, blocks);
        waited.unwrap_or_else(PoisonError::into_inner).0.last_end = Some(Instant::now());
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    const LONG: Duration = Duration::from_secs(600);

    const fn gate(quiet: Duration, turn: Duration, longest_wait: Duration) -> Gate {
        Gate::new(Times { quiet, turn, longest_wait })
    }

    /// Longer than a thread needs to begin to wait.
    const WHILE: Duration = Duration::from_millis(50);

    #[test]
    fn a_device_is_destroyed_some_time_after_the_end_of_a_thread() {
        let quiet = Duration::from_millis(40);
        let gate = gate(quiet, LONG, LONG);
        gate.destroy(|| ());
        gate.end_thread();
        let ended = gate.state().last_end.expect("a thread has ended");
        assert!(gate.destroy(|| ended.elapsed()) >= quiet);
    }

    #[test]
    fn during_a_destruction_no_thread_ends_no_call_begins_and_no_other_device_is_destroyed() {
        let gate = &gate(Duration::ZERO, LONG, LONG);
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
            let call = scope.spawn(|| gate.call(|| ()));
            let other = scope.spawn(|| gate.destroy(|| ()));
            thread::sleep(WHILE);
            assert!(!end.is_finished() && !call.is_finished() && !other.is_finished());
            finish.send(()).expect("the destruction waits");
        });
        let state = gate.state();
        assert!(state.last_end.is_some());
        assert_eq!((state.destructions, state.closing, state.calls), (0, 0, 0));
    }

    #[test]
    fn a_device_is_destroyed_after_the_calls_of_other_threads_and_before_new_ones() {
        let gate = &gate(Duration::ZERO, LONG, LONG);
        let order = &Mutex::new(Vec::new());
        let note = |what| order.lock().expect("no panic").push(what);
        thread::scope(|scope| {
            gate.call(|| {
                let destruction = scope.spawn(move || gate.destroy(|| note("destroyed")));
                while gate.state().closing == 0 {
                    thread::yield_now();
                }
                let new = scope.spawn(move || gate.call(|| note("new call")));
                thread::sleep(WHILE);
                assert!(!destruction.is_finished() && !new.is_finished());
                // A callback inside the call.
                gate.call(|| note("inner call"));
            });
        });
        assert_eq!(*order.lock().expect("no panic"), ["inner call", "destroyed", "new call"]);
    }

    /// A callback may wait for another thread's call, which would wait for the device that waits for the callback.
    #[test]
    fn a_call_that_waits_for_a_call_of_another_thread_ends_while_a_device_waits_for_it() {
        let gate = &gate(Duration::ZERO, Duration::from_millis(10), LONG);
        thread::scope(|scope| {
            gate.call(|| {
                scope.spawn(|| gate.destroy(|| ()));
                while gate.state().closing == 0 {
                    thread::yield_now();
                }
                for _ in 0..3 {
                    let begun = Instant::now();
                    scope.spawn(|| gate.call(|| ())).join().expect("no panic");
                    assert!(begun.elapsed() < LONG / 2, "the call waited for the device");
                }
            });
        });
        let state = gate.state();
        assert_eq!((state.destructions, state.closing, state.calls), (0, 0, 0));
    }

    #[test]
    fn a_callback_inside_a_call_may_destroy_a_device() {
        let gate = gate(Duration::ZERO, LONG, LONG);
        gate.call(|| gate.call(|| gate.destroy(|| ())));
        drop(gate.enter(false));
        gate.destroy(|| ());
    }

    #[test]
    fn a_thread_of_the_application_ends_after_the_drop_of_a_memory_on_another_thread() {
        let gate = &gate(Duration::ZERO, LONG, LONG);
        thread::scope(|scope| {
            let dropping = gate.drop_memory();
            // Neither waits: the thread that drops a memory waits for the pool's threads.
            gate.end_thread();
            let of_pool = scope.spawn(|| {
                note_thread_of_pool();
                gate.end_thread();
            });
            of_pool.join().expect("no panic");
            let end = scope.spawn(|| {
                // Its own drop is not awaited either.
                let _own = gate.drop_memory();
                gate.end_thread();
            });
            thread::sleep(WHILE);
            assert!(!end.is_finished());
            drop(dropping);
            end.join().expect("no panic");
        });
        assert_eq!(gate.state().drops, 0);
    }

    #[test]
    fn no_wait_lasts_longer_than_the_longest() {
        let gate = &gate(LONG, LONG, Duration::from_millis(20));
        let _dropping = gate.drop_memory();
        thread::scope(|scope| scope.spawn(|| gate.end_thread()).join()).expect("no panic");
        let _opening = gate.enter(false);
        // Without a timeout these would last for ever.
        gate.destroy(|| {
            gate.end_thread();
            gate.call(|| ());
            gate.destroy(|| ());
            // The outer one is still in progress.
            assert_eq!(gate.state().destructions, 1);
        });
    }

    #[test]
    fn a_panic_does_not_block_later_calls() {
        let gate = gate(Duration::ZERO, LONG, LONG);
        let panics = |act: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err();
        assert!(panics(&|| gate.destroy(|| panic!("on purpose"))));
        assert!(panics(&|| gate.call(|| panic!("on purpose"))));
        gate.destroy(|| ());
        gate.call(|| ());
        assert_eq!(DEPTH.get(), 0);
    }

    #[test]
    fn the_end_of_a_registered_thread_is_noted() {
        let before = Instant::now();
        thread::spawn(note_thread).join().expect("no panic");
        assert!(GATE.state().last_end.is_some_and(|end| end >= before));
    }
}
