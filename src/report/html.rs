//! The viewer: one page that needs nothing else.

use crate::pool::snapshot::Snapshot;

const PAGE: &str = include_str!("viewer/page.html");
const STYLE: &str = include_str!("viewer/style.css");
/// In the order in which they build on each other.
const SCRIPTS: [&str; 7] = [
    include_str!("viewer/format.js"),
    include_str!("viewer/model.js"),
    include_str!("viewer/colours.js"),
    include_str!("viewer/map.js"),
    include_str!("viewer/timeline.js"),
    include_str!("viewer/tables.js"),
    include_str!("viewer/main.js"),
];

impl Snapshot {
    /// The snapshot as a page for a browser: the segments as a map, memory over time, who holds it, all counters. One file that
    /// loads nothing. O(blocks and events).
    #[must_use]
    pub fn to_html(&self) -> String {
        page(&[self])
    }

    /// Two snapshots of a pool as one page, side by side: this one as before, the other as after, say, a compaction.
    /// O(blocks and events).
    #[must_use]
    pub fn to_html_beside(&self, later: &Self) -> String {
        page(&[self, later])
    }
}

fn page(snapshots: &[&Snapshot]) -> String {
    let data: Vec<String> = snapshots.iter().map(|snapshot| harmless(&snapshot.to_json())).collect();
    // The data goes in last: nothing in it is taken for a place to put something else.
    let [before, rest] = split(PAGE, "/*STYLE*/");
    let [between, rest] = split(rest, "/*DATA*/");
    let [after, end] = split(rest, "/*SCRIPT*/");
    [before, STYLE, between, "[", &data.join(","), "]", after, &SCRIPTS.join("\n"), end].concat()
}

fn split<'a>(text: &'a str, place: &str) -> [&'a str; 2] {
    let (before, after) = text.split_once(place).expect("the page has a place for each part");
    [before, after]
}

/// JSON in which nothing can end a script, in any way that browsers read one. Inside of JSON these characters occur in texts only,
/// where an escape means the same.
fn harmless(json: &str) -> String {
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
    fn nothing_in_the_data_can_end_its_script() {
        let hostile = "</script><!--<script>&\u{2028}\u{2029}";
        assert_eq!(harmless(hostile), "\\u003c/script\\u003e\\u003c!--\\u003cscript\\u003e\\u0026\\u2028\\u2029");
    }

    #[test]
    fn the_page_loads_nothing_and_has_every_part_once() {
        let snapshot = Snapshot { memory: "/*SCRIPT*/ /*DATA*/".into(), granule: 256, ..Snapshot::default() };
        let html = snapshot.to_html_beside(&snapshot);
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
