//! Measures the heap's speed and packing, and compares both: `cargo bench --bench heap -- [TRACE...]`.
//!
//! The crates `offset-allocator` (Sebastian Aaltonen's algorithm: two levels of bins, metadata outside the memory) and
//! `rlsf` (TLSF; its metadata is inside the memory, so its units are real bytes, 16 for each granule of the others) run
//! for comparison.
//!
//! - *pairs*: one block is freed and one of another size is allocated, in a heap with the given number of live blocks.
//!   The freed block is any block, or one of the 1,000 youngest, as in programs that free recent allocations. Sizes are
//!   log-uniform.
//! - *plans*: the cost of a compaction plan in pools with the given number of segments and blocks, a quarter of them
//!   holes.
//! - *packing*: an arena is filled to 80 %, kept there by random frees and allocations, then filled until a request
//!   fails; the result is the share in use.
//! - *compaction*: a pool whose limit is the arena's size, kept nearly full: no request may fail that, together with
//!   the live blocks, leaves one segment free.
//! - *growth*: the cost of each operation as blocks, segments and events grow.
//! - *traces*: the events of real programs.
//!
//! Times are from the host's clock. Every contender runs the same precomputed operations, alternately in short rounds,
//! and the figures are medians over the rounds. The ratio is the median of the rounds' ratios, which is robust against
//! a change of the machine's speed.

mod contenders;
#[path = "../../examples/replay/fault.rs"]
#[expect(dead_code, reason = "a bench never replays with stamps")]
mod fault;
mod growth;
mod packing;
mod pairs;
mod plans;
#[path = "../../tests/common/random.rs"]
#[expect(dead_code, reason = "tests draw other numbers too")]
mod random;
mod rounds;
#[path = "../../examples/replay/trace.rs"]
#[expect(dead_code, reason = "its tests run in the example alone")]
mod trace;
mod traces;

use clap::Parser;
use std::error::Error;
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(about = "How fast the heap is, and how tightly it packs")]
struct Options {
    /// The maximum number of live blocks of the pairs, which start with 1,000 and increase tenfold
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    live: u32,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Programs of the packing, each with a different seed
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Allocation traces, in the format of the example `replay`
    traces: Vec<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    pairs::compare(options.live, options.rounds);
    plans::measure(options.rounds);
    packing::compare(options.seeds)?;
    packing::compact(options.seeds)?;
    growth::print(options.live, options.rounds);
    for path in &options.traces {
        traces::compare(path, options.rounds)?;
    }
    Ok(())
}
