//! `cargo xtask api`: compares the public API with the recorded API, so that no change of the API is unintended.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use crate::step::{Run, Step, cargo};

/// The recorded API: one line for each public item, with all features.
const RECORD: &str = "docs/public-api.txt";

/// The program that lists the API. The form of its list depends on its version.
const VERSION: &str = "0.52.0";

/// Compares the public API with the record, or replaces the record with `update`.
pub(crate) fn run(run: &mut Run, update: bool) -> Result<(), String> {
    run.task("cargo-public-api", ensure)?;
    let path = run.folder().join(RECORD);
    let found = list(&listing(), run)?;
    if update {
        return run.task("record", || {
            fs::write(&path, &found).map_err(|error| format!("cannot write {RECORD}: {error}"))?;
            Ok(format!("{} items in {RECORD}", found.lines().count()))
        });
    }
    let recorded = fs::read_to_string(&path).map_err(|error| format!("cannot read {RECORD}: {error}"))?;
    run.task("public API", || compare(&recorded, &found))
}

/// Without blanket implementations, which follow from others. Derived and auto traits (`Clone`, `Send`) count: programs rely on them.
fn listing() -> Step {
    Step::cargo("public API", "public-api --all-features --color never -s")
}

/// Checks that the program is installed in the version whose lists are recorded.
fn ensure() -> Result<String, String> {
    let output = Command::new(cargo()).args(["public-api", "--version"]).stdin(Stdio::null()).output();
    let version = output.ok().filter(|output| output.status.success());
    check_version(version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).as_deref())
}

fn check_version(printed: Option<&str>) -> Result<String, String> {
    let found = printed.map(|text| text.trim().trim_start_matches("cargo-public-api").trim());
    if found == Some(VERSION) {
        return Ok(VERSION.to_string());
    }
    Err(format!(
        "found {}, and version {VERSION} is needed: run `cargo install --locked cargo-public-api@{VERSION}` and \
         `rustup toolchain install nightly --profile minimal`",
        found.map_or_else(|| "no cargo-public-api".to_string(), |found| format!("cargo-public-api {found}"))
    ))
}

/// Returns the list that the program prints.
fn list(step: &Step, run: &Run) -> Result<String, String> {
    run.note(&step.to_string());
    let output = step.command(run.folder()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo-public-api did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo-public-api failed ({})", output.status));
    }
    let text = String::from_utf8(output.stdout);
    text.map(|text| without_repetitions(&text)).map_err(|error| format!("cargo-public-api printed no UTF-8: {error}"))
}

/// Removes lines that occurred before: an item is listed again for each path at which it is exported.
fn without_repetitions(text: &str) -> String {
    let mut seen = BTreeSet::new();
    text.lines().filter(|line| seen.insert(*line)).flat_map(|line| [line, "\n"]).collect()
}

/// Returns how many items agree.
///
/// # Errors
/// The items that differ, each with `+` if it is new and `-` if it is gone, and how to accept the difference.
fn compare(recorded: &str, found: &str) -> Result<String, String> {
    let [before, after]: [BTreeSet<&str>; 2] = [recorded, found].map(|text| text.lines().collect());
    let gone = before.difference(&after).map(|item| format!("\n  - {item}"));
    let new = after.difference(&before).map(|item| format!("\n  + {item}"));
    let difference: Vec<String> = gone.chain(new).collect();
    if difference.is_empty() {
        return Ok(format!("{} items, as in {RECORD}", after.len()));
    }
    Err(format!(
        "the public API differs from {RECORD} in {} lines; if that is intended, run `cargo xtask api --update` and describe \
         the change in CHANGELOG.md:{}",
        difference.len(),
        difference.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_new_and_each_removed_item_is_listed() {
        assert_eq!(compare("pub a\npub b\n", "pub b\npub a\n"), Ok("2 items, as in docs/public-api.txt".to_string()));
        let difference = compare("pub a\npub b\n", "pub b\npub c\n").expect_err("one item is gone and one is new");
        assert!(difference.contains(" in 2 lines;") && difference.ends_with(":\n  - pub a\n  + pub c"), "{difference}");
    }

    #[test]
    fn an_item_that_is_exported_twice_has_one_line() {
        assert_eq!(without_repetitions("pub b\npub a\npub b\n"), "pub b\npub a\n");
    }

    #[test]
    fn a_missing_program_and_another_version_are_reported_with_the_command_that_installs_it() {
        assert_eq!(check_version(Some("cargo-public-api 0.52.0\n")), Ok(VERSION.to_string()));
        for (printed, found) in [(None, "found no cargo-public-api,"), (Some("cargo-public-api 0.40.0\n"), "0.40.0,")] {
            let message = check_version(printed).expect_err("it is not the version");
            let install = "`cargo install --locked cargo-public-api@0.52.0`";
            assert!(message.contains(found) && message.contains(install) && message.lines().count() == 1, "{message}");
        }
    }

    #[test]
    fn the_workflow_installs_the_version_whose_lists_are_recorded() {
        let workflow = include_str!("../../.github/workflows/ci.yml");
        assert!(workflow.contains(&format!("cargo install --locked cargo-public-api@{VERSION}\n")));
    }
}
