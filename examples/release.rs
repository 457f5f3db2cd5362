//! Creates a large tensor, computes with it, and releases all its memory: to the pool by `drop`, to the driver by
//! `trim`.
//!
//! Prints the pool's memory after each step. With `--hold SECONDS` it pauses before, during and after, so that other
//! tools (`nvidia-smi`) can be used. Exits with 1 if the pool or the driver holds more memory at the end than before
//! the tensor was created, or if a number is wrong.

mod common;

use clap::Parser;
use common::Report;
use std::process::ExitCode;
use std::time::Duration;
use wgpu_pool::ops::philox;
use wgpu_pool::{AllocateError, Bytes, DType, Memory, Pool, Tensor, TensorError};

/// The tensor of the program: 1024 × 1024 × 1024 elements of 4 bytes.
const ORIGINAL_BYTES: u64 = 4 << 30;

const SEED: u64 = 42;

#[derive(Debug, Parser)]
#[command(about = "A large tensor, and all of its memory given back")]
struct Options {
    /// Seconds to pause before the tensor is created, while it lives, and after its memory was released
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    hold: u64,

    /// Draw the pool's segments while the program runs
    #[arg(long)]
    watch: bool,
}

impl Options {
    fn hold(&self, when: &str) {
        if self.hold > 0 {
            println!("{when}: holding for {} s", self.hold);
            std::thread::sleep(Duration::from_secs(self.hold));
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| release(&options))
}

fn release(options: &Options) -> wgpu_pool::Result<ExitCode> {
    let mut report = Report::open(options.watch)?;
    let pool = report.pool.clone();

    let limits = pool.memory().limits();
    let block = limits.largest_binding.min(limits.largest_segment);
    println!("The tensor has 1024 x 1024 x 1024 f32, {}; the program needs two of them.", Bytes(ORIGINAL_BYTES));
    println!("A shader can be bound to {} here, so a block of a tensor has at most that.", Bytes(block));
    let (shape, bytes) = shape_that_fits(&pool)?;
    let [planes, rows, columns] = shape;
    if bytes == ORIGINAL_BYTES {
        println!("They fit: {planes} x {rows} x {columns} f32.\n");
    } else {
        println!("They do not fit: {planes} x {rows} x {columns} f32 instead, {}.\n", Bytes(bytes));
    }

    let before = report.warm_up()?;
    options.hold("before");
    let numbers = Tensor::rand(&pool, shape, SEED)?;
    report.step("random numbers");
    let tripled = match numbers.mul(2.0_f32) {
        Ok(doubled) => {
            report.step("doubled, as a result of its own");
            doubled.add_(&numbers)?;
            doubled
        }
        Err(TensorError::Allocate(AllocateError::OutOfMemory(error))) => {
            report.note(format!(
                "There was no memory for a separate result, so everything was computed in place: {error}."
            ));
            numbers.add_scaled_(&numbers, 2.0_f32)?;
            numbers.clone()
        }
        Err(error) => return Err(error.into()),
    };
    report.step("tripled, in place");
    check_values(&mut report, &tripled)?;
    let used = report.step("some of it read, and its mean");
    options.hold("during");

    // One more command, so that the device is still busy when the memory is released.
    tripled.add_(&numbers)?;
    drop((numbers, tripled));
    let dropped = report.step("dropped");
    let requested = pool.stats().requested.current;
    report.claim(requested == 0, format!("dropping gives all blocks back to the pool: {} requested", Bytes(requested)));
    report.claim(
        dropped.reserved >= bytes && dropped.reserved == used.reserved,
        format!("dropping gives nothing back to the driver: {} reserved, as before", Bytes(dropped.reserved)),
    );
    if let (Some(held), Some(at_first)) = (dropped.driver, before.driver) {
        let grown = held.saturating_sub(at_first);
        report.claim(
            grown >= bytes,
            format!("the driver holds the tensors until then: {} more than at first", Bytes(grown)),
        );
    }

    let at_once = pool.trim();
    report.step("trimmed at once");
    pool.synchronize_blocking()?;
    let afterwards = pool.trim();
    let after = report.step("trimmed when the device was done");
    report.claim(
        at_once.freed + at_once.pending == dropped.reserved
            && afterwards.freed == at_once.pending
            && afterwards.pending == 0,
        format!(
            "trimming says what it did: {} freed and {} pending at once, then {} and {}, of {}",
            Bytes(at_once.freed),
            Bytes(at_once.pending),
            Bytes(afterwards.freed),
            Bytes(afterwards.pending),
            Bytes(dropped.reserved)
        ),
    );
    options.hold("after");
    report.claim_back(before, after);
    Ok(report.conclude())
}

/// Returns the largest shape, halved from the original one, of which two tensors fit, and its bytes. On a software driver, whose memory
/// is the machine's, they may take half of what is available.
fn shape_that_fits(pool: &Pool) -> wgpu_pool::Result<([usize; 3], u64)> {
    let is_software = pool.memory().device().adapter_info().device_type == wgpu_pool::wgpu::DeviceType::Cpu;
    let room = if is_software { available_host_memory().map_or(1 << 30, |bytes| bytes / 2) } else { u64::MAX };
    let mut bytes = ORIGINAL_BYTES;
    loop {
        let elements = usize::try_from(bytes / 4).unwrap_or(usize::MAX / 8);
        let shape = cube(elements);
        let two = || -> Result<[Tensor; 2], TensorError> {
            let one = || Tensor::empty(pool, shape, DType::F32);
            Ok([one()?, one()?])
        };
        if 2 * bytes <= room {
            match two() {
                Ok(_) => break,
                Err(TensorError::Allocate(AllocateError::OutOfMemory(_))) if bytes > 1 << 20 => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes /= 2;
    }
    pool.trim();
    Ok((cube(usize::try_from(bytes / 4).unwrap_or(usize::MAX / 8)), bytes))
}

/// Returns the bytes of host memory that programs can still use. `None` where the system does not tell.
fn available_host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// The sizes of three dimensions: powers of two as close to each other as possible.
fn cube(elements: usize) -> [usize; 3] {
    let exponent = elements.ilog2();
    [exponent.div_ceil(3), (exponent + 1) / 3, exponent / 3].map(|power| 1 << power)
}

/// Compares the first, last and middle elements and the mean with the generator's numbers times three.
fn check_values(report: &mut Report, tripled: &Tensor) -> wgpu_pool::Result<()> {
    const SAMPLE: usize = 64;
    let elements = tripled.elements();
    let flat = tripled.reshape([elements])?;
    for start in [0, elements / 2 - SAMPLE / 2, elements - SAMPLE] {
        let found = flat.narrow(0, start, SAMPLE)?.read_blocking::<f32>()?;
        let wrong = (start..).zip(&found).find_map(|(index, &found)| {
            let number = philox::uniform(SEED, 0, index as u64);
            let expected = 2.0 * number + number;
            (found != expected).then(|| format!("element {index} is {found}, not {expected}"))
        });
        let range = format!("elements {start} to {}", start + SAMPLE - 1);
        report.claim(wrong.is_none(), wrong.unwrap_or(format!("{range} are three times what was drawn")));
    }
    let mean = flat.mean(..)?.read_blocking::<f32>()?[0];
    report.claim((mean - 1.5).abs() < 0.01, format!("the mean of all is {mean:.4}, near 1.5"));
    Ok(())
}
