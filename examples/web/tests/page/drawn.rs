//! What the page draws: the plots, the pictures and the map, by their pixels and by the words for a screen reader.

use crate::browser::Browser;
use crate::memory::MAP;
use crate::{Outcome, STEPS, text_of, until, value};
use serde_json::{Value, json};
use std::error::Error;

/// The number of pixels of a canvas in a colour, an expression.
fn pixels(browser: &Browser, canvas: &str, colour: &str) -> Result<u64, Box<dyn Error>> {
    let found = browser.run(&format!(
        "const canvas = document.querySelector({canvas:?});
        const probe = document.createElement('canvas').getContext('2d');
        probe.fillStyle = {colour};
        probe.fillRect(0, 0, 1, 1);
        const wanted = probe.getImageData(0, 0, 1, 1).data;
        const drawn = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let at = 0; at < drawn.length; at += 4) {{
          if (drawn[at + 3] > 200 && [0, 1, 2].every((part) => Math.abs(drawn[at + part] - wanted[part]) < 16)) found += 1;
        }}
        return found"
    ))?;
    Ok(found.as_u64().ok_or("a number")?)
}

/// Each plot has its lines, over its whole width, and says the same in words; the map has blocks and holes.
pub(crate) fn plots(browser: &Browser) -> Outcome {
    for (plot, colour) in [("loss", "accent"), ("overlap", "accent"), ("memory", "warn"), ("memory", "accent")] {
        let canvas = format!("#{plot}-plot");
        let found = pixels(browser, &canvas, &format!("themeColour('--{colour}')"))?;
        // The line of the overlap may have one point so far.
        let least = if plot == "overlap" { 4 } else { 200 };
        assert!(found >= least, "{canvas} has {found} pixels of {colour}");
    }
    let label = |plot: &str| format!("document.getElementById('{plot}-plot').getAttribute('aria-label')");
    let told = |plot: &str, name: &str| format!("{}.startsWith(`{name}: ${{{}}} at step ", label(plot), text_of(plot));
    let shown = format!(
        "[{}${{{STEPS}}}, `), {}`), {}]",
        told("loss", "Loss"),
        told("overlap", "Intersection over union"),
        label("memory")
    );
    let told =
        until(browser, "the plots in words", 20, &shown, |told| told[0] == json!(true) && told[1] == json!(true));
    assert!(told[2].as_str().is_some_and(|memory| memory.starts_with("Reserved and allocated memory: ")), "{told}");
    for colour in ["groupColour(0)", "groupColour(1)", "themeColour('--hole')"] {
        assert!(pixels(browser, "#maps canvas", colour)? > 20, "{colour}: {}", value(browser, MAP)[0]);
    }
    Ok(())
}

/// The pictures have a row of brightness, one of true classes and one of found classes, whose agreement is what the page says.
pub(crate) fn pictures(browser: &Browser) -> Outcome {
    let shown = browser.run(
        "const canvas = document.getElementById('pictures');
        const band = (canvas.height - 12) / 3;
        const row = (number) => canvas.getContext('2d').getImageData(0, number * (band + 6), canvas.width, band).data;
        const [light, truth, found] = [0, 1, 2].map(row);
        const colours = new Set();
        let [drawn, same, grey] = [0, 0, 0];
        for (let at = 0; at < truth.length; at += 4) {
          if (truth[at + 3] === 0) continue;
          drawn += 1;
          colours.add(`${truth[at]}, ${truth[at + 1]}, ${truth[at + 2]}`);
          if ([0, 1, 2].every((part) => truth[at + part] === found[at + part])) same += 1;
          if (light[at] === light[at + 1] && light[at] === light[at + 2]) grey += 1;
        }
        return [same / drawn, grey / drawn, colours.size, Number(canvas.dataset.right), canvas.getAttribute('aria-label'),
          document.querySelectorAll('#classes li').length]",
    )?;
    let number = |place: usize| shown[place].as_f64().unwrap_or_default();
    assert!((number(0) - number(3)).abs() < 1e-6, "{shown}");
    assert!((number(1) - 1.0).abs() < 1e-6, "the brightness is grey: {shown}");
    assert!((2.0..=4.0).contains(&number(2)) && shown[5] == json!(4), "the classes have colours: {shown}");
    let told = format!("{:.1} % of the pixels have the right class", 100.0 * number(3));
    assert!(shown[4].as_str().is_some_and(|text| text.ends_with(&told)), "{shown}");
    Ok(())
}

/// The report that the button saves is a page with the pool's numbers.
pub(crate) fn report(browser: &Browser, folder: &std::path::Path) -> Outcome {
    let file = folder.join("wgpu-pool.html");
    let _ = std::fs::remove_file(&file);
    let command = json!({"cmd": "Page.setDownloadBehavior", "params": {"behavior": "allow", "downloadPath": folder}});
    browser.post("/goog/cdp/execute", &command)?;
    let adapter = browser.text("#adapter")?;
    browser.run("document.getElementById('save').click()")?;
    // The file is renamed when it is complete.
    until(browser, "the report", 100, "0", |_: &Value| file.exists());
    let text = std::fs::read_to_string(&file)?;
    assert!(text.starts_with("<!doctype html>") && text.ends_with("</html>\n"), "{} bytes", text.len());
    assert!(text.contains(&adapter) && text.contains("validation images"), "{adapter}");
    Ok(())
}
