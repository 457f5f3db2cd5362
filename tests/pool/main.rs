//! One suite for the pool, over every memory: the one that only counts, the host's, wgpu without a driver, the machine's
//! adapter, and GL. Numbers in comments are those of the list of cases that a caching allocator has to hold to.

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
mod maps;
mod marks;
mod pressure;
mod refusal;
mod release;
mod report;
mod reuse;
mod scopes;
mod scrub;
mod statistics;
mod threads;
mod trim;
mod weak;
