//! The holders of memory, as listed in errors.

use super::Bytes;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The blocks of one call site with one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The call site that allocated the blocks.
    pub site: &'static Location<'static>,
    /// The label of the blocks.
    pub label: Option<Arc<str>>,
    /// The number of blocks.
    pub blocks: u64,
    /// The requested bytes.
    pub bytes: u64,
}

/// Formatted as `4.0 MiB in 3 blocks, src/main.rs:12:5 (weights)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = if self.blocks == 1 { "block" } else { "blocks" };
        write!(f, "{} in {} {blocks}, {}", Bytes(self.bytes), self.blocks, self.site)?;
        // A label may contain control characters, which must not reach a terminal.
        if let Some(label) = &self.label { write!(f, " ({})", label.escape_debug()) } else { Ok(()) }
    }
}
