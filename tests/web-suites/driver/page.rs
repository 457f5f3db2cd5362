//! A page with a suite in a headless browser.

use crate::browser::{Answer, Browser};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The options of the browser. Without `--enable-unsafe-webgpu` it offers no adapter in software.
const OPTIONS: [&str; 7] = [
    "--enable-unsafe-webgpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// After this many tests the page is loaded again: memory of WebAssembly only grows.
const TESTS_PER_PAGE: usize = 40;

/// A page whose tests can be run. It is loaded again when it cannot be used any more.
pub(crate) struct Page {
    address: String,
    limit: Duration,
    browser: Option<Browser>,
    /// The number of tests that the page may still run.
    left: usize,
}

/// The end of a test.
#[derive(Debug)]
pub(crate) enum End {
    Passed,
    Failed(String),
    /// No end, and no call of the device for as long as the time limit.
    Hung,
}

impl Page {
    /// Creates a page. A test that calls the device no more and has not ended after `limit` hangs.
    pub(crate) fn new(address: String, limit: Duration) -> Self {
        Self { address, limit, browser: None, left: 0 }
    }

    /// Returns the browser with the page loaded. Starts the browser if necessary.
    fn browser(&mut self) -> Answer<&Browser> {
        if self.browser.is_none() {
            self.browser = Some(start(self.limit)?);
            self.left = 0;
        }
        let browser = self.browser.as_ref().expect("it was just started");
        if self.left == 0 {
            browser.load(&self.address)?;
            settled(browser, "await load()", &[])?;
            self.left = TESTS_PER_PAGE;
        }
        Ok(browser)
    }

    /// Returns the names of all tests.
    pub(crate) fn names(&mut self) -> Answer<Vec<String>> {
        let names = settled(self.browser()?, "return names()", &[])?;
        Ok(serde_json::from_value(names)?)
    }

    /// Runs a test. Returns how it ended, and its duration.
    pub(crate) fn execute(&mut self, name: &str) -> Answer<(End, Duration)> {
        let limit = self.limit;
        let browser = self.browser()?;
        let begun = Instant::now();
        let outcome = outcome(browser, name, limit);
        self.left -= 1;
        let outcome = match outcome {
            Ok(Some(outcome)) => outcome,
            Ok(None) => {
                self.browser = None;
                return Ok((End::Hung, begun.elapsed()));
            }
            // Also if the page computes without a pause and does not answer, or the browser has ended.
            Err(error) => {
                self.browser = None;
                return Ok((End::Failed(error.to_string()), begun.elapsed()));
            }
        };
        let error = outcome["error"].as_str().ok_or("a test ends with a text")?;
        let duration = Duration::from_secs_f64(outcome["milliseconds"].as_f64().ok_or("a test takes time")? / 1000.0);
        if error.is_empty() {
            return Ok((End::Passed, duration));
        }
        // Also after an error: it may have left the device that the suite shares without memory.
        self.left = 0;
        Ok((End::Failed(error.to_string()), duration))
    }
}

/// Runs a test, and returns its outcome. `None` if the test calls the device no more and has not ended after `limit`.
fn outcome(browser: &Browser, name: &str, limit: Duration) -> Answer<Option<Value>> {
    settled(browser, "begin(arguments[0])", &[json!(name)])?;
    let mut progress = Progress { calls: 0, since: Instant::now() };
    loop {
        let mut state = settled(browser, "return await state()", &[])?;
        if state["outcome"].is_object() {
            return Ok(Some(state["outcome"].take()));
        }
        let calls = state["calls"].as_u64().ok_or("calls are counted")?;
        if progress.idle(calls, Instant::now()) >= limit {
            return Ok(None);
        }
    }
}

/// The calls of the device that a page has made, and since when there are as many.
struct Progress {
    calls: u64,
    since: Instant,
}

impl Progress {
    /// Notes the calls so far. Returns the time since the last one was noted.
    fn idle(&mut self, calls: u64, now: Instant) -> Duration {
        if calls != self.calls {
            *self = Self { calls, since: now };
        }
        now.duration_since(self.since)
    }
}

/// Starts a browser. On a loaded machine it may end before it is ready, so that another attempt is made.
fn start(limit: Duration) -> Answer<Browser> {
    let missing = || "there is no chromedriver; `cargo xtask viewer` installs it".into();
    let open = || Browser::open_with(&OPTIONS, limit)?.ok_or_else(missing);
    open().or_else(|error| {
        println!("    {error}: starting the browser again");
        open()
    })
}

/// Returns the value that the promise of a script is fulfilled with. A rejection is an error.
fn settled(browser: &Browser, script: &str, arguments: &[Value]) -> Answer<Value> {
    let script = format!(
        "const done = arguments[arguments.length - 1];
        (async () => {{ {script} }})().then(value => done({{ value }}), error => done({{ error: String(error) }}));"
    );
    let mut outcome = browser.post("/execute/async", &json!({"script": script, "args": arguments}))?;
    match outcome["error"].as_str() {
        Some(error) => Err(error.into()),
        None => Ok(outcome["value"].take()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_test_that_calls_the_device_does_not_hang() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut progress = Progress { calls: 0, since: begin };
        for call in 1..10 {
            assert_eq!(progress.idle(call, after(200 * call)), Duration::ZERO);
            assert_eq!(progress.idle(call, after(200 * call + 100)), Duration::from_secs(100));
        }
        assert_eq!(progress.idle(9, after(2100)), Duration::from_secs(300));
    }
}
