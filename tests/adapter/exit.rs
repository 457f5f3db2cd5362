//! A process may end at any time, whatever the device is doing.

use crate::common::adapter;
#[cfg(target_os = "linux")]
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread::{Thread, ThreadId};
use std::time::Duration;
use wgpu_pool::{Pool, Tensor};

/// Tells a child process how to end.
const WAY: &str = "WGPU_POOL_TEST_EXIT";

/// Tells a child process the number of the run of its way.
const RUN: &str = "WGPU_POOL_TEST_EXIT_RUN";

/// Begins the name of a way on GL.
const ON_GL: &str = "on GL: ";

/// Never dropped.
static KEPT: OnceLock<(Pool, Tensor)> = OnceLock::new();

/// Records more work than the device can complete before the process ends, in many batches.
fn begin_work(pool: Pool) -> (Pool, Tensor) {
    let mut x = Tensor::full(&pool, [100_000], 1.0_f32).expect("there is room");
    for _ in 0..1000 {
        x = x.exp().expect("it can be recorded");
    }
    (pool, x)
}

/// Records many different kernels in one batch: a software driver compiles a kernel when it first runs.
fn begin_kernels(pool: Pool) -> (Pool, Tensor) {
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
    (pool, x)
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

/// Begins a read, for which the thread of the pool polls, and keeps it until the process ends. Returns whether it is pending.
fn begin_read(x: &'static Tensor, waker: &Waker) -> bool {
    let read = Box::leak(Box::new(Box::pin(x.read::<f32>())));
    read.as_mut().poll(&mut Context::from_waker(waker)).is_pending()
}

/// Runs in the child process.
fn end(way: &str) {
    let (way, pool) = match way.strip_prefix(ON_GL) {
        Some(way) => (way, adapter::fresh_gl()),
        None => (way, adapter::fresh()),
    };
    let Some(pool) = pool else { return };
    let begin = if way.ends_with("before kernels are compiled") { begin_kernels } else { begin_work };
    let work = begin(pool);
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
        "exit after a read" => {
            let (_, x) = KEPT.get_or_init(|| work);
            pollster::block_on(x.read::<f32>()).expect("the device works");
            exit(0);
        }
        "exit after a read has begun" => {
            begin_read(&KEPT.get_or_init(|| work).1, Waker::noop());
            exit(0);
        }
        "return after a read has begun" => {
            begin_read(&KEPT.get_or_init(|| work).1, Waker::noop());
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

/// Runs this test in child processes, which end in each of the ways.
fn end_in(ways: &[&str], test: &str) {
    let runs = std::env::var("WGPU_POOL_TEST_EXITS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_u64);
    let program = std::env::current_exe().expect("the test program is a file");
    for way in ways {
        let mut failed = Vec::new();
        for run in 0..runs {
            let mut child = Command::new(&program);
            child.args(["--exact", test, "--nocapture"]).env(WAY, way).env(RUN, run.to_string());
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

// Case 61.
#[test]
fn a_process_may_end_with_work_in_flight() {
    if let Ok(way) = std::env::var(WAY) {
        exit_slowly();
        return end(&way);
    }
    let ways = [
        "after a drop",
        "exit after a drop",
        "return",
        "return before kernels are compiled",
        "exit",
        "exit after a read",
        "exit after a read has begun",
        "return after a read has begun",
        "exit while a read is awaited",
        "exit during a drop before kernels are compiled",
        "return during a drop before kernels are compiled",
    ];
    end_in(&ways, "exit::a_process_may_end_with_work_in_flight");
}

// Without `exit_slowly`: GLVND's libEGL is torn down after the functions of `atexit` have been called.
#[test]
fn a_process_may_end_while_gl_works() {
    if let Ok(way) = std::env::var(WAY) {
        return end(&format!("{ON_GL}{way}"));
    }
    let ways = [
        "exit after a drop",
        "exit",
        "exit after a read",
        "exit after a read has begun",
        "return after a read has begun",
    ];
    end_in(&ways, "exit::a_process_may_end_while_gl_works");
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

/// Wakes a thread that reads, and calls the function if a thread of the pool does so.
struct Waking(Thread, fn());

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        if std::thread::current().name() == Some("wgpu-pool poller") {
            (self.1)();
        }
        self.0.unpark();
    }
}

/// Reads a small tensor until `done`. Returns false, and says so, if `act` was then not called on the thread that polls: a device may be so
/// fast that it has always finished before the thread polls.
fn read_until(pool: &Pool, done: impl Fn() -> bool, act: fn()) -> bool {
    let x = Tensor::full(pool, [100], 1.0_f32).expect("there is room");
    for _ in 0..1000 {
        let y = x.exp().expect("it can be recorded");
        let mut read = std::pin::pin!(y.read::<f32>());
        let waker = Waker::from(Arc::new(Waking(std::thread::current(), act)));
        while read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
        if done() {
            return true;
        }
    }
    eprintln!("skipped: too few of 1,000 reads were pending");
    false
}

// GLVND's libEGL frees the data of a thread when it ends, and of all threads when the process exits: both at once crashed 15 of 2,800
// processes. On Windows a thread is not waited for.
#[cfg(not(windows))]
#[test]
fn on_gl_a_dropped_pool_has_waited_for_the_destructors_of_its_threads() {
    let Some(pool) = adapter::fresh_gl() else { return };
    let exists = || EXISTS.load(Ordering::SeqCst);
    if !read_until(&pool, exists, || SLOW.with(|_| EXISTS.store(true, Ordering::SeqCst))) {
        return;
    }
    drop(pool);
    assert!(HAS_RUN.load(Ordering::SeqCst), "a thread of the pool is still ending");
}

/// The threads that have polled, once for each read.
static POLLERS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn pollers() -> MutexGuard<'static, Vec<ThreadId>> {
    POLLERS.lock().expect("no test panics with it")
}

// A thread that ends after a read may end while the process exits, see above.
#[test]
fn one_thread_polls_for_all_reads_of_a_pool() {
    let Some(pool) = adapter::fresh_gl().or_else(adapter::fresh) else { return };
    if !read_until(&pool, || pollers().len() >= 5, || pollers().push(std::thread::current().id())) {
        return;
    }
    let pollers: HashSet<ThreadId> = pollers().iter().copied().collect();
    assert_eq!(pollers.len(), 1);
}

/// Whether the thread that polls has left the waker of a read.
static HAS_WOKEN: AtomicBool = AtomicBool::new(false);

// On Windows the end of a thread does not wait.
#[cfg(not(windows))]
#[test]
fn on_gl_a_thread_that_ends_has_waited_for_the_poll_of_its_reads() {
    let Some(pool) = adapter::fresh_gl() else { return };
    let wake = || {
        std::thread::sleep(Duration::from_millis(200));
        HAS_WOKEN.store(true, Ordering::SeqCst);
    };
    for _ in 0..1000 {
        let x: &Tensor = Box::leak(Box::new(Tensor::full(&pool, [100], 1.0_f32).expect("there is room")));
        let waker = Waker::from(Arc::new(Waking(std::thread::current(), wake)));
        // Its end includes that of its thread-local values.
        let is_pending = std::thread::spawn(move || begin_read(x, &waker)).join().expect("no panic");
        if is_pending {
            assert!(HAS_WOKEN.load(Ordering::SeqCst), "the device is still being polled");
            return;
        }
    }
    eprintln!("skipped: no read of 1,000 was pending");
}
