//! The guarantee of `Pool::allocate`: with compaction enabled, a request succeeds whenever the live blocks, the
//! segments with pinned blocks and the request together fit within the limit and within the free memory of the device.
//! `requests.rs` has the programs; `cargo xtask soak` runs them for any time.
//!
//! `WGPU_POOL_SEEDS` sets the number of programs, and `WGPU_POOL_FIRST_SEED` the first seed. A failure prints its seed and a short
//! program that fails.

use crate::requests::{Budgeted, run_programs};
use crate::subjects::{Accounting, Host};

/// Returns a number from an environment variable.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs many programs of 100 steps. By default, at least `copies` of their requests have to need a copy through host memory.
fn check<S: Budgeted>(seeds: u64, most_pins: usize, copies: u64) {
    let first = setting("WGPU_POOL_FIRST_SEED", 0);
    let counts = run_programs::<S>(first..first + setting("WGPU_POOL_SEEDS", seeds), 100, most_pins);
    eprintln!("{counts:?}");
    let are_hard = counts.refused > counts.served / 50 && counts.copied > copies;
    assert!(are_hard || setting("WGPU_POOL_SEEDS", 0) > 0, "{counts:?}");
}

// Case 53.
#[test]
fn no_request_that_fits_is_refused_on_an_accounting_memory() {
    check::<Accounting>(1500, 0, 500);
}

// Case 53.
#[test]
fn no_request_that_fits_is_refused_and_no_byte_is_lost_on_the_host() {
    check::<Host>(400, 0, 20);
}

// Case 53, and 44: pinned blocks do not move, and their segments are counted in full.
#[test]
fn no_request_that_fits_next_to_pinned_segments_is_refused_on_an_accounting_memory() {
    check::<Accounting>(500, 4, 50);
}

// Case 53 and 44.
#[test]
fn no_request_that_fits_next_to_pinned_segments_is_refused_and_no_byte_is_lost_on_the_host() {
    check::<Host>(200, 4, 10);
}
