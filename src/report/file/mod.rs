//! A snapshot as a file: versioned, read back with every law checked, and turned into the formats of other tools.

mod addresses;
mod check;
mod chrome;
mod fault;
mod labels;
mod memory_viz;
mod pickle;
mod timeline;
mod trace;

pub use fault::SnapshotFileError;

use crate::pool::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

/// What every snapshot file calls itself.
const FORMAT: &str = "wgpu-pool snapshot";

/// The version that is written, and the latest that is read.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u64,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

/// What is read of a file before its version is known.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

impl Snapshot {
    /// The snapshot as a file: JSON, with its format's name and version. O(blocks and events).
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written { format: FORMAT, version: VERSION, snapshot: self };
        serde_json::to_string(&written).expect("every field is a number, a text or a list of these")
    }

    /// Reads a file, and checks every law of it. O(blocks and events).
    ///
    /// # Errors
    /// What is wrong with the file, by name.
    pub fn from_json(text: &str) -> Result<Self, SnapshotFileError> {
        let header: Header = serde_json::from_str(text).map_err(|error| refused(&error))?;
        if header.format != FORMAT {
            let reason = format!("its format is {:?}", header.format.chars().take(40).collect::<String>());
            return Err(SnapshotFileError::Malformed { reason });
        }
        if header.version > VERSION {
            return Err(SnapshotFileError::LaterVersion { found: header.version, known: VERSION });
        }
        let snapshot: Self = serde_json::from_str(text).map_err(|error| refused(&error))?;
        check::check(&snapshot)?;
        Ok(snapshot)
    }
}

fn refused(error: &serde_json::Error) -> SnapshotFileError {
    if error.is_eof() {
        return SnapshotFileError::CutOff { line: error.line(), column: error.column() };
    }
    SnapshotFileError::Malformed { reason: error.to_string() }
}
