//! The progress of a training: a progress bar, and plots of the loss and of the pool's memory.

use super::plot::{Curve, Plot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use wgpu_pool::{Bytes, Pool, RepeatStats};

const MIB: f64 = (1 << 20) as f64;

/// A progress bar on standard error, if it is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(what: &str, steps: usize) -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta:>4} left") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        Self { bar }
    }

    pub(crate) fn advance(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // The next output starts on an empty line.
        self.bar.finish_and_clear();
    }
}

/// The record of the steps: losses, and the pool's memory.
#[derive(Debug, Default)]
pub(crate) struct Course {
    losses: Vec<(f64, f64)>,
    validated: Vec<(f64, f64)>,
    /// The peak allocated bytes of a step, the allocated bytes at its end, and the reserved bytes; in MiB.
    most: Vec<(f64, f64)>,
    left: Vec<(f64, f64)>,
    reserved: Vec<(f64, f64)>,
}

impl Course {
    /// Records the pool's memory since the last call, for one more step.
    pub(crate) fn look(&mut self, pool: &Pool) {
        let stats = pool.stats();
        pool.reset_peaks();
        let step = (self.most.len() + 1) as f64;
        self.most.push((step, stats.allocated.peak as f64 / MIB));
        self.left.push((step, stats.allocated.current as f64 / MIB));
        self.reserved.push((step, stats.reserved.peak as f64 / MIB));
    }

    /// Records the loss of the recent steps.
    pub(crate) fn loss(&mut self, loss: f32) {
        self.losses.push((self.most.len() as f64, f64::from(loss)));
    }

    /// Records the result of a validation.
    pub(crate) fn validated(&mut self, value: f32) {
        self.validated.push((self.most.len() as f64, f64::from(value)));
    }

    /// Describes the memory of the steps and what was planned.
    pub(crate) fn planned(&self, stats: &RepeatStats) -> String {
        let RepeatStats { runs, agreeing, deviating, plans, arena, lower_bound, arenas_created, .. } = *stats;
        let most = |values: &[(f64, f64)]| values[values.len() / 2..].iter().map(|value| value.1).fold(0.0, f64::max);
        let ratio = most(&self.reserved) / most(&self.most).max(f64::MIN_POSITIVE);
        let memory = format!(
            "In the second half of the steps the peak of the reserved bytes is {ratio:.3} times that of the allocated bytes."
        );
        if runs == 0 {
            return memory;
        }
        format!(
            "{agreeing} of {runs} steps followed one of {plans} plans and {deviating} deviated; the arena of {} for a peak of {} was \
             created {arenas_created} times. {memory}",
            Bytes(arena),
            Bytes(lower_bound),
        )
    }

    /// The number of steps so far.
    pub(crate) fn steps(&self) -> usize {
        self.most.len()
    }

    /// Writes the plots to a folder, which is created if necessary, and returns their paths.
    pub(crate) fn write(&self, folder: &Path, name: &str, validated: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        let curve = |name: &str, points: &[(f64, f64)]| Curve { name: name.to_owned(), points: points.to_vec() };
        let losses = [curve("loss", &self.losses), curve(validated, &self.validated)];
        let loss = Plot {
            title: format!("{name}: loss"),
            axes: ["step", "loss"],
            curves: losses.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        };
        let memory = Plot {
            title: format!("{name}: the pool's memory"),
            axes: ["step", "MiB"],
            curves: vec![
                curve("reserved", &self.reserved),
                curve("allocated, the most in a step", &self.most),
                curve("allocated, after a step", &self.left),
            ],
        };
        let mut written = Vec::new();
        for (what, plot) in [("loss", loss), ("memory", memory)] {
            if !plot.curves.is_empty() {
                let path = folder.join(format!("{name}-{what}.png"));
                plot.write(&path)?;
                written.push(path);
            }
        }
        Ok(written)
    }
}
