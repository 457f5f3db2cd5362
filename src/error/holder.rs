//! Who holds memory, as errors tell it.

use super::Bytes;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What one line of the program holds, under one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The line that allocated the blocks.
    pub site: &'static Location<'static>,
    /// The name that the program gave them.
    pub label: Option<Arc<str>>,
    /// How many blocks there are.
    pub blocks: u64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

/// As `4.0 MiB in 3 blocks, src/main.rs:12:5 (weights)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = if self.blocks == 1 { "block" } else { "blocks" };
        write!(f, "{} in {} {blocks}, {}", Bytes(self.bytes), self.blocks, self.site)?;
        // A label may hold anything; on a terminal it must not.
        if let Some(label) = &self.label { write!(f, " ({})", label.escape_debug()) } else { Ok(()) }
    }
}
