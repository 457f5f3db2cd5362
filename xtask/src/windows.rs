//! `cargo xtask test --target windows`: the suites as Windows programs, under Wine, over this machine's Vulkan driver.
//!
//! It shows that the crate's calls, paths and threads work as a Windows program. It shows nothing about a driver of Windows: Wine
//! passes Vulkan's functions through to the driver of this machine.
//!
//! With `WGPU_POOL_D3DCOMPILER=FILE` the suites run on Wine's DX12, by Microsoft's shader compiler (FXC) in that file, which is not free
//! and therefore neither part of the project nor of its continuous integration. That needs Wine 10: DX12 of Wine 8 binds no buffer of
//! wgpu's descriptor heap, so that shaders write nothing.

use std::env;
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
/// The variable with the path of Microsoft's shader compiler, and the name by which programs load it from their own folder.
const D3DCOMPILER: (&str, &str) = ("WGPU_POOL_D3DCOMPILER", "d3dcompiler_47.dll");
/// The first version of Wine on whose DX12 wgpu's bindings are known to work.
const FIRST_WITH_DX12: u32 = 10;
/// Tests that do not run under Wine: loom's coroutines unwind stacks that Wine does not know. Their models are of no platform.
const SKIPPED: &str = "pool::references::tests";
/// The suites, the slow one last.
const SUITES: [&str; 4] = ["--lib", "--test pool", "--test adapter", "--test ops"];

/// The graphics API of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Vulkan,
    Dx12,
}

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
    let mut api = Api::Vulkan;
    if let Some(compiler) = env::var_os(D3DCOMPILER.0) {
        let programs = run.target().join(TARGET).join("debug").join("deps");
        run.task("Wine's DX12", check_dx12)?;
        run.task("shader compiler", || add_compiler(Path::new(&compiler), &programs))?;
        api = Api::Dx12;
    }
    run.step(&suites(is_short, &folder, api))
}

/// Checks that Wine's DX12 is new enough.
fn check_dx12() -> Result<String, String> {
    let output = Command::new("wine").arg("--version").output().map_err(|error| format!("wine --version: {error}"))?;
    has_dx12(&String::from_utf8_lossy(&output.stdout))
}

/// Returns what `wine --version` wrote if that version's DX12 can run the suites.
fn has_dx12(version: &str) -> Result<String, String> {
    let version = version.lines().find(|line| line.starts_with("wine-")).unwrap_or("an unknown version of Wine").trim();
    let number = version.trim_start_matches("wine-").split(|sign: char| !sign.is_ascii_digit()).next();
    match number.and_then(|digits| digits.parse::<u32>().ok()) {
        Some(major) if major >= FIRST_WITH_DX12 => Ok(version.to_string()),
        _ => Err(format!(
            "{version}: the suites on DX12 need Wine {FIRST_WITH_DX12} or later; without {} they run on Vulkan",
            D3DCOMPILER.0
        )),
    }
}

/// Copies Microsoft's shader compiler into the folder of the programs, where Wine looks for it first.
fn add_compiler(compiler: &Path, programs: &Path) -> Result<String, String> {
    fs::copy(compiler, programs.join(D3DCOMPILER.1)).map_err(|error| {
        format!("{}: {error}; {} is the path of {}", compiler.display(), D3DCOMPILER.0, D3DCOMPILER.1)
    })?;
    Ok(compiler.display().to_string())
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
fn suites(is_short: bool, folder: &Path, api: Api) -> Step {
    let arguments = format!("-a cargo {} --no-fail-fast -- --skip {SKIPPED}", arguments(is_short));
    let prefix: PathBuf = folder.join("prefix");
    // Without `mscoree` and `mshtml` Wine asks in a window whether to fetch .NET and a browser. Its own shader compiler does not
    // compile naga's shaders, and its GL has the limits of the display.
    let (backend, libraries) = match api {
        Api::Vulkan => ("vulkan", "mscoree=;mshtml="),
        Api::Dx12 => ("dx12", "mscoree=;mshtml=;d3dcompiler_47=n"),
    };
    Step::program("suites under Wine", "xvfb-run", &arguments)
        .variable("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
        .variable("WGPU_BACKEND", backend)
        .variable("WGPU_POOL_REQUIRE_ADAPTER", "1")
        .variable("WINEPREFIX", &prefix.display().to_string())
        .variable("WINEPATH", &folder.display().to_string())
        .variable("WINEDEBUG", "-all")
        .variable("WINEDLLOVERRIDES", libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_run_as_windows_programs_with_an_adapter_required() {
        let line = suites(false, Path::new("wine"), Api::Vulkan).to_string();
        assert!(line.contains("_RUNNER=wine WGPU_BACKEND=vulkan WGPU_POOL_REQUIRE_ADAPTER=1 "), "{line}");
        assert!(line.contains(" WINEPREFIX=wine/prefix WINEPATH=wine "), "{line}");
        let command = "xvfb-run -a cargo test --package wgpu-pool --all-features --target x86_64-pc-windows-gnu \
                       --lib --test pool --test adapter --test ops --no-fail-fast -- --skip pool::references::tests";
        assert!(line.ends_with(command), "{line}");
        let short = suites(true, Path::new("wine"), Api::Vulkan).to_string();
        assert!(short.contains("--test adapter --no-fail-fast"), "{short}");
        assert!(build(true).to_string().ends_with("--test adapter --no-run"));
    }

    #[test]
    fn on_dx12_the_suites_load_the_shader_compiler_from_their_own_folder() {
        let line = suites(false, Path::new("wine"), Api::Dx12).to_string();
        assert!(line.contains(" WGPU_BACKEND=dx12 "), "{line}");
        assert!(line.contains(" WINEDLLOVERRIDES=mscoree=;mshtml=;d3dcompiler_47=n "), "{line}");
        let refused = add_compiler(Path::new("no/such.dll"), &env::temp_dir()).expect_err("there is no such file");
        assert!(refused.starts_with("no/such.dll: "), "{refused}");
        assert!(refused.ends_with("WGPU_POOL_D3DCOMPILER is the path of d3dcompiler_47.dll"), "{refused}");
    }

    #[test]
    fn dx12_needs_a_wine_that_binds_its_buffers() {
        assert_eq!(has_dx12("wine-10.0 (Debian 10.0~repack-6)\n").as_deref(), Ok("wine-10.0 (Debian 10.0~repack-6)"));
        // Debian's script writes a hint about 32-bit programs, to the same place in some versions.
        assert_eq!(has_dx12("a hint\nwine-11.4\n").as_deref(), Ok("wine-11.4"));
        for version in ["wine-8.0 (Debian 8.0~repack-4)", "wine-9.22", "", "wine-?"] {
            let refused = has_dx12(version).expect_err(version);
            assert!(
                refused.ends_with("need Wine 10 or later; without WGPU_POOL_D3DCOMPILER they run on Vulkan"),
                "{refused}"
            );
        }
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
