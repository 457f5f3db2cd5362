//! The project's own commands, as `cargo xtask COMMAND`.
//!
//! A Rust installation is the only requirement: each command ensures that there is a graphics driver before it starts,
//! and neither this program nor that search builds wgpu.

mod api;
mod check;
mod conformance;
mod demo;
mod driver;
mod features;
mod platforms;
mod soak;
mod step;
#[cfg(test)]
mod test_folder;
mod tsan;
mod viewer;
mod web;
mod web_demo;
mod windows;
#[cfg(test)]
mod workflows;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::step::Run;

const USAGE: &str = "\
usage: cargo xtask COMMAND [--assume-driver] [--target web|windows [--short]] [--minutes N] [--only NAME]
                           [--all-platforms] [--update] [--check]

commands:
  demo     run the examples and replay the allocation traces
  test     check formatting, lints, tests and documentation; with --target web instead the
           tests in a browser, which need Chromium, chromedriver and wasm-bindgen's test
           runner, and with --target windows the suites under Wine; what is missing is
           installed; --short leaves out the slow tests there
  check    type checks with each set of the crate's features, with warnings denied; with
           --all-platforms also for macOS, iOS, Android, Windows and browsers, whose
           standard libraries come from rustup
  features build, document and test every combination of the crate's features that makes sense
  soak     random programs, threads, faults and training for --minutes N, 10 if left out
  tsan     run the tests of the pool and of the device under ThreadSanitizer; needs a nightly
           compiler with rust-src
  web      build the live demonstration and serve it on this machine; with --check instead test
           it in Chromium
  viewer   show the viewer's page in a browser, and check what it does
  conformance
           run PyTorch's operator database and ONNX's node tests, whose packages
           come from PyPI, and count what is right; not part of test; with --only
           NAME, of one operation alone
  api      compare the public API with docs/public-api.txt, which --update replaces;
           needs cargo-public-api and a nightly compiler
  driver   make sure that there is a graphics driver, and stop there

demo, test, features, soak, tsan and conformance first make sure that there is a graphics driver, and install Mesa's software Vulkan
driver through the system's package manager if there is none. --assume-driver leaves that step out.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Demo,
    Test,
    Check,
    Features,
    Soak,
    Tsan,
    Web,
    Viewer,
    Conformance,
    Api,
    Driver,
}

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    command: Command,
    assume_driver: bool,
    minutes: u32,
    only: Option<String>,
    all_platforms: bool,
    update: bool,
    check: bool,
    target: Target,
    short: bool,
}

/// The platform on which the tests run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    #[default]
    Native,
    Web,
    Windows,
}

/// The duration of the soak test.
const MINUTES: u32 = 10;

/// Parses the command line. `Ok(None)` means that the usage text is requested.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut command = None;
    let mut assume_driver = false;
    let mut minutes = None;
    let mut only = None;
    let mut all_platforms = false;
    let mut update = false;
    let mut check = false;
    let mut target = Target::Native;
    let mut short = false;
    while let Some(argument) = arguments.next() {
        let named = match argument.as_str() {
            "demo" => Command::Demo,
            "test" => Command::Test,
            "check" => Command::Check,
            "features" => Command::Features,
            "soak" => Command::Soak,
            "tsan" => Command::Tsan,
            "web" => Command::Web,
            "viewer" => Command::Viewer,
            "conformance" => Command::Conformance,
            "api" => Command::Api,
            "driver" => Command::Driver,
            "--assume-driver" => {
                assume_driver = true;
                continue;
            }
            "--all-platforms" => {
                all_platforms = true;
                continue;
            }
            "--check" => {
                check = true;
                continue;
            }
            "--update" => {
                update = true;
                continue;
            }
            "--short" => {
                short = true;
                continue;
            }
            "--target" => {
                target = match arguments.next().as_deref() {
                    Some("web") => Target::Web,
                    Some("windows") => Target::Windows,
                    other => return Err(format!("--target takes web or windows, not `{}`", other.unwrap_or_default())),
                };
                continue;
            }
            "--minutes" => {
                let given = arguments.next().unwrap_or_default();
                let number = given.parse().ok().filter(|&number: &u32| number > 0);
                minutes =
                    Some(number.ok_or_else(|| format!("--minutes takes a whole number from 1 on, not `{given}`"))?);
                continue;
            }
            "--only" => {
                only = Some(arguments.next().ok_or("--only takes the name of an operation, such as softmax")?);
                continue;
            }
            "help" | "-h" | "--help" => return Ok(None),
            other => return Err(format!("unknown argument `{other}`")),
        };
        if command.replace(named).is_some() {
            return Err(format!("more than one command: `{argument}`"));
        }
    }
    let command = command.ok_or_else(|| "no command given".to_string())?;
    if minutes.is_some() && command != Command::Soak {
        return Err("--minutes belongs to soak".to_string());
    }
    if only.is_some() && command != Command::Conformance {
        return Err("--only belongs to conformance".to_string());
    }
    if all_platforms && command != Command::Check {
        return Err("--all-platforms belongs to check".to_string());
    }
    if update && command != Command::Api {
        return Err("--update belongs to api".to_string());
    }
    if check && command != Command::Web {
        return Err("--check belongs to web".to_string());
    }
    if target != Target::Native && command != Command::Test {
        return Err("--target belongs to test".to_string());
    }
    if short && target == Target::Native {
        return Err("--short belongs to test --target web and --target windows".to_string());
    }
    let minutes = minutes.unwrap_or(MINUTES);
    Ok(Some(Arguments { command, assume_driver, minutes, only, all_platforms, update, check, target, short }))
}

/// The root of the checkout in which this run was started. Cargo provides the package path also at run time, which
/// stays correct after the checkout was moved.
fn checkout() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

fn main() -> ExitCode {
    let arguments = match parse(env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprint!("xtask: {mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let name = match arguments.command {
        Command::Demo => "demo",
        Command::Test => "test",
        Command::Check => "check",
        Command::Features => "features",
        Command::Soak => "soak",
        Command::Tsan => "tsan",
        Command::Web => "web",
        Command::Viewer => "viewer",
        Command::Conformance => "conformance",
        Command::Api => "api",
        Command::Driver => "driver",
    };
    let mut run = Run::new(name, checkout());
    match execute(&arguments, &mut run) {
        Ok(()) => {
            run.conclude();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("\nxtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments, run: &mut Run) -> Result<(), String> {
    // The viewer tests need a browser, and type checks and the list of the API a compiler; none needs a graphics driver.
    match arguments.command {
        Command::Viewer => return viewer::run(run),
        Command::Web => return web_demo::run(run, arguments.check),
        Command::Check => return platforms::run(run, arguments.all_platforms),
        Command::Api => return api::run(run, arguments.update),
        Command::Test if arguments.target == Target::Web => return web::run(run, arguments.short),
        Command::Test if arguments.target == Target::Windows => return windows::run(run, arguments.short),
        _ => {}
    }
    if arguments.assume_driver {
        run.note("driver: assumed");
    } else {
        run.task("driver", driver::ensure)?;
    }
    match arguments.command {
        Command::Demo => demo::run(run),
        Command::Test => check::run(run),
        Command::Features => features::run(run),
        Command::Soak => soak::run(run, arguments.minutes),
        Command::Conformance => conformance::run(run, arguments.only.as_deref()),
        Command::Tsan => tsan::run(run),
        Command::Web | Command::Viewer | Command::Check | Command::Api | Command::Driver => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: Arguments = Arguments {
        command: Command::Demo,
        assume_driver: false,
        minutes: MINUTES,
        only: None,
        all_platforms: false,
        update: false,
        check: false,
        target: Target::Native,
        short: false,
    };

    fn parsed(line: &str) -> Result<Option<Arguments>, String> {
        parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn each_command_is_read_with_its_option_on_either_side() {
        assert_eq!(parsed("demo"), Ok(Some(DEMO)));
        for line in ["test --assume-driver", "--assume-driver test"] {
            let test = Arguments { command: Command::Test, assume_driver: true, ..DEMO };
            assert_eq!(parsed(line), Ok(Some(test)), "{line}");
        }
    }

    #[test]
    fn the_soak_takes_minutes_and_no_other_command_does() {
        let soak = Arguments { command: Command::Soak, minutes: 90, ..DEMO };
        assert_eq!(parsed("soak --minutes 90"), Ok(Some(soak)));
        assert_eq!(parsed("test --minutes 90"), Err("--minutes belongs to soak".to_string()));
        for (line, given) in [("soak --minutes", ""), ("soak --minutes 0", "0"), ("soak --minutes 1.5", "1.5")] {
            let mistake = format!("--minutes takes a whole number from 1 on, not `{given}`");
            assert_eq!(parsed(line), Err(mistake), "{line}");
        }
    }

    #[test]
    fn one_operation_of_the_conformance_suites_can_be_named() {
        let softmax = Some("softmax".to_string());
        let one = Arguments { command: Command::Conformance, only: softmax, ..DEMO };
        assert_eq!(parsed("conformance --only softmax"), Ok(Some(one)));
        assert_eq!(parsed("test --only softmax"), Err("--only belongs to conformance".to_string()));
        assert!(parsed("conformance --only").is_err());
    }

    #[test]
    fn all_platforms_can_be_checked_and_not_tested() {
        let all = parsed("check --all-platforms").map(|read| read.map(|read| (read.command, read.all_platforms)));
        assert_eq!(all, Ok(Some((Command::Check, true))));
        assert_eq!(parsed("test --all-platforms"), Err("--all-platforms belongs to check".to_string()));
    }

    #[test]
    fn the_recorded_api_is_updated_on_request() {
        let update = parsed("api --update").map(|read| read.map(|read| (read.command, read.update)));
        assert_eq!(update, Ok(Some((Command::Api, true))));
        assert_eq!(parsed("check --update"), Err("--update belongs to api".to_string()));
    }

    #[test]
    fn the_tests_run_in_a_browser_or_under_wine_on_request() {
        let web = Arguments { command: Command::Test, target: Target::Web, ..DEMO };
        assert_eq!(parsed("test --target web"), Ok(Some(web)));
        let short = parsed("test --target web --short").map(|read| read.map(|read| read.short));
        assert_eq!(short, Ok(Some(true)));
        let windows = parsed("test --target windows").map(|read| read.map(|read| (read.target, read.short)));
        assert_eq!(windows, Ok(Some((Target::Windows, false))));
        assert_eq!(
            parsed("test --short"),
            Err("--short belongs to test --target web and --target windows".to_string())
        );
        assert_eq!(parsed("demo --target web"), Err("--target belongs to test".to_string()));
        assert_eq!(parsed("test --target mars"), Err("--target takes web or windows, not `mars`".to_string()));
    }

    #[test]
    fn the_demonstration_is_served_or_checked() {
        assert_eq!(parsed("web"), Ok(Some(Arguments { command: Command::Web, ..DEMO })));
        assert_eq!(parsed("web --check"), Ok(Some(Arguments { command: Command::Web, check: true, ..DEMO })));
        assert_eq!(parsed("viewer --check"), Err("--check belongs to web".to_string()));
    }

    #[test]
    fn a_mistake_on_the_command_line_is_reported() {
        assert_eq!(parsed(""), Err("no command given".to_string()));
        assert_eq!(parsed("tset"), Err("unknown argument `tset`".to_string()));
        assert_eq!(parsed("demo test"), Err("more than one command: `test`".to_string()));
        assert_eq!(parsed("test --help"), Ok(None));
    }

    #[test]
    fn the_checkout_holds_the_crate() {
        let manifest = std::fs::read_to_string(checkout().join("Cargo.toml")).expect("the checkout has a manifest");
        assert!(manifest.contains("name = \"wgpu-pool\""), "{manifest}");
    }
}
