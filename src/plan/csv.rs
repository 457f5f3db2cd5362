//! Problems and plans as CSV, in the form of MiniMalloc: `id,lower,upper,size`, and `offset` in a solution.

use super::problem::Builder;
use super::{Buffer, Plan, Problem};
use crate::error::{LineFault, PlanError};
use std::fmt::Write;

/// The columns of a problem.
const COLUMNS: [&str; 4] = ["id", "lower", "upper", "size"];

impl Problem {
    /// Reads a problem from CSV text in the form of MiniMalloc: a header with the columns `id`, `lower`, `upper` (exclusive) and `size`, in any
    /// order, and one buffer for each line that is not empty. Fields are whole numbers without quotes. Costs O(n).
    ///
    /// # Errors
    ///
    /// [`PlanError::Line`] with the number of the line and the name of the field, and the errors of [`Problem::new`] that concern all lines.
    ///
    /// # Examples
    ///
    /// ```
    /// use wgpu_pool::plan::{PlanOptions, Problem};
    ///
    /// let problem = Problem::from_csv("id,lower,upper,size\n0,0,3,4\n1,3,9,4\n2,0,9,4\n3,9,21,4\n4,0,21,8\n")?;
    /// let plan = problem.plan(&PlanOptions::default())?;
    /// assert_eq!(plan.height(), 16);
    /// assert!(plan.to_csv().starts_with("id,lower,upper,size,offset\n0,0,3,4,"));
    /// # Ok::<(), wgpu_pool::error::PlanError>(())
    /// ```
    pub fn from_csv(text: &str) -> Result<Self, PlanError> {
        let mut lines = (1..).zip(text.lines());
        let (_, header) = lines.next().unwrap_or((1, ""));
        let columns = columns(header).ok_or_else(|| LineFault::Header { found: shown(header) });
        let columns = columns.map_err(|fault| PlanError::Line { line: 1, fault })?;
        let mut builder = Builder::default();
        for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
            let added = buffer(text, columns).and_then(|buffer| Ok(builder.add(buffer)?));
            added.map_err(|fault| PlanError::Line { line, fault })?;
        }
        builder.finish()
    }

    /// Writes the problem as CSV text that [`from_csv`](Self::from_csv) reads.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",") + "\n";
        for buffer in self.buffers() {
            push(&mut text, buffer, None);
        }
        text
    }
}

impl Plan {
    /// Writes the buffers and their offsets as CSV text with the columns `id`, `lower`, `upper`, `size` and `offset`, as MiniMalloc writes
    /// its solutions.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",") + ",offset\n";
        for placement in self.placements() {
            push(&mut text, &placement.buffer, Some(placement.offset));
        }
        text
    }
}

fn push(text: &mut String, buffer: &Buffer, offset: Option<u64>) {
    let Buffer { id, lower, upper, bytes } = buffer;
    let offset = offset.map_or_else(String::new, |offset| format!(",{offset}"));
    writeln!(text, "{id},{lower},{upper},{bytes}{offset}").expect("a string takes all text");
}

/// For each field of a line, the position of its column in [`COLUMNS`].
fn columns(header: &str) -> Option<[usize; 4]> {
    let mut columns = [0; 4];
    let mut named = [false; 4];
    let mut count = 0;
    for name in header.trim_start_matches('\u{feff}').split(',') {
        let column = COLUMNS.iter().position(|column| *column == name.trim())?;
        if count == 4 || std::mem::replace(&mut named[column], true) {
            return None;
        }
        columns[count] = column;
        count += 1;
    }
    (count == 4).then_some(columns)
}

fn buffer(line: &str, columns: [usize; 4]) -> Result<Buffer, LineFault> {
    let mut values = [0; 4];
    let mut fields = line.split(',').map(str::trim);
    for column in columns {
        let field = COLUMNS[column];
        let text = fields.next().filter(|text| !text.is_empty()).ok_or(LineFault::MissingField { field })?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        values[column] = number.ok_or_else(|| LineFault::Number { field, found: shown(text) })?;
    }
    match fields.next() {
        Some(extra) => Err(LineFault::ExtraField { found: shown(extra), columns: columns.len() }),
        None => Ok(Buffer { id: values[0], lower: values[1], upper: values[2], bytes: values[3] }),
    }
}

/// A text as a message can show it: on one line, and not too long.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(MOST).flat_map(char::escape_default).collect();
    if characters.next().is_some() { start + "..." } else { start }
}
