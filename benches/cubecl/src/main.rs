//! What CubeCL's memory manager holds for the traces of tests/data, as a table in Markdown.
//!
//! The manager is the one of CubeCL's wgpu runtime on an H100, driven without a device. Its buffers are counted as this pool's segments
//! are: from the call that creates a buffer to the call that releases it.

mod replay;
mod storage;

use cubecl_ir::MemoryDeviceProperties;
use cubecl_server::memory_management::MemoryConfiguration;
use flate2::read::MultiGzDecoder;
use std::{fs::File, path::Path};

/// What the wgpu runtime passes to the manager on an H100 through Vulkan: the largest binding, which is below the largest buffer, and an
/// alignment. Without its SPIR-V compiler the runtime states no total memory. The figures of `Adaptive` are the same to three decimals
/// with alignments of 32 and 256, with the largest buffer (4,292,870,144 bytes), and with a total of 80 GiB.
const DEVICE: MemoryDeviceProperties = MemoryDeviceProperties::new(2_147_483_644, 64);

const TRACES: [(&str, &str); 4] = [
    ("resnet50, training", "resnet50_train"),
    ("gpt2, training", "gpt2_varlen_train"),
    ("llama, decoding", "llama_decode"),
    ("bert, serving", "bert_serving"),
];

/// The runtime's default natively, and its only configuration in browsers.
const CONFIGURATIONS: [MemoryConfiguration; 2] = [MemoryConfiguration::Adaptive, MemoryConfiguration::ExclusivePages];

fn main() -> Result<(), String> {
    println!(
        "Peak bytes of buffers divided by peak requested bytes; buffers created; ns per event in a warm manager.\n"
    );
    println!(
        "| trace |{}",
        CONFIGURATIONS.map(|configuration| format!(" {configuration:?} | buffers | ns |")).concat()
    );
    println!("| --- |{}", " --- | --- | --- |".repeat(CONFIGURATIONS.len()));
    let mut logarithms = [0.0; CONFIGURATIONS.len()];
    for (name, file) in TRACES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/{file}.trace.gz"));
        let at_file = |error| format!("{}: {error}", file.display());
        let opened = File::open(&file).map_err(|error| at_file(error.to_string()))?;
        let events = replay::read(MultiGzDecoder::new(opened)).map_err(at_file)?;
        print!("| {name} |");
        for (configuration, logarithm) in CONFIGURATIONS.into_iter().zip(&mut logarithms) {
            let figures = replay::measure(&events, configuration).map_err(at_file)?;
            let ratio = figures.peak_held as f64 / figures.peak_requested as f64;
            *logarithm += ratio.ln() / TRACES.len() as f64;
            print!(" {ratio:.3} | {} | {:.0} |", figures.buffers, figures.ns_per_event_warm);
        }
        println!();
    }
    println!("| geometric mean |{}", logarithms.map(|mean: f64| format!(" {:.3} | | |", mean.exp())).concat());
    Ok(())
}
