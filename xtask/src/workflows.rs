//! Tests of `.github/workflows`: jobs run the commands that people run, and actions are pinned.

use std::{fs, path::Path};

/// Each line of the workflows, with the name of its file.
fn lines() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    let mut lines = Vec::new();
    for file in fs::read_dir(folder).expect("there are workflows") {
        let path = file.expect("a file of the checkout").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("workflows are text");
        lines.extend(text.lines().map(|line| (name.clone(), line.trim().to_string())));
    }
    lines
}

/// Returns the text after `key:` in a line of a step.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.trim_start_matches("- ").strip_prefix(key)?.strip_prefix(": ")
}

#[test]
fn every_action_is_pinned_by_its_commit_and_names_the_version() {
    let mut pinned = 0;
    for (file, line) in lines() {
        let Some(action) = value(&line, "uses") else { continue };
        let (name, version) = action.split_once(" # v").unwrap_or_else(|| panic!("{file}: {action} names no version"));
        let commit = name.split_once('@').map_or("", |(_, commit)| commit);
        let is_commit = commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit());
        assert!(is_commit && !version.is_empty(), "{file}: {action} is not pinned by a commit");
        pinned += 1;
    }
    assert!(pinned > 0, "no workflow uses an action");
}

#[test]
fn every_command_is_one_of_the_projects_own_or_prepares_for_one() {
    const OWN: [&str; 6] =
        ["bash .ci/run", "cargo xtask ", "cargo deny ", "cargo publish --dry-run", "cargo fuzz run ", "cargo check "];
    const PREPARES: [&str; 5] = [
        "cargo install --locked ",
        "cargo update -Zdirect-minimal-versions",
        "rustup ",
        "git config ",
        "sudo apt-get ",
    ];
    for (file, line) in lines() {
        let Some(command) = value(&line, "run") else { continue };
        let known = OWN.iter().chain(&PREPARES).any(|start| command.starts_with(start));
        assert!(known, "{file}: `{command}` is not a command of the project");
    }
}

#[test]
fn every_job_is_in_the_table_of_platforms() {
    let table = include_str!("../../docs/PLATFORMS.md");
    let mut jobs = 0;
    for (file, line) in lines() {
        let name = match value(&line, "name") {
            Some(name) if !["CI", "Nightly"].contains(&name) && !line.starts_with("- name") => name,
            _ => continue,
        };
        let Some(name) = name.split("${{").next().map(str::trim).filter(|name| !name.is_empty()) else { continue };
        assert!(table.contains(&format!("| {name} |")), "{file}: docs/PLATFORMS.md has no row for {name}");
        jobs += 1;
    }
    assert!(jobs > 5, "{jobs} jobs were found");
}
