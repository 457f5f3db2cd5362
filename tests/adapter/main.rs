//! What only a device shows: the order of commands, the user's own kernels and buffers, callbacks, threads, and a device that
//! is lost. On the machine's adapter; where kernels need not run, also on wgpu without a driver.

#[path = "../common/mod.rs"]
mod common;

mod callbacks;
mod exit;
mod foreign;
mod kernel_refusal;
mod kernels;
mod lost;
mod order;
mod submission;
mod threads;
