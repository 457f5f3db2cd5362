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

mod gate;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod gate_tests;

use super::sync;
use gate::{Gate, Times};
#[cfg(all(test, not(target_arch = "wasm32")))]
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use gate::Dropping;
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use gate::calls_of_this_thread;

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

/// Registers that the calling thread uses a driver, so that its end waits for destructions and drops on other threads.
///
/// Not on Windows. There a thread ends with the lock of the system's loader held, which other threads need to begin and to end, among
/// them those that a drop waits for; with this wait each drop of a pool took ten seconds. The drivers with the defect are of Linux, and
/// the end of a process stops all other threads first.
pub(crate) fn note_thread() {
    if cfg!(windows) {
        return;
    }

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

/// Registers that the calling thread, which is a thread of a pool, uses a driver. See [`note_thread`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn note_thread_of_pool() {
    gate::mark_thread_of_pool();
    note_thread();
}

/// Makes the ends of other threads of the application wait until the result is dropped, on this thread, which drops a memory.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn dropping() -> Dropping<'static> {
    GATE.drop_memory()
}
