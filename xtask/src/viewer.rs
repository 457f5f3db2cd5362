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

/// Finds chromedriver, or installs it with a browser.
pub(crate) fn ensure() -> Result<String, String> {
    if let Some(version) = version() {
        return Ok(version);
    }
    driver::install_by_apt("browser", PACKAGES)?;
    version().ok_or_else(|| "chromedriver is installed and doesn't start".to_string())
}

fn version() -> Option<String> {
    let output = Command::new("chromedriver").arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_browser_fails_the_tests_instead_of_skipping_them() {
        let line = super::tests().to_string();
        assert_eq!(line, "WGPU_POOL_REQUIRE_BROWSER=1 cargo test --all-features --test viewer -- --nocapture");
    }
}
