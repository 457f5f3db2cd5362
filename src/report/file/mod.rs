//! Snapshot files: versioned JSON with checked invariants, and exports to the formats of other tools.

mod addresses;
mod check;
mod chrome;
mod labels;
mod memory_viz;
mod pickle;
mod read;
mod timeline;
mod trace;

use crate::error::SnapshotFileError;
use crate::pool::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

/// The format name in every snapshot file.
const FORMAT: &str = "wgpu-pool snapshot";

/// The version that is written, and the latest version that can be read.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u64,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

/// The fields that are read before the version is known.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

impl Snapshot {
    /// Returns the snapshot as a JSON file with the name and version of the format. O(blocks + events).
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written { format: FORMAT, version: VERSION, snapshot: self };
        serde_json::to_string(&written).expect("every field is a number, a text or a list of these")
    }

    /// Reads a snapshot file and checks all its invariants. O(blocks + events).
    ///
    /// # Errors
    /// The first invariant that the file violates, or the parser's error.
    pub fn from_json(text: &str) -> Result<Self, SnapshotFileError> {
        let header: Header = serde_json::from_str(text).map_err(|error| refused(&error))?;
        if header.format != FORMAT {
            let reason = format!("its format is {:?}", header.format.chars().take(40).collect::<String>());
            return Err(SnapshotFileError::Malformed { reason });
        }
        if header.version > VERSION {
            return Err(SnapshotFileError::LaterVersion { found: header.version, known: VERSION });
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let snapshot = read::unchecked(&mut reader).and_then(|snapshot| reader.end().map(|()| snapshot));
        let snapshot = snapshot.map_err(|error| refused(&error))?;
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
