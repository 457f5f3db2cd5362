//! The progress bar: on standard error, and only where that is a terminal.

use crate::watch::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use wgpu_pool::{Memory, Pool};

/// How far the replays of a trace are.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    watch: RefCell<Watch>,
}

impl Progress {
    /// A bar for this many events, if a person is looking; in its place the pool's map, if that is to be watched.
    pub(crate) fn new(trace: &str, events: usize, watch: bool) -> Self {
        let target = if io::stderr().is_terminal() && !watch {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(events as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} % {eta:>4} left") {
            bar.set_style(style);
        }
        bar.set_prefix(trace.to_string());
        Self { bar, watch: RefCell::new(Watch::new(watch)) }
    }

    /// Draws the pool, if it is watched.
    pub(crate) fn look<M: Memory>(&self, pool: &Pool<M>) {
        self.watch.borrow_mut().look(pool);
    }

    /// Whether the pool is watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.borrow().is_on()
    }

    /// This many events more are done.
    pub(crate) fn advance(&self, events: usize) {
        self.bar.inc(events as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Messages and figures that follow get a clean line.
        self.bar.finish_and_clear();
        let _ = self.watch.borrow_mut().clear();
    }
}
