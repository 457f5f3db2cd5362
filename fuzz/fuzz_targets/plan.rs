#![no_main]

#[path = "../bodies/plan.rs"]
mod body;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
