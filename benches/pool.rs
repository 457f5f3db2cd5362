//! The cost of the pool's calls, and the memory that it reserves: `cargo bench --bench pool`.
//!
//! - A warm pair: one block is allocated and one is freed, among others, through [`Storage`]; the same within a scope,
//!   and with history recording. Measuring the cost of attribution needs a build that can disable it: `RUSTFLAGS="--cfg
//!   wgpu_pool_bench" cargo bench --bench pool`.
//! - Dry runs: the same pair, the start and the result of a dry run, and an operation on small tensors.
//! - A trim with nothing to release, and a trim of one segment, on every memory of the machine.
//! - The reserved bytes after a trim of programs with few live blocks.
//! - Eight threads on one pool, compared with one thread that interleaves their steps.
//!
//! Times are from the host's clock: medians over rounds of many calls each. Bytes are exact.

use clap::Parser;
use std::error::Error;
use std::time::Instant;
use wgpu_pool::{AccountingMemory, Gpu, HostMemory, Memory, Pool, PoolOptions, Storage};

#[path = "../tests/common/random.rs"]
#[expect(dead_code, reason = "tests draw other numbers too")]
mod random;

use random::Random;

const MIB: u64 = 1 << 20;

#[derive(Debug, Parser)]
#[command(about = "The cost of the pool's calls, and the bytes that the pool holds")]
struct Options {
    /// Rounds of each benchmark
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    times("counting only", AccountingMemory::new(), options.rounds)?;
    times("host", HostMemory::default(), options.rounds)?;
    match Pool::<Gpu>::request_blocking(PoolOptions::default()) {
        Ok(pool) => {
            let adapter = pool.memory().device().adapter_info();
            times_of_pool(&format!("{} ({:?})", adapter.name, adapter.backend), &pool, options.rounds)?;
        }
        Err(error) => println!("no adapter: {error}"),
    }
    dry_runs(options.rounds)?;
    sparse()?;
    threads(options.rounds);
    Ok(())
}

fn times<M: Memory>(name: &str, memory: M, rounds: u32) -> Result<(), Box<dyn Error>> {
    times_of_pool(name, &Pool::new(memory, PoolOptions::default())?, rounds)
}

fn times_of_pool<M: Memory>(name: &str, pool: &Pool<M>, rounds: u32) -> Result<(), Box<dyn Error>> {
    const CALLS: usize = 2000;
    println!("{name}");
    let mut random = Random::new(1);
    let mut live = (0..1000).map(|_| pool.allocate(random.size(MIB))).collect::<Result<Vec<_>, _>>()?;
    let pair = measured(rounds, CALLS, || {
        let place = random.below(live.len());
        live[place] = pool.allocate(random.size(MIB))?;
        Ok(())
    })?;
    println!("  a warm pair among 1,000 blocks    {pair:>12.1} ns");
    let pair = || {
        let place = random.below(live.len());
        live[place] = pool.allocate(random.size(MIB))?;
        Ok(())
    };
    compare(rounds, CALLS, pool, pair)?;
    let idle = measured(rounds, CALLS, || {
        std::hint::black_box(pool.trim());
        Ok(())
    })?;
    println!("  a trim with nothing to do         {idle:>12.1} ns");
    drop(live);
    pool.trim();
    pool.synchronize_blocking()?;
    let cycle = measured(rounds.min(10), 5, || {
        drop(pool.allocate(64 * MIB)?);
        pool.trim();
        Ok(())
    })?;
    println!("  64 MiB made and trimmed           {:>12.1} µs", cycle / 1000.0);
    Ok(())
}

/// A plain pair, a pair within a scope, and a pair with history recording, alternately.
fn compare<M: Memory>(
    rounds: u32,
    calls: usize,
    pool: &Pool<M>,
    mut pair: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let [mut plain, mut scoped, mut recorded] = [const { Vec::new() }; 3];
    #[cfg(wgpu_pool_bench)]
    let mut unattributed = Vec::new();
    for _ in 0..rounds {
        #[cfg(wgpu_pool_bench)]
        {
            use std::sync::atomic::Ordering;
            wgpu_pool::pool::ATTRIBUTES.store(false, Ordering::Relaxed);
            unattributed.push(measured(1, calls, &mut pair)?);
            wgpu_pool::pool::ATTRIBUTES.store(true, Ordering::Relaxed);
        }
        plain.push(measured(1, calls, &mut pair)?);
        let scope = pool.scope("bench");
        scoped.push(measured(1, calls, &mut pair)?);
        drop(scope);
        pool.start_history(10_000);
        // The pages of the ring buffer exist after it was filled once.
        measured(1, 10_000, &mut pair)?;
        recorded.push(measured(1, calls, &mut pair)?);
        pool.stop_history();
    }
    let [plain, scoped, recorded] = [plain, scoped, recorded].map(median);
    #[cfg(wgpu_pool_bench)]
    println!("    of which attribution            {:>12.1} ns", plain - median(unattributed));
    println!("    within a scope, more            {:>12.1} ns", scoped - plain);
    println!("    with the history, more an event {:>12.1} ns", (recorded - plain) / 2.0);
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the median over the rounds of the nanoseconds per call.
fn measured(
    rounds: u32,
    calls: usize,
    mut call: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for round in 0..rounds + 2 {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        if round >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e9 / calls as f64);
        }
    }
    Ok(median(times))
}

/// The cost of dry runs, on a device without a driver.
fn dry_runs(rounds: u32) -> Result<(), Box<dyn Error>> {
    const CALLS: usize = 2000;
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let pool = Pool::from_device(device, queue, PoolOptions::default())?;
    let mut random = Random::new(1);
    let _live = (0..1000).map(|_| pool.allocate(random.size(MIB))).collect::<Result<Vec<_>, _>>()?;
    println!("dry runs (no driver)");
    let (pair, _) = pool.dry_run(|| {
        let mut live = (0..1000).map(|_| pool.allocate(random.size(MIB))).collect::<Result<Vec<_>, _>>()?;
        measured(rounds, CALLS, || {
            let place = random.below(live.len());
            live[place] = pool.allocate(random.size(MIB))?;
            Ok(())
        })
    })?;
    println!("  a warm pair among 1,000 blocks    {:>12.1} ns", pair?);
    #[cfg(feature = "tensor")]
    {
        let one = wgpu_pool::Tensor::full(&pool, [16, 16], 1.0_f32)?;
        let mut sum = || {
            drop(one.add(&one)?);
            Ok(())
        };
        let (dry, _) = pool.dry_run(|| measured(rounds, CALLS, &mut sum))?;
        println!("  an addition of tensors            {:>12.1} ns", dry?);
        println!("    the same, recorded              {:>12.1} ns", measured(rounds, CALLS, &mut sum)?);
    }
    let empty = measured(rounds, 20, || {
        pool.dry_run(|| ())?;
        Ok(())
    })?;
    println!("  an empty one among 1,000 blocks   {:>12.1} µs", empty / 1000.0);
    let (events, trace) = (100_000, Instant::now());
    let (result, _) = pool.dry_run(|| (0..events).try_for_each(|_| pool.allocate(1000).map(drop)))?;
    result?;
    let nanoseconds = trace.elapsed().as_secs_f64() * 1e9 / f64::from(events);
    println!("  a pair, with start and result     {nanoseconds:>12.1} ns");
    Ok(())
}

/// The reserved bytes of programs with few live blocks.
fn sparse() -> Result<(), Box<dyn Error>> {
    let left = |pool: &Pool<AccountingMemory>| pool.stats().reserved.current as f64 / MIB as f64;
    println!("left after compact and trim, in MiB (counting only)");
    let pool = Pool::new(AccountingMemory::new(), PoolOptions::default())?;
    let mut kept = Vec::new();
    for _ in 0..32 {
        let large = pool.allocate(64 * MIB)?;
        kept.push(pool.allocate(MIB)?);
        drop(large);
    }
    pool.compact()?;
    pool.trim();
    println!("  32 of 1 MiB each and 64 MiB       {:>12.1}", left(&pool));
    drop(kept);
    pool.trim();
    let large = pool.allocate(1536 * MIB)?;
    let kept = pool.allocate(MIB)?;
    drop(large);
    pool.trim();
    println!("  1 MiB and 1.5 GiB, no compaction  {:>12.1}", left(&pool));
    drop(kept);
    Ok(())
}

/// A program that first allocates only, then frees and allocates at random.
struct Program {
    random: Random,
    live: Vec<Storage<AccountingMemory>>,
}

impl Program {
    fn step(&mut self, pool: &Pool<AccountingMemory>) {
        const BLOCKS: usize = 60;
        if self.live.len() >= BLOCKS {
            self.live.swap_remove(self.random.below(BLOCKS));
        }
        self.live.push(pool.allocate(self.random.size(8 * MIB)).expect("there is no limit"));
    }
}

fn threads(rounds: u32) {
    const PROGRAMS: u64 = 8;
    const STEPS: usize = 5000;
    let mut ratios = Vec::new();
    let mut paces = Vec::new();
    for round in 0..u64::from(rounds) {
        let programs =
            || (0..PROGRAMS).map(move |n| Program { random: Random::new(round * PROGRAMS + n), live: Vec::new() });
        let pool = || Pool::new(AccountingMemory::new(), PoolOptions::default()).expect("the options suit");
        let (one, many) = (pool(), pool());
        let mut in_turn: Vec<Program> = programs().collect();
        let start = Instant::now();
        for _ in 0..STEPS {
            in_turn.iter_mut().for_each(|program| program.step(&one));
        }
        let alone = start.elapsed();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let run = |mut program: Program| {
                let many = &many;
                scope.spawn(move || {
                    (0..STEPS).for_each(|_| program.step(many));
                    program
                })
            };
            let running: Vec<_> = programs().map(run).collect();
            running.into_iter().for_each(|thread| drop(thread.join()));
        });
        paces.push(start.elapsed().as_secs_f64() / alone.as_secs_f64());
        ratios.push(many.stats().reserved.peak as f64 / one.stats().reserved.peak as f64);
    }
    for values in [&mut ratios, &mut paces] {
        values.sort_by(f64::total_cmp);
    }
    let middle = ratios.len() / 2;
    println!("8 threads over 1 that takes their steps in turn, median of {rounds}");
    println!("  peak reserved                     {:>12.3}", ratios[middle]);
    println!("  time                              {:>12.3}", paces[middle]);
}
