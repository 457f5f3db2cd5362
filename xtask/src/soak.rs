//! `cargo xtask soak --minutes N`: the long-running tests, in a release build.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::step::{Run, Step};

/// Runs `tests/soak` for the given number of minutes. Each run has different seeds, which it prints.
pub(crate) fn run(run: &mut Run, minutes: u32) -> Result<(), String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The seeds of a run are below those of a run that starts a second later.
    run.step(&step(minutes, seconds % 1_000_000_000 * 1000))
}

fn step(minutes: u32, seed: u64) -> Step {
    // One test at a time: each has its share of the minutes, and some measure the memory of the process.
    Step::cargo("soak", "test --release --all-features --test soak -- --test-threads 1 --nocapture")
        .variable("WGPU_POOL_REQUIRE_ADAPTER", "1")
        .variable("WGPU_POOL_SOAK_MINUTES", &minutes.to_string())
        .variable("WGPU_POOL_SOAK_SEED", &seed.to_string())
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn the_minutes_and_the_seed_are_on_the_line_that_can_be_typed_again() {
        let line = step(10, 77).to_string();
        assert!(
            line.starts_with("WGPU_POOL_REQUIRE_ADAPTER=1 WGPU_POOL_SOAK_MINUTES=10 WGPU_POOL_SOAK_SEED=77 cargo test")
        );
    }
}
