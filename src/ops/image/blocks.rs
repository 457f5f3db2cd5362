//! Convolutions of images that are in several blocks.
//!
//! A convolution needs all channels of an image: it runs on the images of each block or, if an image exceeds a block, on bands of rows.
//! A band of the result needs the rows under its windows, of which neighbouring bands have some in common; these rows are copied into
//! one block. Padding is added at the first and the last band only, so that the result does not depend on the bands. Operations that
//! compute each plane by itself are in `bands.rs`.

use super::super::activation::Activation;
use super::super::launch::Given;
use super::bands::{gathered, over, under};
use super::{Conv2d, KernelWindow, Padding};
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic, several_blocks};
use std::ops::Range;

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
        for (batch, windows) in self.bands(("result", &output), ("input", images))? {
            let output = part(&output, &batch, &windows)?;
            let (images, options) = self.under(images, &batch, &windows)?;
            output.copy_(&images.conv2d_then(weight, bias, options, activation)?)?;
        }
        Ok(output)
    }

    /// The input gradient.
    #[track_caller]
    pub(super) fn gradient(&self, gradient: &Tensor, weight: &Tensor) -> Result<Tensor, TensorError> {
        let output = gradient.new_empty(self.images, gradient.dtype())?;
        output.clear()?;
        for (batch, rows) in self.bands(("result", &output), ("gradient", gradient))? {
            let windows = over(&self.window, &rows, self.result[2]);
            if windows.is_empty() {
                continue;
            }
            let band = under(&self.window, self.images[2], &windows);
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
        for (batch, windows) in self.bands(("gradient", gradient), ("input", images))? {
            let gradient = gathered(&part(gradient, &batch, &windows)?)?.to(number)?;
            let (images, options) = self.under(images, &batch, &windows)?;
            sums.add_(&gradient.conv2d_backward_weight(&images.to(number)?, self.weight, options)?)?;
        }
        Ok(sums)
    }

    /// Returns the rows of images under some windows, in one block, and the options for them.
    #[track_caller]
    fn under(
        &self,
        images: &Tensor,
        batch: &Range<usize>,
        windows: &Range<usize>,
    ) -> Result<(Tensor, Conv2d), TensorError> {
        let band = under(&self.window, self.images[2], windows);
        if band.rows.is_empty() {
            // All windows are in the padding, whose zeros are multiplied: a row of zeros takes the place of one of them.
            let row = Tensor::zeros(&images.pool(), [batch.len(), self.images[1], 1, self.images[3]], images.dtype())?;
            let between = (windows.len() - 1) * self.window.stride[0];
            let places = self.window.extent(0).map_or(usize::MAX, |extent| extent.saturating_add(between));
            return Ok((row, self.padded([places - 1, 0])));
        }
        Ok((gathered(&part(images, batch, &band.rows)?)?, self.padded(band.padding)))
    }

    fn padded(&self, [top, bottom]: [usize; 2]) -> Conv2d {
        Conv2d { padding: Padding { top, bottom, ..self.options.padding }, ..self.options }
    }

    /// Divides the images and rows of `own` until a part of it, and the rows of `other` that it needs, fit a block each.
    fn bands(&self, own: Given<'_, &'static str>, other: Given<'_, &'static str>) -> Result<Vec<Rows>, TensorError> {
        let mut found = Vec::new();
        let shape = own.1.shape();
        self.add_bands([own, other], 0..shape[0], 0..shape[2], &mut found)?;
        Ok(found)
    }

    fn add_bands(
        &self,
        operands: [Given<'_, &'static str>; 2],
        batch: Range<usize>,
        rows: Range<usize>,
        found: &mut Vec<Rows>,
    ) -> Result<(), TensorError> {
        let [own, other] = operands.map(|(_, operand)| operand);
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
                self.add_bands(operands, batch, rows.clone(), found)?;
            }
            return Ok(());
        }
        if rows.len() > 1 {
            let middle = rows.start + rows.len() / 2;
            self.add_bands(operands, batch.clone(), rows.start..middle, found)?;
            return self.add_bands(operands, batch, middle..rows.end, found);
        }
        Err(several_blocks(self.name, &operands))
    }

    /// The rows of the other tensor for a band of `own`, which is the result of the convolution, its gradient, or that of the images.
    fn rows_of_other(&self, own: &Tensor, rows: &Range<usize>) -> usize {
        if own.shape() == self.result && own.shape() != self.images {
            under(&self.window, self.images[2], rows).rows.len()
        } else {
            // An upper bound for both directions.
            let under = under(&self.window, self.images[2], rows).rows.len();
            under.max(over(&self.window, rows, self.result[2]).len())
        }
    }
}

/// Some images, and rows of them.
fn part(images: &Tensor, batch: &Range<usize>, rows: &Range<usize>) -> Result<Tensor, TensorError> {
    images.narrow(0, batch.start, batch.len())?.narrow(2, rows.start, rows.len())
}
