//! Moves a tensor to the host: reading a copy frees nothing while the tensor lives; `into_host` and `trim` free its
//! memory.
//!
//! Prints the pool's memory after each step. Exits with 1 if a step frees more or less than expected, or if a number is
//! wrong.

mod common;

use clap::Parser;
use common::Report;
use std::process::ExitCode;
use wgpu_pool::ops::philox;
use wgpu_pool::{Bytes, Tensor};

const SIZE: usize = 1024;
const BYTES: u64 = (SIZE * SIZE * size_of::<f32>()) as u64;
const SEED: u64 = 7;

#[derive(Debug, Parser)]
#[command(about = "A tensor moved to the host, and all of its memory given back")]
struct Options {
    /// Draw the pool's segments while the program runs
    #[arg(long)]
    watch: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| offload(&options))
}

fn offload(options: &Options) -> wgpu_pool::Result<ExitCode> {
    let mut report = Report::open(options.watch)?;
    let pool = report.pool.clone();
    let before = report.warm_up()?;

    let numbers = Tensor::randn(&pool, [SIZE, SIZE], SEED)?;
    report.step("1024 x 1024 normal numbers");
    let product = numbers.matmul(&numbers.t()?)?;
    report.step("times their transpose");
    drop(numbers);
    report.step("the numbers dropped");

    let copy = product.read_blocking::<f32>()?;
    report.step("a copy of the product read");
    pool.synchronize_blocking()?;
    pool.trim();
    let read = report.step("trimmed");
    let requested = pool.stats().requested.current;
    report.claim(
        requested == BYTES && read.reserved >= BYTES,
        format!(
            "reading a copy frees nothing while the tensor lives: {} requested, {} reserved after trimming",
            Bytes(requested),
            Bytes(read.reserved)
        ),
    );

    let host = product.into_host_blocking::<f32>()?;
    let moved = report.step("the product moved to the host");
    let requested = pool.stats().requested.current;
    report.claim(
        requested == 0 && moved.reserved == read.reserved,
        format!(
            "moving it to the host frees it in the pool: {} requested, {} reserved",
            Bytes(requested),
            Bytes(moved.reserved)
        ),
    );
    pool.synchronize_blocking()?;
    pool.trim();
    let after = report.step("trimmed");
    report.claim_back(before, after);

    let same = host.shape == [SIZE, SIZE] && host.elements == copy;
    report.claim(same, "what was moved is what was read");
    check_values(&mut report, &host.elements);
    Ok(report.conclude())
}

/// Compares some elements with dot products computed on the host.
fn check_values(report: &mut Report, product: &[f32]) {
    let number = |row: usize, column: usize| f64::from(philox::normal(SEED, 0, (row * SIZE + column) as u64));
    let mut largest = 0.0_f64;
    for (row, column) in [(0, 0), (0, SIZE - 1), (17, 900), (511, 512), (SIZE - 1, SIZE - 1)] {
        let expected: f64 = (0..SIZE).map(|inner| number(row, inner) * number(column, inner)).sum();
        largest = largest.max((f64::from(product[row * SIZE + column]) - expected).abs());
    }
    report.claim(largest < 1e-2, format!("elements are within {largest:.1e} of their dot products"));
}
