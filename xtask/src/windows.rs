//! `cargo xtask test --target windows`: the suites as Windows programs, under Wine, over this machine's Vulkan driver.
//!
//! It shows that the crate's calls, paths and threads work as a Windows program. It shows nothing about a driver of Windows: Wine
//! passes Vulkan's functions through to the driver of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::driver;
use crate::platforms;
use crate::step::{Run, Step};

const TARGET: &str = "x86_64-pc-windows-gnu";
/// Debian's packages of Wine, of a linker for the target, and of a display: without one Wine offers no Vulkan driver.
const PACKAGES: &str = "wine wine64 gcc-mingw-w64-x86-64 xvfb xauth";
/// A program of each package.
const PROGRAMS: [&str; 3] = ["wine", COMPILER, "xvfb-run"];
const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// A library that the standard library needs, and Wine before version 9 does not have. Wine finds its own first.
const LIBRARY: &str = "bcryptprimitives.dll";
/// Tests that do not run under Wine: loom's coroutines unwind stacks that Wine does not know. Their models are of no platform.
const SKIPPED: &str = "pool::references::tests";
/// The suites, the slow one last.
const SUITES: [&str; 4] = ["--lib", "--test pool", "--test adapter", "--test ops"];

/// Ensures that the tools are there, then runs the suites; without `ops` if the run is short.
pub(crate) fn run(run: &mut Run, is_short: bool) -> Result<(), String> {
    if cfg!(windows) {
        return Err("this is Windows: `cargo xtask test` runs the suites here".to_string());
    }
    run.task("driver", driver::ensure)?;
    run.task("Wine", ensure)?;
    run.task(&format!("standard library of {TARGET}"), || platforms::ensure(TARGET))?;
    let folder = run.target().join("wine");
    let source = run.folder().join("xtask").join("src").join("prng.c");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    run.step(&library(&source, &folder.join(LIBRARY)))?;
    run.step(&build(is_short))?;
    run.step(&suites(is_short, &folder))
}

fn library(source: &Path, library: &Path) -> Step {
    Step::program(LIBRARY, COMPILER, "-shared -o")
        .argument(library.display().to_string())
        .argument(source.display().to_string())
        .argument("-ladvapi32")
}

/// Finds the programs, or installs their packages.
fn ensure() -> Result<String, String> {
    if missing(&PROGRAMS).is_some() {
        driver::install_by_apt("Wine", PACKAGES)?;
    }
    match missing(&PROGRAMS) {
        None => Ok(PROGRAMS.join(", ")),
        Some(program) => Err(format!("{program} does not start; install the packages {PACKAGES}")),
    }
}

/// Returns the first program that cannot be started.
fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let starts = |program: &str| {
        Command::new(program).arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    programs.iter().copied().find(|program| starts(program).is_err())
}

fn arguments(is_short: bool) -> String {
    let suites = if is_short { &SUITES[..3] } else { &SUITES[..] };
    format!("test --package wgpu-pool --all-features --target {TARGET} {}", suites.join(" "))
}

fn build(is_short: bool) -> Step {
    Step::cargo("suites for Windows", &format!("{} --no-run", arguments(is_short)))
}

/// Runs the suites on one display: Wine's processes outlive a test program.
fn suites(is_short: bool, folder: &Path) -> Step {
    let arguments = format!("-a cargo {} --no-fail-fast -- --skip {SKIPPED}", arguments(is_short));
    let prefix: PathBuf = folder.join("prefix");
    Step::program("suites under Wine", "xvfb-run", &arguments)
        .variable("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
        // Wine's own DX12 does not compile naga's shaders, and its GL has the limits of the display.
        .variable("WGPU_BACKEND", "vulkan")
        .variable("WGPU_POOL_REQUIRE_ADAPTER", "1")
        .variable("WINEPREFIX", &prefix.display().to_string())
        .variable("WINEPATH", &folder.display().to_string())
        .variable("WINEDEBUG", "-all")
        // Else Wine asks in a window whether to fetch .NET and a browser.
        .variable("WINEDLLOVERRIDES", "mscoree=;mshtml=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_run_as_windows_programs_with_an_adapter_required() {
        let line = suites(false, Path::new("wine")).to_string();
        assert!(line.contains("_RUNNER=wine WGPU_BACKEND=vulkan WGPU_POOL_REQUIRE_ADAPTER=1 "), "{line}");
        assert!(line.contains(" WINEPREFIX=wine/prefix WINEPATH=wine "), "{line}");
        let command = "xvfb-run -a cargo test --package wgpu-pool --all-features --target x86_64-pc-windows-gnu \
                       --lib --test pool --test adapter --test ops --no-fail-fast -- --skip pool::references::tests";
        assert!(line.ends_with(command), "{line}");
        let short = suites(true, Path::new("wine")).to_string();
        assert!(short.contains("--test adapter --no-fail-fast"), "{short}");
        assert!(build(true).to_string().ends_with("--test adapter --no-run"));
    }

    #[test]
    fn the_skipped_tests_exist_and_are_the_models_of_loom() {
        let file = crate::checkout().join("src/pool/references/tests.rs");
        let text = fs::read_to_string(&file).expect("the tests are in this file");
        assert!(text.contains("loom::"), "{}", file.display());
        let library = library(Path::new("a.c"), Path::new("a.dll")).to_string();
        assert_eq!(library, "x86_64-w64-mingw32-gcc -shared -o a.dll a.c -ladvapi32");
    }

    #[test]
    fn a_missing_program_is_named() {
        assert_eq!(missing(&["cargo"]), None);
        assert_eq!(missing(&["cargo", "no-such-program"]), Some("no-such-program"));
    }
}
