//! The test suite of the pool, on every memory: the accounting memory, host memory, wgpu without a driver, the
//! machine's adapter, and GL. Case numbers in comments refer to `docs/CASES.md`.

// In a browser, `#[test]` exports a test to the driver (tests/web-suites).
#[cfg(target_arch = "wasm32")]
#[macro_use]
extern crate wgpu_pool_web_attribute;

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program/mod.rs"]
mod program;
mod subjects;

mod append;
mod bytes;
mod compaction;
mod downloads;
#[cfg(feature = "tensor")]
mod driver;
mod dry_run;
mod dry_run_batch;
mod dry_run_handles;
mod faults;
mod fuzz;
mod guarantee;
mod history;
mod holders;
mod host_copies;
mod hostile;
mod ladder;
mod last_rungs;
mod leaks;
mod limits;
mod losing;
mod maps;
mod marks;
mod pressure;
mod pressure_bounds;
mod refusal;
mod release;
mod repeat;
mod repeat_caches;
mod repeat_edges;
mod repeat_programs;
mod report;
mod requests;
mod reuse;
mod scopes;
mod scrub;
mod spill;
mod spill_faults;
mod spill_losses;
mod spill_programs;
mod spill_ranges;
#[cfg(feature = "tensor")]
mod spill_tensors;
mod spill_threads;
mod statistics;
mod threads;
mod trim;
mod weak;
