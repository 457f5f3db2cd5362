//! `cargo xtask test --target web`: the tests of `tests/web`, and the suites of `tests/ops`, `tests/pool` and `tests/adapter`, in
//! headless Chromium.
//!
//! wasm-bindgen's test runner loads each test program of `tests/web` into a page that chromedriver opens; the driver in
//! `tests/web-suites` does the same with a suite. Chromium's own software renderer executes the kernels, so that no graphics
//! driver is needed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::platforms;
use crate::step::{Run, Step, cargo};
use crate::viewer;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const RUNNER: &str = "wasm-bindgen-test-runner";
/// The package whose program runs a suite, and the folder of its program.
const DRIVER: &str = "wgpu-pool-web-driver";
const SUITES: [&str; 3] = ["ops", "pool", "adapter"];

/// The compiler's options for the suites: the library's blocking calls suspend the stack, and proptest's seeds come from the
/// browser.
const SUITE_FLAGS: &str = "--cfg wgpu_pool_suspend --cfg getrandom_backend=\"wasm_js\"";

/// The options of the browser. Without `--enable-unsafe-webgpu` it offers no adapter in software.
const BROWSER: &str = r#"{"goog:chromeOptions":{"args":["--headless=new","--no-sandbox","--enable-unsafe-webgpu","--enable-unsafe-swiftshader","--disable-quic","--no-first-run","--disable-background-networking","--disable-component-update","--disable-sync"]}}
"#;

/// Seconds after which a test program is stopped. It has to report the test that hangs, so it is far above what all of
/// them take on a busy machine: thousands of kernels are compiled.
const SECONDS: &str = "900";

/// Ensures that the tools are there, then runs the tests.
pub(crate) fn run(run: &mut Run, is_short: bool) -> Result<(), String> {
    run.task("browser", viewer::ensure)?;
    run.task(&format!("standard library of {TARGET}"), || platforms::ensure(TARGET))?;
    let folder = run.target().join("web");
    let mut runner = PathBuf::new();
    let lock = run.folder().join("Cargo.lock");
    run.task("wasm-bindgen", || {
        runner = ensure_runner(&lock, &folder)?;
        Ok(runner.display().to_string())
    })?;
    let options = folder.join("webdriver.json");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::write(&options, BROWSER).map_err(|error| format!("{}: {error}", options.display()))?;
    let kernels = run.folder().join("tests").join("web").join("kernels.jsonl");
    // The tests append to it.
    let _ = fs::remove_file(&kernels);
    run.step(&collect(&kernels))?;
    run.step(&tests(&runner, &options))?;
    run.step(&Step::cargo("driver of the suites", &format!("build --package {DRIVER}")))?;
    let driver = run.target().join("debug").join(format!("{DRIVER}{}", env::consts::EXE_SUFFIX));
    let flags = env::var(platforms::variable(TARGET)).unwrap_or_default();
    run.step(&suites(&driver, &runner.with_file_name("wasm-bindgen"), &flags, is_short))
}

/// Compiles the suites, and runs them with the driver as cargo's test runner. Without optimization the models on the host would
/// take most of the time.
fn suites(driver: &Path, wasm_bindgen: &Path, flags: &str, is_short: bool) -> Step {
    let names = SUITES.map(|name| format!("--test {name}")).join(" ");
    let short = if is_short { " -- --short" } else { "" };
    let arguments = format!("test --package wgpu-pool-web-suites --target {TARGET} --no-fail-fast {names}{short}");
    Step::cargo("suites in a browser", &arguments)
        .variable("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &driver.display().to_string())
        .variable(&platforms::variable(TARGET), format!("{flags} {SUITE_FLAGS}").trim())
        .variable("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .variable("CARGO_PROFILE_DEV_DEBUG", "0")
        .variable("WASM_BINDGEN", &wasm_bindgen.display().to_string())
}

/// Collects the text of every kernel of the crate, which the tests give to the browser's compiler.
fn collect(kernels: &Path) -> Step {
    Step::cargo("kernels", "test --package wgpu-pool --all-features --lib -- compile")
        .variable("WGPU_POOL_KERNELS", &kernels.display().to_string())
}

fn tests(runner: &Path, options: &Path) -> Step {
    Step::cargo("tests in a browser", &format!("test --package wgpu-pool-web-tests --target {TARGET}"))
        .variable("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner.display().to_string())
        .variable("WASM_BINDGEN_TEST_WEBDRIVER_JSON", &options.display().to_string())
        .variable("WASM_BINDGEN_TEST_TIMEOUT", SECONDS)
        // Else the runner may choose the driver of another browser.
        .variable("CHROMEDRIVER", "chromedriver")
}

/// Finds the test runner of the locked version of wasm-bindgen, or installs it into `folder`.
pub(crate) fn ensure_runner(lock: &Path, folder: &Path) -> Result<PathBuf, String> {
    let text = fs::read_to_string(lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    let version = locked_version(&text, "wasm-bindgen").ok_or("Cargo.lock names no wasm-bindgen")?;
    let installed = folder.join("bin").join(RUNNER);
    for candidate in [PathBuf::from(RUNNER), installed.clone()] {
        if has_version(&candidate, version) {
            return Ok(candidate);
        }
    }
    // Without default features it needs no TLS library of the system.
    let status = Command::new(cargo())
        .args(["install", "wasm-bindgen-cli", "--debug", "--no-default-features", "--version", &format!("={version}")])
        .arg("--root")
        .arg(folder)
        .stdin(Stdio::null())
        .status();
    if status.is_ok_and(|status| status.success()) && has_version(&installed, version) {
        return Ok(installed);
    }
    Err(format!(
        "{RUNNER} {version} is missing, and cargo did not install it: `cargo install wasm-bindgen-cli --version {version}`"
    ))
}

/// Whether a program is the test runner of a version.
fn has_version(program: &Path, version: &str) -> bool {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == version))
}

/// Returns the version of a package in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_has_the_version_of_the_lock_file() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.5\"\n\n[[package]]\nname = \"wasm-bindgen\"\n\
                    version = \"0.2.130\"\nsource = \"registry\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
        let own = fs::read_to_string(crate::checkout().join("Cargo.lock")).expect("the checkout has a lock file");
        assert!(locked_version(&own, "wasm-bindgen").is_some());
    }

    #[test]
    fn the_tests_run_in_the_browser_that_the_options_describe() {
        let line = tests(Path::new("runner"), Path::new("options.json")).to_string();
        assert!(line.contains("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=runner"), "{line}");
        assert!(line.contains("WASM_BINDGEN_TEST_WEBDRIVER_JSON=options.json"), "{line}");
        assert!(line.ends_with("cargo test --package wgpu-pool-web-tests --target wasm32-unknown-unknown"), "{line}");
    }

    #[test]
    fn the_suites_are_compiled_so_that_blocking_calls_suspend() {
        let line = suites(Path::new("driver"), Path::new("bin/wasm-bindgen"), "--sysroot folder", true).to_string();
        let flags = "RUSTFLAGS='--sysroot folder --cfg wgpu_pool_suspend --cfg getrandom_backend=\"wasm_js\"' ";
        assert!(line.contains(flags), "{line}");
        assert!(line.contains("_RUNNER=driver ") && line.contains("WASM_BINDGEN=bin/wasm-bindgen "), "{line}");
        assert!(line.ends_with("--no-fail-fast --test ops --test pool --test adapter -- --short"), "{line}");
        let whole = suites(Path::new("driver"), Path::new("wasm-bindgen"), "", false).to_string();
        assert!(whole.contains("RUSTFLAGS='--cfg wgpu") && whole.ends_with("--test adapter"), "{whole}");
    }

    #[test]
    fn the_kernels_are_collected_by_the_tests_that_compile_them() {
        let line = collect(Path::new("kernels.jsonl")).to_string();
        assert!(line.starts_with("WGPU_POOL_KERNELS=kernels.jsonl cargo test "), "{line}");
        assert!(line.ends_with("--lib -- compile"), "{line}");
    }

    #[test]
    fn a_program_that_does_not_start_has_no_version() {
        assert!(!has_version(Path::new("no-such-program"), "0.2.130"));
    }
}
