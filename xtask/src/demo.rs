//! `cargo xtask demo`: demonstrates the crate with its examples, and ends with a table of its memory use next to PyTorch's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::step::{Run, Step};

/// The examples that need no arguments.
const EXAMPLES: [&str; 3] = ["release", "offload", "training_loop"];

/// The folder of the allocation traces, relative to the root of the checkout.
const TRACES: &str = "tests/data";

/// Builds the examples, runs each, replays the smallest trace on the adapter, and prints the table of all traces.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    let traces =
        traces(&run.folder().join(TRACES)).map_err(|error| format!("cannot list the traces in {TRACES}: {error}"))?;
    if traces.is_empty() {
        return Err(format!("no traces (*.trace.gz) in {TRACES}"));
    }
    for step in steps(&traces) {
        run.step(&step)?;
    }
    Ok(())
}

/// A trace file: its name, and its size on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    name: String,
    bytes: u64,
}

/// The traces in `folder`, sorted by name.
fn traces(folder: &Path) -> io::Result<Vec<Trace>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".trace.gz") {
            found.push(Trace { name, bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// One step builds everything, so that the time of each example excludes building.
fn steps(traces: &[Trace]) -> Vec<Step> {
    let mut build = Step::cargo("build", "build --release");
    for example in EXAMPLES.into_iter().chain(["replay"]) {
        build = build.argument("--example").argument(example);
    }
    let example = |name: &str, title: &str| Step::cargo(title, "run --release --quiet --example").argument(name);

    let mut steps = vec![build];
    steps.extend(EXAMPLES.map(|name| example(name, name)));
    if let Some(smallest) = traces.iter().min_by_key(|trace| trace.bytes) {
        let wgpu = example("replay", "replay on the adapter").argument("--").argument("--memory").argument("wgpu");
        steps.push(wgpu.argument(path_of(smallest)));
    }
    // Last, so that the table is what a person sees at the end.
    let table = example("replay", "memory of the pool next to PyTorch").argument("--").argument("--table");
    steps.push(traces.iter().fold(table, |step, trace| step.argument(path_of(trace))));
    steps
}

fn path_of(trace: &Trace) -> String {
    let path: PathBuf = [TRACES, &trace.name].iter().collect();
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    #[test]
    fn the_demo_builds_once_then_runs_each_example_and_ends_with_the_table() {
        let traces = [Trace { name: "a.trace.gz".into(), bytes: 20 }, Trace { name: "b.trace.gz".into(), bytes: 10 }];
        let lines: Vec<String> = steps(&traces).iter().map(|step| step.to_string().replace('\\', "/")).collect();
        assert_eq!(
            lines,
            [
                "cargo build --release --example release --example offload --example training_loop --example replay",
                "cargo run --release --quiet --example release",
                "cargo run --release --quiet --example offload",
                "cargo run --release --quiet --example training_loop",
                "cargo run --release --quiet --example replay -- --memory wgpu tests/data/b.trace.gz",
                "cargo run --release --quiet --example replay -- --table tests/data/a.trace.gz tests/data/b.trace.gz",
            ]
        );
    }

    #[test]
    fn traces_are_listed_by_name_and_nothing_else_is() {
        let folder = TestFolder::new("traces");
        folder.write("b.trace.gz", "12");
        folder.write("a.trace.gz", "1234");
        folder.write("README.md", "");
        let expected = [Trace { name: "a.trace.gz".into(), bytes: 4 }, Trace { name: "b.trace.gz".into(), bytes: 2 }];
        assert_eq!(traces(folder.path()).expect("the folder is there"), expected);
    }
}
