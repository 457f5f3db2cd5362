//! What the pool holds, for people and for other tools to read. Reads counters and snapshots only.

mod split;
mod summary;
mod table;

pub use split::{Beyond, Fragmentation, Split};
pub use table::MemoryTable;
