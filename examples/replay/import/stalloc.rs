//! Traces of STAlloc (EuroSys 2026, github.com/infinigence/STAlloc), which its tracer writes to `mem_log_devN.txt`.
//!
//! `1 ADDRESS BYTES STREAM` allocates, `0 ADDRESS BYTES STREAM` frees; an address is hexadecimal, and null for an allocation of no bytes.
//! Lines between them mark iterations, micro-batches and layers of the model. They change nothing here.

use super::Addresses;
use crate::fault::Fault;
use crate::trace::{Trace, fields, next_number, shown};

/// What the marks contain.
const MARKS: [&[u8]; 3] = [b"Iteration Index", b"micro-batch", b"Layer"];
/// The null pointer, as C++ and glibc print it.
const NULL: [&[u8]; 3] = [b"0", b"0x0", b"(nil)"];

/// Whether a file that starts with these bytes is such a trace.
pub(crate) fn is_start(start: &[u8]) -> bool {
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    is_mark(line) || matches!(fields(line).next(), Some(b"0" | b"1"))
}

fn is_mark(line: &[u8]) -> bool {
    MARKS.iter().any(|mark| line.windows(mark.len()).any(|part| part == *mark))
}

/// The trace of the lines so far.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    addresses: Addresses,
}

impl Lines {
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut parts = fields(line);
        let allocates = match parts.next() {
            Some(b"1") => true,
            Some(b"0") => false,
            _ if is_mark(line) => return Ok(()),
            _ => return Err(Fault::UnknownMark { found: shown(line) }),
        };
        let address = parts.next().ok_or(Fault::UnknownMark { found: shown(line) })?;
        let bytes = next_number(&mut parts)?;
        let _stream = parts.next().ok_or(Fault::UnknownMark { found: shown(line) })?;
        if let Some(extra) = parts.next() {
            return Err(Fault::Extra { found: shown(extra) });
        }
        if NULL.contains(&address) {
            return Ok(());
        }
        let address = hexadecimal(address)?;
        if allocates {
            return self.addresses.allocate(address, bytes);
        }
        match self.addresses.free(address)? {
            allocated if allocated != bytes => Err(Fault::OtherSize { address, found: bytes, allocated }),
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> Trace {
        self.addresses.finish()
    }
}

fn hexadecimal(field: &[u8]) -> Result<u64, Fault> {
    let digits = field.strip_prefix(b"0x").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let number = digits.and_then(|digits| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
    number.ok_or_else(|| Fault::NoAddress { found: shown(field) })
}
