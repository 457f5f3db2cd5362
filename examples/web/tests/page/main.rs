//! Tests of the demonstration in Chromium, by what the page shows. `cargo xtask web --check` builds the page and runs them.
//!
//! Skipped unless `WGPU_POOL_DEMO` names the folder of the built page. Screenshots are written next to that folder. With
//! `WGPU_POOL_WEB_MINUTES` the training runs for as many minutes, during which the pool must not grow.

#![cfg(not(target_arch = "wasm32"))]

mod access;
mod bench;
#[path = "../../../../tests/viewer/browser.rs"]
#[allow(dead_code, reason = "the viewer's tests also point and emulate")]
mod browser;
mod drawn;
mod flat;
mod memory;

use browser::Browser;
use serde_json::{Value, json};
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

fn assert_no_errors(browser: &Browser) {
    let said = browser.console().expect("the log can be read");
    let errors: Vec<&Value> = said.iter().filter(|line| line["level"] == "SEVERE").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Gives an element the focus, and presses keys.
fn press_on(browser: &Browser, selector: &str, keys: &[&str]) -> Outcome {
    browser.run(&format!("document.querySelector({selector:?}).focus()"))?;
    browser.press(keys)
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
    memory::actions(&browser)?;
    memory::a_low_limit_pauses(&browser)?;

    // The training has an effect that the plots, the bar and the pictures show.
    until(&browser, "20 steps", 100, STEPS, |steps| steps.as_u64() >= Some(20));
    assert!(number(&browser, "#loss")? < first, "{first}");
    memory::the_map_follows_the_totals(&browser);
    let right = "Number(document.getElementById('pictures').dataset.right)";
    until(&browser, "pictures that are mostly right", 200, right, |right| right.as_f64() > Some(0.5));
    // The bar shows the overlap as a part of the wanted one.
    let bar = format!("[Number({}), document.getElementById('progress').value]", text_of("overlap"));
    until(&browser, "an overlap, and the bar", 200, &bar, |shown| {
        let [overlap, bar] = [0, 1].map(|place| shown[place].as_f64().unwrap_or_default());
        overlap > 0.0 && (bar - overlap / 0.9).abs() < 0.01
    });
    drawn::plots(&browser)?;
    drawn::pictures(&browser)?;
    shot("demo-light.png")?;
    flat::stays_flat(&browser)?;

    memory::a_new_model_while_paused(&browser)?;
    bench::benchmark(&browser)?;
    drawn::report(&browser, &folder.with_file_name("reports"))?;
    access::keyboard(&browser)?;
    access::screen_reader(&browser)?;
    access::colours(&browser, "light")?;
    access::colours(&browser, "dark")?;
    drawn::plots(&browser)?;
    shot("demo-dark.png")?;
    access::phone(&browser, 390)?;
    access::phone(&browser, 320)?;
    // The whole page, for a look at it.
    browser.resize(390, 4000)?;
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

#[test]
fn a_browser_without_a_gpu_is_told_what_is_missing() -> Outcome {
    let Some((server, folder)) = Server::start()? else { return Ok(()) };
    let Some(browser) = Browser::open_with(&["--disable-gpu", "--window-size=1280,1000"], SCRIPT)? else {
        return Ok(());
    };
    browser.load(&server.url)?;
    access::explained(&browser, "No GPU could be opened: ")?;
    browser.screenshot(&folder.with_file_name("demo-missing.png"))?;

    // As in a browser without WebGPU, and on a page that did not come through https.
    let without = json!({"source": "Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined })"});
    let command = json!({"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": without});
    browser.post("/goog/cdp/execute", &command)?;
    browser.load(&server.url)?;
    access::explained(&browser, "This browser has no WebGPU, or the page did not come through https.")
}
