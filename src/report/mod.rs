//! What the pool holds, for people to read. Reads counters and snapshots only.

mod table;

pub use table::MemoryTable;
