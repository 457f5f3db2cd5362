//! Allocation traces: text, plain or compressed with gzip, one event a line.
//!
//! `a ID BYTES` allocates, `f ID` frees; ids count up from 0; blocks that are never freed live until the end. A trace is read
//! completely before it is replayed, and every id is replaced by a slot of a small table, so that the replay needs no lookup.

use crate::fault::{Fault, TraceError};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroU64;
use std::path::Path;
use wgpu_pool::error::PlanError;
use wgpu_pool::plan::{self, Problem};

/// The longest line of a trace: more than two numbers of 20 digits each need, and enough for the names of layers.
const LONGEST_LINE: u64 = 1024;

/// The first bytes of every gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Allocates `bytes` bytes, and stores the block in an empty slot.
    Allocate { slot: u32, bytes: u64 },
    /// Frees the block in the slot.
    Free { slot: u32 },
}

/// A trace, ready to be replayed.
///
/// Invariant: the slot of an allocation is empty and below `slots`; the slot of a free contains a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The events, in order; the n-th is line n + 1.
    pub(crate) events: Vec<Event>,
    /// The peak of the number of live blocks.
    pub(crate) slots: u32,
    /// The peak of the requested bytes.
    pub(crate) peak_requested: u64,
}

impl Trace {
    /// Reads a trace of this format from a file.
    #[allow(dead_code, reason = "the program opens traces of every format; benches and tests have this one only")]
    pub(crate) fn open(path: &Path) -> Result<Self, TraceError> {
        let at_line = |line, fault| TraceError { path: path.display().to_string(), line, fault };
        let file = File::open(path).map_err(|error| at_line(0, Fault::Unreadable(error)))?;
        Self::read(BufReader::new(file)).map_err(|(line, fault)| at_line(line, fault))
    }

    /// Reads a trace of this format. An error has the number of its line, or 0 if it does not belong to a line.
    #[allow(dead_code, reason = "as `open`")]
    pub(crate) fn read(source: impl BufRead) -> Result<Self, (u64, Fault)> {
        decompressed(source, Self::read_text)
    }

    /// As [`read`](Self::read), of plain text.
    pub(crate) fn read_text(text: &mut dyn BufRead, unreadable: fn(io::Error) -> Fault) -> Result<Self, (u64, Fault)> {
        let mut reader = Reader::default();
        for_each_line(text, unreadable, |line| reader.line(line))?;
        Ok(reader.trace)
    }

    /// Returns the lifetimes and sizes of all blocks of at least one byte. Moments are numbers of events.
    pub(crate) fn problem(&self) -> Result<Problem, PlanError> {
        let mut lifetimes = plan::Trace::new();
        let mut ids = vec![0; self.slots as usize];
        let mut next_id = 0;
        for event in &self.events {
            match *event {
                Event::Allocate { slot, bytes } => {
                    ids[slot as usize] = next_id;
                    lifetimes.allocate(next_id, bytes)?;
                    next_id += 1;
                }
                Event::Free { slot } => lifetimes.free(ids[slot as usize])?,
            }
        }
        lifetimes.problem()
    }

    /// Returns the trace with every size divided by `divisor`, rounded down. Requests of at least one byte remain at least one
    /// byte; requests of zero bytes remain zero.
    pub(crate) fn scaled(mut self, divisor: NonZeroU64) -> Self {
        let mut sizes = vec![0; self.slots as usize];
        let mut requested = 0;
        self.peak_requested = 0;
        for event in &mut self.events {
            match event {
                Event::Allocate { slot, bytes } => {
                    *bytes = (*bytes / divisor).max((*bytes).min(1));
                    sizes[*slot as usize] = *bytes;
                    requested += *bytes;
                    self.peak_requested = self.peak_requested.max(requested);
                }
                Event::Free { slot } => requested -= sizes[*slot as usize],
            }
        }
        self
    }
}

/// Calls `act` with a file's contents, decompressed if they are a gzip stream, and with what makes an error of reading them.
pub(crate) fn decompressed<R>(
    mut source: impl BufRead,
    act: impl FnOnce(&mut dyn BufRead, fn(io::Error) -> Fault) -> Result<R, (u64, Fault)>,
) -> Result<R, (u64, Fault)> {
    let start = source.fill_buf().map_err(|error| (0, Fault::Unreadable(error)))?;
    if start.starts_with(&GZIP) {
        act(&mut BufReader::new(MultiGzDecoder::new(source)), Fault::of_gzip)
    } else {
        act(&mut source, Fault::Unreadable)
    }
}

/// Calls `act` with each line, without its end. An error has the number of the line.
pub(crate) fn for_each_line(
    text: &mut dyn BufRead,
    unreadable: fn(io::Error) -> Fault,
    mut act: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), (u64, Fault)> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = text.take(LONGEST_LINE).read_until(b'\n', &mut line);
        if length.map_err(|error| (number, unreadable(error)))? == 0 {
            break;
        }
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line,
            None if line.len() as u64 == LONGEST_LINE => return Err((number, Fault::TooLong { most: LONGEST_LINE })),
            None => &line,
        };
        act(line).map_err(|fault| (number, fault))?;
    }
    Ok(())
}

/// The state after the events so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) trace: Trace,
    /// For each id, the slot and the bytes of a live allocation; `None` if it was freed.
    allocations: Vec<Option<(u32, u64)>>,
    /// The empty slots below `trace.slots`.
    empty_slots: Vec<u32>,
    requested: u64,
    requested_in_total: u64,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut fields = fields(line);
        let (id, bytes) = match fields.next() {
            Some(b"a") => (next_number(&mut fields)?, Some(next_number(&mut fields)?)),
            Some(b"f") => (next_number(&mut fields)?, None),
            Some(other) => return Err(Fault::UnknownEvent { found: shown(other) }),
            None => return Err(Fault::Empty),
        };
        if let Some(extra) = fields.next() {
            return Err(Fault::Extra { found: shown(extra) });
        }
        match bytes {
            Some(bytes) => self.allocate(id, bytes),
            None => self.free(id),
        }
    }

    /// Appends an allocation. Ids count up from 0.
    pub(crate) fn allocate(&mut self, id: u64, bytes: u64) -> Result<(), Fault> {
        let expected = self.allocations.len() as u64;
        if id != expected {
            return Err(Fault::OutOfOrder { found: id, expected });
        }
        // Counters of bytes are 64 bits wide, in the pool too.
        self.requested_in_total = self.requested_in_total.checked_add(bytes).ok_or(Fault::TotalTooLarge)?;
        self.requested += bytes;
        self.trace.peak_requested = self.trace.peak_requested.max(self.requested);
        let slot = match self.empty_slots.pop() {
            Some(slot) => slot,
            None => {
                let slot = self.trace.slots;
                self.trace.slots = slot.checked_add(1).ok_or(Fault::TooManyLive)?;
                slot
            }
        };
        self.allocations.push(Some((slot, bytes)));
        self.trace.events.push(Event::Allocate { slot, bytes });
        Ok(())
    }

    /// Appends a free.
    pub(crate) fn free(&mut self, id: u64) -> Result<(), Fault> {
        let allocation = usize::try_from(id).ok().and_then(|id| self.allocations.get_mut(id));
        let allocation = allocation.ok_or(Fault::UnknownId { id })?;
        let (slot, bytes) = allocation.take().ok_or(Fault::FreedTwice { id })?;
        self.requested -= bytes;
        self.empty_slots.push(slot);
        self.trace.events.push(Event::Free { slot });
        Ok(())
    }
}

/// Returns the fields of a line, which spaces separate.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// Reads the next field as a decimal number.
pub(crate) fn next_number<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Result<u64, Fault> {
    let field = fields.next().ok_or(Fault::Missing)?;
    if !field.iter().all(u8::is_ascii_digit) {
        return Err(Fault::NoNumber { found: shown(field) });
    }
    let digits = str::from_utf8(field).map_err(|_| Fault::NoNumber { found: shown(field) })?;
    digits.parse().map_err(|_| Fault::NumberTooLarge { found: shown(field) })
}

/// Returns a field for a message: on one line, and truncated.
pub(crate) fn shown(field: &[u8]) -> String {
    const MOST: usize = 24;
    let text = field[..field.len().min(MOST)].escape_ascii().to_string();
    if field.len() > MOST { text + "..." } else { text }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
