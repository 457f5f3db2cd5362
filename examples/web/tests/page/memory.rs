//! The buttons that act on the pool's memory: what they answer, and what the totals, the map and the table of holders then show.

use crate::browser::Browser;
use crate::{ENTER, Outcome, SOON, STEPS, click, press_on, text_of, until, value};
use serde_json::{Value, json};
use std::error::Error;

const BACKSPACE: &str = "\u{e003}";
const MIB: f64 = 1_048_576.0;
/// What the button leaks.
const LEAK: f64 = 16.0 * MIB;

/// Parses an amount as the page shows it, such as `2.5 MiB`.
fn amount(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let unit = ["B", "KiB", "MiB", "GiB"].iter().position(|&known| known == unit)?;
    Some(number.parse::<f64>().ok()? * 1024_f64.powi(i32::try_from(unit).ok()?))
}

/// Returns the bytes that the page shows in an element.
fn shown(browser: &Browser, id: &str) -> Result<f64, Box<dyn Error>> {
    let text = value(browser, &text_of(id))[0].clone();
    Ok(text.as_str().and_then(amount).ok_or(format!("{id} shows {text}"))?)
}

/// Waits until an element shows an amount, as precisely as the page shows amounts.
#[track_caller]
fn until_shown(browser: &Browser, id: &str, wanted: f64) {
    let what = format!("{wanted} bytes in {id}");
    until(browser, &what, SOON, &text_of(id), |text| {
        text.as_str().and_then(amount).is_some_and(|now| (now - wanted).abs() <= 0.11 * MIB)
    });
}

/// The texts of the row of the table of holders with this label, as an expression.
fn holder(label: &str) -> String {
    format!(
        "Array.from(document.querySelectorAll('#holders tbody tr'), (row) => Array.from(row.cells, (cell) => cell.textContent))
            .find((cells) => cells[1] === {label:?}) ?? []"
    )
}

/// The two amounts of an answer that ends with `X → Y reserved.`
fn fall(told: &str) -> Option<[f64; 2]> {
    let (before, now) = told.strip_suffix(" reserved.")?.rsplit_once(" → ")?;
    let words: Vec<&str> = before.rsplitn(3, ' ').collect();
    Some([amount(&format!("{} {}", words.get(1)?, words[0]))?, amount(now)?])
}

/// Each button while the training is paused, so that nothing else changes the totals.
pub(crate) fn actions(browser: &Browser) -> Outcome {
    browser.run("document.getElementById('pause').click()")?;
    assert_eq!(browser.text("#pause")?, "Continue");
    // The first answer comes after the step that was begun.
    click(browser, "[data-action=compact]")?;
    leaks_and_trims(browser)?;
    relieves_pressure(browser)?;
    refuses(browser)?;
    limits(browser)?;
    browser.run("document.getElementById('pause').click()")?;
    Ok(())
}

fn leaks_and_trims(browser: &Browser) -> Outcome {
    let live = shown(browser, "allocated")?;
    click(browser, "[data-action=leak]")?;
    let told = click(browser, "[data-action=leak]")?;
    assert!(told.starts_with("2 blocks are leaked, 32.0 MiB"), "{told}");
    until_shown(browser, "allocated", live + 2.0 * LEAK);
    until(browser, "the holder of both leaks", SOON, &holder("deliberate leak"), |row| row[3] == "2");
    let row = value(browser, &holder("deliberate leak"))[0].clone();
    assert!(row[0].as_str().is_some_and(|site| site.contains("src/lib.rs:")), "{row}");
    assert_eq!(row[2], "32.0 MiB");
    // The legend of the map names the same line, and the map has as many segments as the totals.
    let legend = "Array.from(document.querySelectorAll('#legend li'), (item) => item.textContent)";
    let legend = value(browser, legend)[0].clone();
    let site = row[0].as_str().unwrap_or_default();
    assert!(legend.as_array().is_some_and(|items| items.iter().any(|item| names(item, site))), "{legend}: {site}");
    let (segments, map) = (browser.text("#segments")?, value(browser, MAP)[0].clone());
    assert!(map.as_str().is_some_and(|map| map.starts_with(&format!("Map: {segments} segments"))), "{map}");

    let reserved = shown(browser, "reserved")?;
    click(browser, "[data-action=drop_leaks]")?;
    until_shown(browser, "allocated", live);
    assert!((shown(browser, "reserved")? - reserved).abs() < 1.0, "freed bytes stay reserved");
    let told = click(browser, "[data-action=trim]")?;
    assert!(told.starts_with("trim() released ") && !told.starts_with("trim() released 0"), "{told}");
    let [before, now] = fall(&told).ok_or("the answer has two amounts")?;
    assert!((before - reserved).abs() < 1.0 && now <= before - 2.0 * LEAK, "{told}");
    until_shown(browser, "reserved", now);
    assert!(shown(browser, "peak")? >= before, "{told}");
    until(browser, "the table without the leak", SOON, &holder("deliberate leak"), |row| *row == json!([]));
    Ok(())
}

/// While the page trains and validates, which changes the segments, the map has as many of them as the totals count.
pub(crate) fn the_map_follows_the_totals(browser: &Browser) {
    let begin = value(browser, STEPS)[0].as_u64().unwrap_or_default();
    let shown = format!("[{}, {MAP}, {STEPS}]", text_of("segments"));
    until(browser, "20 further steps", 100, &shown, |shown| {
        let [segments, map] = [0, 1].map(|place| shown[place].as_str().unwrap_or_default());
        assert!(map.starts_with(&format!("Map: {segments} segments")), "{segments} segments are counted. {map}");
        shown[2].as_u64() >= Some(begin + 20)
    });
}

/// The description of the map, as an expression.
pub(crate) const MAP: &str = "document.querySelector('#maps canvas').getAttribute('aria-label')";

fn names(item: &Value, site: &str) -> bool {
    item.as_str().is_some_and(|item| item.contains(site) && item.contains("32.0 MiB in 2"))
}

/// Compaction keeps the allocated bytes, and a memory warning releases what is idle.
fn relieves_pressure(browser: &Browser) -> Outcome {
    let live = shown(browser, "allocated")?;
    click(browser, "[data-action=leak]")?;
    let told = click(browser, "[data-action=compact]")?;
    assert!(told.starts_with("compact() moved "), "{told}");
    until_shown(browser, "allocated", live + LEAK);
    click(browser, "[data-action=drop_leaks]")?;
    let told = click(browser, "[data-action=pressure]")?;
    assert!(told.starts_with("A critical memory warning: ") && told.contains("moved"), "{told}");
    let [before, now] = fall(&told).ok_or("the answer has two amounts")?;
    assert!(now <= before - LEAK, "{told}");
    until_shown(browser, "reserved", now);
    until_shown(browser, "allocated", live);
    Ok(())
}

/// A refusal is explained, and changes nothing that the page shows.
fn refuses(browser: &Browser) -> Outcome {
    let totals = "Array.from(document.querySelectorAll('#allocated, #reserved, #segments, #limit'), (total) => total.textContent)";
    let before = value(browser, totals)[0].clone();
    let told = click(browser, "[data-action=refuse]")?;
    assert!(told.contains("requested") && told.contains("limit"), "{told}");
    // The totals are shown again after the answer, and the next answer comes after that.
    click(browser, "[data-action=drop_leaks]")?;
    assert_eq!(value(browser, totals)[0], before);
    Ok(())
}

/// A limit that is typed is shown and is kept: a leak beyond it is refused.
fn limits(browser: &Browser) -> Outcome {
    press_on(browser, "#limit-input", &["4", "8", ENTER])?;
    until(browser, "the limit", SOON, &text_of("limit"), |limit| *limit == json!("48.0 MiB"));
    let told = browser.text("#answer")?;
    assert!(told.starts_with("The pool reserves at most 48.0 MiB"), "{told}");
    let mut leaks = 0;
    let told = loop {
        let told = click(browser, "[data-action=leak]")?;
        if !told.contains("leaked") {
            break told;
        }
        leaks += 1;
        assert!(leaks < 3, "{told}");
    };
    assert!(leaks > 0 && told.contains("16.0 MiB") && told.contains("limit"), "{told}");
    let wanted = leaks.to_string();
    until(browser, "the leaks that fit", SOON, &holder("deliberate leak"), |row| row[3].as_str() == Some(&wanted));
    assert!(shown(browser, "reserved")? <= 48.0 * MIB);
    click(browser, "[data-action=drop_leaks]")?;
    click(browser, "[data-action=trim]")?;
    press_on(browser, "#limit-input", &[BACKSPACE, BACKSPACE, ENTER])?;
    until(browser, "no limit", SOON, &text_of("limit"), |limit| *limit == json!("none"));
    Ok(())
}

/// A limit that is too low pauses the training, which continues without it.
pub(crate) fn a_low_limit_pauses(browser: &Browser) -> Outcome {
    let limit = |mib: &str| {
        browser.run(&format!(
            "const input = document.getElementById('limit-input');
            input.value = '{mib}';
            input.dispatchEvent(new Event('change'))"
        ))
    };
    limit("1")?;
    until(browser, "the pause", SOON, &text_of("pause"), |button| *button == json!("Continue"));
    assert!(browser.text("#answer")?.contains("limit"), "{}", browser.text("#answer")?);
    limit("0")?;
    until(browser, "no limit", SOON, &text_of("limit"), |limit| *limit == json!("none"));
    let before = value(browser, STEPS)[0].as_u64();
    browser.run("document.getElementById('pause').click()")?;
    until(browser, "further steps", SOON, STEPS, |steps| steps.as_u64() > before);
    Ok(())
}

/// A new model is shown also while the training is paused, and the map is described as it is drawn.
pub(crate) fn a_new_model_while_paused(browser: &Browser) -> Outcome {
    browser.run("document.getElementById('pause').click()")?;
    browser.run("document.getElementById('restart').click()")?;
    let shown = format!("[{STEPS}, {}, {}]", text_of("loss"), text_of("spoken"));
    until(browser, "the new model", SOON, &shown, |shown| {
        shown[0] == json!(0)
            && shown[1] == json!("")
            && shown[2].as_str().is_some_and(|text| text.starts_with("Step 0:"))
    });
    let before = value(browser, MAP)[0].clone();
    // The first may fill a hole, so that there are as many blocks as before.
    for _ in 0..4 {
        click(browser, "[data-action=leak]")?;
    }
    until(browser, "the description of the map with more blocks", SOON, MAP, |now| *now != before);
    click(browser, "[data-action=drop_leaks]")?;
    browser.run("document.getElementById('pause').click()")?;
    until(browser, "steps of the new model", SOON, STEPS, |steps| steps.as_u64() > Some(0));
    Ok(())
}
