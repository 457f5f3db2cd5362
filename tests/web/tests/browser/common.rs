//! What the tests share.

use std::cell::RefCell;
use wasm_bindgen::{JsCast, JsValue};
use wgpu_pool::{Pool, PoolOptions};

/// A test fails with the error that it returns.
pub(crate) type Outcome = Result<(), wgpu_pool::Error>;

/// A buffer that the limits of Chromium's software adapter permit and its memory does not.
pub(crate) const REFUSED_BYTES: u64 = 1 << 30;

pub(crate) async fn pool() -> Pool {
    pool_with(PoolOptions::default()).await
}

pub(crate) async fn pool_with(options: PoolOptions) -> Pool {
    Pool::request(options).await.expect("the browser has a WebGPU adapter")
}

/// Waits for `milliseconds`, in which the page's other tasks run.
pub(crate) async fn pause(milliseconds: i32) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let set: js_sys::Function = js_sys::Reflect::get(&js_sys::global(), &"setTimeout".into())
            .expect("every page and worker has timers")
            .unchecked_into();
        set.call2(&JsValue::NULL, &resolve, &milliseconds.into()).expect("the arguments are right");
    });
    wasm_bindgen_futures::JsFuture::from(promise).await.expect("a timer does not fail");
}

thread_local!(static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

struct Log;

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.with(|logged| logged.borrow_mut().push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// The number of faults that were logged since the last call of [`logged`]. A fault may be cleared together with one that followed from it.
pub(crate) fn faults() -> usize {
    logged().iter().filter(|line| line.starts_with("wgpu-pool: the device refused work")).count()
}

/// Starts to collect warnings and errors, and returns those that were logged since the last call.
pub(crate) fn logged() -> Vec<String> {
    static LOG: Log = Log;
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    LOGGED.with(RefCell::take)
}
