//! Numbers before nouns in messages: `error::Count` writes `1 hole` and `2 holes`, where `{} holes` would write `1 holes`.

/// Plural nouns that a message may have after a number.
const NOUNS: [&str; 34] = [
    "allocations",
    "axes",
    "batches",
    "blocks",
    "buffers",
    "bytes",
    "calls",
    "channels",
    "copies",
    "dimensions",
    "dispatches",
    "elements",
    "entries",
    "events",
    "groups",
    "guards",
    "handles",
    "holes",
    "kernels",
    "moves",
    "outputs",
    "parameters",
    "pins",
    "requests",
    "segments",
    "sites",
    "steps",
    "storages",
    "tensors",
    "threads",
    "times",
    "views",
    "warnings",
    "workgroups",
];

/// Messages whose number is never 1, and forms of files: the path, a part of the line, and the reason.
pub(crate) const EXCEPTIONS: [(&str, &str, &str); 9] = [
    ("src/error/plan.rs", "{count} buffers are more than", "above a limit"),
    ("src/error/tensor.rs", "{views} views are above", "above a limit"),
    ("src/error/tensor.rs", "{elements} elements are above", "above a limit"),
    ("src/error/device.rs", "{workgroups:?} workgroups are above", "three numbers"),
    ("src/error/kernel.rs", "{given:?} workgroups are above", "three numbers"),
    ("src/ops/compile.rs", "{} bytes of text are", "above a limit"),
    ("src/ops/compile.rs", "{} bytes of a @size", "above a limit"),
    ("src/report/dry_run.rs", "{start}{bytes} bytes (", "the form of a budget file"),
    ("src/report/dry_run.rs", "  {} bytes in {}, {}", "the form of a budget file"),
];

/// Complaints about numbers that a noun in the plural follows, directly or after an adjective, in the strings of sources of the
/// library, which are given by path. Comments, and assertions of unit tests, are not messages.
pub(crate) fn complaints(sources: &[(String, String)], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let mut used = vec![false; exceptions.len()];
    let mut found = Vec::new();
    for (path, text) in sources {
        let is_test_file = path.ends_with("tests.rs") || path.contains("/tests/");
        let library = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (line, code) in (1..).zip(library.lines()).filter(|_| !is_test_file) {
            let code = code.trim_start();
            if code.starts_with("//") || !has_counted_plural(code) {
                continue;
            }
            let exception = exceptions.iter().position(|(of, part, _)| of == path && code.contains(part));
            match exception {
                Some(exception) => used[exception] = true,
                None => found.push(format!("{path}:{line}: a number before a noun in the plural; use `Count`: {code}")),
            }
        }
    }
    let unused = exceptions.iter().zip(used).filter(|(_, used)| !used);
    found.extend(unused.map(|((path, part, _), _)| format!("{path}: no line has \"{part}\"; remove the exception")));
    found
}

/// Whether a line has a placeholder, `{…}` or `${…}`, and after it a noun in the plural, or an adjective and such a noun. Constants,
/// which are in capitals, and fields of a form, as `holes={}`, are no such numbers.
fn has_counted_plural(line: &str) -> bool {
    line.match_indices("} ").any(|(at, _)| {
        let placeholder = line[..at].rsplit('{').next().unwrap_or_default();
        let is_constant = !placeholder.is_empty() && placeholder.chars().all(|c| c == '_' || c.is_ascii_uppercase());
        let after = &line[at + 2..];
        let end =
            |from: usize| from + after[from..].find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len() - from);
        let first_end = end(0);
        let first = &after[..first_end];
        let is_noun = |word: &str, end: usize| NOUNS.contains(&word) && !after[end..].starts_with('=');
        let is_second = || {
            let has_space = !first.is_empty() && after[first_end..].starts_with(' ') && !LINKS.contains(&first);
            has_space && is_noun(&after[first_end + 1..end(first_end + 1)], end(first_end + 1))
        };
        !is_constant && (is_noun(first, first_end) || is_second())
    })
}

/// Words between a placeholder and a noun that make the noun the object of a sentence, or belong to another noun.
const LINKS: [&str; 10] = ["and", "declares", "for", "has", "holds", "in", "of", "returns", "takes", "with"];

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Vec<String> {
        complaints(&[("src/a.rs".into(), text.into())], &[])
    }

    #[test]
    fn a_number_before_a_plural_is_found() {
        for text in [
            "\"{} holes\"",
            "\"{count} idle segments of\"",
            "`${count(n)} events`",
            "    \"{n:?} axes,\"",
            "\"and {} more segments\"",
        ] {
            assert_eq!(about(text).len(), 1, "{text}");
        }
        for text in
            ["Count(n, \"hole\")", "/// {n} holes", "\"{name} has blocks\"", "\"{n} of blocks\"", "if a {} blocks.b()"]
        {
            let wanted = usize::from(text.starts_with("if"));
            assert_eq!(about(text).len(), wanted, "{text}");
        }
        assert!(about("#[cfg(test)]\nmod tests {\n \"{} holes\"").is_empty());
    }

    #[test]
    fn an_exception_has_to_be_needed() {
        let source = [("src/a.rs".to_string(), "\"{} holes are above\"".to_string())];
        assert!(complaints(&source, &[("src/a.rs", "holes are above", "a limit")]).is_empty());
        assert_eq!(complaints(&source, &[("src/a.rs", "blocks", "a limit")]).len(), 2);
    }
}
