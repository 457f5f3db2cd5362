//! Problems and plans as CSV, in the form of MiniMalloc: `id,lower,upper,size`, and `offset` in a solution.

use super::problem::Builder;
use super::{Buffer, Plan, Problem};
use crate::error::{LineFault, PlanError};
use rustc_hash::FxHashSet;
use std::fmt::Write;
use std::sync::Arc;

/// The columns of a problem.
const COLUMNS: [&str; 4] = ["id", "lower", "upper", "size"];
/// The column that a solution has in addition.
const OFFSET: &str = "offset";

/// The text ids of a problem's buffers, by their numbers. Empty if the ids are numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(Option<Arc<[Box<str>]>>);

impl Names {
    pub(super) fn get(&self, id: u64) -> Option<&str> {
        self.0.as_ref()?.get(usize::try_from(id).ok()?).map(|name| &**name)
    }
}

impl Problem {
    /// Reads a problem from CSV text in the form of MiniMalloc: a header with the columns `id`, `lower`, `upper` (exclusive) and `size`, in any
    /// order, and one buffer for each line that is not empty. Fields are whole numbers without quotes. A column `offset`, as
    /// [`Plan::to_csv`] writes it, is read and ignored. Costs O(n).
    ///
    /// An id may be any text without a comma. If one of the ids is no whole number below 2⁶⁴, all are texts: the buffers are numbered in their
    /// order from 0, [`Problem::name`] returns the texts, and [`Problem::to_csv`] and [`Plan::to_csv`] write them.
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
    /// let problem = Problem::from_csv("id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,8\n")?;
    /// let plan = problem.plan(&PlanOptions::default())?;
    /// assert_eq!(plan.height(), 16);
    /// assert!(plan.to_csv().starts_with("id,lower,upper,size,offset\nb1,0,3,4,"));
    /// assert_eq!(problem.name(4), Some("b5"));
    /// # Ok::<(), wgpu_pool::error::PlanError>(())
    /// ```
    pub fn from_csv(text: &str) -> Result<Self, PlanError> {
        let mut lines = (1..).zip(text.lines());
        let (_, header) = lines.next().unwrap_or((1, ""));
        let columns = Columns::of(header).ok_or_else(|| LineFault::Header { found: shown(header) });
        let columns = columns.map_err(|fault| PlanError::Line { line: 1, fault })?;
        let lines = lines.filter(|(_, text)| !text.trim().is_empty());
        let is_text = |(_, line): (u64, &str)| columns.id(line).is_some_and(|id| number(id).is_none());
        let mut names = lines.clone().any(is_text).then(TextIds::default);
        let mut builder = Builder::default();
        for (line, text) in lines {
            let added = columns.buffer(text, names.as_mut()).and_then(|buffer| Ok(builder.add(buffer)?));
            added.map_err(|fault| PlanError::Line { line, fault })?;
        }
        let mut problem = builder.finish()?;
        problem.names = names.map(TextIds::into_names).unwrap_or_default();
        Ok(problem)
    }

    /// Returns the text id of a buffer of this number. `None` if the problem was not read from CSV with text ids.
    #[must_use]
    pub fn name(&self, id: u64) -> Option<&str> {
        self.names.get(id)
    }

    /// Writes the problem as CSV text that [`from_csv`](Self::from_csv) reads.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",") + "\n";
        for buffer in self.buffers() {
            push(&mut text, buffer, &self.names, None);
        }
        text
    }
}

impl Plan {
    /// Writes the buffers and their offsets as CSV text with the columns `id`, `lower`, `upper`, `size` and `offset`, as MiniMalloc writes
    /// its solutions. [`Problem::from_csv`] reads the buffers of it.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = COLUMNS.join(",") + "," + OFFSET + "\n";
        for placement in self.placements() {
            push(&mut text, &placement.buffer, &self.names, Some(placement.offset));
        }
        text
    }
}

fn push(text: &mut String, buffer: &Buffer, names: &Names, offset: Option<u64>) {
    let Buffer { id, lower, upper, bytes } = buffer;
    let offset = offset.map_or_else(String::new, |offset| format!(",{offset}"));
    match names.get(*id) {
        Some(name) => write!(text, "{name}"),
        None => write!(text, "{id}"),
    }
    .and_then(|()| writeln!(text, ",{lower},{upper},{bytes}{offset}"))
    .expect("a string takes all text");
}

/// The text ids so far.
#[derive(Default)]
struct TextIds<'a> {
    names: Vec<Box<str>>,
    unique: FxHashSet<&'a str>,
}

impl<'a> TextIds<'a> {
    /// Returns the number of the next buffer.
    fn add(&mut self, name: &'a str) -> Result<u64, LineFault> {
        if !self.unique.insert(name) {
            return Err(LineFault::DuplicateName { found: shown(name) });
        }
        self.names.push(name.into());
        Ok(self.names.len() as u64 - 1)
    }

    fn into_names(self) -> Names {
        Names(Some(self.names.into()))
    }
}

/// The columns of a text. For each field of a line, the position of its column in [`COLUMNS`], or of [`OFFSET`] behind them.
struct Columns {
    order: Vec<usize>,
}

impl Columns {
    fn of(header: &str) -> Option<Self> {
        let mut order = Vec::with_capacity(COLUMNS.len() + 1);
        for name in header.trim_start_matches('\u{feff}').split(',') {
            let mut known = COLUMNS.into_iter().chain([OFFSET]);
            let column = known.position(|column| column == name.trim())?;
            if order.contains(&column) {
                return None;
            }
            order.push(column);
        }
        (0..COLUMNS.len()).all(|column| order.contains(&column)).then_some(Self { order })
    }

    /// Returns the id of a line, if it has one.
    fn id<'a>(&self, line: &'a str) -> Option<&'a str> {
        let place = self.order.iter().position(|&column| column == 0)?;
        line.split(',').nth(place).map(str::trim).filter(|id| !id.is_empty())
    }

    /// Returns the buffer of a line, with the number of its text id if the ids are texts.
    fn buffer<'a>(&self, line: &'a str, mut names: Option<&mut TextIds<'a>>) -> Result<Buffer, LineFault> {
        let mut values = [0; COLUMNS.len() + 1];
        let mut fields = line.split(',').map(str::trim);
        let mut name = None;
        for &column in &self.order {
            let field = COLUMNS.get(column).copied().unwrap_or(OFFSET);
            let text = fields.next().filter(|text| !text.is_empty()).ok_or(LineFault::MissingField { field })?;
            if column == 0 && names.is_some() {
                name = Some(text);
            } else {
                values[column] = number(text).ok_or_else(|| LineFault::Number { field, found: shown(text) })?;
            }
        }
        if let Some(extra) = fields.next() {
            return Err(LineFault::ExtraField { found: shown(extra), columns: self.order.len() });
        }
        let [id, lower, upper, bytes, _] = values;
        let id = match (name, &mut names) {
            (Some(name), Some(names)) => names.add(name)?,
            _ => id,
        };
        Ok(Buffer { id, lower, upper, bytes })
    }
}

/// Reads a whole number below 2⁶⁴.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A text as a message can show it: on one line, and not too long.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(MOST).flat_map(char::escape_default).collect();
    if characters.next().is_some() { start + "..." } else { start }
}
