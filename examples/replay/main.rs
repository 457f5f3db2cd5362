//! Replays allocation traces of real programs in a pool, over any memory: `cargo run --release --example replay -- --help`.
//!
//! `trace.rs` reads a trace, `replay.rs` runs through it, `stamp.rs` proves that every block's bytes are its own.

mod fault;
mod options;
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
    /// What every size of the trace was divided by.
    scale: u64,
    #[serde(flatten)]
    figures: Figures,
}

/// How the program ends; the worst of several traces decides.
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

/// Replays every trace; figures go to `out`, complaints to `err`.
fn run(options: &Options, out: &mut impl Write, err: &mut impl Write) -> Outcome {
    // Nothing is left to do about a complaint that can't be written.
    let mut complain = |text: &dyn std::fmt::Display| drop(writeln!(err, "replay: {text}"));
    let mut outcome = Outcome::Success;
    let mut table = Table { scale: options.scale.get(), rows: Vec::new() };
    for path in &options.traces {
        let trace = match Trace::open(path) {
            Ok(trace) => trace.scaled(options.scale),
            Err(error) => {
                complain(&error);
                outcome = outcome.max(Outcome::Refused);
                continue;
            }
        };
        let name = name(path);
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
    if options.table
        && !table.rows.is_empty()
        && let Err(error) = write!(out, "{table}").and_then(|()| out.flush())
    {
        return outcome.max(unwritten(&error, complain));
    }
    outcome
}

/// How the program ends if its figures can't be written. It is no error if the reader of the pipe has closed it.
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

/// A trace's name: that of its file, without what every trace's file name ends in.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let plain = file.strip_suffix(".gz").unwrap_or(&file);
    plain.strip_suffix(".trace").unwrap_or(plain).to_string()
}

fn measure(trace: &Trace, name: &str, options: &Options) -> Result<Figures, ReplayError> {
    let mut pool_options = PoolOptions { limit: options.limit, ..PoolOptions::default() };
    if !options.compacts() {
        pool_options.compaction_share = 0.0;
    }
    let pool_options = || pool_options.clone();
    let progress = Progress::new(name, trace.events.len() * REPLAYS, options.watch);
    match options.memory {
        MemoryKind::None => {
            let open = || Ok(Pool::new(AccountingMemory::new(), pool_options())?);
            let driver = |memory: &AccountingMemory| Some(memory.driver_peak());
            replay::measure(trace, options.trims(), open, driver, &mut Unstamped, &progress)
        }
        MemoryKind::Host => {
            stamped(trace, options, || Ok(Pool::new(HostMemory::default(), pool_options())?), &progress)
        }
        MemoryKind::Wgpu => stamped(trace, options, || open_adapter(pool_options()), &progress),
    }
}

/// On a memory that holds bytes: with stamps, unless the pool alone is to be timed.
fn stamped<M: Memory>(
    trace: &Trace,
    options: &Options,
    open: impl Fn() -> wgpu_pool::Result<Pool<M>>,
    progress: &Progress,
) -> Result<Figures, ReplayError> {
    let driver = |memory: &M| memory.driver_holdings().map(|held| held.reserved);
    if options.time {
        replay::measure(trace, options.trims(), open, driver, &mut Unstamped, progress)
    } else {
        replay::measure(trace, options.trims(), open, driver, &mut Stamps::new(), progress)
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
