//! Checks that the messages on the guide's pages of errors (`docs/guide/errors`) are those that the errors print.
//!
//! A page prints messages in blocks of text, and each of them is constructed here with the same numbers. A line that is indented by four
//! spaces continues the one before, since a page shows about 94 columns; no message has a line that starts so.

mod heap;
mod memory;
#[cfg(feature = "tensor")]
mod tensors;

use std::fmt::Display;

/// The messages of several errors.
fn messages<E: Display, const N: usize>(errors: [E; N]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Asserts that the blocks of text on a page consist of the given messages, in any order and each once.
fn assert_printed(page: &str, messages: &[String]) {
    let found = differences(page, messages);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The messages that a page does not print, and the lines of its blocks of text that are part of no message.
fn differences(page: &str, messages: &[String]) -> Vec<String> {
    let mut printed: Vec<String> = Vec::new();
    let mut is_text = false;
    for line in page.lines() {
        match line {
            "```text" => is_text = true,
            "```" => is_text = false,
            _ if is_text => match (line.strip_prefix("    "), printed.last_mut()) {
                (Some(rest), Some(before)) => *before += &format!(" {rest}"),
                _ => printed.push(line.to_string()),
            },
            _ => {}
        }
    }
    let mut found = Vec::new();
    for message in messages {
        let lines: Vec<&str> = message.lines().collect();
        match printed.windows(lines.len()).position(|window| window == lines) {
            Some(at) => drop(printed.drain(at..at + lines.len())),
            None => found.push(format!("the page does not print: {message}")),
        }
    }
    found.extend(printed.iter().map(|line| format!("no error prints: {line}")));
    found
}

#[test]
fn a_message_that_differs_from_its_page_is_noticed() {
    let page =
        "# A\n```text\none\n  two and\n    more\n```\nno message\n```rust\nlet code;\n```\n```text\nthree\n```\n";
    let of = |messages: &[&str]| differences(page, &messages.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(of(&["three", "one\n  two and more"]), Vec::<String>::new());
    assert_eq!(of(&["one\n  two and more"]), ["no error prints: three"]);
    assert_eq!(of(&["three", "one\n  two and more", "three"]), ["the page does not print: three"]);
    let found = ["the page does not print: one\n  too", "no error prints: one", "no error prints:   two and more"];
    assert_eq!(of(&["three", "one\n  too"]), found);
}
