//! Reports on a pool's memory, for people and for other tools. Reads counters and snapshots only.

mod breakdown;
#[cfg(feature = "serde")]
mod file;
#[cfg(feature = "report")]
mod html;
mod map;
mod summary;
mod table;

pub use breakdown::{Breakdown, DriverBreakdown, Fragmentation};
pub use table::MemoryTable;
