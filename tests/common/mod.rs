//! Shared by the test binaries: adapters, seeded random numbers, and a watchdog.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod adapter;
pub(crate) mod random;
pub(crate) mod watchdog;

/// The result of a test, so that `?` reports the error.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Waits for a duration. In a browser the page's other tasks run meanwhile.
pub(crate) fn sleep(duration: std::time::Duration) {
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::sleep(duration);
    #[cfg(target_arch = "wasm32")]
    pollster::sleep(duration);
}

/// The default options, but what tests see of a pool does not depend on the time that they take.
pub(crate) fn options() -> wgpu_pool::PoolOptions {
    wgpu_pool::PoolOptions { release_after: None, ..wgpu_pool::PoolOptions::default() }
}
