//! Runs each committed input of the fuzz targets once. `cargo +nightly fuzz run NAME` searches for more. The inputs of
//! the trace reader run in the tests of the example `replay`.

#[path = "../fuzz/bodies/device.rs"]
mod device;
#[path = "../fuzz/bodies/fuse.rs"]
mod fuse;
#[path = "../fuzz/bodies/heap.rs"]
mod heap;
#[path = "../fuzz/bodies/input.rs"]
mod input;
#[path = "../fuzz/bodies/kernel.rs"]
mod kernel;
#[path = "../fuzz/bodies/plan.rs"]
mod plan;
#[path = "common/random.rs"]
#[allow(dead_code, reason = "this test needs no numbers for kernels")]
mod random;
#[path = "../fuzz/bodies/shape.rs"]
mod shape;
#[path = "../fuzz/bodies/snapshot.rs"]
mod snapshot;

use random::Random;
use std::path::Path;

/// The number of random inputs in addition to the committed ones.
const RANDOM_INPUTS: u64 = 50;

/// Runs a fuzz body on the committed inputs of a target and on random ones. The name of a failing input is printed to
/// standard error.
fn run(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs = 0;
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        let data = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        eprintln!("{}", path.display());
        body(&data);
        inputs += 1;
    }
    assert!(inputs > 0, "{target} has no inputs");
    for seed in 0..RANDOM_INPUTS {
        let mut random = Random::new(seed);
        let length = random.below(400);
        let data: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
        eprintln!("random input {seed}");
        body(&data);
    }
}

#[test]
fn the_heap_agrees_with_its_shadow_on_every_input() {
    run("heap", heap::run);
}

#[test]
fn the_snapshot_reader_accepts_only_what_every_report_and_export_takes() {
    run("snapshot", snapshot::run);
}

#[test]
fn views_and_shapes_of_any_size_are_tensors_or_typed_errors() {
    run("shape", shape::run);
}

#[test]
fn expressions_of_any_kind_are_kernels_or_typed_errors() {
    run("fuse", fuse::run);
}

#[test]
fn shaders_of_any_text_are_kernels_or_typed_errors() {
    run("kernel", kernel::run);
}

#[test]
fn plans_of_tiny_problems_are_those_of_brute_force_and_any_csv_is_read_or_refused() {
    run("plan", plan::run);
}
