//! The house and its floors, held by reading the sources: who may import whom, what each floor may not know, how long a
//! file may be, which bindings a shader may have, and what lies at the top of the checkout.
//!
//! Each law is first shown to complain about made-up offenders (`offenders`), and only then believed about the crate.

use std::{fs, path::Path};

#[path = "house/laws.rs"]
mod laws;
#[path = "house/offenders.rs"]
mod offenders;
#[path = "house/pages.rs"]
mod pages;
#[path = "house/source.rs"]
mod source;
#[path = "house/vocabulary.rs"]
mod vocabulary;

/// Where sources are.
const FOLDERS: [&str; 7] = ["src", "shaders", "tests", "examples", "benches", "fuzz", "xtask"];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds each source below a folder: its path relative to the root of the checkout, with `/` on every system, and its text.
fn collect(folder: &str, sources: &mut Vec<(String, String)>) {
    collect_files(folder, &[".rs", ".wgsl"], sources);
}

/// Adds each file below a folder whose name has one of the endings.
fn collect_files(folder: &str, endings: &[&str], files: &mut Vec<(String, String)>) {
    for name in names_in(folder) {
        let path = format!("{folder}/{name}");
        if checkout().join(&path).is_dir() {
            collect_files(&path, endings, files);
        } else if endings.iter().any(|ending| path.ends_with(ending)) {
            let text = read(&path);
            files.push((path, text));
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names in a folder, in order; none where there is no such folder.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(checkout().join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "the house has {} faults:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_source_follows_the_house_rules() {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        collect(folder, &mut sources);
    }
    // A law that is shown no file is kept by all of them.
    for expected in ["src/lib.rs", "src/error/mod.rs", "src/heap/mod.rs", "tests/house.rs", "xtask/src/main.rs"] {
        assert!(sources.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    let complaints: Vec<String> = sources.iter().flat_map(|(path, text)| laws::complaints(path, text)).collect();
    assert_none(&complaints);
}

#[test]
fn the_top_level_holds_only_known_names() {
    // What one person keeps out of their own clone counts as ignored, too.
    let lists = [".gitignore", ".git/info/exclude"].map(|list| fs::read_to_string(checkout().join(list)));
    let ignored: String = lists.into_iter().flatten().collect();
    assert_none(&laws::top_level(&names_in("."), &ignored));
}

fn page(name: &str) -> String {
    read(&format!("docs/{name}"))
}

#[test]
fn prose_and_names_use_standard_terms() {
    let mut texts = Vec::new();
    for folder in FOLDERS.into_iter().chain(["docs"]) {
        collect_files(folder, &[".rs", ".wgsl", ".md", ".js", ".html", ".css", ".toml"], &mut texts);
    }
    texts.extend(names_in(".").into_iter().filter(|name| name.ends_with(".md")).map(|name| {
        let text = read(&name);
        (name, text)
    }));
    for expected in ["README.md", "docs/CASES.md", "src/report/viewer/main.js", "shaders/fill.wgsl", "src/lib.rs"] {
        assert!(texts.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    assert_none(&vocabulary::complaints(&texts, &vocabulary::EXCEPTIONS));
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let text = page("GUARANTEES.md");
    assert_none(&pages::guarantees(&text, |path| fs::read_to_string(checkout().join(path)).ok()));
    assert!(text.matches(".rs::").count() > 50, "the page was not read");
}

#[test]
fn every_case_is_cited_by_a_test_and_every_citation_is_a_case() {
    let listed = pages::listed(&page("CASES.md"));
    assert_eq!(listed, (1..=68).collect::<Vec<u32>>());
    let mut sources = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        collect(folder, &mut sources);
    }
    let cited: std::collections::BTreeSet<u32> = sources.iter().flat_map(|(_, text)| pages::cited(text)).collect();
    let strays: Vec<_> = cited.iter().filter(|number| !listed.contains(number)).collect();
    assert!(strays.is_empty(), "cited, and no case: {strays:?}");
    let without = |number: &u32| pages::WITHOUT_A_TEST.iter().any(|(case, _)| case == number);
    let missing: Vec<_> = listed.iter().filter(|number| !cited.contains(number) && !without(number)).collect();
    assert!(missing.is_empty(), "cases that no test cites: {missing:?}");
}
