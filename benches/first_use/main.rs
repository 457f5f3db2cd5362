//! The time from the start of a program to its first result, by stage: `cargo bench --bench first_use`.
//!
//! Each figure is the median of several processes (`--samples`), since a driver keeps compiled kernels in the process. The caches
//! that drivers keep on disk are off, unless `--driver-cache` is given. "adapter" and "device" are the search for an adapter and
//! the creation of the device, "shaders" the translation of the kernels' WGSL, "pipelines" the creation of their pipelines,
//! both summed over all threads ([`wgpu_pool::Startup`]). "first" is the time from the search for an adapter to the first result
//! on the host.
//!
//! The small examples run as they are. A training step of the U-Net and of the transformer, each with its model, runs in three
//! ways: *plain*; *warm-up*, after `Pool::warm_up`, whose time is part of "first"; and *cached*, after a warm-up with the pipeline
//! cache of an earlier process. "step" is the time of the first step until its loss is on the host, and "next" that of the second
//! step.

#[path = "../../examples/nn/mod.rs"]
mod nn;
mod programs;
#[path = "../../examples/unet/shapes.rs"]
#[allow(dead_code, unused_imports, reason = "only the number of classes is needed")]
mod shapes;
mod steps;
#[path = "../../examples/transformer/model.rs"]
#[allow(dead_code, reason = "the bench trains, and does not decode")]
mod transformer;
#[path = "../../examples/unet/model.rs"]
#[allow(dead_code, reason = "the bench trains, and does not process large images")]
mod unet;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug, Parser)]
#[command(about = "The time to the first result, by stage")]
struct Options {
    /// Processes for each row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    samples: u32,
    /// Leave the driver's own cache of kernels on
    #[arg(long)]
    driver_cache: bool,
    /// Only programs whose name contains this text
    filter: Option<String>,
    /// Run this program in this process, and print its times as JSON
    #[arg(long, hide = true)]
    program: Option<String>,
    #[arg(long, hide = true, value_enum, default_value_t = Way::Plain)]
    way: Way,
    /// The file of the pipeline cache
    #[arg(long, hide = true)]
    cache: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// The preparation of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Plain,
    WarmUp,
    Cached,
}

/// The times of a process in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Times {
    adapter: f64,
    device: f64,
    kernels: f64,
    shaders: f64,
    pipelines: f64,
    warm_up: Option<f64>,
    first: f64,
    step: Option<f64>,
    next: Option<f64>,
}

/// The start of the line with a process's times.
const MARK: &str = "times of the first use: ";

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if let Some(program) = &options.program {
        let times = match steps::find(program) {
            Some(step) => steps::run(step, options.way, options.cache.as_deref())?,
            None => programs::run(program)?,
        };
        println!("{MARK}{}", serde_json::to_string(&times)?);
        return Ok(());
    }
    println!(
        "milliseconds, medians of {} processes; drivers' caches are {}",
        options.samples,
        state(options.driver_cache)
    );
    println!(
        "{:<28}{:>9}{:>9}{:>9}{:>9}{:>11}{:>9}{:>9}{:>9}{:>9}",
        "program", "adapter", "device", "kernels", "shaders", "pipelines", "warm-up", "first", "step", "next"
    );
    let wanted = |name: &str| options.filter.as_deref().is_none_or(|filter| name.contains(filter));
    for name in programs::NAMES.into_iter().filter(|name| wanted(name)) {
        print(name, &sample(&options, name, Way::Plain)?);
    }
    for name in steps::NAMES.into_iter().filter(|name| wanted(name)) {
        for (way, text) in [(Way::Plain, "plain"), (Way::WarmUp, "warm-up"), (Way::Cached, "cached")] {
            print(&format!("{name}, {text}"), &sample(&options, name, way)?);
        }
    }
    Ok(())
}

const fn state(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// Runs a program in new processes, and returns the medians of their times.
fn sample(options: &Options, name: &str, way: Way) -> Result<Times, Box<dyn Error>> {
    let cache = std::env::temp_dir().join(format!("wgpu-pool-first-use-{}", std::process::id()));
    let run = || -> Result<Times, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        let way_name = way.to_possible_value().ok_or("every way has a name")?;
        command.args(["--program", name, "--way", way_name.get_name(), "--cache"]).arg(&cache);
        if !options.driver_cache {
            command.envs([("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")]);
        }
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix(MARK));
        let line = line.ok_or_else(|| format!("{name}: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(serde_json::from_str(line)?)
    };
    if way == Way::Cached {
        // Fills the cache.
        run()?;
    }
    let times = (0..options.samples).map(|_| run()).collect::<Result<Vec<_>, _>>();
    if way == Way::Cached {
        std::fs::remove_file(cache)?;
    }
    Ok(medians(&times?))
}

fn medians(times: &[Times]) -> Times {
    let some = |time: &dyn Fn(&Times) -> Option<f64>| -> Option<f64> {
        let mut values: Vec<f64> = times.iter().filter_map(time).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let of = |time: fn(&Times) -> f64| some(&|times| Some(time(times))).unwrap_or_default();
    Times {
        adapter: of(|times| times.adapter),
        device: of(|times| times.device),
        kernels: of(|times| times.kernels),
        shaders: of(|times| times.shaders),
        pipelines: of(|times| times.pipelines),
        warm_up: some(&|times| times.warm_up),
        first: of(|times| times.first),
        step: some(&|times| times.step),
        next: some(&|times| times.next),
    }
}

fn print(name: &str, times: &Times) {
    let Times { adapter, device, kernels, shaders, pipelines, warm_up, first, step, next } = *times;
    let some = |time: Option<f64>| time.map(|time| format!("{time:.1}")).unwrap_or_default();
    println!(
        "{name:<28}{adapter:>9.1}{device:>9.1}{kernels:>9.0}{shaders:>9.1}{pipelines:>11.1}{:>9}{first:>9.1}{:>9}{:>9}",
        some(warm_up),
        some(step),
        some(next)
    );
}
