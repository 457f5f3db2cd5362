//! The long-running tests: random programs on every memory, threads, fault injection, programs with little spare
//! memory, and a process that must not grow.
//!
//! As ordinary tests they are short. `cargo xtask soak --minutes N` runs a release build for N minutes: it sets
//! `WGPU_POOL_SOAK_MINUTES`, which the parts share, and `WGPU_POOL_SOAK_SEED`, the first seed. The message of a failure
//! contains the seed; that of a random program also contains a short program that fails.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program/mod.rs"]
mod program;
#[path = "../pool/requests.rs"]
mod requests;
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the pool's tests, which use all of it")]
#[path = "../pool/subjects.rs"]
mod subjects;

mod budget;
mod failing;
mod flat;
mod guarantee;
mod programs;
mod threads;
mod training;
