//! `--watch`: draws the pool's map as text while the program runs.

#![allow(dead_code, reason = "each program watches in its own way")]

use console::Term;
use std::time::{Duration, Instant};
use wgpu_pool::{Memory, Pool};

/// The shortest time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest number of lines of a drawing.
const ROWS: usize = 24;

/// A drawing of the pool on standard error, separate from the results.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` without `--watch`.
    terminal: Option<Term>,
    drawn: Option<Instant>,
    /// The number of lines of the current drawing.
    lines: usize,
}

impl Watch {
    pub(crate) fn new(watching: bool) -> Self {
        Self { terminal: watching.then(Term::stderr), drawn: None, lines: 0 }
    }

    /// Returns whether drawing is enabled.
    pub(crate) fn is_on(&self) -> bool {
        self.terminal.is_some()
    }

    /// Replaces the drawing, unless it was drawn a moment ago.
    pub(crate) fn look<M: Memory>(&mut self, pool: &Pool<M>) {
        if self.is_on() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.draw(pool);
        }
    }

    /// Replaces the drawing. If standard error is not a terminal, drawings are printed one after another.
    pub(crate) fn draw<M: Memory>(&mut self, pool: &Pool<M>) {
        let Some(terminal) = &self.terminal else { return };
        let (rows, columns) = terminal.size();
        let map = pool.snapshot().to_map(usize::from(columns).min(100), usize::from(rows).saturating_sub(2).min(ROWS));
        // An error of drawing is ignored.
        let _ = self.clear();
        let Some(terminal) = &self.terminal else { return };
        let _ = terminal.write_str(&map);
        self.lines = map.lines().count();
        self.drawn = Some(Instant::now());
    }

    /// Erases the drawing, so that other output can be printed.
    pub(crate) fn clear(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        match &self.terminal {
            Some(terminal) if terminal.is_term() => terminal.clear_last_lines(lines),
            _ => Ok(()),
        }
    }
}
