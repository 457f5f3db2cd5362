//! Operations on images that are in several blocks.
//!
//! Operations that compute each plane by itself run on the planes of each block. A convolution needs all channels of an image: it runs
//! on the images of each block or, if an image exceeds a block, on bands of rows. A band of the result needs the rows under its
//! windows, of which neighbouring bands have some in common; these rows are copied into one block. Padding is added at the first and the
//! last band only, so that the result does not depend on the bands.

use super::super::activation::Activation;
use super::{Conv2d, KernelWindow, Padding};
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic, pieces, several_blocks};
use std::ops::Range;

/// Divides an operation that computes each index of the first `axes` axes by itself into pieces: the outputs and the inputs, in one block
/// each, of which a copy also fits a block.
///
/// # Errors
/// [`TensorError::SeveralBlocks`] if one index of these axes exceeds a block.
#[track_caller]
pub(super) fn plane_pieces(
    name: &'static str,
    axes: usize,
    outputs: &[&Tensor],
    inputs: &[&Tensor],
) -> Result<Vec<Vec<Tensor>>, TensorError> {
    let operands = [outputs, inputs].concat();
    let mut found = pieces(&operands, axes);
    if found.is_none() {
        // Planes of a view may be in several blocks where those of a copy are not.
        let mut copies = Vec::new();
        for input in inputs {
            copies.push(gathered(input)?);
        }
        let operands: Vec<&Tensor> = outputs.iter().copied().chain(&copies).collect();
        found = pieces(&operands, axes);
    }
    let mut halved = Vec::new();
    for piece in found.ok_or_else(|| several_blocks(name, &operands))? {
        halve(name, axes, piece.operands, &mut halved)?;
    }
    Ok(halved)
}

/// Adds operands in one block each; halves of them if a copy of one would exceed a block.
fn halve(
    name: &'static str,
    axes: usize,
    operands: Vec<Tensor>,
    found: &mut Vec<Vec<Tensor>>,
) -> Result<(), TensorError> {
    let Some(first) = operands.first() else { return Ok(()) };
    let bytes = |operand: &Tensor| arithmetic::bytes(operand.elements(), operand.dtype().number().bytes());
    let (largest, most) = (first.any_storage().largest_block(), operands.iter().map(bytes).max().unwrap_or(0));
    if most <= largest {
        found.push(operands);
        return Ok(());
    }
    let longest = (0..axes).max_by_key(|&axis| first.shape()[axis]);
    let Some((axis, size)) = longest.map(|axis| (axis, first.shape()[axis])).filter(|&(_, size)| size > 1) else {
        let blocks = usize::try_from(most.div_ceil(largest)).unwrap_or(usize::MAX);
        return Err(TensorError::SeveralBlocks { operation: name, blocks });
    };
    for range in [0..size / 2, size / 2..size] {
        let half = operands.iter().map(|operand| operand.narrow(axis, range.start, range.len()));
        halve(name, axes, half.collect::<Result<_, _>>()?, found)?;
    }
    Ok(())
}

/// Rows of an image for a band of windows, and the padding before and after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) rows: Range<usize>,
    pub(super) padding: [usize; 2],
}

/// A band of an operation whose planes exceed a block.
pub(super) struct BandPiece {
    /// The rows of each output, which may be in several blocks.
    pub(super) outputs: Vec<Tensor>,
    /// The rows of the input that these need, in one block.
    pub(super) input: Tensor,
    /// The rows of the outputs.
    pub(super) windows: Range<usize>,
    pub(super) band: Band,
}

/// Divides an operation that computes each plane by itself, and rows of the outputs from `needed` rows of the input, into bands of rows
/// that fit a block each. Bands begin at multiples of `unit` rows of the outputs.
///
/// # Errors
/// [`TensorError::SeveralBlocks`] if `unit` rows exceed a block, or need no rows of the input.
#[track_caller]
pub(super) fn band_pieces(
    name: &'static str,
    outputs: &[&Tensor],
    input: &Tensor,
    unit: usize,
    needed: &dyn Fn(&Range<usize>) -> Option<Band>,
) -> Result<Vec<BandPiece>, TensorError> {
    let axis = input.rank() - 2;
    let rows = outputs.first().map_or(0, |output| output.shape()[axis]);
    let mut bands = Vec::new();
    let whole = (outputs.iter().map(|&output| output.clone()).collect(), input.clone(), 0..rows);
    add_bands(name, unit, needed, whole, &mut bands)?;
    let mut pieces = Vec::new();
    for (outputs, input, windows, band) in bands {
        pieces.push(BandPiece { outputs, input: gathered(&input)?, windows, band });
    }
    Ok(pieces)
}

/// Outputs, the input, and rows of the outputs.
type Planes = (Vec<Tensor>, Tensor, Range<usize>);

/// Adds the bands of some rows of all outputs.
fn add_bands(
    name: &'static str,
    unit: usize,
    needed: &dyn Fn(&Range<usize>) -> Option<Band>,
    (outputs, input, windows): Planes,
    found: &mut Vec<(Vec<Tensor>, Tensor, Range<usize>, Band)>,
) -> Result<(), TensorError> {
    let axis = input.rank() - 2;
    let refused = || several_blocks(name, &[&input]);
    let band = needed(&windows).ok_or_else(refused)?;
    let rows = |tensor: &Tensor, rows: &Range<usize>| tensor.narrow(axis, rows.start, rows.len());
    let own: Vec<Tensor> = outputs.iter().map(|output| rows(output, &windows)).collect::<Result<_, _>>()?;
    let needs = rows(&input, &band.rows)?;
    let bytes = |tensor: &Tensor| arithmetic::bytes(tensor.elements(), tensor.dtype().number().bytes());
    if own.iter().chain([&needs]).map(bytes).max() <= Some(input.any_storage().largest_block()) {
        found.push((own, needs, windows, band));
        return Ok(());
    }
    let longest = (0..axis).max_by_key(|&axis| input.shape()[axis]).filter(|&axis| input.shape()[axis] > 1);
    if let Some(axis) = longest {
        let size = input.shape()[axis];
        for half in [0..size / 2, size / 2..size] {
            let narrow = |tensor: &Tensor| tensor.narrow(axis, half.start, half.len());
            let outputs = outputs.iter().map(narrow).collect::<Result<_, _>>()?;
            add_bands(name, unit, needed, (outputs, narrow(&input)?, windows.clone()), found)?;
        }
        return Ok(());
    }
    let middle = windows.start + (windows.len() / 2 / unit).max(1) * unit;
    if middle >= windows.end {
        return Err(refused());
    }
    for half in [windows.start..middle, middle..windows.end] {
        add_bands(name, unit, needed, (outputs.clone(), input.clone(), half), found)?;
    }
    Ok(())
}

/// Returns the rows under the windows of a band. `None` if all of them are in the padding.
pub(super) fn under(window: &KernelWindow, height: usize, windows: &Range<usize>) -> Option<Band> {
    let before = window.padding[0][0];
    // In the padded image, whose rows were checked when the windows were counted. In `ceil_mode` the last window may end beyond it.
    let first = windows.start * window.stride[0];
    let end = window.extent(0)?.saturating_add((windows.end - 1) * window.stride[0]);
    let rows = first.saturating_sub(before)..end.saturating_sub(before).min(height);
    let padding = [before.saturating_sub(first), end.saturating_sub(before + height)];
    (!rows.is_empty()).then_some(Band { rows, padding })
}

/// Returns the windows over a band of rows, of `count` windows.
fn over(window: &KernelWindow, rows: &Range<usize>, count: usize) -> Range<usize> {
    let (before, stride) = (window.padding[0][0], window.stride[0]);
    let extent = window.extent(0).unwrap_or(usize::MAX);
    let first = (rows.start + before + 1).saturating_sub(extent).div_ceil(stride);
    let end = ((rows.end + before - 1) / stride + 1).min(count);
    first.min(end)..end
}

/// Images, and rows of them.
type Rows = (Range<usize>, Range<usize>);

/// A convolution, or one of its gradients, of images that are in several blocks. Images have four axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks<'a> {
    pub(super) name: &'static str,
    pub(super) options: Conv2d,
    pub(super) window: KernelWindow,
    /// The images, or their shape for the input gradient.
    pub(super) images: [usize; 4],
    /// The shape of the result of the convolution.
    pub(super) result: [usize; 4],
    pub(super) weight: &'a [usize],
}

impl Blocks<'_> {
    /// The convolution.
    #[track_caller]
    pub(super) fn convolve(
        &self,
        images: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Tensor, TensorError> {
        let output = images.new_empty(self.result, images.dtype())?;
        for (batch, windows) in self.bands(&output, images)? {
            let (output, band) = (part(&output, &batch, &windows)?, self.under(&windows)?);
            let images = gathered(&part(images, &batch, &band.rows)?)?;
            output.copy_(&images.conv2d_then(weight, bias, self.padded(band.padding), activation)?)?;
        }
        Ok(output)
    }

    /// The input gradient.
    #[track_caller]
    pub(super) fn gradient(&self, gradient: &Tensor, weight: &Tensor) -> Result<Tensor, TensorError> {
        let output = gradient.new_empty(self.images, gradient.dtype())?;
        output.clear()?;
        for (batch, rows) in self.bands(&output, gradient)? {
            let windows = over(&self.window, &rows, self.result[2]);
            if windows.is_empty() {
                continue;
            }
            let band = self.under(&windows)?;
            let gradient = gathered(&part(gradient, &batch, &windows)?)?;
            let shape = [batch.len(), self.images[1], band.rows.len(), self.images[3]];
            let found = gradient.conv2d_backward_input(shape, weight, self.padded(band.padding))?;
            // Other rows of the band have windows that are not in it.
            let own = rows.start.max(band.rows.start)..rows.end.min(band.rows.end);
            let found = found.narrow(2, own.start - band.rows.start, own.len())?;
            part(&output, &batch, &own)?.copy_(&found)?;
        }
        Ok(output)
    }

    /// The weight gradient, in the dtype of sums.
    #[track_caller]
    pub(super) fn weight_gradient(&self, gradient: &Tensor, images: &Tensor) -> Result<Tensor, TensorError> {
        let number = gradient.dtype().number();
        let sums = Tensor::zeros(&gradient.pool(), self.weight, number)?;
        for (batch, windows) in self.bands(gradient, images)? {
            let band = self.under(&windows)?;
            let gradient = gathered(&part(gradient, &batch, &windows)?)?.to(number)?;
            let images = gathered(&part(images, &batch, &band.rows)?)?.to(number)?;
            sums.add_(&gradient.conv2d_backward_weight(&images, self.weight, self.padded(band.padding))?)?;
        }
        Ok(sums)
    }

    fn under(&self, windows: &Range<usize>) -> Result<Band, TensorError> {
        let band = under(&self.window, self.images[2], windows);
        band.ok_or_else(|| self.window.error(self.name, [self.images[2], self.images[3]]))
    }

    fn padded(&self, [top, bottom]: [usize; 2]) -> Conv2d {
        Conv2d { padding: Padding { top, bottom, ..self.options.padding }, ..self.options }
    }

    /// Divides the images and rows of `own` until a part of it, and the rows of `other` that it needs, fit a block each.
    fn bands(&self, own: &Tensor, other: &Tensor) -> Result<Vec<Rows>, TensorError> {
        let mut found = Vec::new();
        self.add_bands([own, other], 0..own.shape()[0], 0..own.shape()[2], &mut found)?;
        Ok(found)
    }

    fn add_bands(
        &self,
        [own, other]: [&Tensor; 2],
        batch: Range<usize>,
        rows: Range<usize>,
        found: &mut Vec<Rows>,
    ) -> Result<(), TensorError> {
        let others = self.rows_of_other(own, &rows);
        let bytes = |tensor: &Tensor, rows: usize| {
            let shape = tensor.shape();
            let elements = arithmetic::elements(&[batch.len(), shape[1], rows, shape[3]]);
            arithmetic::bytes(elements, tensor.dtype().number().bytes())
        };
        let most = own.any_storage().largest_block();
        if bytes(own, rows.len()) <= most && bytes(other, others) <= most {
            found.push((batch, rows));
            return Ok(());
        }
        if batch.len() > 1 {
            let images = other.narrow(0, batch.start, batch.len())?;
            let mut ranges = if images.is_divided() { images.runs(0) } else { Vec::new() };
            if ranges.len() < 2 || ranges.len() == batch.len() {
                ranges = vec![0..batch.len() / 2, batch.len() / 2..batch.len()];
            }
            for range in ranges {
                let batch = batch.start + range.start..batch.start + range.end;
                self.add_bands([own, other], batch, rows.clone(), found)?;
            }
            return Ok(());
        }
        if rows.len() > 1 {
            let middle = rows.start + rows.len() / 2;
            self.add_bands([own, other], batch.clone(), rows.start..middle, found)?;
            return self.add_bands([own, other], batch, middle..rows.end, found);
        }
        Err(several_blocks(self.name, &[own, other]))
    }

    /// The rows of the other tensor for a band of `own`, which is the result of the convolution, its gradient, or that of the images.
    fn rows_of_other(&self, own: &Tensor, rows: &Range<usize>) -> usize {
        if own.shape() == self.result && own.shape() != self.images {
            under(&self.window, self.images[2], rows).map_or(0, |band| band.rows.len())
        } else {
            // An upper bound for both directions.
            let under = under(&self.window, self.images[2], rows).map_or(0, |band| band.rows.len());
            under.max(over(&self.window, rows, self.result[2]).len())
        }
    }
}

/// Some images, and rows of them.
fn part(images: &Tensor, batch: &Range<usize>, rows: &Range<usize>) -> Result<Tensor, TensorError> {
    images.narrow(0, batch.start, batch.len())?.narrow(2, rows.start, rows.len())
}

/// The tensor itself, or a copy if it is in several blocks, whose elements one block may hold.
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
        assert_eq!(band(0..1), Some(Band { rows: 0..2, padding: [3, 0] }));
        assert_eq!(band(0..5), Some(Band { rows: 0..10, padding: [3, 0] }));
        assert_eq!(band(2..4), Some(Band { rows: 1..8, padding: [0, 0] }));
        assert_eq!(band(4..6), Some(Band { rows: 5..10, padding: [0, 2] }));
        let padded = KernelWindow { padding: [[9, 0], [0, 0]], ..WINDOW };
        assert_eq!(under(&padded, 10, &(0..1)), None);
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
        (0..count).map(|window| under(&WINDOW, 10, &(window..window + 1)).map_or(0..0, |band| band.rows)).collect()
    }
}
