//! The holders of memory: the one record behind errors, lists of holders and leaks, marks, snapshots and reports.

use super::{Bytes, Count};
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A source location.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Site {
    /// The source file, as named by the compiler.
    pub file: Cow<'static, str>,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1.
    pub column: u32,
}

impl From<&'static Location<'static>> for Site {
    fn from(location: &'static Location<'static>) -> Self {
        Self { file: location.file().into(), line: location.line(), column: location.column() }
    }
}

/// Formats as `src/main.rs:12:5`.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A holder of memory: the allocated blocks that have the call site, the label and the scope in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The call site that allocated the blocks.
    pub site: Site,
    /// The label of the blocks, if one was set.
    pub label: Option<Arc<str>>,
    /// The path of the scope in which the blocks were allocated, such as `step/forward`.
    pub scope: Option<Arc<str>>,
    /// The number of blocks.
    pub blocks: u64,
    /// The requested bytes.
    pub bytes: u64,
}

impl Holder {
    /// The call site, the label and the scope, which no two holders of a list have in common.
    pub(crate) fn key(&self) -> (&Site, Option<&str>, Option<&str>) {
        (&self.site, self.label.as_deref(), self.scope.as_deref())
    }

    /// Writes the site, the label and the scope.
    fn write_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.site)?;
        // Labels and scopes may contain control characters, which must not reach a terminal.
        if let Some(label) = &self.label {
            write!(f, " ({})", label.escape_debug())?;
        }
        if let Some(scope) = &self.scope { write!(f, " in {}", scope.escape_debug()) } else { Ok(()) }
    }
}

/// Formats as `4.0 MiB in 3 blocks, src/main.rs:12:5 (weights) in step/forward`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, ", Bytes(self.bytes), Count(self.blocks, "block"))?;
        self.write_key(f)
    }
}

/// The growth of a holder between two points in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderGrowth {
    /// The holder at the later point.
    pub holder: Holder,
    /// The change in requested bytes; negative if memory was freed.
    pub bytes: i64,
    /// The change in the number of blocks.
    pub blocks: i64,
}

impl HolderGrowth {
    /// Returns the growth from the earlier to the later record of the same holder.
    pub(crate) fn between(earlier: Option<&Holder>, later: Holder) -> Self {
        let change = |now: u64, then: u64| {
            0_i64.saturating_add_unsigned(now.saturating_sub(then)).saturating_sub_unsigned(then.saturating_sub(now))
        };
        let (blocks, bytes) = earlier.map_or((0, 0), |earlier| (earlier.blocks, earlier.bytes));
        Self { bytes: change(later.bytes, bytes), blocks: change(later.blocks, blocks), holder: later }
    }
}

/// Formats as `+4.0 MiB in +2 blocks, src/main.rs:12:5 (weights) in step/forward`.
impl fmt::Display for HolderGrowth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.bytes < 0 { '-' } else { '+' };
        write!(f, "{sign}{} in {:+}, ", Bytes(self.bytes.unsigned_abs()), Count(self.blocks, "block"))?;
        self.holder.write_key(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growth_beyond_63_bits_stops_at_the_end_of_the_range() {
        let holder =
            |bytes| Holder { bytes, blocks: 1, site: std::panic::Location::caller().into(), label: None, scope: None };
        let growth = |earlier, later| HolderGrowth::between(Some(&holder(earlier)), holder(later)).bytes;
        assert_eq!(
            [growth(0, u64::MAX), growth(u64::MAX, 0), growth(u64::MAX, u64::MAX - 5)],
            [i64::MAX, i64::MIN, -5]
        );
    }
}
