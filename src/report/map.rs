//! A text map of a pool, for terminals and logs.

use crate::error::{Bytes, Count};
use crate::pool::snapshot::{SegmentSnapshot, Snapshot};
use std::fmt::Write;

/// The columns for a segment's name and size.
const NAME: usize = 26;
/// The shortest bar, in columns.
const SHORTEST_BAR: usize = 10;
/// The longest line, in columns: more than any screen has, and little memory.
const MAX_COLUMNS: usize = 4096;
/// The fill levels of a cell: empty, up to a third, up to two thirds, less than full, full.
const FILLS: [char; 5] = ['·', '░', '▒', '▓', '█'];
/// A cell that contains a pinned block.
const PINNED: char = '#';

impl Snapshot {
    /// Returns the segments as lines of characters, drawn to one scale: `█` is full, `▓`, `▒` and `░` partly full, `·`
    /// free, `#` pinned. Uses at most `columns` columns, limited to 4,096, and at most `rows` rows. The last row counts
    /// the segments that do not fit. O(blocks).
    ///
    /// The smallest map has 36 columns and 2 rows.
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
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn to_map(&self, columns: usize, rows: usize) -> String {
        let columns = columns.min(MAX_COLUMNS);
        let mut text = String::new();
        let stats = &self.stats;
        let [requested, reserved] = [stats.requested.current, stats.reserved.current].map(Bytes);
        let limit = self.limit.map(|limit| format!(", limit {}", Bytes(limit))).unwrap_or_default();
        let heading = format!("{requested} requested of {reserved} reserved, {}{limit}", Count(stats.holes, "hole"));
        text.extend(heading.chars().take(columns));
        text.push('\n');
        let rows = rows.max(2) - 1;
        let width = columns.saturating_sub(NAME).max(SHORTEST_BAR);
        let largest = self.segments.iter().map(|segment| segment.bytes).max().unwrap_or(0);
        let shown = if self.segments.len() > rows { rows - 1 } else { rows };
        for segment in self.segments.iter().take(shown) {
            let kind = if segment.planned { "arena".into() } else { segment.pool.to_string() };
            let name = format!("{:>6} {kind:<6}{:>11}  ", segment.id.to_string(), Bytes(segment.bytes));
            text.push_str(&name);
            text.extend(cells(segment, width, largest));
            text.push('\n');
        }
        if self.segments.len() > rows {
            let left = &self.segments[shown..];
            let bytes = left.iter().map(|segment| segment.bytes).sum();
            writeln!(text, "and {} of {}", Count(left.len(), "more segment"), Bytes(bytes))
                .expect("a String takes every text");
        }
        text
    }
}

/// Returns a segment's bar, at a scale of `largest` bytes for `width` cells.
fn cells(segment: &SegmentSnapshot, width: usize, largest: u64) -> Vec<char> {
    let whole = u128::from(largest.max(1));
    // At least one cell, so that every segment is visible.
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

/// Returns the character for a cell of `bytes` bytes of which `active` are active.
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
    fn the_fill_character_follows_the_active_share_of_a_cell() {
        let filled = [(0, '·'), (1, '░'), (100, '░'), (101, '▒'), (200, '▒'), (201, '▓'), (299, '▓'), (300, '█')];
        for (active, character) in filled {
            assert_eq!(fill(active, 300), character, "{active}");
        }
    }
}
