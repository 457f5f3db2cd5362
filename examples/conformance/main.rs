//! Runs the cases that the generators in `conformance/` write, and writes a line of JSON for each run.
//! `cargo xtask conformance` does all of it.
//!
//! The first line of the results describes the device. An unknown operation ends the program.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a file of cases that is not as the generators write it ends the program or counts as a panic"
)]

mod compare;
mod elementwise;
mod operands;
mod operations;

use clap::Parser;
use elementwise::{Way, ways};
use operands::{Data, Failure, Layout, R, Spec, make};
use serde_json::{Value, json};
use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use wgpu_pool::{DType, DeviceResources, Pool, PoolOptions, Tensor};

#[derive(Debug, Parser)]
#[command(about = "Runs cases of PyTorch's operator database and ONNX's node tests")]
struct Arguments {
    /// A folder that a generator wrote.
    cases: PathBuf,
    /// The file for the results.
    results: PathBuf,
    /// Runs one operation's cases alone: its name there, such as `softmax` or `Conv`, or here, such as `conv2d`.
    #[arg(long)]
    only: Option<String>,
    /// The layout of inputs in memory.
    #[arg(long, value_enum, default_value = "contiguous")]
    layout: Layout,
}

/// Returns whether a case belongs to the operation of `--only`. PyTorch's names may omit the part before the last dot.
fn is_wanted(case: &Value, only: Option<&str>) -> bool {
    let there = case["id"].as_str().unwrap().split('/').nth(1).unwrap();
    only.is_none_or(|only| case["op"] == only || there == only || there.strip_prefix("nn.functional.") == Some(only))
}

/// One run of a case: its outcome, and a message.
fn outcome(pool: &Pool, data: &Data, case: &Value, way: Way) -> R<Value> {
    let inputs: R<Vec<Tensor>> = case["in"].as_array().unwrap().iter().map(|s| make(pool, data, &Spec(s))).collect();
    let op = case["op"].as_str().unwrap();
    let results = inputs.and_then(|inputs| operations::run(pool, op, way, &inputs, &case["args"]))?;
    compare::check(data, case, &results)
}

fn words(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref().copied());
    text.unwrap_or("a panic without words").to_string()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let read = |name: &str| fs::read(arguments.cases.join(name)).unwrap();
    let data = Data { bytes: read("data.bin"), layout: arguments.layout };
    let text = String::from_utf8(read("cases.jsonl")).unwrap();
    let mut results = BufWriter::new(File::create(&arguments.results).unwrap());
    let pool = Pool::request_blocking(PoolOptions::default()).unwrap();
    let has_f16 = Tensor::zeros(&pool, [1], DType::F16).is_ok();
    writeln!(results, "{}", json!({"memory": pool.memory().name(), "f16": has_f16})).unwrap();
    std::panic::set_hook(Box::new(|_| ()));
    let start = Instant::now();
    let mut counts = BTreeMap::<String, usize>::new();
    for (number, line) in text.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        if !is_wanted(&case, arguments.only.as_deref()) {
            continue;
        }
        let (id, op) = (case["id"].as_str().unwrap(), case["op"].as_str().unwrap());
        for &way in ways(op, case["promotes"] == true) {
            if way == Way::InPlace && case["no_in_place"] == true {
                continue;
            }
            let mut note = match catch_unwind(AssertUnwindSafe(|| outcome(&pool, &data, &case, way))) {
                Ok(Ok(note)) => note,
                Ok(Err(Failure::Refused(why))) => json!({"status": "error", "why": why}),
                Ok(Err(Failure::Unknown)) => {
                    eprintln!("conformance: {op} of {id} is no operation of this program");
                    return ExitCode::from(2);
                }
                Err(cause) => json!({"status": "panic", "why": words(&*cause)}),
            };
            (note["id"], note["op"], note["way"]) = (json!(id), json!(op), json!(format!("{way:?}")));
            *counts.entry(note["status"].as_str().unwrap().to_owned()).or_default() += 1;
            writeln!(results, "{note}").unwrap();
        }
        if number % 2000 == 1999 {
            eprintln!("{} cases in {:.0?}: {counts:?}", number + 1, start.elapsed());
        }
    }
    results.flush().unwrap();
    println!("{}: {counts:?} in {:.0?}", arguments.cases.display(), start.elapsed());
    let (check, live) = (pool.check(), pool.stats().allocated.current);
    if check.is_err() || live != 0 {
        eprintln!("conformance: after the last case {live} bytes live, and the pool's check gives {check:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
