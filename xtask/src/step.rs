//! Steps: commands as data, which run one after the other. Each prints a line with its time.

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::{self, Stdio},
    time::{Duration, Instant},
};

/// One command of a run, as data: steps can be shown and tested without being started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: String,
    program: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Step {
    /// Creates a step that runs cargo with `arguments`, split at whitespace.
    pub(crate) fn cargo(name: &str, arguments: &str) -> Self {
        Self::program(name, "cargo", arguments)
    }

    /// A step that runs any program with `arguments`, split at white space.
    pub(crate) fn program(name: &str, program: &str, arguments: &str) -> Self {
        Self {
            name: name.to_string(),
            program: program.to_string(),
            arguments: arguments.split_whitespace().map(str::to_string).collect(),
            variables: Vec::new(),
        }
    }

    /// Adds one argument, which may contain whitespace.
    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    /// Returns the command, ready to start in `folder`. Standard input is empty: a program that reads it would wait
    /// forever in CI.
    pub(crate) fn command(&self, folder: &Path) -> process::Command {
        let program = if self.program == "cargo" { cargo() } else { OsString::from(&self.program) };
        let mut command = process::Command::new(program);
        command.args(&self.arguments).current_dir(folder).stdin(Stdio::null());
        // Without a login session the variable is not set, and Mesa prints an error at every start.
        if cfg!(unix) && env::var_os("XDG_RUNTIME_DIR").is_none() {
            command.env("XDG_RUNTIME_DIR", env::temp_dir());
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}

/// The equivalent command line.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(out, "{name}={} ", quoted(value))?;
        }
        write!(out, "{}", self.program)?;
        for argument in &self.arguments {
            write!(out, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("'{word}'") } else { word.to_string() }
}

/// The cargo that runs this program, so that every step uses the same toolchain.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// A run in progress: its folder, and the time of each completed step.
#[derive(Debug)]
pub(crate) struct Run {
    name: &'static str,
    folder: PathBuf,
    times: Vec<(String, Duration)>,
}

impl Run {
    pub(crate) fn new(name: &'static str, folder: PathBuf) -> Self {
        Self { name, folder, times: Vec::new() }
    }

    /// The root of the checkout.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that cargo builds into, with what the commands download and install.
    pub(crate) fn target(&self) -> PathBuf {
        self.target_of(env::var_os("CARGO_TARGET_DIR"))
    }

    fn target_of(&self, variable: Option<OsString>) -> PathBuf {
        self.folder.join(variable.unwrap_or_else(|| OsString::from("target")))
    }

    /// Prints a message.
    pub(crate) fn note(&self, text: &str) {
        println!("==> {text}");
    }

    /// Runs a function as a step.
    pub(crate) fn task(&mut self, name: &str, task: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
        let start = Instant::now();
        let outcome = task()?;
        self.note(&format!("{name}: {outcome}"));
        self.times.push((name.to_string(), start.elapsed()));
        Ok(())
    }

    /// Runs a command as a step. Its output is passed through.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        println!("\n==> {}: {step}", step.name);
        let start = Instant::now();
        let status =
            step.command(&self.folder).status().map_err(|error| format!("{} did not start: {error}", step.name))?;
        let elapsed = start.elapsed();
        if !status.success() {
            return Err(format!("{} failed after {} ({status})", step.name, seconds(elapsed)));
        }
        println!("    {} took {}", step.name, seconds(elapsed));
        self.times.push((step.name.clone(), elapsed));
        Ok(())
    }

    /// Prints the summary.
    pub(crate) fn conclude(&self) {
        println!("\n==> {}", closing_line(self.name, &self.times));
    }
}

fn closing_line(name: &str, times: &[(String, Duration)]) -> String {
    let total: Duration = times.iter().map(|(_, time)| time).sum();
    let each: Vec<String> = times.iter().map(|(step, time)| format!("{step} {}", seconds(*time))).collect();
    let each = if each.is_empty() { String::new() } else { format!(": {}", each.join(", ")) };
    format!("xtask {name}: all good in {}{each}", seconds(total))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_prints_as_the_line_that_a_person_would_type() {
        let step =
            Step::cargo("documentation", "doc --no-deps").argument("two words").variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(step.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'two words'");
    }

    #[test]
    fn the_closing_line_sums_the_steps() {
        let times = [("fmt".to_string(), Duration::from_millis(400)), ("tests".to_string(), Duration::from_secs(61))];
        assert_eq!(closing_line("test", &times), "xtask test: all good in 61.4 s: fmt 0.4 s, tests 61.0 s");
        assert_eq!(closing_line("driver", &[]), "xtask driver: all good in 0.0 s");
    }

    #[test]
    fn the_folder_of_builds_is_the_one_that_the_environment_names() {
        let run = Run::new("test", PathBuf::from("checkout"));
        assert_eq!(run.target_of(None), Path::new("checkout/target"));
        assert_eq!(run.target_of(Some("builds".into())), Path::new("checkout/builds"));
        assert_eq!(run.target_of(Some("/builds".into())), Path::new("/builds"));
    }

    /// Cargo builds into another folder if the environment names one: a file in the checkout's own folder is then missing or old.
    #[test]
    fn every_command_asks_for_the_folder_of_builds() {
        let folder = crate::checkout().join("xtask/src");
        for entry in folder.read_dir().expect("the sources are there").flatten() {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            assert!(!text.contains(concat!(".join(\"", "target\")")), "{}: use `Run::target`", entry.path().display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_step_that_fails_ends_the_run_with_its_name_and_status() {
        let mut run = Run::new("test", env::temp_dir());
        let step = Step { program: "false".to_string(), ..Step::cargo("wrong", "") };
        let failure = run.step(&step).expect_err("the program fails");
        assert!(failure.starts_with("wrong failed after ") && failure.ends_with("(exit status: 1)"), "{failure}");
        assert!(run.times.is_empty());
    }
}
