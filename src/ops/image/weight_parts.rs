//! Convolutions whose weight exceeds a block: groups, and outputs or channels of a group, by themselves. No sum is divided.

use super::super::activation::Activation;
use super::Conv2d;
use super::convolve::Convolution;
use crate::error::TensorError;
use crate::tensor::{Tensor, arithmetic};
use std::ops::Range;

/// Kernels pad the channels and the outputs of a group to this multiple when they reorder a weight.
const PADDED: usize = 8;

/// Groups, and outputs or channels of a group: of several groups, all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    groups: Range<usize>,
    within: Range<usize>,
}

impl Part {
    /// The part's indices along an axis of `size` indices of each group.
    fn along(&self, size: usize) -> Range<usize> {
        match self.groups.len() {
            1 => self.groups.start * size + self.within.start..self.groups.start * size + self.within.end,
            _ => self.all(size),
        }
    }

    /// The indices of the part's groups along such an axis.
    fn all(&self, size: usize) -> Range<usize> {
        self.groups.start * size..self.groups.end * size
    }
}

/// Divides groups, and `size` outputs or channels of one group, until `fits` is true of their numbers.
fn divide(groups: usize, size: usize, fits: &dyn Fn(usize, usize) -> bool) -> Vec<Part> {
    let mut found = Vec::new();
    let mut rest = vec![Part { groups: 0..groups, within: 0..size }];
    while let Some(Part { groups, within }) = rest.pop() {
        let halves = |range: &Range<usize>, unit: usize| {
            let middle = range.start + (range.len() / 2).next_multiple_of(unit);
            [range.start..middle, middle..range.end]
        };
        // The first half is taken next.
        if fits(groups.len(), within.len()) || (groups.len() == 1 && within.len() <= PADDED) {
            found.push(Part { groups, within });
        } else if groups.len() > 1 {
            let parts = halves(&groups, 1).map(|groups| Part { groups, within: within.clone() });
            rest.extend(parts.into_iter().rev());
        } else {
            let parts = halves(&within, PADDED).map(|within| Part { groups: groups.clone(), within });
            rest.extend(parts.into_iter().rev());
        }
    }
    found
}

fn narrow(tensor: &Tensor, axis: usize, range: &Range<usize>) -> Result<Tensor, TensorError> {
    tensor.narrow(axis, range.start, range.len())
}

impl Convolution {
    /// Whether a reordered weight of a number of groups, each with so many outputs and channels, fits a block.
    fn fits_a_block(&self, tensor: &Tensor, [groups, outputs, channels]: [usize; 3]) -> bool {
        let taps = arithmetic::elements(&self.window.kernel);
        let lines = arithmetic::product(&[channels.next_multiple_of(PADDED), taps]);
        let sizes = lines.and_then(|lines| Some([groups, outputs.next_multiple_of(PADDED), lines.checked_add(1)?]));
        let elements = sizes.and_then(|sizes| arithmetic::product(&sizes)).unwrap_or(usize::MAX);
        arithmetic::bytes(elements, tensor.dtype().number().bytes()) <= tensor.any_storage().largest_block()
    }

    /// The number of channels and of outputs of a group.
    fn of_group(&self) -> [usize; 2] {
        [self.planes.channels, self.outputs].map(|all| all / self.groups)
    }

    /// Parts by outputs, if the weight exceeds a block and can be divided.
    fn parts_by_outputs(&self, tensor: &Tensor) -> Option<Vec<Part>> {
        let [channels, outputs] = self.of_group();
        let fits = |groups, outputs| self.fits_a_block(tensor, [groups, outputs, channels]);
        Some(divide(self.groups, outputs, &fits)).filter(|parts| parts.len() > 1)
    }

    /// The convolution, if the weight exceeds a block.
    #[track_caller]
    pub(super) fn by_outputs(
        &self,
        [images, weight]: [&Tensor; 2],
        bias: Option<&Tensor>,
        options: Conv2d,
        activation: Option<Activation>,
    ) -> Result<Option<Tensor>, TensorError> {
        let Some(parts) = self.parts_by_outputs(images) else { return Ok(None) };
        let [channels, outputs] = self.of_group();
        let (images, result) = (images.as_batch()?, images.new_empty(self.output(), images.dtype())?);
        for part in parts {
            let own = part.along(outputs);
            let bias = bias.map(|bias| narrow(bias, 0, &own)).transpose()?;
            let options = Conv2d { groups: part.groups.len(), ..options };
            let images = narrow(&images, 1, &part.all(channels))?;
            let found = images.conv2d_then(&narrow(weight, 0, &own)?, bias.as_ref(), options, activation)?;
            narrow(&result, 1, &own)?.copy_(&found)?;
        }
        Ok(Some(result))
    }

    /// The input gradient, if the weight exceeds a block.
    #[track_caller]
    pub(super) fn gradient_by_channels(
        &self,
        [gradient, weight]: [&Tensor; 2],
        options: Conv2d,
    ) -> Result<Option<Tensor>, TensorError> {
        let [channels, outputs] = self.of_group();
        let fits = |groups, channels| self.fits_a_block(gradient, [groups, outputs, channels]);
        let parts = divide(self.groups, channels, &fits);
        if parts.len() < 2 {
            return Ok(None);
        }
        let shape = self.planes.shape(self.planes.size);
        let (gradient, result) = (gradient.as_batch()?, gradient.new_empty(shape, gradient.dtype())?);
        for part in parts {
            let (own, of_groups) = (part.along(channels), part.all(outputs));
            let options = Conv2d { groups: part.groups.len(), ..options };
            let weight = narrow(&narrow(weight, 0, &of_groups)?, 1, &part.within)?;
            let gradient = narrow(&gradient, 1, &of_groups)?;
            let input = [shape[0], own.len(), shape[2], shape[3]];
            narrow(&result, 1, &own)?.copy_(&gradient.conv2d_backward_input(input, &weight, options)?)?;
        }
        Ok(Some(result))
    }

    /// The weight gradient, if the weight exceeds a block.
    #[track_caller]
    pub(super) fn weight_gradient_by_outputs(
        &self,
        [gradient, images]: [&Tensor; 2],
        options: Conv2d,
    ) -> Result<Option<Tensor>, TensorError> {
        let Some(parts) = self.parts_by_outputs(gradient) else { return Ok(None) };
        let ([channels, outputs], [rows, columns]) = (self.of_group(), self.window.kernel);
        let result = gradient.new_empty([self.outputs, channels, rows, columns], gradient.dtype())?;
        let [gradient, images] = [gradient.as_batch()?, images.as_batch()?];
        for part in parts {
            let own = part.along(outputs);
            let options = Conv2d { groups: part.groups.len(), ..options };
            let images = narrow(&images, 1, &part.all(channels))?;
            let shape = [own.len(), channels, rows, columns];
            let found = narrow(&gradient, 1, &own)?.conv2d_backward_weight(&images, shape, options)?;
            narrow(&result, 0, &own)?.copy_(&found)?;
        }
        Ok(Some(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_groups_and_then_multiples_of_eight_in_one_group_in_order() {
        let parts = |groups, size, most: usize| {
            let found = divide(groups, size, &|groups, within| groups * within <= most);
            found.into_iter().map(|part| (part.groups, part.within)).collect::<Vec<_>>()
        };
        assert_eq!(parts(1, 20, 20), [(0..1, 0..20)]);
        assert_eq!(parts(1, 20, 12), [(0..1, 0..8), (0..1, 8..16), (0..1, 16..20)]);
        // Eight are not divided, because they are padded to eight.
        assert_eq!(parts(1, 12, 1), [(0..1, 0..8), (0..1, 8..12)]);
        assert_eq!(parts(3, 4, 5), [(0..1, 0..4), (1..2, 0..4), (2..3, 0..4)]);
        assert_eq!(parts(4, 4, 8), [(0..2, 0..4), (2..4, 0..4)]);
        let part = Part { groups: 2..3, within: 8..11 };
        assert_eq!((part.along(11), part.all(5)), (30..33, 10..15));
    }
}
