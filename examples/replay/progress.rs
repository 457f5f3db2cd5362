//! The progress bar on standard error, if this is a terminal.

use crate::watch::Watch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use wgpu_pool::{Memory, Pool};

/// The progress of the replays of a trace.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    watch: RefCell<Watch>,
}

impl Progress {
    /// Creates a bar for this many events, if standard error is a terminal, or the pool's map, if the pool is drawn.
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

    /// Draws the pool, if requested.
    pub(crate) fn look<M: Memory>(&self, pool: &Pool<M>) {
        self.watch.borrow_mut().look(pool);
    }

    /// Returns whether the pool is drawn.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.borrow().is_on()
    }

    /// Advances by this many events.
    pub(crate) fn advance(&self, events: usize) {
        self.bar.inc(events as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Later messages and figures start on a clean line.
        self.bar.finish_and_clear();
        let _ = self.watch.borrow_mut().clear();
    }
}
