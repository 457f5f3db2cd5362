//! Rules for the sources of this repository, checked by reading the files: which layer may import which, what each layer may not
//! use, the length of files, the bindings of shaders, the vocabulary, and the names at the top level.
//!
//! `rule_tests` proves each rule on made-up sources that break the rule and on similar ones that do not.

use std::{fs, path::Path};

#[path = "house/counts.rs"]
mod counts;
#[path = "house/dry_runs.rs"]
mod dry_runs;
#[path = "house/errors.rs"]
mod errors;
#[path = "house/names.rs"]
mod names;
#[path = "house/package.rs"]
mod package;
#[path = "house/pages.rs"]
mod pages;
#[path = "house/products.rs"]
mod products;
#[path = "house/rule_tests.rs"]
mod rule_tests;
#[path = "house/rules.rs"]
mod rules;
#[path = "house/source.rs"]
mod source;
#[path = "house/sums.rs"]
mod sums;
#[path = "house/vocabulary.rs"]
mod vocabulary;

/// The folders with sources.
const FOLDERS: [&str; 7] = ["src", "shaders", "tests", "examples", "benches", "fuzz", "xtask"];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Adds each source file below a folder: the path relative to the root of the checkout, with `/` on every platform, and the text.
fn collect(folder: &str, sources: &mut Vec<(String, String)>) {
    collect_files(folder, &[".rs", ".wgsl"], sources);
}

/// Adds each file below a folder whose name has one of the suffixes.
fn collect_files(folder: &str, suffixes: &[&str], files: &mut Vec<(String, String)>) {
    for name in names_in(folder) {
        let path = format!("{folder}/{name}");
        if checkout().join(&path).is_dir() {
            collect_files(&path, suffixes, files);
        } else if suffixes.iter().any(|suffix| path.ends_with(suffix)) {
            let text = read(&path);
            files.push((path, text));
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sorted names in a folder; empty if the folder does not exist.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(checkout().join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_page_of_the_guide_is_a_module_of_the_guide() {
    let declared = pages::declared(&read("src/lib.rs"));
    let mut files = Vec::new();
    collect_files("docs/guide", &[".md"], &mut files);
    assert!(files.len() > 30, "the pages were not read");
    let mut complaints = Vec::new();
    for (path, _) in &files {
        let module = path.trim_start_matches("docs/guide/").trim_end_matches(".md").replace('/', "::");
        if !declared.iter().any(|page| format!("docs/{}", page.file) == *path && page.path == module) {
            complaints.push(format!("{path}: no page `guide::{module}` in src/lib.rs"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn no_page_links_to_a_page_that_another_feature_adds() {
    let pages = pages::declared(&read("src/lib.rs"));
    assert_none(&pages::links_to_missing_pages(&pages, |file| read(&format!("docs/{file}"))));
}

#[test]
fn code_on_the_pages_of_the_guide_is_as_narrow_as_the_page() {
    let mut complaints = Vec::new();
    let files = pages::declared(&read("src/lib.rs")).into_iter().map(|page| page.file);
    for file in files.chain(["crate.md", "crate_allocator.md"].map(str::to_string)) {
        let wide = pages::wide_code(&page(&file));
        complaints.extend(wide.iter().map(|line| format!("docs/{file}:{line}: the code is wider than the page")));
    }
    assert_none(&complaints);
}

#[test]
fn every_error_type_has_a_page_that_mentions_every_variant() {
    let mut sources = Vec::new();
    collect("src", &mut sources);
    let types: Vec<_> = sources.iter().flat_map(|(path, text)| errors::types(path, text)).collect();
    for expected in
        ["Error", "OutOfMemory", "TensorError", "IntoHostError", "GrowthError", "MaxBatchError", "InvariantBroken"]
    {
        assert!(types.iter().any(|error| error.name == expected), "{expected} was not read");
    }
    assert_none(&errors::complaints(&types, |page| fs::read_to_string(checkout().join(page)).ok()));
}

#[test]
fn the_lock_order_is_the_same_wherever_it_is_stated() {
    let places = pages::places_of_locks(&read("src/device/lock.rs"));
    assert!(places.len() == 8 && places[0].starts_with("the GL context"), "{places:?}");
    for page in ["ARCHITECTURE.md", "docs/threads.md"] {
        assert_eq!(pages::lock_order(&read(page)), places, "{page}");
    }
}

#[test]
fn asynchronous_calls_have_the_plain_name() {
    assert_none(&names::complaints(&read("docs/public-api.txt")));
}

#[test]
fn every_public_function_that_waits_says_for_what() {
    let mut sources = Vec::new();
    collect("src", &mut sources);
    let mut complaints = Vec::new();
    for (path, text) in &sources {
        let listed: Vec<&str> =
            pages::WAITING.iter().filter(|(file, _)| file == path).map(|(_, function)| *function).collect();
        let silent = pages::silent_about_waiting(text, &listed);
        complaints.extend(silent.into_iter().map(|complaint| format!("{path}: {complaint}")));
    }
    assert_none(&complaints);
    for (file, _) in pages::WAITING {
        assert!(sources.iter().any(|(path, _)| path == file), "{file} was not read");
    }
}

#[test]
fn every_documentation_starts_with_a_sentence_of_its_own() {
    let mut sources = Vec::new();
    collect("src", &mut sources);
    let complaints = sources.iter().flat_map(|(path, text)| {
        let numbers = pages::references_in_place_of_sentences(text);
        numbers
            .into_iter()
            .map(move |number| format!("{path}:{number}: say what the item does, then refer to the other one"))
    });
    assert_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn the_page_of_accuracies_mentions_every_elementwise_operation() {
    let page = read("docs/guide/numerical_accuracy.md");
    for file in ["src/ops/unary.rs", "src/ops/binary.rs"] {
        let text = read(file);
        let operations = pages::operations(&text);
        assert!(!operations.is_empty(), "{file} has operations");
        assert_none(&pages::unmentioned(&page, operations));
    }
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} violations of the house rules:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_source_follows_the_house_rules() {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        collect(folder, &mut sources);
    }
    // Without any file, every rule would pass.
    for expected in ["src/lib.rs", "src/error/mod.rs", "src/heap/mod.rs", "tests/house.rs", "xtask/src/main.rs"] {
        assert!(sources.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    let complaints: Vec<String> = sources.iter().flat_map(|(path, text)| rules::complaints(path, text)).collect();
    assert_none(&complaints);
    assert_none(&products::unneeded(&sources));
    assert_none(&sums::unneeded(&sources));
}

#[test]
fn every_method_of_a_pool_says_what_it_does_in_a_dry_run() {
    let mut sources = Vec::new();
    collect("src", &mut sources);
    let methods: Vec<_> = sources.iter().flat_map(|(_, text)| dry_runs::methods(text)).collect();
    for expected in ["stats", "trim", "synchronize", "allocate"] {
        assert!(methods.iter().any(|(name, _)| name == expected), "{expected} was not read");
    }
    assert_none(&dry_runs::complaints(&methods));
}

#[test]
fn the_top_level_holds_only_known_names() {
    // `.git/info/exclude`: names that are ignored in this clone only.
    let lists = [".gitignore", ".git/info/exclude"].map(|list| fs::read_to_string(checkout().join(list)));
    let ignored: String = lists.into_iter().flatten().collect();
    assert_none(&rules::top_level(&names_in("."), &ignored));
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
    for expected in ["README.md", "docs/CASES.md", "src/report/viewer/main.js", "shaders/softmax.wgsl", "src/lib.rs"] {
        assert!(texts.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    assert_none(&vocabulary::complaints(&texts, &vocabulary::EXCEPTIONS));
}

#[test]
fn numbers_in_messages_agree_with_their_nouns() {
    let mut sources = Vec::new();
    collect_files("src", &[".rs", ".js"], &mut sources);
    assert_none(&counts::complaints(&sources, &counts::EXCEPTIONS));
}

#[test]
fn every_fuzz_target_has_inputs_and_runs_every_night() {
    let (manifest, workflow) = (read("fuzz/Cargo.toml"), read(".github/workflows/nightly.yml"));
    let targets = manifest.split("[[bin]]").skip(1).filter_map(|entry| entry.split('"').nth(1));
    let nightly = workflow.lines().find_map(|line| line.trim().strip_prefix("target: [")?.strip_suffix(']'));
    let nightly: Vec<&str> = nightly.expect("the workflow lists the targets").split(", ").collect();
    let mut count = 0;
    for target in targets {
        assert!(!names_in(&format!("fuzz/corpus/{target}")).is_empty(), "{target} has no inputs");
        assert!(nightly.contains(&target), "{target} is not in {nightly:?}");
        count += 1;
    }
    assert_eq!(count, nightly.len(), "targets and jobs");
}

#[test]
fn the_package_contains_every_file_that_its_sources_include() {
    let manifest = read("Cargo.toml");
    let patterns = package::patterns(&manifest);
    let mut sources = Vec::new();
    for folder in FOLDERS {
        collect(folder, &mut sources);
    }
    for expected in ["src/lib.rs", "examples/transformer/main.rs", "shaders/lib/pairs.wgsl"] {
        assert!(package::contains(&patterns, expected), "{expected} is not in the package");
        assert!(sources.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    assert_none(&package::complaints(&patterns, &sources));
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
    let unlisted: Vec<_> = cited.iter().filter(|number| !listed.contains(number)).collect();
    assert!(unlisted.is_empty(), "cited numbers that are not in docs/CASES.md: {unlisted:?}");
    let without = |number: &u32| pages::WITHOUT_A_TEST.iter().any(|(case, _)| case == number);
    let missing: Vec<_> = listed.iter().filter(|number| !cited.contains(number) && !without(number)).collect();
    assert!(missing.is_empty(), "cases that no test cites: {missing:?}");
}
