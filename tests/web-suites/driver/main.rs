//! Runs a test suite in headless Chromium: `wgpu-pool-web-driver SUITE.wasm [FILTER...] [--short]`, as cargo calls a test runner.
//!
//! wasm-bindgen turns the program into a module that a page loads. A test that panics or hangs ends the page, so that the next test
//! begins with a new one. The environment variable `WASM_BINDGEN` names the program of that name, and `WGPU_POOL_WEB_SECONDS` the
//! duration without a call of the device after which a test hangs.

#[path = "../../viewer/browser.rs"]
#[expect(dead_code, reason = "the tests of the viewer also use a pointer and a keyboard")]
mod browser;
mod page;
mod report;
#[path = "../../../examples/web/src/server.rs"]
mod server;

use browser::Answer;
use page::Page;
use report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use wgpu_pool_web_suites::{EXCLUDED, SLOW, excluded, matches};

/// The time without a call of the device after which a test hangs, if the environment names no other: far above what the compilation
/// of a kernel takes.
const SECONDS: u64 = 300;

struct Arguments {
    program: PathBuf,
    filters: Vec<String>,
    is_short: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Answer<Arguments> {
    let program = arguments.next().ok_or("usage: wgpu-pool-web-driver SUITE.wasm [FILTER...] [--short]")?.into();
    let (options, filters): (Vec<String>, Vec<String>) = arguments.partition(|argument| argument.starts_with('-'));
    match options.iter().find(|option| *option != "--short") {
        Some(option) => Err(format!("unknown option {option}; there is --short").into()),
        None => Ok(Arguments { program, filters, is_short: !options.is_empty() }),
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a suite. Returns whether all is well.
fn run(arguments: &Arguments) -> Answer<bool> {
    let limit = std::env::var("WGPU_POOL_WEB_SECONDS").ok().map(|text| text.parse()).transpose()?.unwrap_or(SECONDS);
    let folder = arguments.program.with_extension("page");
    make_page(&arguments.program, &folder)?;
    let mut page = Page::new(server::serve(folder, 0)?, Duration::from_secs(limit));
    let names = page.names()?;
    let suite = names.first().and_then(|name| name.split("::").next()).ok_or("the suite has no tests")?.to_string();
    println!("\nrunning {} tests of {suite} in a browser", names.len());
    let mut report = Report::default();
    for pattern in unused(&suite, &names) {
        report.complain(format!("{pattern}: a pattern in tests/web-suites/lib.rs that no test matches"));
    }
    let wanted =
        |name: &&String| arguments.filters.is_empty() || arguments.filters.iter().any(|part| name.contains(part));
    for name in names.iter().filter(wanted) {
        if let Some(reason) = excluded(name) {
            report.skip(reason);
        } else if arguments.is_short && SLOW.iter().any(|pattern| matches(pattern, name)) {
            report.skip("left out of the short version");
        } else {
            let (end, duration) = page.execute(name)?;
            report.add(name, end, duration);
        }
    }
    Ok(report.conclude())
}

/// The patterns of a suite that no test matches.
fn unused<'a>(suite: &str, names: &[String]) -> Vec<&'a str> {
    let patterns = EXCLUDED.iter().flat_map(|(_, patterns)| patterns.iter()).chain(SLOW).copied();
    let of_suite = patterns.filter(|pattern| pattern.split("::").next() == Some(suite));
    of_suite.filter(|pattern| !names.iter().any(|name| matches(pattern, name))).collect()
}

/// Makes the folder with the page of a program.
fn make_page(program: &Path, folder: &Path) -> Answer<()> {
    let tool = std::env::var_os("WASM_BINDGEN").unwrap_or_else(|| "wasm-bindgen".into());
    let mut command = Command::new(&tool);
    command.args(["--target", "web", "--no-typescript", "--out-name", "suite", "--out-dir"]).arg(folder).arg(program);
    let status = command.status().map_err(|error| {
        format!("{}: {error}; `cargo install wasm-bindgen-cli` with the version in Cargo.lock", tool.display())
    })?;
    if !status.success() {
        return Err(format!("{} failed ({status})", tool.display()).into());
    }
    std::fs::write(folder.join("index.html"), include_str!("index.html"))?;
    Ok(())
}
