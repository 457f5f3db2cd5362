//! `cargo xtask check`: type checks, with warnings denied, of the crate with each set of its features; with
//! `--all-platforms` also for platforms that this machine cannot run programs for.
//!
//! A type check needs the standard library of the target, and neither a linker nor an SDK.

use std::{env, ffi::OsString, path::Path, process::Command};

use crate::features::{BACKENDS, CONTENTS, joined, name};
use crate::step::{Run, Step};

/// The targets of `--all-platforms`: Metal on macOS and iOS, Vulkan and GL ES on Android, DX12 on Windows, WebGPU in browsers.
pub(crate) const TARGETS: [&str; 5] = [
    "aarch64-apple-darwin",
    "aarch64-apple-ios",
    "aarch64-linux-android",
    "x86_64-pc-windows-msvc",
    "wasm32-unknown-unknown",
];

/// Checks the crate for this platform, or for all of them.
pub(crate) fn run(run: &mut Run, all_platforms: bool) -> Result<(), String> {
    for contents in CONTENTS {
        run.step(&step(None, contents))?;
    }
    if !all_platforms {
        return Ok(());
    }
    for target in TARGETS {
        run.task(&format!("standard library of {target}"), || ensure(target))?;
        for contents in CONTENTS {
            run.step(&step(Some(target), contents))?;
        }
    }
    Ok(())
}

/// With the profile `check`, cargo passes lint levels to the crate only, and not to its dependencies.
fn step(target: Option<&str>, contents: &[&str]) -> Step {
    let platform = target.unwrap_or("this platform");
    let place = target.map(|target| format!("--target {target} ")).unwrap_or_default();
    let features = joined(&BACKENDS, contents);
    let arguments = format!(
        "rustc --package wgpu-pool --lib --profile check {place}--no-default-features --features={features} -- -D warnings"
    );
    Step::cargo(&format!("{} for {platform}", name(contents)), &arguments)
}

/// Makes sure that the standard library of a target is there, and says where.
pub(crate) fn ensure(target: &str) -> Result<String, String> {
    if let Some(folder) = library(target)? {
        return Ok(folder);
    }
    // Without rustup this does not start, and the standard library is still missing.
    let _ = Command::new("rustup").args(["target", "add", target]).status();
    library(target)?.ok_or_else(|| {
        format!(
            "the standard library of {target} is missing, and `rustup target add {target}` did not add it; for a standard library in \
             another place set {}=\"--sysroot FOLDER\"",
            variable(target)
        )
    })
}

/// The folder of the standard library that the compiler uses for a target, if it has one.
fn library(target: &str) -> Result<Option<String>, String> {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let flags = env::var(variable(target)).unwrap_or_default();
    let mut command = Command::new(compiler);
    command.args(flags.split_whitespace()).args(["--print", "target-libdir", "--target", target]);
    let output = command.output().map_err(|error| format!("rustc did not start: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let is_core = |name: OsString| name.to_string_lossy().starts_with("libcore-");
    let mut files = Path::new(&folder).read_dir().into_iter().flatten().filter_map(Result::ok);
    Ok(files.any(|file| is_core(file.file_name())).then_some(folder))
}

/// The variable with the flags that cargo passes to the compiler for a target.
pub(crate) fn variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_denies_warnings_of_the_crate_alone() {
        assert_eq!(
            step(Some("wasm32-unknown-unknown"), &["tensor"]).to_string(),
            "cargo rustc --package wgpu-pool --lib --profile check --target wasm32-unknown-unknown --no-default-features \
             --features=vulkan,gles,metal,dx12,webgpu,tensor -- -D warnings"
        );
    }

    #[test]
    fn the_library_of_this_platform_is_found_and_that_of_none_is_not() {
        let own = Command::new("rustc").arg("-vV").output().expect("a compiler built this test").stdout;
        let own = String::from_utf8(own).expect("text");
        let own = own.lines().find_map(|line| line.strip_prefix("host: ")).expect("the compiler names its host");
        assert!(library(own).is_ok_and(|folder| folder.is_some()), "{own}");
        assert_eq!(library("avr-none"), Ok(None));
    }

    #[test]
    fn a_missing_library_is_reported_with_both_remedies() {
        let told = ensure("no-such-target").expect_err("there is none");
        assert!(told.contains("`rustup target add no-such-target`"), "{told}");
        assert!(told.contains("CARGO_TARGET_NO_SUCH_TARGET_RUSTFLAGS=\"--sysroot FOLDER\""), "{told}");
    }
}
