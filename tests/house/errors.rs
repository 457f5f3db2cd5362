//! Checks that the guide explains every error type: each has a page, to which its documentation links, and which names each of
//! its variants.

/// Public enums of the error layer without a page, each with the reason.
const WITHOUT_A_PAGE: [(&str, &str); 1] = [("Argument", "names an argument, and no reason")];

/// A public type that explains a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorType<'a> {
    pub(crate) name: &'a str,
    /// The file of the page to which the documentation links.
    pub(crate) page: Option<String>,
    /// Empty for structs.
    pub(crate) variants: Vec<&'a str>,
}

/// The public types of a source that explain a failure: those that implement `std::error::Error`, and all enums of the error layer.
pub(crate) fn types<'a>(path: &str, text: &'a str) -> Vec<ErrorType<'a>> {
    let is_error_layer = path.starts_with("src/error/");
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let (is_enum, rest) = match (line.strip_prefix("pub enum "), line.strip_prefix("pub struct ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        let end = rest.find(|character: char| !character.is_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..end];
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        let above: Vec<&str> = above.copied().collect();
        let derives = |line: &&str| line.starts_with("#[derive(") && line.contains("Error)]");
        let is_error = above.iter().any(derives) || text.contains(&format!("std::error::Error for {name}"));
        if !(is_error || is_enum && is_error_layer) || WITHOUT_A_PAGE.iter().any(|(without, _)| *without == name) {
            continue;
        }
        let page = above.iter().find_map(|line| {
            let (_, target) = line.split_once("](crate::guide::errors")?;
            let (target, _) = target.split_once(')')?;
            Some(format!("docs/guide/errors{}.md", target.replace("::", "/")))
        });
        let body = lines[at + 1..].iter().take_while(|line| **line != "}");
        let variants = if is_enum { body.filter_map(|line| variant(line)).collect() } else { Vec::new() };
        found.push(ErrorType { name, page, variants });
    }
    found
}

/// The name of the variant that a line of an enum declares: a name at the first level of indentation.
fn variant(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase))?;
    let end = rest.find(|character: char| !character.is_alphanumeric())?;
    matches!(rest.as_bytes()[end], b' ' | b'(' | b',').then(|| &rest[..end])
}

/// Complaints about error types whose documentation links to no page, or whose page does not mention the type or a variant. `read`
/// returns the text of a page.
pub(crate) fn complaints(types: &[ErrorType<'_>], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for ErrorType { name, page, variants } in types {
        let Some(page) = page else {
            found.push(format!("`{name}`: the documentation links to no page of `guide::errors`"));
            continue;
        };
        let Some(text) = read(page) else {
            found.push(format!("`{name}`: there is no {page}"));
            continue;
        };
        let names = std::iter::once(name).chain(variants);
        let missing = names.filter(|name| !text.contains(&format!("`{name}`")));
        found.extend(missing.map(|missing| format!("{page}: `{missing}` of `{name}` is not mentioned")));
    }
    found
}

#[test]
fn error_types_are_read_from_sources() {
    let text = "/// A.\n///\n/// See [`a`](crate::guide::errors::a).\n#[derive(Debug, Error)]\n#[non_exhaustive]\npub enum First {\n    /// B.\n    #[error(\"c\")]\n    One,\n    Two(Box<A>),\n}\n\n\
         #[derive(Debug)]\npub struct Third {\n    a: u64,\n}\nimpl std::error::Error for Third {}\n\
         pub struct NoError;\npub enum Fault<E> {\n    Three {\n        a: u64,\n    },\n}\n";
    let first = ErrorType { name: "First", page: Some("docs/guide/errors/a.md".into()), variants: vec!["One", "Two"] };
    let third = ErrorType { name: "Third", page: None, variants: Vec::new() };
    let fault = ErrorType { name: "Fault", page: None, variants: vec!["Three"] };
    assert_eq!(types("src/tensor/a.rs", text), [first, third]);
    assert_eq!(types("src/error/a.rs", text)[2], fault);
    let umbrella =
        "/// [`guide::errors`](crate::guide::errors) has pages.\n#[derive(thiserror::Error)]\npub enum Error {\n}\n";
    assert_eq!(types("src/error/a.rs", umbrella)[0].page.as_deref(), Some("docs/guide/errors.md"));
}

#[test]
fn an_error_without_a_page_or_a_variant_that_its_page_omits_is_refused() {
    let of = |page: Option<&str>, text: &'static str| {
        let error = ErrorType { name: "First", page: page.map(Into::into), variants: vec!["One", "Two"] };
        complaints(&[error], |path| (path == "a.md").then(|| text.to_string()))
    };
    assert_eq!(of(Some("a.md"), "# `First`\n`One`, `Two`"), Vec::<String>::new());
    assert_eq!(of(Some("a.md"), "# `First`\n`One`, `TwoMore`, Two"), ["a.md: `Two` of `First` is not mentioned"]);
    assert_eq!(of(Some("a.md"), "# `Other`\n`One`, `Two`"), ["a.md: `First` of `First` is not mentioned"]);
    assert_eq!(of(None, ""), ["`First`: the documentation links to no page of `guide::errors`"]);
    assert_eq!(of(Some("b.md"), ""), ["`First`: there is no b.md"]);
}
