#![no_main]

#[path = "../bodies/trace.rs"]
mod body;
#[allow(dead_code, reason = "shared with the example, which uses all of it")]
#[path = "../../examples/replay/fault.rs"]
mod fault;
#[path = "../bodies/input.rs"]
mod input;
#[allow(dead_code, reason = "shared with the example, which uses all of it")]
#[path = "../../examples/replay/trace.rs"]
mod trace;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
