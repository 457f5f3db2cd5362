//! The page for visitors with a keyboard, a screen reader, a dark screen or a phone.

use crate::browser::Browser;
use crate::{ENTER, Outcome, SOON, TAB, press_on, until, value};
use serde_json::{Value, json};
use std::error::Error;

const RIGHT: &str = "\u{e014}";
const SPACE: &str = " ";

/// Each control is reached by the Tab key, in the order of the page, and shows that it has the focus.
pub(crate) fn keyboard(browser: &Browser) -> Outcome {
    // Paused, so that no table is replaced meanwhile.
    press_on(browser, "#pause", &[SPACE])?;
    assert_eq!(browser.text("#pause")?, "Continue");
    let wanted = browser.run(
        "window.controls = Array.from(document.querySelectorAll('a[href], button:enabled, input:enabled, [tabindex=\"0\"]'))
            .filter((control) => control.checkVisibility());
        window.controls[0].focus();
        return window.controls.length",
    )?;
    let wanted = wanted.as_u64().ok_or("a number")?;
    let mut reached = Vec::new();
    for place in 0..wanted {
        if place > 0 {
            browser.press(&[TAB])?;
        }
        reached.push(browser.run(
            "const control = document.activeElement;
            const [style, box] = [getComputedStyle(control), control.getBoundingClientRect()];
            return [window.controls.indexOf(control), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
                box.bottom > 0 && box.top < innerHeight, control.outerHTML.slice(0, 80)]",
        )?);
    }
    for (place, found) in reached.iter().enumerate() {
        assert_eq!(found.as_array().ok_or("a list")?[..3], [json!(place), json!(true), json!(true)], "{reached:#?}");
    }
    // The link that skips leads past the heading.
    browser.run("document.querySelector('.skip').focus()")?;
    browser.press(&[ENTER, TAB])?;
    assert_eq!(browser.run("return document.activeElement.id")?, json!("pause"));
    // The arrow keys tell the blocks of the map.
    browser.run("document.querySelector('#maps canvas').focus()")?;
    browser.press(&[RIGHT])?;
    let first = browser.text("#details")?;
    browser.press(&[RIGHT])?;
    let second = browser.text("#details")?;
    assert!(first.contains("segment") && second.contains("segment") && first != second, "{first}; {second}");
    press_on(browser, "#theme", &[ENTER])?;
    assert_eq!(browser.run("return document.documentElement.dataset.theme")?, json!("dark"));
    press_on(browser, "#theme", &[ENTER])?;
    press_on(browser, "#pause", &[SPACE])?;
    assert_eq!(browser.text("#pause")?, "Pause");
    Ok(())
}

/// Returns the roles and names that a screen reader gets, without those of the text in other elements.
fn names(browser: &Browser) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let tree = browser.post("/goog/cdp/execute", &json!({"cmd": "Accessibility.getFullAXTree", "params": {}}))?;
    let nodes = tree["nodes"].as_array().ok_or("a list of nodes")?;
    let text = |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or_default().to_string();
    let seen = nodes.iter().filter(|node| node["ignored"] == json!(false));
    Ok(seen.map(|node| (text(node, "role").to_lowercase(), text(node, "name"))).collect())
}

/// What a screen reader gets: a name for each control and picture, headings, and regions that speak.
pub(crate) fn screen_reader(browser: &Browser) -> Outcome {
    let names = names(browser)?;
    let named = [
        "button",
        "spinbutton",
        "progressbar",
        "progressindicator",
        "img",
        "image",
        "canvas",
        "application",
        "link",
        "region",
    ];
    let unnamed: Vec<_> =
        names.iter().filter(|(role, name)| named.contains(&role.as_str()) && name.is_empty()).collect();
    assert!(unnamed.is_empty(), "{unnamed:?} of {names:#?}");
    let of = |roles: &[&str]| -> Vec<&str> {
        names.iter().filter(|(role, _)| roles.contains(&role.as_str())).map(|(_, name)| name.as_str()).collect()
    };
    for button in [
        "New model",
        "Trim",
        "Compact",
        "Memory pressure",
        "Leak 16 MiB",
        "Drop the leaks",
        "Ask for too much",
        "Copy the table",
    ] {
        assert!(of(&["button"]).contains(&button), "{button}: {names:#?}");
    }
    assert_eq!(of(&["spinbutton"]), ["Limit in MiB"]);
    assert!(
        of(&["progressbar", "progressindicator"]).iter().all(|name| name.contains("overlap on unseen images")),
        "{names:#?}"
    );
    let pictures = of(&["img", "image", "canvas"]);
    for start in ["Loss: ", "Intersection over union: ", "Reserved and allocated memory: "] {
        assert!(pictures.iter().any(|name| name.starts_with(start)), "{start}: {pictures:?}");
    }
    assert!(pictures.iter().any(|name| name.contains("unseen images")), "{pictures:?}");
    assert!(of(&["application"]).iter().any(|name| name.starts_with("Map: ")), "{names:#?}");
    let headings =
        ["wgpu-pool in your browser", "Training", "Memory of the pool", "Segments and blocks", "Benchmark of this GPU"];
    // Not in the order of the page.
    let mut found = of(&["heading"]);
    found.sort_by_key(|name| headings.iter().position(|heading| heading == name));
    assert_eq!(found, headings);
    // Answers, the progress and details are spoken when they change.
    let spoken = "Array.from(document.querySelectorAll('[role=status]'), (region) => region.id)";
    assert_eq!(value(browser, spoken)[0], json!(["spoken", "answer", "details", "benchmark-state"]));
    Ok(())
}

/// The page follows the preferred colours, and each text is legible: the contrast that WCAG 2.2 AA requires.
pub(crate) fn colours(browser: &Browser, scheme: &str) -> Outcome {
    browser.prefer(scheme)?;
    let theme = "document.documentElement.dataset.theme";
    until(browser, "the theme", SOON, theme, |theme| *theme == json!(scheme));
    let found = browser.run(
        "const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const light = (colour, under) => {
          probe.fillStyle = under;
          probe.fillRect(0, 0, 1, 1);
          probe.fillStyle = colour;
          probe.fillRect(0, 0, 1, 1);
          const [red, green, blue] = Array.from(probe.getImageData(0, 0, 1, 1).data, (part) =>
            part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
          return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const behind = (element) => {
          for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)' && colour !== 'transparent') return colour;
          }
          return 'white';
        };
        const texts = Array.from(document.querySelectorAll('body *')).filter((element) =>
          element.checkVisibility() && !element.disabled && element.tagName !== 'SCRIPT' && element.tagName !== 'NOSCRIPT' &&
          Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim() !== ''));
        const bad = [];
        for (const element of texts) {
          const [style, under] = [getComputedStyle(element), behind(element)];
          const [one, other] = [light(style.color, under), light(under, under)].sort((a, b) => b - a);
          const ratio = (one + 0.05) / (other + 0.05);
          const size = parseFloat(style.fontSize);
          const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
          if (ratio < least) bad.push(`${element.tagName} ${element.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
        }
        return [texts.length, bad, light(behind(document.body), 'white')]",
    )?;
    assert!(found[0].as_u64() > Some(30), "{found}");
    assert_eq!(found[1], json!([]), "contrast in {scheme}");
    assert_eq!(found[2].as_f64() > Some(0.5), scheme == "light", "{found}");
    Ok(())
}

/// On a phone nothing is cut off or scrolls sideways, but tables in their frames, and a finger can press each control.
pub(crate) fn phone(browser: &Browser, width: u32) -> Outcome {
    browser.resize(width, 844)?;
    let found = browser.run(
        "const frames = '.table, .map, .skip, .hidden';
        const wide = document.documentElement.clientWidth;
        const cut = Array.from(document.querySelectorAll('body *')).filter((element) =>
          element.checkVisibility() && !element.closest(frames) && element.getBoundingClientRect().right > wide + 0.5);
        const small = Array.from(document.querySelectorAll('.controls button, .controls input')).filter((control) => {
          const box = control.getBoundingClientRect();
          return box.width < 36 || box.height < 36;
        });
        // Words of a table are not divided into letters, and its rows need no scrolling sideways.
        const narrow = Array.from(document.querySelectorAll('#benchmark-table tr, #holders tr')).filter((row) =>
          row.getBoundingClientRect().height > 90);
        const bench = document.getElementById('benchmark-table').parentElement;
        const text = (elements) => elements.map((element) => element.outerHTML.slice(0, 80));
        return [document.documentElement.scrollWidth - wide, innerWidth, text(cut), text(small), text(narrow),
          bench.scrollWidth - bench.clientWidth]",
    )?;
    let found = found.as_array().ok_or("a list")?;
    assert_eq!(found[..4], [json!(0), json!(width), json!([]), json!([])]);
    // On the smallest phones a table scrolls in its frame.
    assert!(width < 390 || found[4..] == [json!([]), json!(0)], "{found:?}");
    Ok(())
}

/// The explanation where WebGPU is missing, which a screen reader speaks.
pub(crate) fn explained(browser: &Browser, start: &str) -> Outcome {
    until(browser, "the explanation", SOON, "document.getElementById('missing').hidden", |hidden| {
        *hidden == json!(false)
    });
    let told = browser.text("#missing-text")?;
    assert!(told.starts_with(start), "{told}");
    // Nothing that does not work is shown.
    let shown = "Array.from(document.querySelectorAll('main > *')).filter((part) => part.checkVisibility()).map((part) => part.id)";
    assert_eq!(value(browser, shown)[0], json!(["missing"]));
    let names = names(browser)?;
    assert!(names.iter().any(|(role, _)| role == "alert"), "{names:#?}");
    let text = browser.text("#missing")?;
    for browser in ["Chrome", "Safari", "Firefox", "https"] {
        assert!(text.contains(browser), "{text}");
    }
    Ok(())
}
