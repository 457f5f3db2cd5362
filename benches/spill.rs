//! Working sets larger than the device: `cargo bench --bench spill`.
//!
//! Passes over tensors of one size (`x *= 1.0001`), whose sum is between 0.75 and 4 times the pool's limit. For each
//! ratio: the time for a tensor, the bytes that moved, and the *bound*: the compute time, measured in a pool without
//! spilling, plus the bytes that an optimal policy must move divided by the rate of the link. Belady's rule on a loop over
//! n tensors with room for c misses (n - c) / (n - 1) of the uses, and each miss moves one tensor in each direction. One
//! queue overlaps neither the two directions nor copies with kernels (measured on an H100), so the bound is a sum.
//!
//! Every element is compared with the same products on the host: moving changes no bit.
//!
//! On a GPU, close to its memory: `cargo bench --bench spill -- --limit-mib 16384 --tensor-mib 1024 --csv spill.csv --plot
//! spill.png`. Also prints what the record of uses costs a command.

use clap::Parser;
use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;
use wgpu_pool::{AccountingMemory, Bytes, Pool, PoolOptions, Storage, Tensor};

#[path = "../examples/nn/plot.rs"]
mod plot;

const MIB: u64 = 1 << 20;
const FACTOR: f32 = 1.0001;

#[derive(Debug, Parser)]
#[command(about = "The cost of working sets larger than the device")]
struct Options {
    /// The pool's limit in MiB
    #[arg(long, default_value_t = 64)]
    limit_mib: u64,
    /// The size of a tensor in MiB
    #[arg(long, default_value_t = 4)]
    tensor_mib: u64,
    /// Passes that are measured, after four passes in which the order is learned
    #[arg(long, default_value_t = 3)]
    passes: u32,
    /// Working sets in percent of the limit
    #[arg(long, value_delimiter = ',', default_value = "50,75,100,110,125,150,200,300,400")]
    percent: Vec<u64>,
    /// The numbers of small blocks for which the cost of a command is printed
    #[arg(long, value_delimiter = ',', default_value = "1000,8000,32000,128000")]
    blocks: Vec<u64>,
    /// The rate of the link in GB/s; measured with copies in both directions if absent
    #[arg(long)]
    link: Option<f64>,
    /// Writes the table as CSV
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Writes the curve of slowdown against working set
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row of the table. Times in seconds for one tensor.
#[derive(Clone, Copy, Debug)]
struct Row {
    percent: u64,
    time: f64,
    /// In a pool without spilling, if there is room for the tensors and a small one.
    without: Option<f64>,
    bound: f64,
    moved: u64,
    best: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    record_of_uses()?;
    choice_of_blocks(&options)?;
    let pool = pool(&options, Some(u64::MAX))?;
    let adapter = pool.memory().device().adapter_info();
    println!("\n{} ({:?})", adapter.name, adapter.backend);
    let compute = pass_time(&options, &self::pool(&options, None)?, options.limit_mib / options.tensor_mib / 2)?.0;
    let link = match options.link {
        Some(link) => link * 1e9,
        None => link_rate(&options, &pool)?,
    };
    println!(
        "tensors of {}, limit {}; a tensor on the device takes {:.3} ms, the link {:.1} GB/s",
        Bytes(options.tensor_mib * MIB),
        Bytes(options.limit_mib * MIB),
        compute * 1e3,
        link / 1e9
    );
    drop(pool);
    println!(
        "\n| working set ÷ limit | ms per tensor | without spilling, ms | slowdown | bound, ms | × bound | moved per pass | at best |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rows = Vec::new();
    for &percent in &options.percent {
        let row = measure(&options, percent, compute, link)?;
        println!(
            "| {:.2} | {:.3} | {} | {:.2} | {:.3} | {:.2} | {} | {} |",
            to_f64(percent) / 100.0,
            row.time * 1e3,
            row.without.map_or_else(|| "–".to_owned(), |time| format!("{:.3}", time * 1e3)),
            row.time / compute,
            row.bound * 1e3,
            row.time / row.bound,
            Bytes(row.moved),
            Bytes(to_u64(row.best))
        );
        rows.push(row);
    }
    write_files(&options, &rows, compute)
}

fn pool(options: &Options, spill: Option<u64>) -> Result<Pool, Box<dyn Error>> {
    let limit = Some(options.limit_mib * MIB);
    Ok(Pool::request_blocking(PoolOptions { limit, spill, release_after: None, ..PoolOptions::default() })?)
}

fn measure(options: &Options, percent: u64, compute: f64, link: f64) -> Result<Row, Box<dyn Error>> {
    let room = options.limit_mib / options.tensor_mib;
    let tensors = room * percent / 100;
    // The results are checked with a small tensor, for which a full pool has no room.
    let without = if tensors >= room { None } else { Some(pass_time(options, &pool(options, None)?, tensors)?.0) };
    let pool = pool(options, Some(u64::MAX))?;
    let (time, moved) = pass_time(options, &pool, tensors)?;
    let misses = if tensors > room { to_f64(tensors * (tensors - room)) / to_f64(tensors - 1) } else { 0.0 };
    let best = misses * 2.0 * to_f64(options.tensor_mib * MIB);
    Ok(Row { percent, time, without, bound: compute + best / link / to_f64(tensors), moved, best })
}

/// Returns the time for a tensor, and the bytes moved in both directions in a pass.
fn pass_time(options: &Options, pool: &Pool, tensors: u64) -> Result<(f64, u64), Box<dyn Error>> {
    const LEARNING: u32 = 4;
    let elements = usize::try_from(options.tensor_mib * MIB / 4)?;
    let tensors = (0..tensors).map(|_| Tensor::full(pool, [elements], 1.0_f32)).collect::<Result<Vec<_>, _>>()?;
    let pass = || tensors.iter().try_for_each(|tensor| tensor.mul_(FACTOR));
    for _ in 0..LEARNING {
        pass()?;
    }
    pool.synchronize_blocking()?;
    let before = pool.spill_stats();
    let start = Instant::now();
    for _ in 0..options.passes {
        pass()?;
    }
    pool.synchronize_blocking()?;
    let seconds = start.elapsed().as_secs_f64();
    let after = pool.spill_stats();
    let moved = (after.moved_out - before.moved_out) + (after.moved_in - before.moved_in);
    let mut wanted = 1.0_f32;
    (0..LEARNING + options.passes).for_each(|_| wanted *= FACTOR);
    for tensor in &tensors {
        let ends = [tensor.amin(0)?.item_blocking::<f32>()?, tensor.amax(0)?.item_blocking::<f32>()?];
        if ends.iter().any(|end| end.to_bits() != wanted.to_bits()) {
            return Err(format!("elements of {ends:?} instead of {wanted}").into());
        }
    }
    Ok((seconds / f64::from(options.passes) / to_f64(tensors.len() as u64), moved / u64::from(options.passes)))
}

/// Returns the rate of moves in bytes per second, the mean of both directions, with host buffers that exist.
fn link_rate(options: &Options, pool: &Pool) -> Result<f64, Box<dyn Error>> {
    let elements = usize::try_from(options.tensor_mib * MIB / 4)?;
    let count = (options.limit_mib / options.tensor_mib).min(4);
    let tensors = (0..count).map(|_| Tensor::full(pool, [elements], 1.0_f32)).collect::<Result<Vec<_>, _>>()?;
    let both = || -> Result<f64, Box<dyn Error>> {
        pool.synchronize_blocking()?;
        let start = Instant::now();
        tensors.iter().try_for_each(Tensor::offload)?;
        tensors.iter().try_for_each(Tensor::prefetch)?;
        pool.synchronize_blocking()?;
        Ok(start.elapsed().as_secs_f64())
    };
    both()?;
    let mut times = (0..5).map(|_| both()).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok(to_f64(2 * count * options.tensor_mib * MIB) / times[times.len() / 2])
}

/// Prints the time of a command on a memory without storage, with and without spilling: the shortest of rounds that alternate, so that a
/// change of the processor's speed affects both.
fn record_of_uses() -> Result<(), Box<dyn Error>> {
    const BLOCKS: usize = 1000;
    const ROUNDS: usize = 400;
    let storages = [None, Some(u64::MAX)].map(|spill| {
        let pool = Pool::new(AccountingMemory::new(), PoolOptions { spill, ..PoolOptions::default() })?;
        (0..BLOCKS).map(|_| Ok(pool.allocate(4096)?)).collect::<wgpu_pool::Result<Vec<_>>>()
    });
    let [off, on] = storages;
    let storages = [off?, on?];
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (storages, best) in storages.iter().zip(&mut best) {
            let start = Instant::now();
            storages.iter().try_for_each(Storage::clear)?;
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    let [off, on] = best.map(|seconds| seconds * 1e9 / to_f64(BLOCKS as u64));
    println!(
        "a command on one tensor without a device: {off:.1} ns, with spilling {on:.1} ns, {:.1} ns more",
        on - off
    );
    Ok(())
}

/// Prints the time of a command by the number of blocks, in passes over 1.5 times the limit on a memory without storage: a third
/// of the commands or more return a block and move another one to the host.
fn choice_of_blocks(options: &Options) -> Result<(), Box<dyn Error>> {
    const BLOCK: u64 = 4096;
    println!(
        "\n| blocks of 4 to 12 KiB, 1.5 × the limit | equal sizes, µs per command | moved ÷ at best | mixed sizes, µs per command |"
    );
    println!("| --- | --- | --- | --- |");
    for &blocks in &options.blocks {
        let pass = |granules: fn(u64) -> u64| -> Result<(f64, f64), Box<dyn Error>> {
            let bytes: u64 = (0..blocks).map(|number| granules(number) * BLOCK).sum();
            let limit = bytes / 3 * 2;
            let spill = Some(u64::MAX);
            let pool = Pool::new(
                AccountingMemory::new(),
                PoolOptions { limit: Some(limit), spill, release_after: None, ..PoolOptions::default() },
            )?;
            let storages =
                (0..blocks).map(|number| pool.allocate(granules(number) * BLOCK)).collect::<Result<Vec<_>, _>>()?;
            for _ in 0..3 {
                storages.iter().try_for_each(Storage::clear)?;
            }
            let before = pool.spill_stats();
            let start = Instant::now();
            storages.iter().try_for_each(Storage::clear)?;
            let seconds = start.elapsed().as_secs_f64();
            let after = pool.spill_stats();
            let moved = (after.moved_out - before.moved_out) + (after.moved_in - before.moved_in);
            let best = 2.0 * to_f64(blocks) * to_f64(bytes - limit) / to_f64(blocks - 1);
            Ok((seconds * 1e6 / to_f64(blocks), to_f64(moved) / best))
        };
        let (equal, moved) = pass(|_| 1)?;
        let (mixed, _) = pass(|number| 1 + ((number * 40_503) >> 4) % 3)?;
        println!("| {blocks} | {equal:.2} | {moved:.3} | {mixed:.2} |");
    }
    Ok(())
}

fn write_files(options: &Options, rows: &[Row], compute: f64) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &options.csv {
        let mut text =
            String::from("working_set_percent,ms_per_tensor,bound_ms,moved_bytes_per_pass,best_bytes_per_pass\n");
        for row in rows {
            let (time, bound) = (row.time * 1e3, row.bound * 1e3);
            writeln!(text, "{},{time:.4},{bound:.4},{},{:.0}", row.percent, row.moved, row.best)?;
        }
        std::fs::write(path, text)?;
    }
    if let Some(path) = &options.plot {
        let curve = |name: &str, of: fn(&Row) -> f64| plot::Curve {
            name: name.into(),
            points: rows.iter().map(|row| (to_f64(row.percent), of(row) / compute)).collect(),
        };
        let plot = plot::Plot {
            title: "slowdown of passes over tensors that exceed the device".into(),
            axes: ["working set in % of the limit", "time ÷ time on the device"],
            curves: vec![curve("measured", |row| row.time), curve("bound by the link", |row| row.bound)],
        };
        plot.write(path)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "byte counts of a benchmark need no more than 53 bits")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes")]
const fn to_u64(number: f64) -> u64 {
    number as u64
}
