//! The progress bar: on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};

/// How far the replays of a trace are.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for this many events, if a person is looking.
    pub(crate) fn new(trace: &str, events: usize) -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(events as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} % {eta:>4} left") {
            bar.set_style(style);
        }
        bar.set_prefix(trace.to_string());
        Self(bar)
    }

    /// This many events more are done.
    pub(crate) fn advance(&self, events: usize) {
        self.0.inc(events as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Messages and figures that follow get a clean line.
        self.0.finish_and_clear();
    }
}
