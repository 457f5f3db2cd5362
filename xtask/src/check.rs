//! `cargo xtask test`: all checks that a change has to pass.

use std::process::Stdio;

use crate::features;
use crate::platforms;
use crate::step::{Run, Step};
use crate::web;

/// Subcommands of cargo that may be missing, each with the command that installs it.
const COMPONENTS: [(&str, &str); 2] =
    [("fmt", "rustup component add rustfmt"), ("clippy", "rustup component add clippy")];

/// Runs every check, the cheapest first, and stops at the first failure.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    for (subcommand, remedy) in COMPONENTS {
        if !answers(run, &format!("{subcommand} --version")) {
            return Err(format!("cargo {subcommand} is not installed. Run:\n\n    {remedy}"));
        }
    }
    for step in steps(answers(run, "nextest --version")) {
        run.step(&step)?;
    }
    types_in_browsers(run)
}

/// The type check for browsers, whose conditions of compilation no other step sees, if the standard library is there. It is no part of a
/// plain installation of Rust, and this command installs nothing but a driver.
fn types_in_browsers(run: &mut Run) -> Result<(), String> {
    if platforms::library(web::TARGET)?.is_none() {
        return run.task("types in browsers", || {
            Ok(format!("not checked; `rustup target add {}` lets this command check them", web::TARGET))
        });
    }
    run.step(&platforms::browser_step())
}

/// The checks in order. All except the lints of the allocator alone use the dev profile and the features of the whole
/// workspace, so that they share build artifacts: the linter and the documentation share one set of dependencies, the
/// tests and the documentation examples the other.
fn steps(nextest: bool) -> Vec<Step> {
    let tests = if nextest {
        "nextest run --workspace --all-features"
    } else {
        "test --workspace --all-features --lib --bins --tests --examples --no-fail-fast"
    };
    // Without it, tests that find no adapter are skipped, which is useful for a contributor but not for a check.
    let require_adapter = |step: Step| step.variable("WGPU_POOL_REQUIRE_ADAPTER", "1");
    vec![
        Step::cargo("format", "fmt --all --check"),
        Step::cargo("lints", "clippy --workspace --all-targets --all-features -- -D warnings"),
        features::allocator_lints(),
        require_adapter(Step::cargo("tests", tests)),
        require_adapter(shapes_without_overflow_checks()),
        require_adapter(Step::cargo("documentation tests", "test --doc --package wgpu-pool --all-features")),
        documentation(),
    ]
}

/// The documentation of the crate. With an example cargo selects the features of the development dependencies, as the linter has them:
/// otherwise it would check most dependencies a second time.
fn documentation() -> Step {
    Step::cargo("documentation", "doc --no-deps --package wgpu-pool --all-features --lib --example first_tensors")
        .variable("RUSTDOCFLAGS", "-Dwarnings")
}

/// The tests of shapes as a release build runs them: arithmetic that overflows wraps, and does not panic. Only the crate is built again,
/// once, because `Cargo.toml` names the overflow checks of the dependencies.
fn shapes_without_overflow_checks() -> Step {
    let tests = "--lib --test ops -- tensor:: ops::launch:: extreme_shapes::";
    Step::cargo("shapes without overflow checks", &format!("test --package wgpu-pool --all-features {tests}"))
        .variable("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false")
        .variable("CARGO_PROFILE_DEV_DEBUG", "0")
        .variable("CARGO_INCREMENTAL", "0")
}

/// Whether cargo supports `arguments`; their output is discarded.
fn answers(run: &Run, arguments: &str) -> bool {
    Step::cargo("question", arguments)
        .command(run.folder())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(nextest: bool) -> Vec<String> {
        steps(nextest).iter().map(Step::to_string).collect()
    }

    #[test]
    fn every_step_that_runs_tests_demands_an_adapter() {
        for nextest in [false, true] {
            for line in lines(nextest) {
                let tests = line.contains(" test ") || line.contains(" nextest ");
                assert_eq!(tests, line.contains("WGPU_POOL_REQUIRE_ADAPTER=1 "), "{line}");
            }
        }
    }

    #[test]
    fn nextest_runs_the_tests_where_it_is_installed_and_documentation_tests_run_either_way() {
        assert!(lines(true).iter().any(|line| line.contains("cargo nextest run")));
        assert!(!lines(false).iter().any(|line| line.contains("nextest")));
        for nextest in [false, true] {
            assert!(lines(nextest).iter().any(|line| line.contains("cargo test --doc")));
        }
    }

    #[test]
    fn a_subcommand_that_is_missing_is_noticed() {
        let run = Run::new("test", std::env::temp_dir());
        assert!(answers(&run, "version"));
        assert!(!answers(&run, "no-such-subcommand --version"));
    }
}
