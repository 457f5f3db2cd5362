//! The benchmark, and its table on the clipboard.

use crate::browser::Browser;
use crate::{ENTER, Outcome, SOON, press_on, text_of, until, value};
use serde_json::{Value, json};
use std::error::Error;

/// The texts of the table's rows, the heads first, as an expression.
const TABLE: &str = "Array.from(document.getElementById('benchmark-table').rows, (row) => Array.from(row.cells, (cell) => cell.textContent))";

/// Runs the benchmark, during which the training is paused, and copies its table.
pub(crate) fn benchmark(browser: &Browser) -> Outcome {
    browser.run("document.getElementById('benchmark').click()")?;
    let first = "[document.getElementById('benchmark-table').tBodies[0].rows.length, document.getElementById('pause').textContent,
        document.getElementById('benchmark').disabled, document.getElementById('copy').disabled]";
    until(browser, "the first row", SOON, first, |shown| shown[0] != json!(0));
    assert_eq!(
        value(browser, first)[0].as_array().ok_or("a list")?[1..],
        [json!("Continue"), json!(true), json!(true)]
    );
    until(browser, "the benchmark", SOON, &text_of("benchmark-state"), |state| *state == json!("Done."));
    assert_eq!(browser.text("#pause")?, "Pause", "the training goes on");
    let rows = value(browser, TABLE)[0].clone();
    let rows = rows.as_array().ok_or("a list")?;
    assert_eq!(rows.len(), 9);
    assert_eq!(rows[0], json!(["Operation", "Size", "ms", "Rate"]));
    for row in &rows[1..] {
        println!("{row}");
        let numbers = [&row[2], &row[3]].map(|cell| cell.as_str()?.split(' ').next()?.parse::<f64>().ok());
        assert!(numbers.iter().all(|number| *number > Some(0.0)), "{row}");
    }
    copies(browser, rows)
}

/// The clipboard has the table as Markdown; if the browser refuses the clipboard, the table is selected.
fn copies(browser: &Browser, rows: &[Value]) -> Outcome {
    let state = text_of("benchmark-state");
    for name in ["clipboard-read", "clipboard-write"] {
        permit(browser, name, "granted")?;
    }
    press_on(browser, "#copy", &[ENTER])?;
    until(browser, "the copy", SOON, &state, |state| *state == json!("The table is on the clipboard."));
    let text = browser.run("return navigator.clipboard.readText()")?;
    let lines: Vec<&str> = text.as_str().ok_or("a text")?.lines().collect();
    assert!(lines[0].starts_with(&browser.text("#adapter")?) && lines[0].contains("Chrome/"), "{lines:#?}");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let copied: Vec<Value> = lines[2..].iter().map(|line| json!(cells(line))).collect();
    assert_eq!((lines[1], &copied[0], lines[3]), ("", &rows[0], "| --- | --- | ---: | ---: |"));
    assert_eq!(copied[2..], rows[1..]);

    permit(browser, "clipboard-write", "denied")?;
    press_on(browser, "#copy", &[ENTER])?;
    until(browser, "the refusal", SOON, &state, |state| {
        state.as_str().is_some_and(|state| state.starts_with("The browser refused the clipboard"))
    });
    let selected = browser.run("return getSelection().toString()")?;
    assert!(rows[8][0].as_str().is_some_and(|name| selected.as_str().unwrap_or_default().contains(name)), "{selected}");
    browser.run("getSelection().removeAllRanges()")?;
    Ok(())
}

fn permit(browser: &Browser, name: &str, state: &str) -> Result<(), Box<dyn Error>> {
    browser.post("/permissions", &json!({"descriptor": {"name": name}, "state": state}))?;
    Ok(())
}
