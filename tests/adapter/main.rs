//! Tests that need a device: the order of commands, the application's own kernels and buffers, callbacks, threads, and
//! device loss. They run on the machine's adapter; where kernels need not run, also on wgpu without a driver.

// In a browser, `#[test]` exports a test to the driver (tests/web-suites).
#[cfg(target_arch = "wasm32")]
#[macro_use]
extern crate wgpu_pool_web_attribute;

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod exit;
mod foreign;
mod kernel_refusal;
mod kernels;
mod lost;
mod lost_calls;
mod open;
mod order;
mod submission;
mod threads;
mod wakers;
