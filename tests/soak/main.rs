//! The long-running verification: random programs over every memory, threads, faults, programs at the memory they need, and a
//! process that must not grow.
//!
//! As tests they are short. `cargo xtask soak --minutes N` runs them in a release build for N minutes: it sets
//! `WGPU_POOL_SOAK_MINUTES`, which the parts share, and `WGPU_POOL_SOAK_SEED`, the first seed. A failure names its seed and lists a
//! program of few steps.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program/mod.rs"]
mod program;
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with the pool's tests, which use all of it")]
#[path = "../pool/subjects.rs"]
mod subjects;

mod budget;
mod failing;
mod flat;
mod programs;
mod threads;
mod training;
