//! Waiting for a future on the calling thread.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use pollster::block_on;

/// Waits for a future in a browser. Only with `--cfg wgpu_pool_suspend`, for the tests: nothing can wait in a browser, but
/// JavaScript Promise Integration suspends the WebAssembly stack while the page's other tasks run. Every caller must be
/// called by an export with `#[wasm_bindgen(jspi)]`.
#[cfg(all(target_arch = "wasm32", wgpu_pool_suspend))]
pub fn block_on<F: Future>(future: F) -> F::Output {
    use std::task::{Context, Poll};

    let mut future = std::pin::pin!(future);
    loop {
        let (waker, woken) = suspend::waker();
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => suspend::until(&woken),
        }
    }
}

#[cfg(all(target_arch = "wasm32", wgpu_pool_suspend))]
mod suspend {
    use js_sys::{Function, Promise};
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Wake, Waker};
    use wasm_bindgen::JsValue;

    thread_local! {
        /// The functions that resolve the promises of wakers, which must be `Send` and therefore hold a number.
        static RESOLVERS: RefCell<HashMap<u64, Function>> = RefCell::default();
    }

    struct Resolver(u64);

    impl Wake for Resolver {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            if let Some(resolve) = take(self.0) {
                resolve.call0(&JsValue::NULL).expect("a promise can be resolved");
            }
        }
    }

    impl Drop for Resolver {
        fn drop(&mut self) {
            take(self.0);
        }
    }

    fn take(number: u64) -> Option<Function> {
        RESOLVERS.with_borrow_mut(|resolvers| resolvers.remove(&number))
    }

    /// Returns a waker, and a promise that it resolves.
    pub(super) fn waker() -> (Waker, Promise) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let woken = Promise::new(&mut |resolve, _| {
            RESOLVERS.with_borrow_mut(|resolvers| resolvers.insert(number, resolve));
        });
        (Waker::from(Arc::new(Resolver(number))), woken)
    }

    /// Suspends the stack until a promise is resolved.
    #[expect(deprecated, reason = "wasm-bindgen marks its support of promise integration as experimental so")]
    pub(super) fn until(woken: &Promise) {
        js_sys::futures::jspi_block_on_promise(woken).expect("the promise is never rejected");
    }
}
