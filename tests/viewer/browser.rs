//! A remote-controlled browser: Chromium, through chromedriver and the WebDriver protocol.

use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) type Answer<T> = Result<T, Box<dyn Error>>;

/// If set, a missing browser is a failure.
const REQUIRED: &str = "WGPU_POOL_REQUIRE_BROWSER";

/// A session with its own browser process, which ends with the session.
pub(crate) struct Browser {
    driver: Child,
    /// The start of the URL of every request.
    session: String,
    /// The browser's main process, if chromedriver names it.
    pub(crate) process: Option<u64>,
    agent: ureq::Agent,
}

/// The time in which chromedriver answers a request, in addition to that of a script. A page that computes without a pause
/// does not end its script in time.
const ANSWER: Duration = Duration::from_secs(60);

impl Browser {
    /// Opens a headless browser with a viewport of this size in pixels. `None` if the machine has no browser.
    pub(crate) fn open(width: u32, height: u32) -> Answer<Option<Self>> {
        let size = format!("--window-size={width},{height}");
        let arguments = ["--disable-gpu", "--force-device-scale-factor=1", size.as_str()];
        Self::open_with(&arguments, Duration::from_secs(30))
    }

    /// Opens a headless browser with more arguments, in which a script may take this time. `None` if the machine has no browser.
    pub(crate) fn open_with(more: &[&str], script: Duration) -> Answer<Option<Self>> {
        let started = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = match started {
            Ok(driver) => driver,
            Err(error) if std::env::var_os(REQUIRED).is_some() => return Err(format!("chromedriver: {error}").into()),
            Err(_) => {
                eprintln!("skipped: there is no chromedriver; `cargo xtask viewer` installs it");
                return Ok(None);
            }
        };
        let port = port(&mut driver)?;
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, session, process: None, agent: agent(script + ANSWER) };
        // The sandbox needs privileges that containers lack; the browser only shows the test's own page.
        let arguments = [&["--headless=new", "--no-sandbox"], more].concat();
        let milliseconds = u64::try_from(script.as_millis())?;
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "timeouts": {"script": milliseconds},
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let opened = browser.post("", &wanted)?;
        let id = opened["sessionId"].as_str().ok_or("a session has an id")?;
        browser.session = format!("{}/{id}", browser.session);
        browser.process = opened["capabilities"]["goog:processID"].as_u64();
        Ok(Some(browser))
    }

    /// Sends a command of the protocol to the session.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer<Value> {
        let mut answer = self.agent.post(format!("{}{path}", self.session)).send_json(body)?;
        let mut answer: Value = answer.body_mut().with_config().limit(1 << 30).read_json()?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{path}: {error}: {}", value["message"]).into()),
            None => Ok(value),
        }
    }

    /// Opens a file, and waits until it is loaded.
    pub(crate) fn show(&self, file: &Path) -> Answer<()> {
        self.load(&format!("file://{}", file.canonicalize()?.display()))
    }

    /// Opens an address, and waits until it is loaded.
    pub(crate) fn load(&self, url: &str) -> Answer<()> {
        self.post("/url", &json!({"url": url}))?;
        Ok(())
    }

    /// Returns the result of a script after the next frame is drawn.
    pub(crate) fn run(&self, script: &str) -> Answer<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];
            const result = (() => {{ {script} }})();
            requestAnimationFrame(() => requestAnimationFrame(() => done(result)));"
        );
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Returns the text of an element.
    pub(crate) fn text(&self, selector: &str) -> Answer<String> {
        let found = self.run(&format!("return document.querySelector({selector:?}).textContent"))?;
        Ok(found.as_str().ok_or("an element has a text")?.to_string())
    }

    /// Moves the pointer to a position relative to the upper left corner of an element.
    pub(crate) fn point(&self, selector: &str, x: f64, y: f64) -> Answer<()> {
        let corner = self.run(&format!(
            "const found = document.querySelector({selector:?});
            found.scrollIntoView({{ block: 'center' }});
            const box = found.getBoundingClientRect();
            return [box.left, box.top]"
        ))?;
        let at = |place: usize| corner[place].as_f64().ok_or("a corner has two numbers");
        #[expect(clippy::cast_possible_truncation, reason = "places on a screen")]
        let [x, y] = [(at(0)? + x) as i64, (at(1)? + y) as i64];
        let moved = json!({"type": "pointerMove", "duration": 0, "x": x, "y": y});
        let pointer =
            json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [moved]});
        self.post("/actions", &json!({"actions": [pointer]}))?;
        Ok(())
    }

    /// Presses keys one after the other; special keys are given by their codes in the protocol.
    pub(crate) fn press(&self, keys: &[&str]) -> Answer<()> {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        self.post("/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}))?;
        Ok(())
    }

    /// Emulates a preferred color scheme.
    pub(crate) fn prefer(&self, scheme: &str) -> Answer<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.post("/goog/cdp/execute", &command)?;
        Ok(())
    }

    /// Changes the size of the viewport in pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Answer<()> {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.post("/goog/cdp/execute", &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": params}))?;
        Ok(())
    }

    /// Writes a screenshot to a PNG file.
    pub(crate) fn screenshot(&self, file: &Path) -> Answer<()> {
        let command = json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": false}});
        let shot = self.post("/goog/cdp/execute", &command)?;
        std::fs::write(file, decode(shot["data"].as_str().ok_or("a picture is text")?)?)?;
        Ok(())
    }

    /// Returns the console messages since the last call.
    pub(crate) fn console(&self) -> Answer<Vec<Value>> {
        Ok(self.post("/se/log", &json!({"type": "browser"}))?.as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, unless a page keeps chromedriver from answering.
        let ended = agent(Duration::from_secs(10)).delete(&self.session).call();
        if let (Err(_), Some(process)) = (ended, self.process) {
            let _ = Command::new("kill").args(["-9", &process.to_string()]).status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Returns an agent whose requests end after this time.
fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout)).build().into()
}

/// Returns the port that chromedriver prints.
fn port(driver: &mut Child) -> Answer<u16> {
    let output = driver.stdout.take().ok_or("chromedriver writes to a pipe")?;
    for line in BufReader::new(output).lines() {
        if let Some((_, port)) = line?.split_once("started successfully on port ") {
            return Ok(port.trim_end_matches('.').parse()?);
        }
    }
    Err("chromedriver ended before it listened".into())
}

/// Decodes Base64, the encoding of screenshots in the protocol.
fn decode(text: &str) -> Answer<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.bytes().filter(|&digit| digit != b'=') {
        let value = DIGITS.iter().position(|&known| known == digit).ok_or("a digit of base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(bytes)
}
