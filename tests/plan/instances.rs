//! Published instances. `cargo bench --bench plan` measures all of them.

use super::{assert_valid, unhurried};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use wgpu_pool::plan::Problem;

/// The capacity for which MiniMalloc's authors published the instances.
const CAPACITY: u64 = 1 << 20;

fn minimalloc(name: &str) -> Problem {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/minimalloc/{name}.{CAPACITY}.csv.gz"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("the file is whole");
    Problem::from_csv(&text).expect("the instance is valid")
}

#[test]
fn instances_of_minimalloc_fit_their_capacity() {
    for name in ["A", "B", "C", "E", "F", "G", "H", "K"] {
        let problem = minimalloc(name);
        let plan = problem.plan(&unhurried(200_000).capacity(CAPACITY)).expect("the problem is valid");
        assert_valid(&problem, &plan, 1);
        assert!(plan.fits(CAPACITY), "{name}: {} after {} nodes", plan.height(), plan.nodes());
    }
}
