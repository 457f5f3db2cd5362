//! `cargo xtask tsan`: the tests of the pool and of the device under ThreadSanitizer, with the standard library rebuilt under it.
//!
//! Graphics drivers are not built under it. What they do on several threads is left out by `ignore_noninstrumented_modules`, which takes
//! calls from such libraries into libc (memcpy, locks, threads) for neither accesses nor synchronization. With it, races in the tests' own
//! threads and in callbacks that wgpu calls are still reported. No report is suppressed by name.

use crate::step::{Run, Step};

/// A test that limits the address space of its process: ThreadSanitizer needs terabytes of it and ends with an error.
const SKIPPED: &str = "a_device_without_free_memory_returns_an_error_and_stays_usable";

/// Runs the tests. Needs a nightly compiler and its component `rust-src`, on Linux for x86-64.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    let needs =
        "it needs `rustup toolchain install nightly --profile minimal --component rust-src`, on Linux for x86-64";
    run.step(&step()).map_err(|failure| format!("{failure}; {needs}"))
}

fn step() -> Step {
    let suites = "--all-features --test pool --test adapter";
    let arguments =
        format!("run nightly cargo test -Zbuild-std --target x86_64-unknown-linux-gnu {suites} -- --skip {SKIPPED}");
    Step::program("ThreadSanitizer", "rustup", &arguments)
        .variable("RUSTFLAGS", "-Zsanitizer=thread")
        .variable("TSAN_OPTIONS", "ignore_noninstrumented_modules=1 second_deadlock_stack=1 history_size=4")
        .variable("WGPU_POOL_REQUIRE_ADAPTER", "1")
}

#[cfg(test)]
mod tests {
    use super::{SKIPPED, step};

    #[test]
    fn the_tests_are_those_of_the_pool_and_of_the_device_with_an_adapter() {
        let line = step().to_string();
        assert!(
            line.contains("RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS='ignore_noninstrumented_modules=1 "),
            "{line}"
        );
        assert!(line.contains(" WGPU_POOL_REQUIRE_ADAPTER=1 rustup run nightly cargo test "), "{line}");
        assert!(line.contains("--all-features --test pool --test adapter -- --skip "), "{line}");
    }

    #[test]
    fn the_skipped_test_exists_and_limits_its_address_space() {
        let file = crate::checkout().join("tests/pool/driver.rs");
        let text = std::fs::read_to_string(&file).expect("the test is in this file");
        assert!(text.contains(&format!("fn {SKIPPED}()")) && text.contains("ulimit -v"), "{}", file.display());
    }
}
