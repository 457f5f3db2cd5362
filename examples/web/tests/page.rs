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
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn Error>>;

/// A page that completes no call of the module for so long computes no more. The first call compiles every kernel.
const STALLED: Duration = Duration::from_secs(180);
/// Calls of the module within which an answer to a click is shown.
const SOON: u64 = 30;
/// The interval at which a wait prints what it waits for.
const SAID: Duration = Duration::from_secs(5);
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

/// Returns the value of an expression in the page, at once: frames may be rare while the page computes.
fn value(browser: &Browser, expression: &str) -> Value {
    let script = format!("return [{expression}, Number(document.documentElement.dataset.calls ?? 0)]");
    browser.post("/execute/sync", &json!({"script": script, "args": []})).expect("the page answers")
}

/// Waits until an expression in the page has a value that is wanted, and returns the value.
///
/// Fails when the page has completed `calls` of the module since, or none for a long time. So the wait depends on the progress of the
/// page and not on its speed. Prints the last value every few seconds.
#[track_caller]
fn until(browser: &Browser, what: &str, calls: u64, expression: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    let (mut first, mut latest, mut said) = (None, (0, begin), begin);
    loop {
        let shown = value(browser, expression);
        let completed = shown[1].as_u64().expect("the page counts its calls");
        if wanted(&shown[0]) {
            return shown[0].clone();
        }
        let since = completed - *first.get_or_insert(completed);
        if since > latest.0 {
            latest = (since, Instant::now());
        }
        let told = || {
            format!(
                "{what}: {expression} is {} after {since} calls in {:.0} s",
                shown[0],
                begin.elapsed().as_secs_f64()
            )
        };
        if since >= calls || latest.1.elapsed() > STALLED {
            let page = browser.text("main").unwrap_or_default();
            let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
            panic!("never came: {}, the last of them {:.0?} ago; the page shows {page}", told(), latest.1.elapsed());
        }
        if said.elapsed() > SAID {
            said = Instant::now();
            eprintln!("waiting for {}", told());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The text of the element with this id, as an expression.
fn text_of(id: &str) -> String {
    format!("document.getElementById('{id}').textContent")
}

/// Clicks an element, and returns the answer that follows.
fn click(browser: &Browser, selector: &str) -> Result<String, Box<dyn Error>> {
    browser.run("document.getElementById('answer').textContent = 'waiting'")?;
    browser.run(&format!("document.querySelector({selector:?}).click()"))?;
    let answer = until(browser, selector, SOON, &text_of("answer"), |answer| *answer != json!("waiting"));
    Ok(answer.as_str().ok_or("an element has a text")?.to_string())
}

/// The number of steps so far, as an expression.
const STEPS: &str = "Number(document.getElementById('state').dataset.step ?? 0)";

fn number(browser: &Browser, selector: &str) -> Result<f64, Box<dyn Error>> {
    Ok(browser.text(selector)?.parse()?)
}

/// The texts of the row of the table of holders with this label, as an expression.
fn holder(label: &str) -> String {
    format!(
        "Array.from(document.querySelectorAll('#holders tbody tr'), (row) => Array.from(row.cells, (cell) => cell.textContent))
            .find((cells) => cells[1] === {label:?}) ?? []"
    )
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
    enabled_when_opened(&browser)?;
    until(&browser, "the first step", SOON, &text_of("loss"), |loss| *loss != json!(""));
    let first = number(&browser, "#loss")?;

    leaks_and_trims(&browser)?;
    limits_and_refusals(&browser)?;

    // The training has an effect that the plots, the bar and the pictures show.
    until(&browser, "20 steps", 100, STEPS, |steps| steps.as_u64() >= Some(20));
    assert!(number(&browser, "#loss")? < first, "{first}");
    let right = "Number(document.getElementById('pictures').dataset.right)";
    until(&browser, "pictures that are mostly right", 200, right, |right| right.as_f64() > Some(0.5));
    // The bar shows the overlap as a part of the wanted one.
    let bar = format!("[Number({}), document.getElementById('progress').value]", text_of("overlap"));
    until(&browser, "an overlap, and the bar", 200, &bar, |shown| {
        let [overlap, bar] = [0, 1].map(|place| shown[place].as_f64().unwrap_or_default());
        overlap > 0.0 && (bar - overlap / 0.9).abs() < 0.01
    });
    shot("demo-light.png")?;
    stays_flat(&browser)?;

    a_new_model_while_paused(&browser)?;
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

/// No control of the page can be used before it has an effect: the file has each of them disabled.
fn enabled_when_opened(browser: &Browser) -> Outcome {
    let enabled = "return fetch(location.href).then((page) => page.text()).then((text) => Array.from(
        new DOMParser().parseFromString(text, 'text/html').querySelectorAll('main button:enabled, main input:enabled'),
        (control) => control.outerHTML))";
    assert_eq!(browser.run(enabled)?, json!([]));
    let disabled = "Array.from(document.querySelectorAll('main :disabled'), (control) => control.id)";
    until(browser, "the controls", SOON, disabled, |disabled| *disabled == json!(["copy"]));
    Ok(())
}

/// A new model is shown also while the training is paused, and the map is described as it is drawn.
fn a_new_model_while_paused(browser: &Browser) -> Outcome {
    browser.run("document.getElementById('pause').click()")?;
    browser.run("document.getElementById('restart').click()")?;
    let shown = format!("[{STEPS}, {}, {}]", text_of("loss"), text_of("spoken"));
    until(browser, "the new model", SOON, &shown, |shown| {
        shown[0] == json!(0)
            && shown[1] == json!("")
            && shown[2].as_str().is_some_and(|text| text.starts_with("Step 0:"))
    });
    let described = "document.querySelector('#maps canvas').getAttribute('aria-label')";
    let before = value(browser, described)[0].clone();
    // The first may fill a hole, so that there are as many blocks as before.
    for _ in 0..4 {
        click(browser, "[data-action=leak]")?;
    }
    until(browser, "the description of the map with more blocks", SOON, described, |now| *now != before);
    click(browser, "[data-action=drop_leaks]")?;
    browser.run("document.getElementById('pause').click()")?;
    until(browser, "steps of the new model", SOON, STEPS, |steps| steps.as_u64() > Some(0));
    Ok(())
}

fn leaks_and_trims(browser: &Browser) -> Outcome {
    click(browser, "[data-action=leak]")?;
    let told = click(browser, "[data-action=leak]")?;
    assert!(told.starts_with("2 blocks are leaked, 32.0 MiB"), "{told}");
    until(browser, "the holder of both leaks", SOON, &holder("deliberate leak"), |row| row[3] == "2");
    let row = value(browser, &holder("deliberate leak"))[0].clone();
    assert!(row[0].as_str().is_some_and(|site| site.contains("src/lib.rs:")), "{row}");
    assert_eq!(row[2], "32.0 MiB");
    click(browser, "[data-action=drop_leaks]")?;
    let told = click(browser, "[data-action=trim]")?;
    assert!(told.starts_with("trim() released ") && !told.starts_with("trim() released 0"), "{told}");
    until(browser, "the table without the leak", SOON, &holder("deliberate leak"), |row| *row == json!([]));
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
    until(browser, "the pause", SOON, &text_of("pause"), |button| *button == json!("Continue"));
    assert!(browser.text("#answer")?.contains("limit"), "{}", browser.text("#answer")?);
    limit("0")?;
    until(browser, "no limit", SOON, &text_of("limit"), |limit| *limit == json!("none"));
    let before = value(browser, STEPS)[0].as_u64();
    browser.run("document.getElementById('pause').click()")?;
    until(browser, "further steps", SOON, STEPS, |steps| steps.as_u64() > before);
    Ok(())
}

/// The most that the memory of a process of the browser may grow in a run of some minutes, in MiB. Buffers of one step that are never
/// destroyed exceed it within a minute.
const GROWTH: u64 = 64;

/// Neither the pool nor a process of the browser grows for as many minutes as `WGPU_POOL_WEB_MINUTES` says.
fn stays_flat(browser: &Browser) -> Outcome {
    let Some(minutes) = std::env::var("WGPU_POOL_WEB_MINUTES").ok() else { return Ok(()) };
    let length = Duration::from_secs_f64(60.0 * minutes.parse::<f64>()?);
    let begin = Instant::now();
    // The most of each in the first fifth of the time, in which the pool gets the segments of a step and of a validation.
    let (mut most_reserved, mut most) = (0, BTreeMap::new());
    while begin.elapsed() < length {
        std::thread::sleep(Duration::from_secs(5).min(length / 20));
        let shown =
            "[document.getElementById('reserved').dataset.bytes, performance.memory?.usedJSHeapSize ?? 0].map(Number)";
        let (shown, processes) = (value(browser, shown)[0].clone(), memory_of_processes(browser));
        let [reserved, heap] = [0, 1].map(|place| shown[place].as_u64().unwrap_or(0));
        let (seconds, step) = (begin.elapsed().as_secs(), value(browser, STEPS)[0].clone());
        println!(
            "{seconds} s: step {step}, {reserved} bytes reserved, {processes:?} MiB, JavaScript's heap {heap} bytes"
        );
        if begin.elapsed() < length / 5 {
            most_reserved = most_reserved.max(reserved);
            for (kind, now) in processes {
                let highest = most.entry(kind).or_insert(now);
                *highest = now.max(*highest);
            }
            continue;
        }
        assert!(reserved <= most_reserved, "{reserved} bytes after {seconds} s, before at most {most_reserved}");
        for (kind, now) in processes {
            let before = most.get(kind).copied().unwrap_or(now);
            assert!(now <= before + GROWTH, "{kind} grew from {before} to {now} MiB");
        }
    }
    Ok(())
}

/// The resident memory of the browser's processes that draw and compute, in MiB; empty where there is no /proc.
fn memory_of_processes(browser: &Browser) -> BTreeMap<&'static str, u64> {
    let mut found = BTreeMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let own = browser.process.map(|process| process.to_string());
    let read = |path: &std::path::Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    for path in processes.map(|process| process.path()) {
        let line = read(&path, "cmdline");
        let kind = ["gpu-process", "renderer"].into_iter().find(|kind| line.contains(&format!("--type={kind}")));
        let status = read(&path, "status");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let resident = field("VmRSS:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let (Some(kind), Some(kib)) = (kind, resident) else { continue };
        // A renderer's parent is a process that forks renderers, a child of the browser.
        let parent = |pid: Option<&str>| {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", pid.unwrap_or_default())).unwrap_or_default();
            status.lines().find_map(|line| line.strip_prefix("PPid:")).map(|pid| pid.trim().to_string())
        };
        let mut ancestor = field("PPid:").map(str::to_string);
        while ancestor.as_deref().is_some_and(|pid| pid != "1" && pid != "0") && ancestor != own {
            ancestor = parent(ancestor.as_deref());
        }
        if ancestor.is_some() && ancestor == own {
            *found.entry(kind).or_default() += kib >> 10;
        }
    }
    found
}

/// Runs the benchmark, and returns the texts of each row.
fn benchmarks(browser: &Browser) -> Result<Vec<Value>, Box<dyn Error>> {
    browser.run("document.getElementById('benchmark').click()")?;
    until(browser, "the benchmark", SOON, &text_of("benchmark-state"), |state| *state == json!("Done."));
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
    until(&browser, "the explanation", SOON, "document.getElementById('missing').hidden", |hidden| {
        *hidden == json!(false)
    });
    assert!(!browser.text("#missing-text")?.is_empty());
    assert_eq!(browser.run("return document.querySelectorAll('main button:not(:disabled)').length")?, json!(0));
    browser.screenshot(&folder.with_file_name("demo-missing.png"))?;
    Ok(())
}
