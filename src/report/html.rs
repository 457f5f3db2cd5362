//! The viewer: a self-contained HTML page.

use crate::pool::snapshot::Snapshot;

const PAGE: &str = include_str!("viewer/page.html");
const STYLE: &str = include_str!("viewer/style.css");
/// In the order of their dependencies.
const SCRIPTS: [&str; 8] = [
    include_str!("viewer/format.js"),
    include_str!("viewer/model.js"),
    include_str!("viewer/colours.js"),
    include_str!("viewer/map.js"),
    include_str!("viewer/timeline.js"),
    include_str!("viewer/tables.js"),
    include_str!("viewer/plans.js"),
    include_str!("viewer/main.js"),
];

impl Snapshot {
    /// Returns the snapshot as a self-contained HTML page: a map of the segments, memory over time, holders, and all
    /// counters. The page loads no other file. O(blocks + events).
    #[must_use]
    pub fn to_html(&self) -> String {
        page(&[self])
    }

    /// Returns two snapshots of a pool as one HTML page, side by side: this snapshot as "before" and `later` as
    /// "after", for example around a compaction. O(blocks + events).
    #[must_use]
    pub fn to_html_comparison(&self, later: &Self) -> String {
        page(&[self, later])
    }
}

fn page(snapshots: &[&Snapshot]) -> String {
    let data: Vec<String> = snapshots.iter().map(|snapshot| escaped(&snapshot.to_json())).collect();
    // The data is inserted last, so that placeholders within the data are not replaced.
    let [before, rest] = split(PAGE, "/*STYLE*/");
    let [between, rest] = split(rest, "/*DATA*/");
    let [after, end] = split(rest, "/*SCRIPT*/");
    [before, STYLE, between, "[", &data.join(","), "]", after, &SCRIPTS.join("\n"), end].concat()
}

fn split<'a>(text: &'a str, place: &str) -> [&'a str; 2] {
    let (before, after) = text.split_once(place).expect("the page has a place for each part");
    [before, after]
}

/// Escapes the characters with which JSON could end a script element in HTML. In JSON these characters occur in strings
/// only, where an escape sequence is equivalent.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_cannot_end_its_script_element() {
        let hostile = "</script><!--<script>&\u{2028}\u{2029}";
        assert_eq!(escaped(hostile), "\\u003c/script\\u003e\\u003c!--\\u003cscript\\u003e\\u0026\\u2028\\u2029");
    }

    #[test]
    fn the_page_loads_no_other_file_and_contains_every_part_once() {
        let snapshot = Snapshot { memory: "/*SCRIPT*/ /*DATA*/".into(), granule: 256, ..Snapshot::default() };
        let html = snapshot.to_html_comparison(&snapshot);
        assert_eq!(html.matches("/*SCRIPT*/ /*DATA*/").count(), 2, "in the data, untouched");
        assert_eq!(html.matches("</script>").count(), 2);
        for part in SCRIPTS.iter().chain([&STYLE]) {
            assert_eq!(html.matches(part).count(), 1);
        }
        for outside in ["http://", "https://", "src=", "@import", "url(", "fetch(", "import(", "innerHTML", "eval("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("default-src 'none'"));
    }
}
