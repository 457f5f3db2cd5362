//! The memory of the page over time.

use crate::browser::Browser;
use crate::{Outcome, STEPS, value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The most that the memory of a process of the browser may grow in a run of some minutes, in MiB. Buffers of one step that are never
/// destroyed exceed it within a minute.
const GROWTH: u64 = 64;

/// Neither the pool nor a process of the browser grows for as many minutes as `WGPU_POOL_WEB_MINUTES` says.
pub(crate) fn stays_flat(browser: &Browser) -> Outcome {
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
