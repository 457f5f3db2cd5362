//! `cargo xtask conformance`: PyTorch's operator database and ONNX's node tests against the crate.
//!
//! Their packages come from PyPI, at pinned versions, into a virtual environment below `target/`. They make the cases,
//! with results in float64; the example `conformance` runs them; and the counts per operation go into
//! `docs/CONFORMANCE.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::step::{Run, Step};

/// The folder of all files that this command makes.
const FOLDER: &str = "target/conformance";
/// The page with the counts.
const PAGE: &str = "docs/CONFORMANCE.md";
/// The generators and the versions of their packages.
const SOURCES: &str = "conformance";
/// The suites: a name, and the generator that writes its cases.
const SUITES: [(&str, &str); 3] =
    [("torch", "torch_cases.py"), ("onnx", "onnx_cases.py"), ("special", "special_cases.py")];
/// The Python to begin with. Everything after runs in the virtual environment's own.
const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };
/// The requirements of the generators: the oldest Python with packages of these versions, and pip, which is a separate package on
/// Debian.
const NEEDS: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";

/// Installs the packages and generates the cases where that was not done before for the sources as they are now, runs the cases,
/// and writes the counts; of one operation it prints them alone.
pub(crate) fn run(run: &mut Run, only: Option<&str>) -> Result<(), String> {
    let sources = run.folder().join(SOURCES);
    let packages = texts(&sources, |name| name.starts_with("requirements") || name == "stubs.py")?;
    if !is_done(run, "packages", &packages) {
        check_python(run.folder())?;
        for step in install() {
            run.step(&step).map_err(|failure| format!("{failure}; it needs PyPI, and on Linux gcc and binutils"))?;
        }
        done(run, "packages", &packages)?;
    }
    let all = texts(&sources, |name| name != "table.py")?;
    for (suite, generator) in SUITES {
        if !is_done(run, suite, &all) {
            run.step(&generate(suite, generator))?;
            done(run, suite, &all)?;
        }
    }
    for (suite, _) in SUITES {
        run.step(&cases(suite, only))?;
    }
    run.step(&table(only))
}

/// Whether there is a Python that can do it.
fn check_python(folder: &Path) -> Result<(), String> {
    let step = Step::program("python", PYTHON, "-c").argument(NEEDS);
    let status = step.command(folder).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(format!("{PYTHON} of version 3.11 or later with its modules venv and pip is missing (Debian: python3-venv)"))
}

/// The texts of some of the files in a folder, one after the other.
fn texts(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<String, String> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() && is_wanted(&entry.file_name().to_string_lossy()) {
            files.push(entry.path());
        }
    }
    files.sort();
    let read = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>();
    read.map(|texts| texts.concat()).map_err(failed)
}

/// Whether something was done with these sources.
fn is_done(run: &Run, name: &str, sources: &str) -> bool {
    fs::read_to_string(mark(run.folder(), name)).is_ok_and(|known| known == sources)
}

/// Notes that something was done with these sources.
fn done(run: &Run, name: &str, sources: &str) -> Result<(), String> {
    let path = mark(run.folder(), name);
    let written = fs::create_dir_all(run.folder().join(FOLDER)).and_then(|()| fs::write(&path, sources));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn mark(folder: &Path, name: &str) -> PathBuf {
    folder.join(FOLDER).join(format!("{name}.done"))
}

fn python(name: &str, arguments: &str) -> Step {
    let program = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    // Without packages of the user, and without cache files next to the sources.
    Step::program(name, &format!("{FOLDER}/venv/{program}"), arguments)
        .variable("PYTHONNOUSERSITE", "1")
        .variable("PYTHONDONTWRITEBYTECODE", "1")
}

fn install() -> Vec<Step> {
    let mut steps = vec![
        Step::program("virtual environment", PYTHON, &format!("-m venv --clear {FOLDER}/venv")),
        python("packages", "-m pip install --quiet --requirement conformance/requirements.txt"),
        // Without what it depends on: for Linux that would be CUDA, which nothing here uses.
        python("PyTorch", "-m pip install --quiet --no-deps --requirement conformance/requirements-torch.txt"),
    ];
    if cfg!(target_os = "linux") {
        steps.push(python("stand-ins for CUDA", &format!("conformance/stubs.py {FOLDER}/venv")));
    }
    steps
}

fn generate(suite: &str, generator: &str) -> Step {
    python(&format!("cases of {suite}"), &format!("{SOURCES}/{generator} {FOLDER}/{suite}"))
}

fn results(suite: &str) -> String {
    format!("{FOLDER}/{suite}.jsonl")
}

fn cases(suite: &str, only: Option<&str>) -> Step {
    let arguments = format!("run --quiet --example conformance -- {FOLDER}/{suite} {}", results(suite));
    let step = Step::cargo(&format!("running {suite}"), &arguments);
    only.map_or(step.clone(), |only| step.argument("--only").argument(only))
}

fn table(only: Option<&str>) -> Step {
    let step = python("counts", &format!("{SOURCES}/table.py"));
    let step = match only {
        Some(only) => step.argument("--only").argument(only),
        None => step.argument("--write").argument(PAGE),
    };
    SUITES.iter().fold(step, |step, (suite, _)| step.argument(format!("{FOLDER}/{suite}")).argument(results(suite)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the checkout")
    }

    #[test]
    fn every_file_that_the_steps_name_is_in_the_checkout() {
        let mut steps = install();
        steps.extend(SUITES.map(|(suite, generator)| generate(suite, generator)));
        steps.push(table(None));
        let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let words = lines.iter().flat_map(|line| line.split_whitespace());
        let files: Vec<&str> =
            words.filter(|word| word.starts_with("conformance/") || word.starts_with("docs/")).collect();
        assert!(files.len() >= 6, "{files:?}");
        for file in files {
            assert!(root().join(file).is_file(), "{file}");
        }
        assert!(root().join("examples/conformance/main.rs").is_file());
    }

    #[test]
    fn one_operation_alone_does_not_write_the_page() {
        let (all, one) = (table(None).to_string(), table(Some("softmax")).to_string());
        assert!(all.contains(&format!("--write {PAGE}")) && !all.contains("--only"), "{all}");
        assert!(one.contains("--only softmax") && !one.contains(PAGE), "{one}");
        assert!(cases("onnx", Some("softmax")).to_string().ends_with(" --only softmax"));
    }

    #[test]
    fn what_was_done_with_other_sources_is_done_again() {
        let folder = TestFolder::new("conformance");
        let run = Run::new("conformance", folder.path().to_path_buf());
        assert!(!is_done(&run, "torch", "one"));
        done(&run, "torch", "one").expect("the mark can be written");
        assert!(is_done(&run, "torch", "one") && !is_done(&run, "torch", "two") && !is_done(&run, "onnx", "one"));
    }

    #[test]
    fn every_package_has_a_pinned_version() {
        let requirements =
            texts(&root().join(SOURCES), |name| name.starts_with("requirements")).expect("they are there");
        let packages = requirements.lines().filter(|line| !line.starts_with('#'));
        let name = |line: &'_ str| line.split(';').next().is_some_and(|name| name.contains("=="));
        let unpinned: Vec<&str> = packages.clone().filter(|line| !name(line)).collect();
        assert!(packages.count() > 10 && unpinned.is_empty(), "{unpinned:?}");
    }
}
