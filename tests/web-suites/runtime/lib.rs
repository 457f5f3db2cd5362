//! What the suites need in a browser: `block_on`, under the name of the crate pollster, `sleep`, and the exports of the tests.
#![cfg(target_arch = "wasm32")]

use std::fmt;
use std::time::Duration;

#[doc(hidden)]
pub use wasm_bindgen as bindgen;
pub use wgpu_pool::device::block_on;

#[wasm_bindgen::prelude::wasm_bindgen]
extern "C" {
    /// Shows the message of a panic, after which nothing of the program can be called.
    #[wasm_bindgen(js_namespace = globalThis, js_name = reportPanic)]
    fn report_panic(message: &str);

    /// The timer of pages and workers.
    #[wasm_bindgen(js_namespace = globalThis, js_name = setTimeout)]
    fn set_timeout(call: &js_sys::Function, milliseconds: f64);
}

/// Waits for a duration, in which the page's other tasks run.
pub fn sleep(duration: Duration) {
    let timer = js_sys::Promise::new(&mut |resolve, _| set_timeout(&resolve, (duration.as_secs_f64() * 1000.0).ceil()));
    block_on(wasm_bindgen_futures::JsFuture::from(timer)).expect("a timer is never rejected");
}

/// The result of a test function.
pub trait Outcome {
    /// Returns the error, if there is one.
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Debug> Outcome for Result<(), E> {
    fn error(self) -> Option<String> {
        self.err().map(|error| format!("Error: {error:?}"))
    }
}

/// Returns the name of a test, or runs it and returns its error, which is empty if there is none.
pub fn test<O: Outcome>(name: &str, act: bool, test: fn() -> O) -> String {
    if !act {
        return name.to_string();
    }
    std::panic::set_hook(Box::new(|panic| report_panic(&panic.to_string())));
    test().error().unwrap_or_default()
}
