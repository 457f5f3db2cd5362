//! Tests of the demonstration in Chromium, by what the page shows. `cargo xtask web --check` builds the page and runs them.
//!
//! Skipped unless `WGPU_POOL_DEMO` names the folder of the built page. Screenshots are written next to that folder. With
//! `WGPU_POOL_WEB_MINUTES` the training runs for as many minutes, during which the pool must not grow.

#![cfg(not(target_arch = "wasm32"))]

#[path = "../../../tests/viewer/browser.rs"]
#[allow(dead_code, reason = "the viewer's tests also point and emulate")]
mod browser;

use browser::Browser;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn Error>>;

/// Far more than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(900);
/// The time that a script of a test may take.
const SCRIPT: Duration = Duration::from_secs(120);
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
/// A GPU in software.
const SOFTWARE: [&str; 3] = ["--enable-unsafe-webgpu", "--enable-unsafe-swiftshader", "--window-size=1280,2200"];

/// The server of the page, which ends with the test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// `None` if there is no page.
    fn start() -> Result<Option<(Self, PathBuf)>, Box<dyn Error>> {
        let Some(folder) = std::env::var_os("WGPU_POOL_DEMO").map(PathBuf::from) else {
            eprintln!("skipped: no page is built; `cargo xtask web --check` builds it");
            return Ok(None);
        };
        let mut process =
            Command::new(env!("CARGO_BIN_EXE_serve")).arg(&folder).arg("0").stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("it writes to a pipe")?;
        let url = BufReader::new(output).lines().next().ok_or("it prints its address")??;
        Ok(Some((Self { process, url }, folder)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until a condition of the page holds.
#[track_caller]
fn until(browser: &Browser, what: &str, condition: &str) {
    let begin = Instant::now();
    while browser.run(&format!("return Boolean({condition})")).expect("the page answers") != json!(true) {
        let shown = browser.text("main").unwrap_or_default();
        assert!(begin.elapsed() < PATIENCE, "{what} never came; the page shows {shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Clicks an element, and returns the answer that follows.
fn click(browser: &Browser, selector: &str) -> Result<String, Box<dyn Error>> {
    browser.run("document.getElementById('answer').textContent = 'waiting'")?;
    browser.run(&format!("document.querySelector({selector:?}).click()"))?;
    until(browser, selector, "document.getElementById('answer').textContent !== 'waiting'");
    browser.text("#answer")
}

/// The number of steps so far.
fn step(browser: &Browser) -> Result<u64, Box<dyn Error>> {
    let digits: String =
        browser.text("#state")?.chars().take_while(|&c| c != ':').filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

fn number(browser: &Browser, selector: &str) -> Result<f64, Box<dyn Error>> {
    Ok(browser.text(selector)?.parse()?)
}

/// The texts of a row of the table of holders whose label is this one.
fn holder(browser: &Browser, label: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let row = browser.run(&format!(
        "const rows = Array.from(document.querySelectorAll('#holders tbody tr'), (row) => Array.from(row.cells, (cell) => cell.textContent));
        return rows.find((cells) => cells[1] === {label:?}) ?? []"
    ))?;
    Ok(row.as_array().ok_or("a list")?.iter().filter_map(|cell| Some(cell.as_str()?.to_string())).collect())
}

fn assert_no_errors(browser: &Browser) {
    let said = browser.console().expect("the log can be read");
    let errors: Vec<&Value> = said.iter().filter(|line| line["level"] == "SEVERE").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_page_trains_and_shows_and_frees_the_pools_memory() -> Outcome {
    let Some((server, folder)) = Server::start()? else { return Ok(()) };
    let Some(browser) = Browser::open_with(&SOFTWARE, SCRIPT)? else { return Ok(()) };
    let shot = |name: &str| browser.screenshot(&folder.with_file_name(name));
    browser.prefer("light")?;
    browser.load(&server.url)?;
    until(&browser, "the first steps", "document.getElementById('loss').textContent !== ''");
    let first = number(&browser, "#loss")?;

    leaks_and_trims(&browser)?;
    limits_and_refusals(&browser)?;

    // The training has an effect that the plots, the bar and the pictures show.
    until(
        &browser,
        "20 steps",
        "Number(document.getElementById('state').textContent.match(/Step (\\d+)/)?.[1] ?? 999) >= 20",
    );
    assert!(number(&browser, "#loss")? < first, "{first}");
    assert!(number(&browser, "#overlap")? > 0.0);
    assert!(browser.run("return document.getElementById('progress').value")?.as_f64() > Some(0.0));
    until(&browser, "the pictures", "Number(document.getElementById('pictures').dataset.right) > 0.5");
    shot("demo-light.png")?;
    stays_flat(&browser)?;

    let rows = benchmarks(&browser)?;
    assert_eq!(rows.len(), 8);
    for row in rows {
        assert!(row[2].as_str().and_then(|time| time.parse::<f64>().ok()) > Some(0.0), "{row}");
    }

    accessible(&browser)?;
    shot("demo-dark.png")?;
    browser.resize(390, 844)?;
    let [wide, width] = ["document.documentElement.scrollWidth", "window.innerWidth"]
        .map(|size| browser.run(&format!("return {size}")).map(|size| size.as_f64()));
    assert!(wide? <= width?, "the page scrolls sideways on a phone");
    shot("demo-phone.png")?;
    assert_no_errors(&browser);
    Ok(())
}

fn leaks_and_trims(browser: &Browser) -> Outcome {
    click(browser, "[data-action=leak]")?;
    let told = click(browser, "[data-action=leak]")?;
    assert!(told.starts_with("2 blocks are leaked, 32.0 MiB"), "{told}");
    let begin = Instant::now();
    let row = loop {
        let row = holder(browser, "deliberate leak")?;
        if row.get(3).is_some_and(|blocks| blocks == "2") || begin.elapsed() > PATIENCE {
            break row;
        }
    };
    assert!(row[0].contains("src/lib.rs:"), "{row:?}");
    assert_eq!(row[2..4], ["32.0 MiB", "2"]);
    click(browser, "[data-action=drop_leaks]")?;
    let told = click(browser, "[data-action=trim]")?;
    assert!(told.starts_with("trim() released ") && !told.starts_with("trim() released 0"), "{told}");
    until(
        browser,
        "the table without the leak",
        "!document.getElementById('holders').textContent.includes('deliberate leak')",
    );
    for action in ["compact", "pressure"] {
        let told = click(browser, &format!("[data-action={action}]"))?;
        assert!(told.contains("moved"), "{told}");
    }
    Ok(())
}

/// A refusal is explained and changes nothing; a limit that is too low pauses the training, which continues without it.
fn limits_and_refusals(browser: &Browser) -> Outcome {
    let told = click(browser, "[data-action=refuse]")?;
    assert!(told.contains("requested") && told.contains("limit"), "{told}");
    let limit = |mib: &str| {
        browser.run(&format!(
            "const input = document.getElementById('limit-input');
            input.value = '{mib}';
            input.dispatchEvent(new Event('change'))"
        ))
    };
    limit("1")?;
    until(browser, "the pause", "document.getElementById('pause').textContent === 'Continue'");
    assert!(browser.text("#answer")?.contains("limit"), "{}", browser.text("#answer")?);
    limit("0")?;
    until(browser, "no limit", "document.getElementById('limit').textContent === 'none'");
    let before = step(browser)?;
    browser.run("document.getElementById('pause').click()")?;
    let further = format!(
        "Number(document.getElementById('state').textContent.match(/tep ([\\d\\u202f]+)/)[1].replace(/\\D/g, '')) > {before}"
    );
    until(browser, "further steps", &further);
    Ok(())
}

/// For as many minutes as `WGPU_POOL_WEB_MINUTES` says.
fn stays_flat(browser: &Browser) -> Outcome {
    let Some(minutes) = std::env::var("WGPU_POOL_WEB_MINUTES").ok() else { return Ok(()) };
    let (begin, length) = (Instant::now(), Duration::from_secs_f64(60.0 * minutes.parse::<f64>()?));
    let (reserved, from) = (browser.text("#reserved")?, step(browser)?);
    while begin.elapsed() < length {
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(browser.text("#reserved")?, reserved, "after {:?}", begin.elapsed());
    }
    let heap = browser.run("return performance.memory?.usedJSHeapSize ?? 0")?;
    println!("{reserved} reserved through steps {from} to {}; JavaScript's heap {heap} bytes", step(browser)?);
    Ok(())
}

/// Runs the benchmark, and returns the texts of each row.
fn benchmarks(browser: &Browser) -> Result<Vec<Value>, Box<dyn Error>> {
    browser.run("document.getElementById('benchmark').click()")?;
    until(browser, "the benchmark", "document.getElementById('benchmark-state').textContent === 'Done.'");
    let rows = browser.run(
        "return Array.from(document.querySelectorAll('#benchmark-table tbody tr'), (row) => Array.from(row.cells, (cell) => cell.textContent))",
    )?;
    for row in rows.as_array().ok_or("a list")? {
        println!("{row}");
    }
    Ok(rows.as_array().cloned().unwrap_or_default())
}

/// Keys reach the buttons, and what is drawn is told in words.
fn accessible(browser: &Browser) -> Outcome {
    let unnamed = browser.run(
        "return Array.from(document.querySelectorAll('canvas')).filter((canvas) => !canvas.getAttribute('aria-label')).map((canvas) => canvas.id)",
    )?;
    assert_eq!(unnamed, json!([]));
    browser.run("document.activeElement?.blur(); window.scrollTo(0, 0)")?;
    browser.press(&[TAB, TAB])?;
    assert_eq!(browser.run("return document.activeElement.id")?, json!("theme"), "after the link that skips");
    browser.press(&[ENTER])?;
    assert_eq!(browser.run("return document.documentElement.dataset.theme")?, json!("dark"));
    Ok(())
}

#[test]
fn a_browser_without_a_gpu_is_told_what_is_missing() -> Outcome {
    let Some((server, folder)) = Server::start()? else { return Ok(()) };
    let Some(browser) = Browser::open_with(&["--disable-gpu", "--window-size=1280,1000"], SCRIPT)? else {
        return Ok(());
    };
    browser.load(&server.url)?;
    until(&browser, "the explanation", "!document.getElementById('missing').hidden");
    assert!(!browser.text("#missing-text")?.is_empty());
    assert_eq!(browser.run("return document.querySelectorAll('main button:not(:disabled)').length")?, json!(0));
    browser.screenshot(&folder.with_file_name("demo-missing.png"))?;
    Ok(())
}
