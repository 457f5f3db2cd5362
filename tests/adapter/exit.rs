//! A process may end at any time, whatever the device is doing.

use crate::common::adapter;
#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;
use wgpu_pool::{Pool, Tensor};

/// Tells a child process how to end.
const WAY: &str = "WGPU_POOL_TEST_EXIT";

/// Tells a child process the number of the run of its way.
const RUN: &str = "WGPU_POOL_TEST_EXIT_RUN";

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

/// Records many different kernels in one batch: a software driver compiles a kernel when it first runs.
fn begin_kernels() -> Option<(Pool, Tensor)> {
    let pool = adapter::fresh()?;
    let x = Tensor::full(&pool, [100], 1.0_f32).expect("there is room");
    let kernel = |number| {
        let wgsl = format!(
            "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
             @compute @workgroup_size(1)
             fn add(@builtin(global_invocation_id) id: vec3<u32>) {{ x[id.x] += {number}.0; }}"
        );
        pool.kernel(&wgsl, "add").expect("it is correct")
    };
    let kernels: Vec<_> = (0..40).map(kernel).collect();
    for kernel in kernels {
        kernel.dispatch(&[&x], &[], [100, 1, 1]).expect("it can be recorded");
    }
    Some((pool, x))
}

/// Keeps the process alive for 100 ms after `exit` has destroyed the statics of all libraries that were loaded after this call.
#[cfg(unix)]
#[expect(unsafe_code, reason = "a function of C, which has no other interface")]
fn exit_slowly() {
    unsafe extern "C" {
        fn atexit(handler: extern "C" fn()) -> std::ffi::c_int;
    }
    extern "C" fn wait() {
        std::thread::sleep(Duration::from_millis(100));
    }
    // SAFETY: the handler neither unwinds nor uses anything that is destroyed.
    assert_eq!(unsafe { atexit(wait) }, 0);
}

#[cfg(not(unix))]
fn exit_slowly() {}

/// Drops the last handle of a pool, that of its last tensor, on another thread. Returns while that is in progress: after a time that
/// is different in each run, and in which the drop has begun. An exit before that is not covered (docs/threads.md), and crashes with NVIDIA's
/// driver.
fn drop_on_another_thread((pool, x): (Pool, Tensor)) {
    pool.submit().expect("the device works");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        sender.send(()).expect("the test waits");
        drop(pool);
        drop(x);
    });
    receiver.recv().expect("the thread sends");
    let run: u64 = std::env::var(RUN).map_or(0, |run| run.parse().expect("a number"));
    std::thread::sleep(Duration::from_millis(10 + run * 7 % 200));
}

/// Runs in the child process.
fn end(way: &str) {
    exit_slowly();
    let begin = if way.ends_with("before kernels are compiled") { begin_kernels } else { begin_work };
    let Some(work) = begin() else { return };
    match way {
        // Returns from the main function of the test program.
        "after a drop" => drop(work),
        "exit after a drop" => {
            drop(work);
            exit(0);
        }
        "return" | "return before kernels are compiled" => drop(KEPT.set(work)),
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
        "exit during a drop before kernels are compiled" => {
            drop_on_another_thread(work);
            exit(0);
        }
        "return during a drop before kernels are compiled" => drop_on_another_thread(work),
        other => panic!("no such way: {other}"),
    }
}

// Case 61.
#[test]
fn a_process_may_end_with_work_in_flight() {
    if let Ok(way) = std::env::var(WAY) {
        return end(&way);
    }
    let runs = std::env::var("WGPU_POOL_TEST_EXITS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_u64);
    let program = std::env::current_exe().expect("the test program is a file");
    let ways = [
        "after a drop",
        "exit after a drop",
        "return",
        "return before kernels are compiled",
        "exit",
        "exit while a read is awaited",
        "exit during a drop before kernels are compiled",
        "return during a drop before kernels are compiled",
    ];
    for way in ways {
        let mut failed = Vec::new();
        for run in 0..runs {
            let name = "exit::a_process_may_end_with_work_in_flight";
            let mut child = Command::new(&program);
            child.args(["--exact", name, "--nocapture"]).env(WAY, way).env(RUN, run.to_string());
            // Mesa would take kernels from an earlier run.
            child.env("MESA_SHADER_CACHE_DISABLE", "true");
            let ended = child.output().expect("it starts");
            if !ended.status.success() {
                failed.push((ended.status, String::from_utf8_lossy(&ended.stderr).into_owned()));
            }
        }
        let first = failed.first().map(|(status, text)| format!("{status}\n{text}")).unwrap_or_default();
        assert!(failed.is_empty(), "{way}: {} of {runs} processes crashed: {first}", failed.len());
    }
}

/// The libraries that are loaded now.
#[cfg(target_os = "linux")]
fn libraries() -> BTreeSet<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    let files = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    files.filter(|file| file.contains(".so")).map(str::to_string).collect()
}

// A library that is unloaded while the main thread calls its destructors crashes the process, seldom.
#[cfg(target_os = "linux")]
#[test]
fn the_libraries_of_a_driver_stay_loaded_until_the_process_ends() {
    for pool in [adapter::fresh(), adapter::fresh_gl()].into_iter().flatten() {
        let x = Tensor::full(&pool, [100], 1.0_f32).expect("there is room");
        assert_eq!(x.exp().and_then(|x| x.read_blocking::<f32>()).expect("the device works").len(), 100);
        let used = libraries();
        assert!(used.len() > 4, "{used:?}");
        drop(x);
        drop(pool);
        let unloaded: Vec<String> = used.difference(&libraries()).cloned().collect();
        assert!(unloaded.is_empty(), "{unloaded:?}");
    }
}

/// Whether a thread of a pool has a thread-local value, and whether the value's destructor has run.
static EXISTS: AtomicBool = AtomicBool::new(false);
static HAS_RUN: AtomicBool = AtomicBool::new(false);

/// A value whose destructor takes long.
struct Slow;

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(200));
        HAS_RUN.store(true, Ordering::SeqCst);
    }
}

thread_local! {
    static SLOW: Slow = const { Slow };
}

/// Wakes a thread that reads. The thread that polls gets the value.
struct Waking(Thread);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        if std::thread::current().name() == Some("wgpu-pool poller") {
            SLOW.with(|_| EXISTS.store(true, Ordering::SeqCst));
        }
        self.0.unpark();
    }
}

// GLVND's libEGL frees the data of a thread when it ends, and of all threads when the process exits: both at once crashed 15 of 2,800
// processes. On Windows a thread is not waited for.
#[cfg(not(windows))]
#[test]
fn on_gl_a_dropped_pool_has_waited_for_the_destructors_of_its_threads() {
    let Some(pool) = adapter::fresh_gl() else { return };
    let x = Tensor::full(&pool, [100], 1.0_f32).expect("there is room");
    for _ in 0..1000 {
        let y = x.exp().expect("it can be recorded");
        let mut read = std::pin::pin!(y.read::<f32>());
        let waker = Waker::from(Arc::new(Waking(std::thread::current())));
        while read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
        if EXISTS.load(Ordering::SeqCst) {
            break;
        }
    }
    if !EXISTS.load(Ordering::SeqCst) {
        eprintln!("skipped: no read of 1,000 was pending");
        return;
    }
    drop(x);
    drop(pool);
    assert!(HAS_RUN.load(Ordering::SeqCst), "a thread of the pool is still ending");
}
