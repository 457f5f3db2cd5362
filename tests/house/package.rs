//! The published package: its sources include only files that it contains, so that its programs and tests compile from it alone.

/// Returns the patterns of `include` in the manifest, which have the form of lines of a `.gitignore`.
pub(crate) fn patterns(manifest: &str) -> Vec<&str> {
    let list = manifest.split("\ninclude = [").nth(1).and_then(|rest| rest.split(']').next());
    list.unwrap_or_default().split('"').skip(1).step_by(2).collect()
}

/// Whether the package contains the file: the last pattern that matches decides, and one after `!` excludes the file.
pub(crate) fn contains(patterns: &[&str], path: &str) -> bool {
    let last = patterns.iter().rev().find(|pattern| matches(pattern.trim_start_matches('!'), path));
    last.is_some_and(|pattern| !pattern.starts_with('!'))
}

/// The three forms of patterns that the manifest uses: a file or folder, `/a*`, and `/a/**/*.b`.
fn matches(pattern: &str, path: &str) -> bool {
    let pattern = pattern.strip_prefix('/').expect("a pattern starts at the root");
    if let Some((folder, suffix)) = pattern.split_once("**/*") {
        return path.starts_with(folder) && path.ends_with(suffix);
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// Returns a complaint for each file that a packaged source includes and that the package lacks.
pub(crate) fn complaints(patterns: &[&str], sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| contains(patterns, path)) {
        for name in included(text) {
            let target = resolved(path, name);
            if !contains(patterns, &target) {
                found.push(format!("{path}: includes {target}, which the package does not contain"));
            }
        }
    }
    found
}

/// The literal paths of modules, texts and bytes that a source includes, outside comments.
fn included(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| {
        ["#[path = \"", "include_str!(\"", "include_bytes!(\"", "include!(\""]
            .into_iter()
            .filter_map(move |start| line.split_once(start)?.1.split('"').next())
    });
    names.collect()
}

/// The path from the root of the checkout of a name that is relative to the folder of a source.
fn resolved(source: &str, name: &str) -> String {
    let mut parts: Vec<&str> = source.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\ninclude = [\"/src\", \"/docs/**/*.md\", \"/LICENSE-*\", \"!/src/tools\"]\n";

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let patterns = patterns(MANIFEST);
        assert_eq!(patterns, ["/src", "/docs/**/*.md", "/LICENSE-*", "!/src/tools"]);
        for path in ["src/lib.rs", "src/tools.rs", "docs/a.md", "docs/guide/b.md", "LICENSE-MIT"] {
            assert!(contains(&patterns, path), "{path}");
        }
        for path in ["src/tools/a.rs", "docs/a.txt", "srcs/lib.rs", "tests/a.md", "README.md"] {
            assert!(!contains(&patterns, path), "{path}");
        }
    }

    #[test]
    fn a_source_that_includes_a_file_from_outside_the_package_is_found() {
        let about = |path: &str, text: &str| complaints(&patterns(MANIFEST), &[(path.into(), text.into())]);
        for (text, target) in [
            ("#[path = \"../../fuzz/a.rs\"]\nmod a;", "fuzz/a.rs"),
            ("    const A: &str = include_str!(\"../../docs/a.txt\");", "docs/a.txt"),
            ("f(include_bytes!(\"../tools/a.bin\"))", "src/tools/a.bin"),
        ] {
            let expected = format!("src/a/b.rs: includes {target}, which the package does not contain");
            assert_eq!(about("src/a/b.rs", text), [expected]);
            assert!(about("src/tools/b.rs", text).is_empty(), "not in the package: {text}");
        }
        for text in ["#[path = \"c.rs\"]", "include_str!(\"../../docs/guide/a.md\")", "/// include_str!(\"../../x\")"] {
            assert!(about("src/a/b.rs", text).is_empty(), "{text}");
        }
    }
}
