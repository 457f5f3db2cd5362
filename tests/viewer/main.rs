//! Tests of the viewer page in a real browser: the numbers equal the pool's, pointer and keyboard work, and scrolling
//! and zooming are smooth.
//!
//! Skipped if the machine has no chromedriver, unless `WGPU_POOL_REQUIRE_BROWSER` is set. Screenshots are written to
//! `target/viewer`.

#[path = "../common/mod.rs"]
mod common;

mod browser;

use browser::Browser;
use common::Outcome;
use common::random::Random;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use wgpu_pool::{AccountingMemory, AllocateError, Bytes, Pool, PoolOptions, RepeatOptions, Snapshot, Storage};

const HOSTILE: &str =
    "</script><script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">";
const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";
const TAB: &str = "\u{e004}";

/// The directory for pages and screenshots.
fn output(name: &str) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/viewer");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

#[track_caller]
fn weights(pool: &Pool<AccountingMemory>, bytes: u64) -> Result<Storage<AccountingMemory>, AllocateError> {
    pool.allocate(bytes)
}

/// A pool and its live blocks.
type Lived = (Pool<AccountingMemory>, Vec<Storage<AccountingMemory>>);

/// Creates a pool with two segments, the second of which consists mostly of holes. Returns it with the live blocks and
/// an earlier snapshot.
fn small() -> Result<Lived, Box<dyn std::error::Error>> {
    let options = PoolOptions {
        small_limit: 0,
        smallest_segment: Some(8 << 20),
        compaction_share: 0.0,
        ..PoolOptions::default()
    };
    let pool = Pool::new(AccountingMemory::new(), options)?;
    pool.start_history(100);
    let scope = pool.scope("load");
    let mut live = vec![weights(&pool, 24 << 20)?];
    live[0].set_label(HOSTILE);
    drop(scope);
    for number in 0..8_u64 {
        let storage = pool.allocate((1 << 20) - number)?;
        storage.set_label(format!("activation {number}"));
        live.push(storage);
    }
    for index in [7, 5, 4, 2] {
        live.remove(index);
    }
    pool.set_limit(Some(40 << 20));
    pool.allocate(64 << 20).expect_err("it is above the limit");
    Ok((pool, live))
}

/// Asserts that the console has no messages.
#[track_caller]
fn assert_silent(browser: &Browser) {
    let said: Vec<Value> = browser.console().expect("the log can be read");
    assert!(said.is_empty(), "{said:#?}");
}

/// Returns the texts in a column of a table, from top to bottom.
fn column(browser: &Browser, table: &str, place: usize) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let cells = browser.run(&format!(
        "return Array.from(document.querySelectorAll('{table} tbody tr'), (row) => row.children[{place}].textContent)"
    ))?;
    Ok(cells.as_array().ok_or("a list")?.iter().filter_map(|cell| Some(cell.as_str()?.to_string())).collect())
}

#[test]
fn the_page_shows_the_pools_numbers_and_answers() -> Outcome {
    let Some(browser) = Browser::open(1280, 1000)? else { return Ok(()) };
    let (pool, live) = small()?;
    let snapshot = pool.snapshot();
    let file = output("small.html")?;
    std::fs::write(&file, snapshot.to_html())?;
    browser.prefer("light")?;
    browser.show(&file)?;

    // The totals equal the counters.
    let stats = pool.stats();
    for (name, counter) in [
        ("requested", stats.requested),
        ("allocated", stats.allocated),
        ("active", stats.active),
        ("reserved", stats.reserved),
    ] {
        let shown = browser.text(&format!("[data-total={name}]"))?;
        assert_eq!(shown, format!("{}peak {}", Bytes(counter.current), Bytes(counter.peak)), "{name}");
    }
    assert!(browser.text("[data-total=limit]")?.starts_with("40.0 MiB"));
    let split = browser.run("return document.getElementById('split').getAttribute('aria-label')")?;
    assert_eq!(
        split,
        json!(format!(
            "live {}, rounding {}, cached, not releasable {}",
            Bytes(stats.requested.current),
            Bytes(stats.allocated.current - stats.requested.current),
            Bytes(stats.inactive_split.current)
        ))
    );

    // Labels are shown as text, not interpreted as HTML.
    assert_eq!(browser.run("return document.title")?, json!("wgpu-pool memory"));
    assert!(column(&browser, "#holders", 1)?.contains(&HOSTILE.to_string()));

    // Pointing at a block shows its details.
    browser.point("#maps canvas", 400.0, 14.0)?;
    let details = browser.text("#details")?;
    assert!(details.starts_with("24.0 MiB, segment 0 at 0 B\n") && details.contains("in load"), "{details}");
    assert!(details.contains("allocated by tests/viewer/main.rs:"), "{details}");
    let scale = browser.run("return page.maps[0].scale()")?.as_f64().ok_or("pixels a byte")?;
    browser.point("#maps canvas", 150.0 + 1.5 * f64::from(1 << 20) * scale, 40.0)?;
    assert!(browser.text("#details")?.starts_with("Hole of 1.0 MiB, segment 1"), "{}", browser.text("#details")?);

    // The arrow keys do, too; Enter zooms to the block, and Escape shows everything.
    browser.run("document.querySelector('#maps canvas').focus(); page.maps[0].select(0)")?;
    browser.press(&[RIGHT])?;
    assert!(browser.text("#details")?.contains("“activation 0”"));
    browser.press(&[LEFT, RIGHT, RIGHT, ENTER])?;
    assert!(browser.run("return page.maps[0].zoom")?.as_f64().is_some_and(|zoom| zoom > 1.0));
    browser.press(&[ESCAPE])?;
    assert_eq!(browser.run("return page.maps[0].zoom")?, json!(1));

    // A filter shows the number of matches, and dims the other blocks.
    browser.run("const box = document.getElementById('filter'); box.value = 'activation'; box.dispatchEvent(new Event('input'))")?;
    let matching: u64 = live[1..].iter().map(Storage::bytes).sum();
    assert_eq!(browser.text("#matching")?, format!("Matching: {} in 4 blocks", Bytes(matching)));
    assert_eq!(
        browser.run("return Array.from(page.maps[0].filter.matches).reduce((sum, one) => sum + one)")?,
        json!(4)
    );
    browser
        .run("const box = document.getElementById('filter'); box.value = ''; box.dispatchEvent(new Event('input'))")?;
    assert_eq!(browser.text("#matching")?, "");

    // The history ends with the current state.
    let last = browser
        .run("return [page.history.allocated.at(-1), page.history.reserved.at(-1), page.history.allocated[0]]")?;
    assert_eq!(last, json!([stats.allocated.current, stats.reserved.current, 0]));
    assert!(browser.text("#time-details")?.contains("out of memory 64.0 MiB"));
    assert_silent(&browser);
    Ok(())
}

#[test]
fn tables_sort_by_pointer_and_keyboard_and_the_range_selects_the_growth() -> Outcome {
    let Some(browser) = Browser::open(1280, 1000)? else { return Ok(()) };
    let (pool, _live) = small()?;
    let file = output("tables.html")?;
    std::fs::write(&file, pool.snapshot().to_html())?;
    browser.show(&file)?;
    let labels = ["activation 0", "activation 2", "activation 5", "activation 7"];
    let by_size = column(&browser, "#holders", 1)?;
    assert_eq!(by_size[0], HOSTILE);
    assert_eq!(by_size[1..], labels, "each is some bytes smaller than the one before it");
    browser.run("document.querySelectorAll('#holders th button')[1].focus()")?;
    browser.press(&[ENTER])?;
    assert_eq!(column(&browser, "#holders", 1)?[1..], labels);
    assert_eq!(
        browser.run("return document.querySelectorAll('#holders th')[1].getAttribute('aria-sort')")?,
        json!("ascending")
    );
    browser.press(&[ENTER])?;
    assert_eq!(column(&browser, "#holders", 1)?[0], "activation 7");
    assert_eq!(
        browser.run("return document.querySelectorAll('#holders th')[1].getAttribute('aria-sort')")?,
        json!("descending")
    );
    browser.press(&[TAB, ENTER])?;
    assert_eq!(column(&browser, "#holders", 2)?[0], "24.0 MiB");

    // From the event after the first segment and block.
    let all = column(&browser, "#growth", 1)?;
    assert_eq!(all, ["+24.0 MiB", "+4.0 MiB"]);
    browser
        .run("const box = document.getElementById('from'); box.value = '1'; box.dispatchEvent(new Event('input'))")?;
    assert_eq!(column(&browser, "#growth", 1)?, ["+4.0 MiB"]);
    assert_eq!(column(&browser, "#growth", 2)?, ["4"]);
    assert_eq!(column(&browser, "#growth", 3)?, ["8"]);
    assert_silent(&browser);
    Ok(())
}

/// A pool with planned steps, and a snapshot in one of them.
fn planned() -> Result<Snapshot, Box<dyn std::error::Error>> {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let step = pool.repeat(RepeatOptions::default());
    let mut snapshot = Snapshot::default();
    let mut state = None;
    for run in 0..5 {
        step.run(|| -> Result<(), AllocateError> {
            let mut layers = Vec::new();
            for layer in 1..=6_u64 {
                layers.push(weights(&pool, layer << 20)?);
            }
            if run == 4 {
                snapshot = pool.snapshot();
            }
            while let Some(layer) = layers.pop() {
                drop(pool.allocate(layer.bytes() / 2)?);
            }
            state = Some(pool.allocate(3 << 20)?);
            Ok(())
        })??;
    }
    Ok(snapshot)
}

#[test]
fn the_plan_of_a_step_is_drawn_next_to_the_blocks_in_its_arena() -> Outcome {
    let Some(browser) = Browser::open(1280, 1400)? else { return Ok(()) };
    let snapshot = planned()?;
    let [plan] = snapshot.plans.as_slice() else { return Err("there is one loop".into()) };
    assert_eq!((plan.requests.len(), plan.arena.len(), plan.lower_bound), (13, 1, 24 << 20));
    let file = output("planned.html")?;
    std::fs::write(&file, snapshot.to_html())?;
    browser.prefer("light")?;
    browser.show(&file)?;
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")?;
    let heading = browser.text("#plans h3")?;
    assert!(
        heading.starts_with("Loop 1: 13 requests, 1 of them outside the arena; 24.0 MiB for a peak of 24.0 MiB"),
        "{heading}"
    );
    assert_eq!(column(&browser, "#tables .table:nth-of-type(2)", 1)?.len(), 13);
    // A point of the plan, and the block that is at the same address in the arena.
    let width = browser.run("return page.plans[0].planWidth()")?.as_f64().ok_or("pixels")?;
    let events = browser.run("return page.plans[0].events")?.as_f64().ok_or("a number")?;
    let wanted = plan.requests.iter().find(|request| request.segment.is_some() && request.offset == 0).ok_or("none")?;
    browser.point("#plans canvas", width * (f64::from(wanted.lower) + 0.5) / events, 215.0)?;
    let details = browser.text("#plan-details")?;
    assert!(details.starts_with(&format!("{} planned at 0 B of the arena", Bytes(wanted.bytes))), "{details}");
    assert!(details.contains("allocated by tests/viewer/main.rs:"), "{details}");
    browser.point("#plans canvas", width + 50.0, 215.0)?;
    let details = browser.text("#plan-details")?;
    assert!(details.contains("MiB, segment ") && details.contains("allocated by"), "{details}");
    browser.screenshot(&output("planned.png")?)?;
    assert_silent(&browser);
    Ok(())
}

#[test]
fn two_snapshots_are_shown_side_by_side_in_dark_and_light_themes_and_on_a_phone() -> Outcome {
    let Some(browser) = Browser::open(1280, 1500)? else { return Ok(()) };
    let (pool, _live) = small()?;
    pool.set_limit(None);
    // An idle segment, which the trim releases.
    drop(pool.allocate(32 << 20)?);
    let before = pool.snapshot();
    pool.compact()?;
    pool.trim();
    let after = pool.snapshot();
    let file = output("comparison.html")?;
    std::fs::write(&file, before.to_html_comparison(&after))?;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme)?;
        browser.show(&file)?;
        assert_eq!(browser.run("return document.documentElement.dataset.theme")?, json!(scheme));
        let titles =
            browser.run("return Array.from(document.querySelectorAll('#maps h3'), (title) => title.textContent)")?;
        let [was, is] = [&before, &after].map(|snapshot| Bytes(snapshot.stats.reserved.current));
        let live = Bytes(after.stats.requested.current);
        let [segments, left] = [&before, &after].map(|snapshot| snapshot.segments.len());
        let wanted = json!([
            format!("Before: {segments} segments, {was} reserved for {live}"),
            format!("After: {left} segments, {is} reserved for {live}")
        ]);
        assert!(before.stats.reserved.current > after.stats.reserved.current);
        assert_eq!(titles, wanted);
        let change = after.stats.reserved.current.abs_diff(before.stats.reserved.current);
        assert!(browser.text("[data-total=reserved]")?.contains(&format!("−{} since before", Bytes(change))));
        browser.screenshot(&output(&format!("comparison-{scheme}.png"))?)?;
    }
    browser.run("document.getElementById('theme').click()")?;
    assert_eq!(browser.run("return document.documentElement.dataset.theme")?, json!("light"));
    browser
        .run("const box = document.getElementById('which'); box.value = '0'; box.dispatchEvent(new Event('change'))")?;
    let was = Bytes(before.stats.reserved.current);
    assert!(browser.text("[data-total=reserved]")?.starts_with(&format!("{was}peak")));

    // The page is not wider than a phone screen.
    browser.resize(360, 740)?;
    let wide = browser.run("return [document.documentElement.scrollWidth, innerWidth]")?;
    assert!(wide[0].as_u64() <= wide[1].as_u64() && wide[1] == json!(360), "{wide}");
    browser.screenshot(&output("phone.png")?)?;
    assert_silent(&browser);
    Ok(())
}

/// A long history with very many blocks.
fn large() -> Result<Snapshot, Box<dyn std::error::Error>> {
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let mut random = Random::new(100);
    let mut live = (0..100_000).map(|_| pool.allocate(random.size(64 << 10))).collect::<Result<Vec<_>, _>>()?;
    pool.start_history(100_000);
    for _ in 0..50_000 {
        let place = random.below(live.len());
        live[place] = pool.allocate(random.size(64 << 10))?;
    }
    Ok(pool.snapshot())
}

#[test]
fn a_hundred_thousand_events_and_blocks_are_drawn_at_once() -> Outcome {
    let Some(browser) = Browser::open(1280, 1500)? else { return Ok(()) };
    let snapshot = large()?;
    assert_eq!((snapshot.events.len(), snapshot.allocated_blocks().count()), (100_000, 100_000));
    let file = output("large.html")?;
    std::fs::write(&file, snapshot.to_html())?;
    browser.show(&file)?;
    assert_eq!(
        browser.text("[data-total=requested]")?,
        format!("{}peak {}", Bytes(snapshot.stats.requested.current), Bytes(snapshot.stats.requested.peak))
    );
    // There are no DOM elements per block or event.
    let elements = browser.run("return document.querySelectorAll('*').length")?;
    assert!(elements.as_u64().is_some_and(|elements| elements < 5000), "{elements}");
    let times = browser.run(
        "const [map] = page.maps;
        const time = (act) => { const start = performance.now(); act(); return performance.now() - start; };
        const median = (act) => Array.from({ length: 9 }, () => time(act)).sort((a, b) => a - b)[4];
        return { map: median(() => map.draw()), time: median(() => page.timeline.draw()),
                 filter: median(() => page.model.matching('main')), growth: median(() => page.history.growth(0, 99999)) };",
    )?;
    println!("milliseconds, medians of 9: {times}");
    browser.screenshot(&output("large.png")?)?;
    assert_silent(&browser);
    Ok(())
}
