//! `cargo xtask features`: every useful combination of the crate's features builds, documents and passes its tests on
//! its own.

use crate::step::{Run, Step};

/// The features that forward to a backend of wgpu.
pub(crate) const BACKENDS: [&str; 5] = ["vulkan", "gles", "metal", "dx12", "webgpu"];

/// The distinct sets of the other features: `report` implies `serde`.
pub(crate) const CONTENTS: [&[&str]; 6] =
    [&[], &["serde"], &["report"], &["tensor"], &["tensor", "serde"], &["tensor", "report"]];

/// The allocator alone, on every backend: the only combination that `cargo xtask test` checks, because wgpu is built
/// for it anyway.
pub(crate) fn allocator_lints() -> Step {
    lints("lints of the allocator alone", &joined(&BACKENDS, &[]))
}

/// Runs every check, the cheapest first, and stops at the first failure.
pub(crate) fn run(run: &mut Run) -> Result<(), String> {
    for step in steps() {
        run.step(&step)?;
    }
    Ok(())
}

fn steps() -> Vec<Step> {
    let all = BACKENDS.as_slice();
    let mut steps = Vec::new();
    // The crate's own features, with one build of wgpu.
    for contents in CONTENTS {
        steps.push(lints(&format!("lints of {}", name(contents)), &joined(all, contents)));
    }
    for contents in CONTENTS {
        steps.push(documentation(&name(contents), &joined(all, contents)));
    }
    // Each backend alone, and no backend: each needs its own build of wgpu.
    for backends in std::iter::once(&all[..0]).chain(all.chunks(1)) {
        for contents in [&[][..], &["tensor"][..]] {
            let backend = if backends.is_empty() { "no backend" } else { backends[0] };
            let label = format!("{} with {backend}", name(contents));
            let features = joined(backends, contents);
            let arguments =
                format!("clippy --package wgpu-pool --no-default-features --features={features} -- -D warnings");
            steps.push(Step::cargo(&format!("lints of {label}"), &arguments));
            steps.push(documentation(&label, &features));
        }
    }
    // Without a backend no adapter is found, which the tests take for a failure where `CI` is set.
    let arguments = "test --package wgpu-pool --lib --no-default-features --features=tensor";
    steps.push(Step::cargo("library tests of tensor with no backend", arguments).variable("CI", ""));
    // `cargo xtask test` runs the tests of the whole crate, which is the last.
    for contents in &CONTENTS[..CONTENTS.len() - 1] {
        let features = joined(all, contents);
        for (kind, which) in [("tests", "--lib --tests"), ("documentation tests", "--doc")] {
            let arguments = format!("test --package wgpu-pool {which} --no-default-features --features={features}");
            let step = Step::cargo(&format!("{kind} of {}", name(contents)), &arguments);
            steps.push(step.variable("WGPU_POOL_REQUIRE_ADAPTER", "1"));
        }
    }
    steps
}

fn lints(name: &str, features: &str) -> Step {
    let arguments =
        format!("clippy --package wgpu-pool --all-targets --no-default-features --features={features} -- -D warnings");
    Step::cargo(name, &arguments)
}

fn documentation(name: &str, features: &str) -> Step {
    let arguments = format!("doc --no-deps --package wgpu-pool --no-default-features --features={features}");
    Step::cargo(&format!("documentation of {name}"), &arguments).variable("RUSTDOCFLAGS", "-Dwarnings")
}

pub(crate) fn joined(backends: &[&str], contents: &[&str]) -> String {
    [backends, contents].concat().join(",")
}

pub(crate) fn name(contents: &[&str]) -> String {
    if contents.is_empty() { "the allocator alone".to_string() } else { contents.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The features in the manifest, each with the features that it implies.
    fn manifest() -> BTreeMap<String, String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let manifest = std::fs::read_to_string(path).expect("the crate has a manifest");
        let features = manifest.split("\n[features]\n").nth(1).expect("the crate has features");
        let features = features.split("\n[").next().unwrap_or_default();
        let rows = features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
        rows.map(|(name, implied)| (name.to_string(), implied.to_string())).collect()
    }

    #[test]
    fn every_feature_of_the_manifest_is_in_some_combination_and_missing_in_another() {
        let mut features = manifest();
        features.remove("default").expect("there are default features");
        for (feature, implied) in features {
            if let Some(backend) = BACKENDS.iter().find(|backend| **backend == feature) {
                assert_eq!(implied, format!("[\"wgpu/{backend}\"]"));
                continue;
            }
            let has = |contents: &&[&str]| contents.contains(&feature.as_str());
            assert!(CONTENTS.iter().any(has), "{feature} is in no combination");
            assert!(!CONTENTS.iter().all(has), "{feature} is in every combination");
        }
    }

    #[test]
    fn the_default_is_tensors_on_every_backend() {
        let default = manifest().remove("default").expect("there are default features");
        for feature in BACKENDS.iter().chain(&["tensor"]) {
            assert!(default.contains(&format!("\"{feature}\"")), "{feature} is not in {default}");
        }
        assert_eq!(default.matches('"').count(), 2 * (BACKENDS.len() + 1), "{default}");
    }

    #[test]
    fn every_combination_that_is_built_is_documented_too() {
        let features = |start: &str| {
            let lines = steps().into_iter().map(|step| step.to_string()).filter(move |line| line.contains(start));
            let sets = lines.filter_map(|line| Some(line.split_once("--features=")?.1.split(' ').next()?.to_string()));
            sets.collect::<std::collections::BTreeSet<String>>()
        };
        assert_eq!(features("cargo doc "), features("cargo clippy "));
        // Six with all backends; without one, and with each of the five, the allocator and tensors.
        assert_eq!(features("cargo doc ").len(), 6 + 6 * 2);
    }

    #[test]
    fn every_step_names_its_features_and_takes_no_default() {
        for step in steps() {
            let line = step.to_string();
            assert!(line.contains(" --no-default-features --features="), "{line}");
        }
    }
}
