//! Tests in a page.
#![cfg(target_arch = "wasm32")]

mod common;
mod frames;
mod kernels;
mod refusals;
mod running;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
