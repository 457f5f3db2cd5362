//! `cargo xtask check`: type checks, with warnings denied, of the crate with each set of its features; with
//! `--all-platforms` also for platforms that this machine cannot run programs for.
//!
//! A type check needs the standard library of the target, and neither a linker nor an SDK.

use std::{env, ffi::OsString, path::Path, process::Command};

use crate::features::{BACKENDS, CONTENTS, joined, name};
use crate::step::{Run, Step};
use crate::web;

/// The targets of `--all-platforms`: Metal on macOS and iOS, Vulkan and GL ES on Android, DX12 on Windows, WebGPU in browsers.
pub(crate) const TARGETS: [&str; 5] = [
    "aarch64-apple-darwin",
    "aarch64-apple-ios",
    "aarch64-linux-android",
    "x86_64-pc-windows-msvc",
    "wasm32-unknown-unknown",
];

/// The backends that a target has, each of which an application may choose alone.
fn own_backends(target: &str) -> &'static [&'static str] {
    match target {
        _ if target.contains("apple") => &["metal"],
        _ if target.contains("android") => &["vulkan", "gles"],
        _ if target.contains("windows") => &["dx12", "vulkan"],
        _ if target.starts_with("wasm32") => &["webgpu"],
        _ => &["vulkan", "gles"],
    }
}

/// The steps for a target: every set of features with all backends, and each backend of the target alone with and without tensors.
fn steps(target: &str) -> Vec<Step> {
    let together = CONTENTS.iter().map(|contents| step(Some(target), &BACKENDS, contents));
    let alone = own_backends(target)
        .chunks(1)
        .flat_map(|backend| [&[][..], &["tensor"]].map(|contents| step(Some(target), backend, contents)));
    together.chain(alone).collect()
}

/// The type check for browsers that `cargo xtask test` makes: of everything on WebGPU alone. [`run`] checks the other sets of features.
pub(crate) fn browser_step() -> Step {
    step(Some(web::TARGET), &["webgpu"], CONTENTS[CONTENTS.len() - 1])
}

/// Checks the crate for this platform, or for all of them.
pub(crate) fn run(run: &mut Run, all_platforms: bool) -> Result<(), String> {
    for contents in CONTENTS {
        run.step(&step(None, &BACKENDS, contents))?;
    }
    if !all_platforms {
        return Ok(());
    }
    for target in TARGETS {
        run.task(&format!("standard library of {target}"), || ensure(target))?;
        for step in steps(target) {
            run.step(&step)?;
        }
    }
    Ok(())
}

/// With the profile `check`, cargo passes lint levels to the crate only, and not to its dependencies.
fn step(target: Option<&str>, backends: &[&str], contents: &[&str]) -> Step {
    let platform = target.unwrap_or("this platform");
    let place = target.map(|target| format!("--target {target} ")).unwrap_or_default();
    let features = joined(backends, contents);
    let arguments = format!(
        "rustc --package wgpu-pool --lib --profile check {place}--no-default-features --features={features} -- -D warnings"
    );
    let on = if backends.len() == 1 { format!(" on {} alone", backends[0]) } else { String::new() };
    Step::cargo(&format!("{}{on} for {platform}", name(contents)), &arguments)
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
pub(crate) fn library(target: &str) -> Result<Option<String>, String> {
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
            step(Some("wasm32-unknown-unknown"), &BACKENDS, &["tensor"]).to_string(),
            "cargo rustc --package wgpu-pool --lib --profile check --target wasm32-unknown-unknown --no-default-features \
             --features=vulkan,gles,metal,dx12,webgpu,tensor -- -D warnings"
        );
    }

    #[test]
    fn each_backend_of_a_target_is_checked_alone_with_and_without_tensors() {
        for (target, backend) in TARGETS.iter().zip(["metal", "metal", "gles", "dx12", "webgpu"]) {
            let lines: Vec<String> = steps(target).iter().map(Step::to_string).collect();
            for contents in ["", ",tensor"] {
                let alone = format!("--target {target} --no-default-features --features={backend}{contents} -- -D");
                assert_eq!(lines.iter().filter(|line| line.contains(&alone)).count(), 1, "{alone}: {lines:#?}");
            }
            assert!(own_backends(target).iter().all(|backend| BACKENDS.contains(backend)), "{target}");
        }
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
