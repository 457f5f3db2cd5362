//! Every operation of the crate has a row in the table, or is called by name in one of these files.

use super::table::{BINARY, COMPARISONS, UNARY};
use std::collections::BTreeSet;
use std::path::Path;

/// Operations without arithmetic on elements, and those that draw random numbers, which have tests of their own.
const NO_ARITHMETIC: [&str; 20] = [
    "contiguous",
    "copied",
    "copy_",
    "t",
    "rand",
    "randn",
    "rand_like",
    "randn_like",
    "ones",
    "ones_like",
    "zeros_like",
    "empty_like",
    "full_like",
    "stack",
    "flatten",
    "read_blocking",
    "item_blocking",
    "into_host_blocking",
    "to_text_blocking",
    "item",
];
/// Not operations on tensors.
const OTHERS: [&str; 11] = [
    "kernel",
    "workgroup_size",
    "dispatch",
    "run",
    "run_into",
    "step",
    "fuse",
    "philox4x32_10",
    "uniform",
    "normal",
    "number",
];

const TESTS: [&str; 7] = [
    include_str!("binary.rs"),
    include_str!("choices.rs"),
    include_str!("casts.rs"),
    include_str!("reductions.rs"),
    include_str!("images.rs"),
    include_str!("unary.rs"),
    include_str!("half.rs"),
];

/// The sources under a folder, but for their tests.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(std::fs::read_to_string(&path).expect("it is text"));
        }
    }
}

/// The names of public functions that are written out.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.match_indices("pub fn ").filter_map(|(at, found)| {
        let name = &source[at + found.len()..];
        let name = &name[..name.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?];
        (!name.is_empty()).then_some(name)
    })
}

/// Whether a line is a comment, or empty.
fn is_passed_over(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with("//")
}

/// The entries of a macro's call, each as its comma-separated parts.
fn entries<'a>(source: &'a str, call: &str) -> Vec<Vec<&'a str>> {
    let Some(start) = source.find(call) else { return Vec::new() };
    let body = &source[start + call.len()..];
    let end = ["\n}", " }\n"].iter().filter_map(|end| body.find(end)).min();
    let body = &body[..end.expect("the call ends")];
    let without_comments = |entry: &'a str| {
        let lines = entry.split_inclusive('\n');
        let skipped: usize = lines.take_while(|line| is_passed_over(line)).map(str::len).sum();
        &entry[skipped..]
    };
    let entries =
        body.split(';').map(without_comments).map(|entry| entry.split(',').map(str::trim).collect::<Vec<_>>());
    entries.filter(|entry| !entry[0].is_empty()).collect()
}

/// Every operation: written out, or made by a macro.
fn operations() -> BTreeSet<String> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops"), &mut all);
    let mut found = BTreeSet::new();
    for source in &all {
        found.extend(functions(source).map(String::from));
        // A call, and how many of an entry's parts are names of functions.
        let calls = [("\nunary_operations! {", 2), ("\nbinary_operations! {", 2), ("\ncomparisons! {", 1)];
        for (call, names) in calls {
            for entry in entries(source, call) {
                // What follows a semicolon in a text is no name, nor is a formula.
                let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
                let is_name = |part: &&&str| part.chars().all(is_letter);
                let names = entry.iter().take(names).filter(is_name);
                found.extend(names.map(|name| (*name).to_string()));
            }
        }
    }
    found
}

// Case 64.
#[test]
fn every_operation_is_tested_with_special_values() {
    let found = operations();
    assert!(
        found.len() > 100 && ["tanh", "tanh_", "pow_", "where_cond", "fold"].iter().all(|name| found.contains(*name))
    );
    let mut known: BTreeSet<String> = NO_ARITHMETIC.iter().chain(&OTHERS).map(|name| (*name).to_string()).collect();
    known.extend(UNARY.iter().flat_map(|row| [row.name.to_string(), format!("{}_", row.name)]));
    for name in BINARY.iter().map(|row| row.name) {
        known.extend([name.to_string(), format!("{name}_")]);
    }
    known.extend(COMPARISONS.iter().map(|row| row.name.to_string()));
    let is_called = |name: &String| {
        // Iterators have some of these names: what an operation takes first is a size or axes.
        let argument = if ["fold", "sum"].contains(&name.as_str()) { "[" } else { "" };
        let calls = [format!(".{name}({argument}"), format!("::{name}({argument}")];
        TESTS.iter().any(|test| calls.iter().any(|call| test.contains(call)))
    };
    let missing: Vec<&String> = found.iter().filter(|name| !known.contains(*name) && !is_called(name)).collect();
    assert!(missing.is_empty(), "operations without special values: {missing:?}");
}
