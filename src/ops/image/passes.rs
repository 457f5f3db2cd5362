//! Kernels that sum over a range of elements, in as many passes as the limit of loop iterations requires.

use super::Run;
use crate::error::TensorError;
use crate::ops::launch::{index, iterations, loop_limit};
use crate::tensor::Tensor;

/// One pass over a tile of the range. Counted from the start of the range, on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) start: [usize; 2],
    pub(super) end: [usize; 2],
    /// Whether the output contains the results of earlier passes.
    continues: bool,
    is_last: bool,
}

impl Pass {
    /// Returns the only pass of a kernel without a range.
    pub(super) const WHOLE: Self = Self { start: [0; 2], end: [0; 2], continues: false, is_last: true };

    /// The bits of `pass_kind` in `lib/image.wgsl`.
    pub(super) fn kind(&self) -> u32 {
        u32::from(self.continues) | u32::from(self.is_last) << 1
    }
}

impl Default for Pass {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// Iterations of the two loops over a tile of this size.
fn of_tile([rows, columns]: [usize; 2]) -> u64 {
    iterations(rows as u64, iterations(columns as u64, 0))
}

/// Returns the tiles of a range of this size, in row-major order, each with at most `budget` iterations: whole rows, or
/// parts of a row if a row has more.
pub(super) fn tiles(extent: [usize; 2], budget: u64) -> impl Iterator<Item = Pass> {
    let [rows, columns] = extent;
    let budget = usize::try_from(budget).unwrap_or(usize::MAX);
    // of_tile([r, c]) = r (c + 2) + 1
    let most_columns = budget.saturating_sub(3).clamp(1, columns.max(1));
    let most_rows =
        if most_columns < columns { 1 } else { (budget.saturating_sub(1) / columns.saturating_add(2)).max(1) };
    let rows_of = (0..rows.max(1)).step_by(most_rows);
    rows_of.flat_map(move |row| {
        (0..columns.max(1)).step_by(most_columns).map(move |column| {
            let end = [row.saturating_add(most_rows).min(rows), column.saturating_add(most_columns).min(columns)];
            Pass { start: [row, column], end, continues: [row, column] != [0, 0], is_last: end == extent }
        })
    })
}

impl Run<'_> {
    /// Sums over ranges of at most `extent` elements on each axis into a new tensor of this shape; `others` are bound after it.
    /// `besides` is the number of iterations of other loops. Sums that continue in the next pass are not rounded.
    #[track_caller]
    pub(super) fn sums(
        &self,
        shape: &[usize],
        others: &[&Tensor],
        extent: [usize; 2],
        besides: u64,
    ) -> Result<Tensor, TensorError> {
        let dtype = self.input.dtype();
        let is_whole = of_tile(extent).saturating_add(besides) <= loop_limit();
        let sums = self.input.new_empty(shape, if is_whole { dtype } else { dtype.number() })?;
        let bound: Vec<&Tensor> = std::iter::once(&sums).chain(others.iter().copied()).collect();
        self.in_passes(&bound, sums.elements(), extent, besides)?;
        sums.to(dtype)
    }

    /// Runs `count` invocations in as many passes as necessary.
    pub(super) fn in_passes(
        &self,
        bound: &[&Tensor],
        count: usize,
        extent: [usize; 2],
        besides: u64,
    ) -> Result<(), TensorError> {
        // Both are checked before the number of passes depends on them.
        index(self.name, extent[0])?;
        index(self.name, extent[1])?;
        if count == 0 {
            return Ok(());
        }
        for pass in tiles(extent, loop_limit().saturating_sub(besides)) {
            let size = [0, 1].map(|axis| pass.end[axis] - pass.start[axis]);
            self.pass(bound, count, pass, of_tile(size).saturating_add(besides))?;
        }
        Ok(())
    }
}
