//! Measures the kernels: `cargo bench --bench kernels`.
//!
//! Each figure is the median of several samples. A sample is a batch of launches, long enough (`--sample-ms`) that the
//! final wait is negligible, timed on the host from the first launch to the end of the wait. Everything runs twice
//! before it is timed, so no figure contains a compilation or a segment creation. Operands are random. At the default
//! sizes they are larger than the device's cache; smaller sizes measure the cache. Each sample directly follows a
//! sample of a copy of the operand, by the driver (`copy_buffer_to_buffer`) and by a kernel (`Tensor::copy_`). The
//! share is relative to the faster of the two, which depends on the driver. It is the median of the samples' ratios,
//! which is robust against a change of the machine's speed.
//!
//! On software drivers, or with `--plain`, the benchmark also compares elementwise operations and reductions with
//! single-threaded Rust loops, and products and convolutions also with the crate matrixmultiply, alternating between
//! them; the share is the speed-up.
//!
//! Copies of blocks (`Storage::copy_to`) and moves by compaction are measured with the driver's copy and with the crate's
//! kernel, and the share of the kernel is relative to the driver.
//!
//! `cargo bench --bench kernels -- --json conv | python3 benches/kernels/pytorch.py` measures the same convolutions and
//! products in PyTorch, in one run (the filter may also be `m`, which selects both).
//!
//! For operations on tensors in several blocks the share is relative to tensors in one block.
//!
//! For the tiny additions, the host part is the time of the program's own thread from the first call to the end of the
//! last: allocation and recording. The pool encodes and submits on its submission thread.
//!
//! GB/s counts each operand read once and each result written once, in units of 10⁹ bytes. GFLOP/s counts a
//! multiplication and an addition as two operations.

mod convolutions;
mod copies;
mod layers;
mod plain;
mod plain_products;
mod products;
mod several_blocks;

use clap::Parser;
use convolutions::Images;
use std::error::Error;
use std::time::Instant;
use wgpu_pool::{GpuOptions, Pool, PoolOptions, Tensor, TensorError, fuse};

#[derive(Debug, Parser)]
#[command(about = "How fast the kernels are")]
struct Options {
    /// Millions of elements (units of 2^20) of elementwise operations and sums; 256 on a discrete GPU, else 16
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1023))]
    mebi: Option<u32>,
    /// Rows of the transposition, softmax and norms; 16384 on a discrete GPU, else 2048
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65536))]
    rows: Option<u32>,
    /// Columns of these; 4096 on a discrete GPU, else 1024
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16384))]
    columns: Option<u32>,
    /// Sizes of the square matrix products; 4096 and 8192 on a discrete GPU, else 256
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16384))]
    matmul: Option<Vec<u32>>,
    /// The number of dependent additions of 256 elements
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    additions: u32,
    /// Samples per operation
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    samples: u32,
    /// The shortest sample, in milliseconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample_ms: u32,
    /// Compare with single-threaded Rust loops on a GPU, too
    #[arg(long)]
    plain: bool,
    /// Print one JSON object per line instead of the table
    #[arg(long)]
    json: bool,
    /// Only operations whose name contains this text
    filter: Option<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The cost of one run of an operation.
#[derive(Clone, Copy, Debug)]
enum Worth {
    Bytes(f64),
    Operations(f64),
}

impl Worth {
    fn amount(self) -> f64 {
        let (Self::Bytes(amount) | Self::Operations(amount)) = self;
        amount
    }

    /// The rate for a run of this time, and its unit.
    fn rate(self, seconds: f64) -> (f64, &'static str) {
        let unit = if matches!(self, Self::Bytes(_)) { "GB/s" } else { "GFLOP/s" };
        (self.amount() / seconds / 1e9, unit)
    }
}

struct Work<'a> {
    name: String,
    worth: Worth,
    run: Box<dyn Fn() -> Result<(), TensorError> + 'a>,
    /// The operation and its sizes as `pytorch.py` reads them, if it can measure the same.
    peer: Option<serde_json::Value>,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Row<'a> {
    name: &'a str,
    seconds: f64,
    rate: Option<(f64, &'static str)>,
    /// Relative to a copy, or to a peer that the bench itself runs.
    share: Option<f64>,
    peer: Option<&'a serde_json::Value>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    #[expect(unsafe_code, reason = "wgpu requires an unsafe acknowledgement that experimental features may have bugs")]
    let experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
    let gpu = GpuOptions { experimental, ..GpuOptions::default() };
    let pool = Pool::request_blocking(PoolOptions { gpu, ..PoolOptions::default() })?;
    let adapter = pool.memory().device().adapter_info();
    let discrete = adapter.device_type == wgpu::DeviceType::DiscreteGpu;
    let bench = Bench { pool: &pool, options: &options };
    if !options.json {
        println!("{} ({:?}), {}", adapter.name, adapter.backend, adapter.driver_info);
        println!("{:<46} {:>12} {:>14} {:>10}", "work", "median", "rate", "of a copy");
    }
    bench.streams(if discrete { 256 } else { 16 })?;
    bench.matrices(if discrete { [16_384, 4096] } else { [2048, 1024] })?;
    bench.products(if discrete { &[4096, 8192] } else { &[256] })?;
    bench.network_products(if discrete { 1 } else { 16 })?;
    let few = Images { batch: 2, side: 32, channels: &[4, 8, 16, 32], wide: 16 };
    let many = Images { batch: 16, side: 128, channels: &[4, 8, 16, 32, 64, 128], wide: 64 };
    bench.convolutions(if discrete { many } else { few })?;
    bench.layers(if discrete { 1 } else { 8 })?;
    bench.launches()?;
    bench.copies(if discrete { 1 << 30 } else { 64 << 20 })?;
    bench.several_blocks(if discrete { 8192 } else { 256 })?;
    if options.plain || adapter.device_type == wgpu::DeviceType::Cpu {
        plain::compare(&bench, options.mebi.unwrap_or(16))?;
        plain_products::compare(&bench)?;
    }
    Ok(())
}

struct Bench<'a> {
    pool: &'a Pool,
    options: &'a Options,
}

impl Bench<'_> {
    fn random(&self, shape: &[usize], seed: u64) -> Result<Tensor, TensorError> {
        Tensor::rand(self.pool, shape, seed)
    }

    /// Operations that access their operands once.
    fn streams(&self, default_mebi: u32) -> Result<(), Box<dyn Error>> {
        let mebi = self.options.mebi.unwrap_or(default_mebi);
        let (rows, columns) = (mebi as usize * 1024, 1024);
        let (left, right) = (self.random(&[rows, columns], 1)?, self.random(&[rows, columns], 2)?);
        let (row, column) = (self.random(&[columns], 3)?, self.random(&[rows, 1], 4)?);
        // Rows that begin between vec4s.
        let (left_part, right_part) = (left.narrow(1, 1, columns - 1)?, right.narrow(1, 1, columns - 1)?);
        let output = self.random(&[rows, columns], 5)?;
        let once = f64::from(mebi) * 4_194_304.0;
        let (x, y, out) = (&left, &right, &output);
        // Results are dropped immediately, so the next run reuses the memory.
        let chain = &fuse(|[x, y]| (x * y + x).relu() * 0.5_f32);
        let choice = &fuse(|[x, y]| x.gt(y).select(x, 0.0_f32));
        let streams = [
            work("copy", 2.0 * once, move || out.copy_(x)),
            work("fill", once, move || out.fill_(1.5_f32)),
            work("neg", 2.0 * once, move || x.neg().map(drop)),
            work("exp", 2.0 * once, move || x.exp().map(drop)),
            work("add", 3.0 * once, move || x.add(y).map(drop)),
            work("four elementwise steps, fused", 3.0 * once, move || chain.run([x, y]).map(drop)),
            work("where, of a comparison, fused", 3.0 * once, move || choice.run([x, y]).map(drop)),
            work("add, strided", 3.0 * once, || left_part.add(&right_part).map(drop)),
            work("add a row to each row", 2.0 * once, || x.add(&row).map(drop)),
            work("add a column to each column", 2.0 * once, || x.add(&column).map(drop)),
            work("mul_scalar", 2.0 * once, move || x.mul(0.5_f32).map(drop)),
            work("add_ in place", 3.0 * once, move || out.add_scaled_(x, 1e-6_f32)),
            work("sum of all", once, move || x.sum([0, 1]).map(drop)),
            work("sum of each row", once, move || x.sum([1]).map(drop)),
            work("sum of each column", once, move || x.sum([0]).map(drop)),
            work("largest of all", once, move || x.amax([0, 1]).map(drop)),
        ];
        self.compare(&streams, &format!("{mebi} Mi"), x, out)
    }

    fn matrices(&self, [rows, columns]: [u32; 2]) -> Result<(), Box<dyn Error>> {
        let (rows, columns) = (self.options.rows.unwrap_or(rows), self.options.columns.unwrap_or(columns));
        let matrix = self.random(&[rows as usize, columns as usize], 6)?;
        let (transposed, output) = (matrix.t()?, self.random(&[rows as usize, columns as usize], 7)?);
        let moved = f64::from(rows) * f64::from(columns) * 8.0;
        let parameters = [self.random(&[columns as usize], 12)?, self.random(&[columns as usize], 13)?];
        let [weight, bias] = parameters.each_ref().map(Some);
        let works = [
            work("transpose", moved, || transposed.contiguous().map(drop)),
            work("softmax of each row", moved, || matrix.softmax(1).map(drop)),
            work("layer norm of each row", moved, || matrix.layer_norm(weight, bias, 1e-5).map(drop)),
            work("rms norm of each row", moved, || matrix.rms_norm(weight, 1e-5).map(drop)),
        ];
        self.compare(&works, &format!("{rows}×{columns}"), &matrix, &output)
    }

    /// A copy by the driver.
    fn driver_copy(&self, bytes: u64) -> Work<'_> {
        let gpu = self.pool.memory();
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
        let [from, to] = [(); 2].map(|()| gpu.device().create_buffer(&descriptor));
        work("copy by the driver", 2.0 * bytes as f64, move || {
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes);
            gpu.queue().submit([encoder.finish()]);
            Ok(())
        })
    }

    /// Prints the figures of each operation; the compared copy is from `source` to `copy`.
    fn compare(&self, works: &[Work<'_>], size: &str, source: &Tensor, copy: &Tensor) -> Result<(), Box<dyn Error>> {
        let copy_bytes = source.elements() as f64 * 8.0;
        let copies_to_compare =
            [self.driver_copy(source.elements() as u64 * 4), work("copy", copy_bytes, || copy.copy_(source))];
        for work in works.iter().chain(&copies_to_compare[..1]) {
            let name = format!("{} {size}", work.name);
            if !self.wanted(&name) {
                continue;
            }
            let runs = self.batch(work)?;
            let copies = [self.batch(&copies_to_compare[0])?, self.batch(&copies_to_compare[1])?];
            let (mut times, mut shares) = (Vec::new(), Vec::new());
            for _ in 0..self.options.samples {
                let copy_time =
                    self.time(&copies_to_compare[0], copies[0])?.min(self.time(&copies_to_compare[1], copies[1])?);
                let time = self.time(work, runs)?;
                if let Worth::Bytes(bytes) = work.worth {
                    shares.push((bytes / time) / (copy_bytes / copy_time));
                }
                times.push(time);
            }
            let share = (!shares.is_empty()).then(|| median(shares));
            let time = median(times);
            let (rate, peer) = (Some(work.worth.rate(time)), work.peer.as_ref());
            self.print(&Row { name: &name, seconds: time, rate, share, peer });
        }
        Ok(())
    }

    /// Dependent additions, with an allocation and a launch each: the total, and the host part.
    fn launches(&self) -> Result<(), Box<dyn Error>> {
        let additions = self.options.additions;
        let name = format!("tiny addition, {additions} dependent");
        let recording = format!("{name}, host");
        if !self.wanted(&name) && !self.wanted(&recording) {
            return Ok(());
        }
        let one = self.random(&[256], 11)?;
        let (mut times, mut host_times) = (Vec::new(), Vec::new());
        for sample in 0..self.options.samples + 2 {
            let mut sum = one.copied()?;
            self.pool.synchronize_blocking()?;
            let start = Instant::now();
            for _ in 0..additions {
                sum = sum.add(&one)?;
            }
            let recorded = start.elapsed().as_secs_f64();
            self.pool.synchronize_blocking()?;
            if sample >= 2 {
                host_times.push(recorded / f64::from(additions));
                times.push(start.elapsed().as_secs_f64() / f64::from(additions));
            }
        }
        for (name, times) in [(name, times), (recording, host_times)] {
            if self.wanted(&name) {
                self.print(&Row { name: &name, seconds: median(times), ..Row::default() });
            }
        }
        Ok(())
    }

    fn wanted(&self, name: &str) -> bool {
        self.options.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }

    /// Warms up an operation, and returns the number of runs per sample.
    fn batch(&self, work: &Work<'_>) -> Result<u32, Box<dyn Error>> {
        self.time(work, 1)?;
        let mut runs = 1;
        while self.time(work, runs)? * f64::from(runs) * 1e3 < f64::from(self.options.sample_ms) && runs < 1 << 16 {
            runs *= 2;
        }
        Ok(runs)
    }

    /// Returns the seconds per run of `runs` consecutive runs.
    fn time(&self, work: &Work<'_>, runs: u32) -> Result<f64, Box<dyn Error>> {
        self.pool.synchronize_blocking()?;
        let start = Instant::now();
        for _ in 0..runs {
            (work.run)()?;
        }
        self.pool.synchronize_blocking()?;
        // The pool waits for its own commands only.
        self.pool.memory().device().poll(wgpu::PollType::wait_indefinitely())?;
        Ok(start.elapsed().as_secs_f64() / f64::from(runs))
    }

    fn print(&self, row: &Row<'_>) {
        let &Row { name, seconds, rate, share, peer } = row;
        if self.options.json {
            let (rate, unit) = rate.unzip();
            let line = serde_json::json!({
                "work": name, "seconds": seconds, "rate": rate, "unit": unit, "share_of_copy": share, "peer": peer,
            });
            println!("{line}");
            return;
        }
        let rate = rate.map(|(rate, unit)| format!("{rate:.1} {unit}")).unwrap_or_default();
        let share = share.map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default();
        println!("{name:<46} {:>9.2} µs {rate:>14} {share:>10}", seconds * 1e6);
    }
}

fn work<'a>(name: &str, bytes: f64, run: impl Fn() -> Result<(), TensorError> + 'a) -> Work<'a> {
    Work { name: name.into(), worth: Worth::Bytes(bytes), run: Box::new(run), peer: None }
}

/// The middle of an odd number of samples, otherwise the upper of the two middle samples.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}
