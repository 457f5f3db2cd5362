//! A table of a program's memory after each step.

use crate::error::Bytes;
use crate::heap::Stats;
use std::fmt;

/// A table with one row for each step of a program: requested, allocated and reserved bytes, and the driver's bytes.
/// Fits 80 columns for step names of up to 32 characters.
#[derive(Clone, Debug, Default)]
pub struct MemoryTable {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    step: String,
    stats: Stats,
    driver: Option<u64>,
}

impl MemoryTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row: the name of the step, the pool's counters after it, and the driver's bytes if the backend reports
    /// them.
    pub fn add(&mut self, step: impl Into<String>, stats: Stats, driver: Option<u64>) {
        self.rows.push(Row { step: step.into(), stats, driver });
    }
}

impl fmt::Display for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<32}{:>11}{:>11}{:>11}{:>11}", "step", "requested", "allocated", "reserved", "driver")?;
        for Row { step, stats, driver } in &self.rows {
            let driver = driver.map_or("unknown".into(), |bytes| Bytes(bytes).to_string());
            let [requested, allocated, reserved] =
                [stats.requested.current, stats.allocated.current, stats.reserved.current].map(Bytes);
            writeln!(f, "{step:<32}{requested:>11}{allocated:>11}{reserved:>11}{driver:>11}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_every_column_in_binary_units() {
        let mut stats = Stats::default();
        stats.requested.current = 1000;
        stats.reserved.current = 64 << 20;
        let mut table = MemoryTable::new();
        table.add("opened", stats, None);
        table.add("trimmed", Stats::default(), Some(4 << 20));
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            format!("{:<32}{:>11}{:>11}{:>11}{:>11}", "opened", "1000 B", "0 B", "64.0 MiB", "unknown")
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }
}
