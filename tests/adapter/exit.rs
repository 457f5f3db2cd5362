//! A process may end at any time, whatever the device is doing.

use crate::common::adapter;
use std::process::{Command, exit};
use std::sync::OnceLock;
use wgpu_pool::{Pool, Tensor};

/// Tells a child process how to end.
const WAY: &str = "WGPU_POOL_TEST_EXIT";

/// Never dropped.
static KEPT: OnceLock<(Pool, Tensor)> = OnceLock::new();

/// Records more work than the device can complete before the process ends, in many batches.
fn begin_work() -> Option<(Pool, Tensor)> {
    let pool = adapter::fresh()?;
    let mut x = Tensor::full(&pool, [100_000], 1.0_f32).expect("there is room");
    for _ in 0..1000 {
        x = x.exp().expect("it can be recorded");
    }
    Some((pool, x))
}

/// Runs in the child process.
fn end(way: &str) {
    let Some(work) = begin_work() else { return };
    match way {
        // Returns from the main function of the test program.
        "after a drop" => drop(work),
        "exit after a drop" => {
            drop(work);
            exit(0);
        }
        "return" => drop(KEPT.set(work)),
        "exit" => {
            drop(KEPT.set(work));
            exit(0);
        }
        "exit while a read is awaited" => {
            let (pool, x) = KEPT.get_or_init(|| work);
            std::thread::spawn(|| pollster::block_on(x.read::<f32>()).map(drop));
            pool.submit().expect("the device works");
            exit(0);
        }
        "exit during a drop" => {
            let dropping = std::thread::spawn(move || drop(work));
            std::thread::sleep(std::time::Duration::from_millis(u64::from(std::process::id()) % 400));
            drop(dropping);
            exit(0);
        }
        other => panic!("no such way: {other}"),
    }
}

// Case 61.
#[test]
fn a_process_may_end_with_work_in_flight() {
    if let Ok(way) = std::env::var(WAY) {
        return end(&way);
    }
    let runs = std::env::var("WGPU_POOL_TEST_EXITS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2);
    let program = std::env::current_exe().expect("the test program is a file");
    for way in ["after a drop", "exit after a drop", "return", "exit", "exit while a read is awaited"] {
        let mut failed = Vec::new();
        for _ in 0..runs {
            let name = "exit::a_process_may_end_with_work_in_flight";
            let mut child = Command::new(&program);
            let ended = child.args(["--exact", name, "--nocapture"]).env(WAY, way).output().expect("it starts");
            if !ended.status.success() {
                failed.push((ended.status, String::from_utf8_lossy(&ended.stderr).into_owned()));
            }
        }
        let first = failed.first().map(|(status, text)| format!("{status}\n{text}")).unwrap_or_default();
        assert!(failed.is_empty(), "{way}: {} of {runs} processes crashed: {first}", failed.len());
    }
}
