//! What the pool holds, for people and for other tools to read. Reads counters and snapshots only.

#[cfg(feature = "serde")]
mod file;
#[cfg(feature = "report")]
mod html;
mod map;
mod split;
mod summary;
mod table;

#[cfg(feature = "serde")]
pub use file::SnapshotFileError;
pub use split::{Beyond, Fragmentation, Split};
pub use table::MemoryTable;
