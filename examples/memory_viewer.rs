//! Converts snapshot files to an HTML page: `cargo run --features report --example memory_viewer -- SNAPSHOT.json
//! [LATER.json] [--output FILE.html]`.
//!
//! Two files are shown side by side, as before and after. Without a file the example shows a pool of its own: the state
//! after a training loop, before and after a compaction.

use clap::Parser;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use wgpu_pool::{AccountingMemory, AllocateError, Pool, PoolOptions, Snapshot, Storage};

#[derive(Debug, Parser)]
#[command(about = "Converts snapshot files to an HTML page")]
struct Options {
    /// A snapshot written by Snapshot::to_json; without one an example pool is shown
    snapshot: Option<PathBuf>,
    /// A later snapshot of the same pool, shown next to the first
    later: Option<PathBuf>,
    /// The output file
    #[arg(long, default_value = "memory.html")]
    output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let snapshots = match &options.snapshot {
        Some(first) => {
            let paths = std::iter::once(first).chain(&options.later);
            paths.map(read).collect::<Result<Vec<_>, _>>()?
        }
        None => made_up()?,
    };
    let page = match snapshots.as_slice() {
        [before, after] => before.to_html_comparison(after),
        all => all.first().map(Snapshot::to_html).ok_or("no snapshot")?,
    };
    std::fs::write(&options.output, &page).map_err(|error| format!("{}: {error}", options.output.display()))?;
    println!("{}: {} KiB; open it in a browser", options.output.display(), page.len() / 1024);
    Ok(())
}

fn read(path: &PathBuf) -> Result<Snapshot, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    Snapshot::from_json(&text).map_err(|error| told(&error))
}

/// Allocates a block with a label. The block's call site is that of the caller.
#[track_caller]
fn labelled(
    pool: &Pool<AccountingMemory>,
    bytes: u64,
    label: String,
) -> Result<Storage<AccountingMemory>, AllocateError> {
    let storage = pool.allocate(bytes)?;
    storage.set_label(label);
    Ok(storage)
}

/// Runs a training loop over sequences of varying length that leaks some of its activations, before and after a
/// compaction.
fn made_up() -> wgpu_pool::Result<Vec<Snapshot>> {
    const LAYERS: u64 = 6;
    const WIDTH: u64 = 256;
    let pool = Pool::new(AccountingMemory::new(), PoolOptions { compaction_share: 0.0, ..PoolOptions::default() })?;
    pool.start_history(20_000);
    let mut kept = Vec::new();
    for layer in 0..LAYERS {
        kept.push(labelled(&pool, WIDTH * WIDTH * 16, format!("layer {layer} weights"))?);
        kept.push(labelled(&pool, WIDTH * 4, format!("layer {layer} bias"))?);
    }
    for step in 0..40_u64 {
        let _step = pool.scope("step");
        // The lengths vary, so that no step fits the holes of the previous one.
        let tokens = 64 + (step * 37) % 192;
        let mut activations = Vec::new();
        {
            let _forward = pool.scope("forward");
            for layer in 0..LAYERS {
                activations.push(labelled(&pool, tokens * WIDTH * 64, format!("layer {layer} activations"))?);
                drop(pool.allocate(tokens * tokens * 32)?);
            }
        }
        let _backward = pool.scope("backward");
        while let Some(activation) = activations.pop() {
            let _gradient = pool.allocate(activation.bytes())?;
            if step % 8 == 0 && activations.len() % 3 == 1 {
                kept.push(activation);
            }
        }
        kept.truncate(22);
    }
    let before = pool.snapshot();
    pool.compact()?;
    pool.trim();
    Ok(vec![before, pool.snapshot()])
}
