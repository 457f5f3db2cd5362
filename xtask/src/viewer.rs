//! `cargo xtask viewer`: tests the viewer page in a real browser.

use std::process::{Command, Stdio};

use crate::{
    driver,
    step::{Run, Step},
};

/// The Debian packages of the browser and of its remote control.
const PACKAGES: &str = "chromium chromium-driver";

/// Ensures that there is a browser, then runs the tests that need one.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    run.task("browser", ensure)?;
    run.step(&tests())
}

fn tests() -> Step {
    Step::cargo("viewer", "test --all-features --test viewer -- --nocapture").variable("WGPU_POOL_REQUIRE_BROWSER", "1")
}

/// The names under which browsers that chromedriver starts are installed. On macOS and Windows they are no commands, and
/// chromedriver finds them itself.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Finds chromedriver and a browser for it, or installs both.
pub(crate) fn ensure() -> Result<String, String> {
    if let Ok(versions) = found("chromedriver", &BROWSERS) {
        return Ok(versions);
    }
    driver::install_by_apt("browser", PACKAGES)?;
    found("chromedriver", &BROWSERS).map_err(|missing| format!("{missing} is installed and doesn't start"))
}

/// Returns the versions of the driver and of the first browser that starts, or what does not start.
fn found(driver: &str, browsers: &[&str]) -> Result<String, String> {
    let driver = version(driver).ok_or_else(|| driver.to_string())?;
    if !cfg!(target_os = "linux") {
        return Ok(driver);
    }
    let browser = browsers.iter().find_map(|browser| version(browser)).ok_or_else(|| browsers[0].to_string())?;
    Ok(format!("{driver}, {browser}"))
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::found;

    /// A driver starts without its browser, and every test of a page would then fail.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_driver_without_a_browser_is_not_enough() {
        assert!(
            found("cargo", &["no-such-browser", "cargo"]).is_ok_and(|versions| versions.matches("cargo").count() == 2)
        );
        assert_eq!(found("cargo", &["no-such-browser"]), Err("no-such-browser".to_string()));
        assert_eq!(found("no-such-driver", &["cargo"]), Err("no-such-driver".to_string()));
    }

    #[test]
    fn a_missing_browser_fails_the_tests_instead_of_skipping_them() {
        let line = super::tests().to_string();
        assert_eq!(line, "WGPU_POOL_REQUIRE_BROWSER=1 cargo test --all-features --test viewer -- --nocapture");
    }
}
