//! The map of a pool in characters, for terminals and logs.

use crate::error::Bytes;
use crate::pool::snapshot::{SegmentSnapshot, Snapshot};
use std::fmt::Write;

/// Columns that a segment's name and size take.
const NAME: usize = 26;
/// No bar is shorter.
const LEAST_BAR: usize = 10;
/// No line is longer, whatever is asked for: more than any screen has, and little memory.
const MOST_COLUMNS: usize = 4096;
/// How full a cell is: not at all, up to a third, up to two thirds, not quite, and wholly.
const FILLS: [char; 5] = ['·', '░', '▒', '▓', '█'];
/// A cell that holds something pinned.
const PINNED: char = '#';

impl Snapshot {
    /// The segments as lines of characters, to one scale: `█` is full, `▓`, `▒` and `░` partly so, `·` free, `#` pinned. Takes
    /// at most `columns` columns, of which it uses no more than 4,096, and `rows` rows; segments that find no row are counted in
    /// the last. O(blocks).
    ///
    /// Below 36 columns or 2 rows it takes that many all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::{AccountingMemory, Pool, PoolOptions};
    ///
    /// let options = PoolOptions { smallest_segment: Some(8 << 20), compaction_share: 0.0, ..PoolOptions::default() };
    /// let pool = Pool::new(AccountingMemory::new(), options)?;
    /// let first = pool.allocate(4 << 20)?;
    /// let _second = pool.allocate(2 << 20)?;
    /// drop(first);
    /// println!("{}", pool.snapshot().to_map(80, 24));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_map(&self, columns: usize, rows: usize) -> String {
        let columns = columns.min(MOST_COLUMNS);
        let mut text = String::new();
        let stats = &self.stats;
        let [requested, reserved] = [stats.requested.current, stats.reserved.current].map(Bytes);
        let limit = self.limit.map(|limit| format!(", limit {}", Bytes(limit))).unwrap_or_default();
        let heading = format!("{requested} requested of {reserved} reserved, {} holes{limit}", stats.holes);
        text.extend(heading.chars().take(columns));
        text.push('\n');
        let rows = rows.max(2) - 1;
        let width = columns.saturating_sub(NAME).max(LEAST_BAR);
        let largest = self.segments.iter().map(|segment| segment.bytes).max().unwrap_or(0);
        let shown = if self.segments.len() > rows { rows - 1 } else { rows };
        for segment in self.segments.iter().take(shown) {
            let name = format!("{:>6} {:<6}{:>11}  ", segment.id.to_string(), segment.pool, Bytes(segment.bytes));
            text.push_str(&name);
            text.extend(cells(segment, width, largest));
            text.push('\n');
        }
        if self.segments.len() > rows {
            let left = &self.segments[shown..];
            let bytes = left.iter().map(|segment| segment.bytes).sum();
            writeln!(text, "and {} more segments of {}", left.len(), Bytes(bytes)).expect("a String takes every text");
        }
        text
    }
}

/// A segment's bar, in which `width` cells would be `largest` bytes.
fn cells(segment: &SegmentSnapshot, width: usize, largest: u64) -> Vec<char> {
    let whole = u128::from(largest.max(1));
    // At least one cell, so that every segment is seen.
    let count = (u128::from(segment.bytes) * width as u128).div_ceil(whole).clamp(1, width as u128);
    let edge = |cell: u128| u64::try_from(u128::from(segment.bytes) * cell / count).expect("within the segment");
    let mut blocks = segment.blocks.iter().peekable();
    let mut cells = Vec::new();
    for cell in 0..count {
        let (start, end) = (edge(cell), edge(cell + 1));
        let (mut active, mut pinned) = (0, false);
        while let Some(block) = blocks.peek() {
            let last = block.offset + block.size;
            let within = last.min(end).saturating_sub(block.offset.max(start));
            if block.state.is_active() {
                active += within;
                pinned |= block.pins > 0 && within > 0;
            }
            if last > end {
                break;
            }
            blocks.next();
        }
        cells.push(if pinned { PINNED } else { fill(active, end - start) });
    }
    cells
}

/// The character for a cell of which so many bytes are active.
fn fill(active: u64, bytes: u64) -> char {
    let thirds = u128::from(active) * 3;
    let bytes = u128::from(bytes);
    let level = match () {
        () if active == 0 => 0,
        () if thirds <= bytes => 1,
        () if thirds <= 2 * bytes => 2,
        () if thirds < 3 * bytes => 3,
        () => 4,
    };
    FILLS[level]
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_cell_is_as_dark_as_it_is_full() {
        let filled = [(0, '·'), (1, '░'), (100, '░'), (101, '▒'), (200, '▒'), (201, '▓'), (299, '▓'), (300, '█')];
        for (active, character) in filled {
            assert_eq!(fill(active, 300), character, "{active}");
        }
    }
}
