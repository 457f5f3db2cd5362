#![no_main]

#[path = "../bodies/kernel.rs"]
mod body;
#[path = "../bodies/device.rs"]
mod device;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
