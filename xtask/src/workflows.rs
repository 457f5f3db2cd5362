//! Tests of `.github/workflows`: jobs run the commands that people run, install what those need, and pin their actions.

use std::{fs, path::Path};

use crate::{Command, Target};

/// The names and texts of the workflows.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    let mut files = Vec::new();
    for file in fs::read_dir(folder).expect("there are workflows") {
        let path = file.expect("a file of the checkout").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(&path).expect("workflows are text")));
    }
    files
}

/// Each line of the workflows, with the name of its file.
fn lines() -> Vec<(String, String)> {
    let lines = |(name, text): (String, String)| {
        text.lines().map(|line| (name.clone(), line.trim().to_string())).collect::<Vec<_>>()
    };
    files().into_iter().flat_map(lines).collect()
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

/// Returns what a workflow has beyond the right to read: other permissions, or credentials that a checkout keeps.
fn excess(text: &str) -> Option<&'static str> {
    if text.matches("permissions:").count() != 1 || !text.contains("\npermissions:\n  contents: read\n\n") {
        return Some("permissions other than `contents: read` for all jobs");
    }
    let mut checkouts = text.split("uses: actions/checkout@").skip(1).map(|rest| rest.lines().nth(1));
    let keeps = checkouts.any(|next| next.is_none_or(|line| line.trim() != "with: { persist-credentials: false }"));
    keeps.then_some("a checkout that keeps its credentials")
}

#[test]
fn workflows_may_read_alone_and_keep_no_credentials() {
    for (file, text) in files() {
        assert_eq!(excess(&text), None, "{file}");
        for (right, wrong) in [
            ("contents: read", "contents: write"),
            ("persist-credentials: false", "persist-credentials: true"),
            ("    steps:", "    permissions: write-all\n    steps:"),
        ] {
            assert!(excess(&text.replacen(right, wrong, 1)).is_some(), "{file}: {wrong} is not noticed");
        }
    }
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
        if let Err(mistake) = own_command(command) {
            panic!("{file}: `{command}`: {mistake}");
        }
    }
}

/// Parses a command line if it is one of `cargo xtask`.
fn own_command(line: &str) -> Result<Option<(Command, Target)>, String> {
    let line = if line == "bash .ci/run" { "cargo xtask test" } else { line };
    let Some(arguments) = line.strip_prefix("cargo xtask") else { return Ok(None) };
    let parsed = crate::parse(arguments.split_whitespace().map(str::to_string))?;
    Ok(parsed.map(|arguments| (arguments.command, arguments.target)))
}

/// The steps of each job, which are its actions and commands in order, with the file and the name of the job.
fn jobs(file: &str, text: &str) -> Vec<(String, Vec<String>)> {
    let mut jobs: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().skip_while(|line| *line != "jobs:") {
        let is_job = line.starts_with("  ") && !line[2..].starts_with([' ', '#', '-']);
        if let Some(job) = line.trim().strip_suffix(':').filter(|_| is_job) {
            jobs.push((format!("{file}, {job}"), Vec::new()));
        }
        let step = value(line.trim(), "run").or_else(|| value(line.trim(), "uses"));
        if let (Some((_, steps)), Some(step)) = (jobs.last_mut(), step) {
            steps.push(step.to_string());
        }
    }
    jobs
}

/// Returns what a job lacks: each job installs its compiler before the cache asks for the version, and before a command the
/// components and programs that the command uses.
fn lacking(steps: &[String]) -> Option<String> {
    let installs = |before: usize, what: &str| steps[..before].iter().any(|step| step.contains(what));
    for (at, step) in steps.iter().enumerate() {
        if step.starts_with("Swatinem/rust-cache@") && !installs(at, INSTALLS) {
            return Some(format!("`{INSTALLS}` before the cache"));
        }
        let command = own_command(step).unwrap_or(None);
        let needs: &[&str] = match command {
            Some((Command::Test, Target::Native)) => {
                &["rustfmt", "clippy", "cargo install --locked ${{ env.NEXTEST }}"]
            }
            Some((Command::Features, _)) => &["clippy"],
            Some((Command::Api, _)) => &["cargo install --locked cargo-public-api@"],
            Some((Command::Tsan, _)) => &["rustup toolchain install nightly --profile minimal --component rust-src"],
            _ if step.starts_with("cargo deny ") => &["cargo install --locked cargo-deny@"],
            _ if step.starts_with("cargo fuzz ") => &["cargo install --locked cargo-fuzz"],
            _ => &[],
        };
        if let Some(missing) = needs.iter().find(|need| !installs(at, need)) {
            return Some(format!("`{missing}` before `{step}`"));
        }
    }
    let has_cache = steps.iter().any(|step| step.starts_with("Swatinem/rust-cache@"));
    (!has_cache).then(|| "a cache of what cargo builds".to_string())
}

/// The hosted machines have their components for one toolchain only, which is none of the pinned ones. In this form the command is the
/// same in the shells of all platforms.
const INSTALLS: &str = "rustup toolchain install ${{ env.RUSTUP_TOOLCHAIN }} --profile minimal --no-self-update";

#[test]
fn every_job_installs_what_its_commands_need() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows");
    let mut count = 0;
    for file in ["ci.yml", "nightly.yml"] {
        let text = fs::read_to_string(folder.join(file)).expect("the workflow is there");
        for (job, steps) in jobs(file, &text) {
            if let Some(missing) = lacking(&steps) {
                panic!("{job} lacks {missing}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count} jobs were found");
}

#[test]
fn a_job_that_lacks_a_component_is_noticed() {
    let cache = "Swatinem/rust-cache@0";
    let with = |components: &str, rest: &[&str]| {
        let first = [format!("{INSTALLS}{components}"), cache.to_string()];
        lacking(&first.into_iter().chain(rest.iter().map(|step| (*step).to_string())).collect::<Vec<_>>())
    };
    let nextest = "cargo install --locked ${{ env.NEXTEST }}";
    let both = " --component rustfmt,clippy";
    assert_eq!(with(both, &[nextest, "bash .ci/run"]), None);
    assert_eq!(with("", &[nextest, "bash .ci/run"]), Some("`rustfmt` before `bash .ci/run`".to_string()));
    assert_eq!(with("", &["cargo xtask features"]), Some("`clippy` before `cargo xtask features`".to_string()));
    assert_eq!(with(both, &["cargo xtask test"]), Some(format!("`{nextest}` before `cargo xtask test`")));
    assert_eq!(with("", &["cargo xtask test --target web --short"]), None);
    assert!(lacking(&[cache.to_string(), INSTALLS.to_string()]).is_some());
    assert!(lacking(&[INSTALLS.to_string()]).is_some());
}

#[test]
fn a_command_that_xtask_does_not_have_is_noticed() {
    assert_eq!(own_command("cargo xtask nonsense"), Err("unknown argument `nonsense`".to_string()));
    assert_eq!(
        own_command("cargo xtask demo --short"),
        Err("--short belongs to test --target web and --target windows".to_string())
    );
    assert_eq!(own_command("bash .ci/run"), Ok(Some((Command::Test, Target::Native))));
    assert_eq!(own_command("cargo deny check"), Ok(None));
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
