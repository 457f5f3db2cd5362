//! Replays allocation traces of real programs in a pool, over any memory: `cargo run --release --example replay -- --help`.
//!
//! `trace.rs` reads a trace, `import` those of other programs, `replay.rs` replays it, `stamp.rs` verifies that no other block
//! overwrites a block's bytes.

mod fault;
mod import;
mod options;
mod plan;
mod progress;
mod replay;
mod stamp;
mod table;
mod trace;
#[path = "../common/watch.rs"]
mod watch;

use clap::Parser;
use fault::ReplayError;
use options::{MemoryKind, Options};
use progress::Progress;
use replay::{Figures, REPLAYS};
use serde::Serialize;
use stamp::{Stamps, Unstamped};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use table::{Row, Table};
use trace::Trace;
use wgpu_pool::{AccountingMemory, Gpu, HostMemory, Memory, Pool, PoolOptions};

/// The line of one trace on standard output.
#[derive(Debug, Serialize)]
struct Line<'a> {
    trace: &'a str,
    memory: String,
    /// The divisor of every size of the trace.
    scale: u64,
    #[serde(flatten)]
    figures: Figures,
}

/// The exit status of the program: the worst of all traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Success = 0,
    Failed = 1,
    Refused = 2,
}

fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    ExitCode::from(run(&options, &mut io::stdout().lock(), &mut io::stderr()) as u8)
}

/// Replays every trace. Writes figures to `out`, and errors to `err`.
fn run(options: &Options, out: &mut impl Write, err: &mut impl Write) -> Outcome {
    // An error that cannot be written is ignored.
    let mut complain = |text: &dyn std::fmt::Display| drop(writeln!(err, "replay: {text}"));
    let mut outcome = Outcome::Success;
    let mut table = Table { scale: options.scale.get(), rows: Vec::new() };
    for path in &options.traces {
        let trace = match import::open(path, options.device) {
            Ok(trace) => trace.scaled(options.scale),
            Err(error) => {
                complain(&error);
                outcome = outcome.max(Outcome::Refused);
                continue;
            }
        };
        let name = name(path);
        let intervals = options.intervals.as_ref().map(|folder| folder.join(format!("{name}.csv")));
        if let Some(Err(error)) = intervals.map(|file| write_intervals(&trace, &file)) {
            complain(&format_args!("{}: {error}", path.display()));
            outcome = outcome.max(Outcome::Failed);
            continue;
        }
        let written = if options.table {
            row(&trace, &name, options).map(|row| {
                table.rows.push(row);
                Ok(())
            })
        } else {
            measure(&trace, &name, options).map(|figures| {
                let memory = options.memory.to_string();
                print(&Line { trace: &name, memory, scale: options.scale.get(), figures }, out)
            })
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return outcome.max(unwritten(&error, complain)),
            Err(error) => {
                complain(&format_args!("{}: {error}", path.display()));
                outcome = outcome.max(Outcome::Failed);
            }
        }
    }
    let has_table = options.table && !table.rows.is_empty();
    if let Some(Err(error)) = has_table.then(|| write!(out, "{table}").and_then(|()| out.flush())) {
        return outcome.max(unwritten(&error, complain));
    }
    outcome
}

/// Returns the exit status if figures cannot be written. A pipe that its reader has closed is not an error.
fn unwritten(error: &io::Error, mut complain: impl FnMut(&dyn std::fmt::Display)) -> Outcome {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Outcome::Success;
    }
    complain(&format_args!("the figures can't be written: {error}"));
    Outcome::Failed
}

/// A row of the table: the trace with compaction and without.
fn row(trace: &Trace, name: &str, options: &Options) -> Result<Row, ReplayError> {
    let compacting = measure(trace, name, &options.compacting(true))?;
    let rigid = measure(trace, name, &options.compacting(false))?;
    Ok(Row { trace: name.to_string(), compacting, rigid })
}

fn print(line: &Line<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)?;
    out.flush()
}

/// Returns the name of a trace: its file name without the common suffix.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let plain = file.strip_suffix(".gz").unwrap_or(&file);
    plain.strip_suffix(".trace").unwrap_or(plain).to_string()
}

/// Writes the lifetimes and sizes of the blocks of a trace.
fn write_intervals(trace: &Trace, path: &Path) -> Result<(), ReplayError> {
    let intervals = trace.problem()?.to_csv();
    std::fs::write(path, intervals).map_err(|error| ReplayError::Intervals { path: path.display().to_string(), error })
}

fn measure(trace: &Trace, name: &str, options: &Options) -> Result<Figures, ReplayError> {
    let mut pool_options = PoolOptions { limit: options.limit, ..PoolOptions::default() };
    if !options.compacts() {
        pool_options.compaction_share = 0.0;
    }
    let pool_options = || pool_options.clone();
    let progress = Progress::new(
        name,
        trace.events.len() * (REPLAYS + if options.plans() { plan::REPLAYS } else { 0 }),
        options.watch,
    );
    match options.memory {
        MemoryKind::None => {
            let open = || Ok(Pool::new(AccountingMemory::new(), pool_options())?);
            let driver = |memory: &AccountingMemory| Some(memory.driver_peak());
            replay::measure(trace, (options.trims(), options.plans()), open, driver, &mut Unstamped, &progress)
        }
        MemoryKind::Host => {
            stamped(trace, options, || Ok(Pool::new(HostMemory::default(), pool_options())?), &progress)
        }
        MemoryKind::Wgpu => stamped(trace, options, || open_adapter(pool_options()), &progress),
    }
}

/// Replays on a memory that stores bytes: with stamps, unless only the pool is timed.
fn stamped<M: Memory>(
    trace: &Trace,
    options: &Options,
    open: impl Fn() -> wgpu_pool::Result<Pool<M>>,
    progress: &Progress,
) -> Result<Figures, ReplayError> {
    let driver = |memory: &M| memory.driver_holdings().map(|held| held.reserved);
    if options.time {
        replay::measure(trace, (options.trims(), options.plans()), open, driver, &mut Unstamped, progress)
    } else {
        replay::measure(trace, (options.trims(), options.plans()), open, driver, &mut Stamps::new(), progress)
    }
}

fn open_adapter(options: PoolOptions) -> wgpu_pool::Result<Pool<Gpu>> {
    let pool = Pool::request_blocking(options)?;
    let info = pool.memory().adapter_info();
    log::info!("replay: {} through {:?}", info.name, info.backend);
    Ok(pool)
}

#[cfg(test)]
mod tests;
