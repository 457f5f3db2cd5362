//! Reports on a pool's memory, for people and for other tools. Reads counters and snapshots only.

mod breakdown;
mod budget;
mod dry_run;
#[cfg(feature = "serde")]
mod file;
#[cfg(feature = "report")]
mod html;
mod map;
mod summary;
mod table;

pub use breakdown::{Breakdown, DriverBreakdown, Fragmentation};
pub use budget::Budget;
pub use table::MemoryTable;
