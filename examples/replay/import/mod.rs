//! Traces of other programs, whose events name a block by its address.

mod nesting;
pub(crate) mod snapshot;
pub(crate) mod stalloc;

#[cfg(test)]
mod tests;

use crate::fault::{Fault, TraceError};
use crate::trace::{Reader, Trace, decompressed, for_each_line};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Reads a trace of any format from a file. `device` chooses one of a snapshot with the histories of several.
pub(crate) fn open(path: &Path, device: Option<usize>) -> Result<Trace, TraceError> {
    let at_line = |line, fault| TraceError { path: path.display().to_string(), line, fault };
    let file = File::open(path).map_err(|error| at_line(0, Fault::Unreadable(error)))?;
    read(BufReader::new(file), device).map_err(|(line, fault)| at_line(line, fault))
}

/// As [`open`]. The first bytes tell the format. An error has the number of its line, or 0 if it does not belong to a line.
pub(crate) fn read(source: impl BufRead, device: Option<usize>) -> Result<Trace, (u64, Fault)> {
    decompressed(source, |contents, unreadable| {
        let start = contents.fill_buf().map_err(|error| (1, unreadable(error)))?;
        let format = snapshot::Format::of(start);
        if let Some(format) = format {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes).map_err(|error| (0, unreadable(error)))?;
            return snapshot::read(format, &bytes, device).map_err(|fault| (0, fault));
        }
        if stalloc::is_start(start) {
            let mut lines = stalloc::Lines::default();
            for_each_line(contents, unreadable, |line| lines.line(line))?;
            return Ok(lines.finish());
        }
        Trace::read_text(contents, unreadable)
    })
}

/// A trace from events that name a block by its address, which later blocks use again.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    reader: Reader,
    next_id: u64,
    /// The id and the bytes of the block in use at each address.
    in_use: HashMap<u64, (u64, u64)>,
}

impl Addresses {
    pub(crate) fn allocate(&mut self, address: u64, bytes: u64) -> Result<(), Fault> {
        if self.in_use.insert(address, (self.next_id, bytes)).is_some() {
            return Err(Fault::InUse { address });
        }
        self.reader.allocate(self.next_id, bytes)?;
        self.next_id += 1;
        Ok(())
    }

    pub(crate) fn is_in_use(&self, address: u64) -> bool {
        self.in_use.contains_key(&address)
    }

    /// Frees the block at an address. Returns its bytes.
    pub(crate) fn free(&mut self, address: u64) -> Result<u64, Fault> {
        let (id, bytes) = self.in_use.remove(&address).ok_or(Fault::NotInUse { address })?;
        self.reader.free(id)?;
        Ok(bytes)
    }

    pub(crate) fn finish(self) -> Trace {
        self.reader.trace
    }
}
