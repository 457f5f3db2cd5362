//! The division of operations that compute each plane (height × width) by itself, with operands in several blocks.
//!
//! A piece has planes of each operand that are in one block. Where a plane exceeds a block, a piece is a band: rows of the results, and
//! the rows of the inputs that these need, of which neighbouring bands have some in common. Kernels compute an element of a band from
//! the same numbers in the same order as without the division, so that results have the same bits.

use super::{KernelWindow, receiver};
use crate::error::{Argument, TensorError};
use crate::tensor::{Tensor, arithmetic, pieces, several_blocks};
use std::ops::Range;

/// Rows of an input for some rows of the results, and the padding of these rows before and after.
///
/// For a gradient with respect to images, the rows are those of windows, and `padding[0]` are the places of the padded image from the
/// first window to the first row of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) rows: Range<usize>,
    pub(super) padding: [usize; 2],
}

impl Band {
    /// The window with the padding of the band.
    pub(super) fn window(&self, window: KernelWindow) -> KernelWindow {
        KernelWindow { padding: [self.padding, window.padding[1]], ..window }
    }
}

/// An operation that computes each index of the first `axes` axes by itself. Rows are the next axis of each operand.
pub(super) struct ByPlane<'a> {
    pub(super) name: &'static str,
    pub(super) axes: usize,
    pub(super) outputs: &'a [&'a Tensor],
    pub(super) inputs: &'a [&'a Tensor],
    /// Returns the rows of the inputs that rows of the outputs need. Without any, the outputs are zeros.
    pub(super) needed: &'a dyn Fn(&Range<usize>) -> Band,
    /// All rows of the inputs, for all rows of the outputs.
    pub(super) whole: Band,
}

/// A piece of an operation.
pub(super) struct PlanePiece {
    /// The elements of each output, which may be in several blocks. A copy of them fits a block.
    pub(super) outputs: Vec<Tensor>,
    inputs: Vec<Tensor>,
    /// The rows of the outputs.
    pub(super) rows: Range<usize>,
    /// The rows of the inputs.
    pub(super) band: Band,
}

impl PlanePiece {
    /// Returns the elements of an input, in one block: a copy if they are in several.
    #[track_caller]
    pub(super) fn input(&self, number: usize) -> Result<Tensor, TensorError> {
        gathered(&self.inputs[number])
    }

    /// Returns the elements of an input in another order of axes, in one block.
    #[track_caller]
    pub(super) fn permuted(&self, number: usize, axes: &[usize]) -> Result<Tensor, TensorError> {
        gathered(&self.inputs[number].permute(axes)?)
    }
}

impl ByPlane<'_> {
    /// Returns the pieces. Outputs that need no input are filled with zeros.
    ///
    /// # Errors
    /// [`TensorError::SeveralBlocks`] if a row of an output, or the rows of an input that it needs, exceed a block.
    #[track_caller]
    pub(super) fn pieces(&self) -> Result<Vec<PlanePiece>, TensorError> {
        let operands = [self.outputs, self.inputs].concat();
        let rows = self.outputs.first().map_or(0, |output| output.shape()[self.axes]);
        let parts = pieces(&operands, self.axes).map(|parts| parts.into_iter().map(|part| part.operands).collect());
        let parts: Vec<Vec<Tensor>> = parts.unwrap_or_else(|| vec![operands.into_iter().cloned().collect()]);
        let mut found = Vec::new();
        for operands in parts {
            self.divide(&operands, 0..rows, &mut found)?;
        }
        let (pieces, zeros): (Vec<_>, Vec<_>) = found.into_iter().partition(|piece| !piece.band.rows.is_empty());
        for output in zeros.iter().flat_map(|piece| &piece.outputs) {
            output.fill_(0)?;
        }
        Ok(pieces)
    }

    /// Adds pieces of which a copy of each operand fits a block: planes, if one fits, and bands of their rows otherwise.
    fn divide(&self, operands: &[Tensor], rows: Range<usize>, found: &mut Vec<PlanePiece>) -> Result<(), TensorError> {
        let (outputs, inputs) = operands.split_at(self.outputs.len());
        let Some(first) = outputs.first() else { return Ok(()) };
        let largest = first.any_storage().largest_block();
        let bytes = |tensor: &Tensor| arithmetic::bytes(tensor.elements(), tensor.dtype().number().bytes());
        let own = narrowed(outputs, self.axes, &rows)?;
        let mut bands = vec![(self.needed)(&rows)];
        if rows.len() == first.shape()[self.axes] {
            bands.insert(0, self.whole.clone());
        }
        for band in bands {
            let inputs = narrowed(inputs, self.axes, &band.rows)?;
            if own.iter().chain(&inputs).all(|tensor| bytes(tensor) <= largest) {
                found.push(PlanePiece { outputs: own, inputs, rows, band });
                return Ok(());
            }
        }
        let longest = (0..self.axes).max_by_key(|&axis| first.shape()[axis]);
        if let Some((axis, size)) = longest.map(|axis| (axis, first.shape()[axis])).filter(|&(_, size)| size > 1) {
            for half in [0..size / 2, size / 2..size] {
                self.divide(&narrowed(operands, axis, &half)?, rows.clone(), found)?;
            }
            return Ok(());
        }
        if rows.len() < 2 {
            let outputs = (0..outputs.len()).map(|index| Argument::Nth { name: "result", index });
            let inputs =
                (0..).map(|index| if index == 0 { receiver(self.name).into() } else { Argument::operand(index) });
            let operands: Vec<(Argument, &Tensor)> = outputs.chain(inputs).zip(operands).collect();
            return Err(several_blocks(self.name, &operands));
        }
        let middle = rows.start + rows.len() / 2;
        self.divide(operands, rows.start..middle, found)?;
        self.divide(operands, middle..rows.end, found)
    }
}

fn narrowed(tensors: &[Tensor], axis: usize, range: &Range<usize>) -> Result<Vec<Tensor>, TensorError> {
    tensors.iter().map(|tensor| tensor.narrow(axis, range.start, range.len())).collect()
}

/// Returns the rows of an image under some windows: none if all of them are in the padding.
pub(super) fn under(window: &KernelWindow, height: usize, windows: &Range<usize>) -> Band {
    let before = window.padding[0][0];
    // In the padded image, whose rows were checked when the windows were counted. In `ceil_mode` the last window may end beyond it.
    let first = windows.start * window.stride[0];
    let extent = window.extent(0).unwrap_or(usize::MAX);
    let end = extent.saturating_add((windows.end - 1) * window.stride[0]);
    let rows = first.saturating_sub(before)..end.saturating_sub(before).min(height);
    let padding = [before.saturating_sub(first), end.saturating_sub(before + height)];
    Band { rows: if rows.is_empty() { 0..0 } else { rows }, padding }
}

/// Returns the windows that cover some rows of an image, of `count` windows.
pub(super) fn over(window: &KernelWindow, rows: &Range<usize>, count: usize) -> Range<usize> {
    let (before, stride) = (window.padding[0][0], window.stride[0]);
    let extent = window.extent(0).unwrap_or(usize::MAX);
    let first = (rows.start + before + 1).saturating_sub(extent).div_ceil(stride);
    let end = ((rows.end + before - 1) / stride + 1).min(count);
    first.min(end)..end
}

/// Returns the windows that cover some rows of an image, as a band of a gradient with respect to these rows.
pub(super) fn back(window: &KernelWindow, rows: &Range<usize>, count: usize) -> Band {
    let windows = over(window, rows, count);
    if windows.is_empty() {
        return Band { rows: 0..0, padding: [0; 2] };
    }
    // Not after the first row: between windows that are further apart than their extent, there are rows that none covers.
    let first_row = rows.start + window.padding[0][0];
    let first = windows.start.min(first_row / window.stride[0]);
    Band { rows: first..windows.end, padding: [first_row - first * window.stride[0], 0] }
}

/// Returns the tensor itself, or a copy if it is in several blocks, whose elements one block may hold.
#[track_caller]
pub(super) fn gathered(tensor: &Tensor) -> Result<Tensor, TensorError> {
    if tensor.is_divided() { tensor.copied() } else { Ok(tensor.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: KernelWindow =
        KernelWindow { kernel: [3, 3], stride: [2, 2], dilation: [2, 2], padding: [[3, 1], [0, 0]], ceil_mode: false };

    #[test]
    fn a_band_has_the_rows_under_its_windows_and_the_padding_at_the_ends() {
        // Windows of five rows, every second of which counts; the first begins three rows before the image.
        let band = |windows: Range<usize>| under(&WINDOW, 10, &windows);
        assert_eq!(band(0..1), Band { rows: 0..2, padding: [3, 0] });
        assert_eq!(band(0..5), Band { rows: 0..10, padding: [3, 0] });
        assert_eq!(band(2..4), Band { rows: 1..8, padding: [0, 0] });
        assert_eq!(band(4..6), Band { rows: 5..10, padding: [0, 2] });
        let padded = KernelWindow { padding: [[9, 0], [0, 0]], ..WINDOW };
        assert!(under(&padded, 10, &(0..1)).rows.is_empty());
    }

    #[test]
    fn windows_over_a_band_are_those_with_a_row_in_it() {
        for rows in [0..1, 0..3, 4..5, 7..10, 0..10] {
            let all = under_each(5);
            let meets = |band: &Range<usize>| band.start < rows.end && rows.start < band.end;
            let wanted: Vec<usize> = (0..5).filter(|&window| meets(&all[window])).collect();
            assert_eq!(over(&WINDOW, &rows, 5).collect::<Vec<_>>(), wanted, "{rows:?}");
        }
    }

    fn under_each(count: usize) -> Vec<Range<usize>> {
        (0..count).map(|window| under(&WINDOW, 10, &(window..window + 1)).rows).collect()
    }

    #[test]
    fn a_band_of_a_gradient_has_all_windows_over_it_and_their_distance_from_its_first_row() {
        for (kernel, stride, before) in [(3, 1, 1), (2, 3, 0), (1, 4, 2), (5, 2, 3)] {
            let padding = [[before, 0], [0, 0]];
            let window = KernelWindow { kernel: [kernel, 1], stride: [stride, 1], padding, ..KernelWindow::ONE };
            let (height, count) = (11, (11 + before - kernel) / stride + 1);
            for (start, end) in (0..height).flat_map(|start| (start + 1..=height).map(move |end| (start, end))) {
                let covers = |number: &usize| {
                    let first = number * stride;
                    first < end + before && start + before < first + kernel
                };
                let wanted: Vec<usize> = (0..count).filter(covers).collect();
                let band = back(&window, &(start..end), count);
                let what = format!("windows {kernel} {stride} {before} over {start}..{end}: {band:?}");
                assert_eq!(band.rows.is_empty(), wanted.is_empty(), "{what}");
                if let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) {
                    assert!(band.rows.start <= first && band.rows.end == last + 1, "{what}");
                    assert_eq!(band.rows.start * stride + band.padding[0], start + before, "{what}");
                }
            }
        }
    }
}
