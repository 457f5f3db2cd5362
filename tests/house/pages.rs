//! Checks that the tests which the pages in `docs` name exist.

use std::collections::BTreeSet;

/// Cases that no test cites, each with the reason.
pub(crate) const WITHOUT_A_TEST: [(u32, &str); 1] = [(
    28,
    "a time: measured by `cargo bench --bench heap` and `--bench pool`, since no test depends on the machine's speed",
)];

/// A page of the guide, as `src/lib.rs` declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The path of the module below `guide`.
    pub(crate) path: String,
    /// The file below `docs`.
    pub(crate) file: String,
    /// The features without which there is no such page.
    features: BTreeSet<String>,
}

/// Returns the pages that a library declares. The pages below a page follow it in braces.
pub(crate) fn declared(library: &str) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    let mut features = BTreeSet::new();
    for line in library.lines().map(str::trim) {
        if let Some(condition) = line.strip_prefix("#[cfg(feature = \"") {
            features.extend(condition.split('"').next().map(str::to_string));
        } else if line == "};" {
            above.pop();
        } else if let Some((name, rest)) = line.split_once(": \"") {
            let Some((file, end)) = rest.split_once('"').filter(|(_, end)| [";", " {"].contains(end)) else { continue };
            let path = above.iter().chain(&[name]).copied().collect::<Vec<_>>().join("::");
            pages.push(Page { path, file: file.to_string(), features: std::mem::take(&mut features) });
            if end == " {" {
                above.push(name);
            }
        }
    }
    pages
}

/// Complaints about links from pages of the guide to pages that do not exist in every build that has the page with the link. `read`
/// returns the text of a page.
pub(crate) fn links_to_missing_pages(pages: &[Page], read: impl Fn(&str) -> String) -> Vec<String> {
    let mut found = Vec::new();
    for Page { file, features, .. } in pages {
        let text = read(file);
        for target in pages {
            let missing = target.features.difference(features).next();
            if let Some(missing) = missing.filter(|_| text.contains(&format!("crate::guide::{})", target.path))) {
                found.push(format!("docs/{file}: without the feature `{missing}` there is no page `{}`", target.path));
            }
        }
    }
    found
}

/// Returns the items of the lock order in a page, without line breaks and final punctuation.
pub(crate) fn lock_order(text: &str) -> Vec<String> {
    let list = text.lines().map(str::trim);
    let list = list.skip_while(|line| !line.starts_with("1. the GL context")).take_while(|line| !line.is_empty());
    let mut items: Vec<String> = Vec::new();
    for line in list {
        match (line.split_once(". "), items.last_mut()) {
            (Some((number, rest)), _) if number.parse::<u32>().is_ok() => items.push(rest.to_string()),
            (_, Some(item)) => *item = format!("{item} {line}"),
            (_, None) => {}
        }
    }
    items.into_iter().map(|item| item.trim_end_matches([';', '.']).to_string()).collect()
}

/// Returns the documentation of each place of a lock in `src/device/lock.rs`, in the form of [`lock_order`].
pub(crate) fn places_of_locks(source: &str) -> Vec<String> {
    let declaration = source.lines().map(str::trim).skip_while(|line| *line != "pub(crate) enum Place {").skip(1);
    let mut places = Vec::new();
    let mut text = String::new();
    for line in declaration.take_while(|line| *line != "}") {
        match line.strip_prefix("/// ") {
            Some(part) if text.is_empty() => text = part.to_string(),
            Some(part) => text = format!("{text} {part}"),
            None => places.push(std::mem::take(&mut text)),
        }
    }
    let in_list = |text: String| {
        let (first, rest) = text.split_at_checked(1).unwrap_or_default();
        format!("{}{}", first.to_lowercase(), rest.trim_end_matches('.'))
    };
    places.into_iter().map(in_list).collect()
}

/// The columns of code that a rendered page shows without a scroll bar.
const COLUMNS: usize = 94;

/// Returns the numbers of the lines in blocks of code that are wider than a rendered page. Hidden lines do not count.
pub(crate) fn wide_code(page: &str) -> Vec<usize> {
    let mut in_code = false;
    let mut wide = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code && !line.starts_with("# ") && line.chars().count() > COLUMNS {
            wide.push(number);
        }
    }
    wide
}

/// Complaints about a page of guarantees: rows without a test, and tests that do not exist in the named file. `read`
/// returns the text of a file of the checkout.
pub(crate) fn guarantees(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        let Some(row) =
            line.strip_prefix("| ").filter(|row| !row.starts_with("guarantee |") && !row.starts_with("---"))
        else {
            continue;
        };
        let tests: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains(".rs::")).collect();
        if tests.is_empty() {
            found.push(format!("line {number}: a guarantee without a test"));
        }
        for test in tests {
            let Some((path, name)) = test.split_once("::") else { continue };
            match read(path) {
                None => found.push(format!("line {number}: there is no {path}")),
                Some(text) if !has_test(&text, name) => found.push(format!("line {number}: {path} has no test {name}")),
                Some(_) => {}
            }
        }
    }
    found
}

/// Whether a source has a test with this name: a function directly after `#[test]` or its form for browsers, or an
/// entry in a list of cases for all memories.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}");
    let is_function = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix(&function).is_some_and(|rest| rest.starts_with('(') || rest.starts_with('<'))
    };
    let Some(at) = lines.iter().position(|line| is_function(line)) else { return false };
    let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    attributes.into_iter().any(|line| ["#[test]", "#[wasm_bindgen_test]"].contains(line))
        || lines.contains(&format!("{name},").as_str())
}

/// The numbers of the cases in a list of them.
pub(crate) fn listed(page: &str) -> Vec<u32> {
    page.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok()).collect()
}

/// The numbers that comments of a source cite, as in `// Case 3.` and `// Cases 24 and 25.`
pub(crate) fn cited(text: &str) -> BTreeSet<u32> {
    let comments = text.lines().filter_map(|line| {
        let comment = line.trim().strip_prefix("// Case")?;
        Some(comment.strip_prefix('s').unwrap_or(comment))
    });
    let numbers = |comment: &str| {
        let words = comment.split([' ', ',', '.', ':', ';']).filter(|word| !word.is_empty());
        let numbers = words.map_while(|word| if word == "and" { Some(None) } else { word.parse().ok().map(Some) });
        numbers.flatten().collect::<Vec<u32>>()
    };
    comments.flat_map(numbers).collect()
}

/// The functions in a table of operations: rows of a macro such as `    add, add_, ADD, same("x + y"), …`.
pub(crate) fn operations(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("    ")?.split_once(", ")?;
        let (in_place, rest) = rest.split_once(", ")?;
        let (operation, _) = rest.split_once(", ")?;
        let is_constant = operation.chars().all(|character| character.is_ascii_uppercase() || character == '_');
        let is_name = name.chars().all(|character| character.is_ascii_lowercase() || "_0123456789".contains(character));
        (is_constant && is_name && in_place.strip_suffix('_') == Some(name)).then_some(name)
    });
    rows.collect()
}

/// The names that a page does not mention as `name`.
pub(crate) fn unmentioned<'a>(page: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let missing = names.into_iter().filter(|name| !page.contains(&format!("`{name}`")));
    missing.map(|name| format!("`{name}` is not mentioned")).collect()
}

/// Functions that can wait although they are neither asynchronous nor named `…_blocking`: those of the table in
/// `docs/threads.md`.
pub(crate) const WAITING: [(&str, &str); 15] = [
    ("src/pool/ladder.rs", "allocate"),
    ("src/pool/reserve.rs", "allocate_accepted"),
    ("src/pool/mod.rs", "submit"),
    ("src/pool/trim.rs", "trim"),
    ("src/pool/compact.rs", "compact"),
    ("src/pool/pressure.rs", "pressure"),
    ("src/pool/snapshot.rs", "snapshot"),
    ("src/pool/pin.rs", "pin"),
    ("src/tensor/mod.rs", "binding"),
    ("src/pool/storage.rs", "write"),
    ("src/pool/storage.rs", "clear"),
    ("src/pool/storage.rs", "copy_to"),
    ("src/pool/download.rs", "add"),
    ("src/ops/kernel.rs", "kernel"),
    ("src/ops/kernel.rs", "dispatch"),
];

/// The public functions of a source that are asynchronous or named `…_blocking`, and those of `also`, whose documentation does
/// not say for what the function waits.
pub(crate) fn silent_about_waiting(text: &str, also: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut missing: Vec<&str> = also.to_vec();
    let mut silent = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let (is_async, rest) = match (line.strip_prefix("pub async fn "), line.strip_prefix("pub fn ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let name = rest.split(['(', '<']).next().unwrap_or_default();
        let is_listed = missing.iter().position(|listed| *listed == name).map(|at| missing.swap_remove(at)).is_some();
        if !(is_async || is_listed || name.ends_with("_blocking")) {
            continue;
        }
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        let mut docs: Vec<&str> = above.filter_map(|line| line.strip_prefix("/// ")).collect();
        docs.reverse();
        let docs = docs.join(" ").to_lowercase();
        if !docs.contains("wait") && !docs.contains("blocks the calling thread") {
            silent.push(format!("`{name}` does not say for what it waits"));
        }
    }
    silent.extend(missing.iter().map(|name| format!("there is no public function `{name}`")));
    silent
}

/// The numbers of the lines in which a documentation starts with a reference to another item, in place of a sentence that says what
/// this item does.
pub(crate) fn references_in_place_of_sentences(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut before = "";
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if (line.starts_with("/// As [`") || line.starts_with("/// As `")) && !before.starts_with("///") {
            found.push(number);
        }
        before = line;
    }
    found
}

#[test]
fn a_documentation_that_only_refers_is_noticed() {
    let text =
        "/// As [`read`], but blocks.\nfn a() {}\n\n/// Reads.\n///\n/// # Errors\n/// As [`read`].\nfn b() {}\n";
    assert_eq!(references_in_place_of_sentences(text), [1]);
}

#[test]
fn a_function_that_waits_and_does_not_say_so_is_noticed() {
    let of = |text: &str| silent_about_waiting(text, &["write"]);
    let source = |docs: &str, function: &str| {
        format!("    {docs}\n    #[track_caller]\n    {function} {{}}\npub fn other() {{}}\n")
    };
    for right in [
        "/// Waits for the device.",
        "/// One.\n    /// Blocks and\n    /// waits.",
        "/// Reads, and blocks the\n    /// calling thread.",
    ] {
        assert_eq!(of(&source(right, "pub fn write(&self)")), Vec::<String>::new(), "{right}");
    }
    let silent =
        source("/// Writes.", "pub async fn read<T>(&self)") + &source("/// Reads.", "pub fn read_blocking(&self)");
    let found = ["`read` does not say for what it waits", "`read_blocking` does not say for what it waits"];
    assert_eq!(of(&silent), [found[0], found[1], "there is no public function `write`"]);
    assert_eq!(of(&source("/// Writes.", "pub fn write(&self)")), ["`write` does not say for what it waits"]);
}

#[test]
fn pages_below_pages_are_read_with_their_features() {
    let library = "#[cfg(feature = \"b\")]\na: \"a.md\";\n    #[doc = \"[x]: y\"]\nc: \"c.md\" {\n#[cfg(feature = \"d\")]\n\
         e: \"c/e.md\";\n};\nf: \"f.md\";\n";
    let page = |path: &str, file: &str, features: &[&str]| Page {
        path: path.into(),
        file: file.into(),
        features: features.iter().map(|feature| (*feature).to_string()).collect(),
    };
    let pages =
        [page("a", "a.md", &["b"]), page("c", "c.md", &[]), page("c::e", "c/e.md", &["d"]), page("f", "f.md", &[])];
    assert_eq!(declared(library), pages);
    let linked = |from: &'static str, to: &'static str| {
        links_to_missing_pages(
            &pages,
            |file| if file == from { format!("[x](crate::guide::{to})") } else { String::new() },
        )
    };
    assert_eq!(linked("c.md", "c::e"), ["docs/c.md: without the feature `d` there is no page `c::e`"]);
    assert_eq!(linked("c/e.md", "a"), ["docs/c/e.md: without the feature `b` there is no page `a`"]);
    assert_eq!([linked("c/e.md", "c"), linked("f.md", "c"), linked("a.md", "a")], [const { Vec::<String>::new() }; 3]);
}

#[test]
fn operations_are_read_from_sources() {
    let text = "table! {\n    add, add_, ADD, same(\"x + y\"),\n        \"exact\";\n    div_floor, div_floor_, DIV_FLOOR, division(\n        \"x\");\n    let a, b, C, d;\n}\n";
    assert_eq!(operations(text), ["add", "div_floor"]);
    assert_eq!(unmentioned("`add`, `adds`", ["add", "div"]), ["`div` is not mentioned"]);
}

#[test]
fn a_guarantee_without_an_existing_test_is_refused() {
    let text = "#[test]\n#[should_panic]\nfn a_test() {}\nlist! {\n    over_all,\n}\nfn over_all<S>() {}\nfn no_test() {}\n\
         #[wasm_bindgen_test]\nasync fn in_a_page() {}\n";
    let read = |path: &str| (path == "tests/a.rs").then(|| text.to_string());
    let page = |tests: &str| format!("| guarantee | tests |\n| --- | --- |\n| It holds. | {tests} |\n");
    for right in ["`tests/a.rs::a_test`", "`tests/a.rs::over_all`, `tests/a.rs::a_test`", "`tests/a.rs::in_a_page`"] {
        assert_eq!(guarantees(&page(right), read), Vec::<String>::new(), "{right}");
    }
    let wrong = [
        ("", "line 3: a guarantee without a test"),
        ("`tests/b.rs::a_test`", "line 3: there is no tests/b.rs"),
        ("`tests/a.rs::no_test`", "line 3: tests/a.rs has no test no_test"),
        ("`tests/a.rs::a_tes`", "line 3: tests/a.rs has no test a_tes"),
    ];
    for (tests, complaint) in wrong {
        assert_eq!(guarantees(&page(tests), read), [complaint]);
    }
}

#[test]
fn citations_are_read_from_comments_only() {
    let text = "// Case 3.\n    // Cases 24 and 25, and the driver's own report.\n// Case 8: every alignment of 16.\nlet case = 9; // Case\n";
    assert_eq!(cited(text).into_iter().collect::<Vec<_>>(), [3, 8, 24, 25]);
    assert_eq!(listed("**x**\n1. One.\n2. Two. 3. no\nno. 4\n"), [1, 2]);
}

#[test]
fn code_that_is_wider_than_a_page_is_found() {
    let page = |line: &str| format!("{}\n```rust\n{line}\n```\n", "a".repeat(COLUMNS + 1));
    let arrows = "→".repeat(COLUMNS);
    assert_eq!(wide_code(&page(&arrows)), Vec::<usize>::new());
    assert_eq!(wide_code(&page(&format!("{arrows}→"))), [3]);
    assert_eq!(wide_code(&page(&format!("# {arrows}→"))), Vec::<usize>::new());
}
