//! `cargo xtask tsan`: the pool's tests under ThreadSanitizer, with the standard library rebuilt under it.
//!
//! Graphics drivers are not built under it, so that everything that they do on several threads would be reported: no test
//! finds an adapter. The tests on the host, on the accounting memory and on wgpu without a driver run, with those of threads.

use crate::step::{Run, Step};

/// Runs the tests. Needs a nightly compiler and its component `rust-src`, on Linux for x86-64.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    let needs =
        "it needs `rustup toolchain install nightly --profile minimal --component rust-src`, on Linux for x86-64";
    run.step(&step()).map_err(|failure| format!("{failure}; {needs}"))
}

fn step() -> Step {
    let arguments = "run nightly cargo test -Zbuild-std --target x86_64-unknown-linux-gnu --all-features --test pool";
    Step::program("ThreadSanitizer", "rustup", arguments)
        .variable("RUSTFLAGS", "-Zsanitizer=thread")
        // A backend that Linux does not have.
        .variable("WGPU_BACKEND", "metal")
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn the_tests_are_those_of_the_pool_without_an_adapter() {
        let line = step().to_string();
        assert!(
            line.starts_with("RUSTFLAGS=-Zsanitizer=thread WGPU_BACKEND=metal rustup run nightly cargo test "),
            "{line}"
        );
        assert!(line.ends_with("--all-features --test pool"), "{line}");
    }
}
