//! Plans instances and prints one line for each: `cargo bench --bench plan -- [--seconds S] [--capacity BYTES] [FILE...]`.
//!
//! Files are CSV in the form of MiniMalloc (`.csv`) or allocation traces (`.trace`), plain or compressed with gzip (`.gz`). Without any, the
//! instances in `tests/data` are planned. A CSV file `NAME.BYTES.csv` is planned with that capacity, as MiniMalloc's authors name their
//! instances: the search stops as soon as the plan fits. Every plan is checked.
//!
//! *bound* is the proved lower bound, *ratio* the height divided by the bound, and *state* tells whether the plan is optimal, fits its
//! capacity, or how many bytes remain between the bound and the height. Seconds are of one thread, without reading the file.

#[path = "../examples/replay/fault.rs"]
#[expect(dead_code, reason = "a bench never replays")]
mod fault;
#[path = "../examples/replay/trace.rs"]
#[expect(dead_code, reason = "its tests run in the example alone")]
mod trace;

use clap::Parser;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wgpu_pool::plan::{PlanOptions, Problem, Trace};

#[derive(Debug, Parser)]
#[command(about = "How tightly and how fast buffers of known lifetimes are planned")]
struct Options {
    /// The time budget of each instance, in seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The capacity of every instance, in bytes; by default that in the name of the file, if any
    #[arg(long)]
    capacity: Option<u64>,
    /// The alignment of offsets, in bytes
    #[arg(long, default_value_t = 1)]
    alignment: u64,
    /// Ignores the capacity in the names of files, and searches for the lowest plan
    #[arg(long)]
    lowest: bool,
    /// Instances
    files: Vec<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.files.is_empty() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        for folder in [data.join("minimalloc"), data] {
            let entries = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
            let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
            paths.sort();
            options.files.extend(paths);
        }
    }
    println!("| instance | buffers | bound | height | ratio | state | seconds | nodes |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for path in &options.files {
        measure(path, &options)?;
    }
    Ok(())
}

fn measure(path: &Path, options: &Options) -> Result<(), Box<dyn Error>> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = file_name.trim_end_matches(".gz");
    let problem = if name.ends_with(".csv") { read_csv(path)? } else { read_trace(path)? };
    let named = name.trim_end_matches(".csv").rsplit('.').next().and_then(|part| part.parse().ok());
    let capacity = options.capacity.or(named).filter(|_| !options.lowest);
    let time = Duration::try_from_secs_f64(options.seconds)?;
    let mut plan_options = PlanOptions::default().time(time).alignment(options.alignment);
    plan_options.capacity = capacity;
    let start = Instant::now();
    let plan = problem.plan(&plan_options)?;
    let seconds = start.elapsed().as_secs_f64();
    plan.check()?;
    let (height, bound) = (plan.height(), plan.lower_bound());
    let state = match capacity {
        _ if plan.is_optimal() => "optimal".to_string(),
        Some(capacity) if plan.fits(capacity) => "fits".to_string(),
        _ => format!("gap {}", plan.gap()),
    };
    let ratio = if bound > 0 { height as f64 / bound as f64 } else { 1.0 };
    let (count, nodes) = (problem.buffers().len(), plan.nodes());
    println!("| {name} | {count} | {bound} | {height} | {ratio:.5} | {state} | {seconds:.3} | {nodes} |");
    Ok(())
}

fn read_csv(path: &Path) -> Result<Problem, Box<dyn Error>> {
    let mut text = String::new();
    let file = BufReader::new(File::open(path)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::bufread::MultiGzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        { file }.read_to_string(&mut text)?;
    }
    Ok(Problem::from_csv(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn read_trace(path: &Path) -> Result<Problem, Box<dyn Error>> {
    let events = trace::Trace::open(path)?.events;
    let mut trace = Trace::new();
    let mut ids = Vec::new();
    for (id, event) in (0..).zip(events) {
        match event {
            trace::Event::Allocate { slot, bytes } => {
                let slot = slot as usize;
                ids.resize(ids.len().max(slot + 1), 0);
                ids[slot] = id;
                trace.allocate(id, bytes)?;
            }
            trace::Event::Free { slot } => trace.free(ids[slot as usize])?,
        }
    }
    Ok(trace.problem()?)
}
