//! `cargo xtask web`: builds the live demonstration of `examples/web`, and serves it on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::platforms;
use crate::step::{Run, Step};
use crate::viewer;
use crate::web::{self, TARGET};

const PACKAGE: &str = "wgpu-pool-web-demo";
/// The viewer's files that the page loads. The page has a script of its own instead of the viewer's `main.js`.
const SHARED: [&str; 6] = ["style.css", "format.js", "model.js", "colours.js", "map.js", "tables.js"];
const OWN: [&str; 4] = ["index.html", "demo.css", "plot.js", "demo.js"];
const MODULE: &str = "demo_module";
/// The largest size of the module, as it is stored on a server. docs/guide/browser.md states the present size.
const MOST_BYTES: u64 = 4 << 20;

/// Builds the page, then serves it until it is interrupted, or tests it in a browser.
pub(crate) fn run(run: &mut Run, is_check: bool) -> Result<(), String> {
    if is_check {
        run.task("browser", viewer::ensure)?;
    }
    let folder = build(run)?;
    run.step(&if is_check { test(&folder) } else { serve(&folder) })
}

/// Builds the page into a folder of static files, and returns the folder.
fn build(run: &mut Run) -> Result<PathBuf, String> {
    run.task(&format!("standard library of {TARGET}"), || platforms::ensure(TARGET))?;
    let tools = run.target().join("web");
    let lock = run.folder().join("Cargo.lock");
    let mut runner = PathBuf::new();
    run.task("wasm-bindgen", || {
        runner = web::ensure_runner(&lock, &tools)?;
        Ok(runner.display().to_string())
    })?;
    let bindgen = runner.with_file_name("wasm-bindgen");
    run.step(&Step::cargo("module", &format!("build --release --package {PACKAGE} --lib --target {TARGET}")))?;
    let folder = tools.join("demo");
    let module = run.target().join(TARGET).join("release").join("wgpu_pool_web_demo.wasm");
    run.step(&bind(&bindgen, &module, &folder))?;
    copy(run.folder(), &folder)?;
    let size = bytes(&folder.join(format!("{MODULE}_bg.wasm")))?;
    if size > MOST_BYTES {
        return Err(format!("the module has {size} bytes, and its limit is {MOST_BYTES}"));
    }
    run.note(&format!("module: {size} bytes; page: {}", folder.display()));
    Ok(folder)
}

/// Tests the page in a browser, by what it shows.
fn test(folder: &Path) -> Step {
    Step::cargo("demonstration in a browser", &format!("test --package {PACKAGE} --test page -- --nocapture"))
        .variable("WGPU_POOL_DEMO", &folder.display().to_string())
        .variable("WGPU_POOL_REQUIRE_BROWSER", "1")
}

fn serve(folder: &Path) -> Step {
    Step::cargo("page, until Ctrl+C", &format!("run --quiet --package {PACKAGE} --bin serve --"))
        .argument(folder.display().to_string())
}

fn bind(bindgen: &Path, module: &Path, folder: &Path) -> Step {
    Step::program(
        "bindings",
        &bindgen.display().to_string(),
        // The names of functions are a tenth of the module.
        &format!("--target web --no-typescript --remove-name-section --out-name {MODULE}"),
    )
    .argument("--out-dir")
    .argument(folder.display().to_string())
    .argument(module.display().to_string())
}

fn copy(checkout: &Path, folder: &Path) -> Result<(), String> {
    let viewer = folder.join("viewer");
    fs::create_dir_all(&viewer).map_err(|error| format!("{}: {error}", viewer.display()))?;
    let own = checkout.join("examples").join("web").join("page");
    let shared = checkout.join("src").join("report").join("viewer");
    let files = OWN.map(|file| (own.join(file), folder.join(file))).into_iter();
    for (from, to) in files.chain(SHARED.map(|file| (shared.join(file), viewer.join(file)))) {
        fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    Ok(())
}

fn bytes(file: &Path) -> Result<u64, String> {
    Ok(fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_loads_is_copied_or_built() {
        let page = fs::read_to_string(crate::checkout().join("examples/web/page/index.html")).expect("there is a page");
        let loaded = page.split('"').filter(|text| [".js", ".css"].iter().any(|end| text.ends_with(end)));
        let loaded: Vec<&str> = loaded.collect();
        assert_eq!(loaded.len(), SHARED.len() + OWN.len() - 1, "{loaded:?}");
        for file in loaded {
            let known = match file.strip_prefix("viewer/") {
                Some(file) => SHARED.contains(&file),
                None => OWN.contains(&file),
            };
            assert!(known, "{file}");
        }
    }

    #[test]
    fn the_files_of_the_page_are_in_the_checkout() {
        let folder = std::env::temp_dir().join(format!("wgpu-pool-page-{}", std::process::id()));
        copy(&crate::checkout(), &folder).expect("every file exists");
        let copied = fs::read_dir(folder.join("viewer")).expect("it was created").count();
        fs::remove_dir_all(&folder).expect("it was created");
        assert_eq!(copied, SHARED.len());
    }
}
