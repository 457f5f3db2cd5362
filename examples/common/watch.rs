//! `--watch`: the pool's map in characters, drawn anew while the program runs.

#![allow(dead_code, reason = "each program watches in its own way")]

use console::Term;
use std::time::{Duration, Instant};
use wgpu_pool::{Memory, Pool};

/// Between two pictures.
const PAUSE: Duration = Duration::from_millis(100);
/// The most lines of a picture.
const ROWS: usize = 24;

/// A picture of the pool on standard error, where figures aren't in its way.
#[derive(Debug)]
pub(crate) struct Watch {
    /// None where nobody watches.
    terminal: Option<Term>,
    drawn: Option<Instant>,
    /// Lines of the picture that is there.
    lines: usize,
}

impl Watch {
    pub(crate) fn new(watching: bool) -> Self {
        Self { terminal: watching.then(Term::stderr), drawn: None, lines: 0 }
    }

    /// Whether there is anything to draw.
    pub(crate) fn is_on(&self) -> bool {
        self.terminal.is_some()
    }

    /// Draws the pool in place of the last picture, unless that was a moment ago.
    pub(crate) fn look<M: Memory>(&mut self, pool: &Pool<M>) {
        if self.is_on() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.draw(pool);
        }
    }

    /// Draws the pool in place of the last picture. What isn't a terminal gets one picture after the other.
    pub(crate) fn draw<M: Memory>(&mut self, pool: &Pool<M>) {
        let Some(terminal) = &self.terminal else { return };
        let (rows, columns) = terminal.size();
        let map = pool.snapshot().to_map(usize::from(columns).min(100), usize::from(rows).saturating_sub(2).min(ROWS));
        // Nobody is there to see a picture that can't be drawn.
        let _ = self.clear();
        let Some(terminal) = &self.terminal else { return };
        let _ = terminal.write_str(&map);
        self.lines = map.lines().count();
        self.drawn = Some(Instant::now());
    }

    /// Takes the picture away, so that something else can be written.
    pub(crate) fn clear(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        match &self.terminal {
            Some(terminal) if terminal.is_term() => terminal.clear_last_lines(lines),
            _ => Ok(()),
        }
    }
}
