//! Reductions of tensors in several blocks.

use super::{AMAX, AMIN, Pass};
use crate::error::TensorError;
use crate::ops::launch::index;
use crate::ops::shader::Specialization;
use crate::tensor::{DType, Tensor, elementwise_pieces, several_blocks};
use std::ops::Range;

impl Tensor {
    /// Reduces a tensor in several blocks: each part of its outermost axis by itself, and the results by the same operation.
    /// Returns a tensor of the kept axes.
    #[track_caller]
    pub(super) fn reduce_blocks(
        &self,
        name: &'static str,
        operation: Specialization,
        kept_rank: usize,
    ) -> Result<Self, TensorError> {
        let (axis, ranges) = if self.is_divided() {
            let axis = self.outermost_axis(0..self.rank());
            (axis, axis.map_or(Vec::new(), |axis| self.runs(axis)))
        } else {
            // Views may repeat elements without end.
            index(name, self.elements())?;
            let pass = Pass::new(self.clone(), kept_rank)?;
            if pass.fits_a_block() {
                let reduced = pass.run_all(name, [operation; 2], self.dtype().number(), 1.0)?;
                return reduced.reshape(&self.shape()[..kept_rank]);
            }
            // The results, or the sums of parts, exceed a block: of a tensor of many repeated elements, or of f16.
            let axis = (0..self.rank()).max_by_key(|&axis| self.shape()[axis]);
            (axis, axis.map_or(Vec::new(), |axis| halves(self.shape()[axis])))
        };
        let Some(axis) = axis else { return Err(several_blocks(name, &[("input", self)])) };
        let mut parts = Vec::new();
        for range in ranges {
            parts.push(self.narrow(axis, range.start, range.len())?.reduce_blocks(name, operation, kept_rank)?);
        }
        if axis < kept_rank && parts.len() > 1 {
            return Self::cat(&parts.iter().collect::<Vec<_>>(), axis);
        }
        let mut parts = parts.into_iter();
        let Some(mut joined) = parts.next() else { return Err(several_blocks(name, &[("input", self)])) };
        for part in parts {
            joined = match operation.name {
                AMAX => joined.maximum(&part)?,
                AMIN => joined.minimum(&part)?,
                _ => joined.add(&part)?,
            };
        }
        Ok(joined)
    }

    /// Applies the last operation of a reduction to the reduced elements.
    #[track_caller]
    pub(super) fn finish(
        &self,
        name: &'static str,
        last: Specialization,
        written: DType,
        divisor: f32,
    ) -> Result<Self, TensorError> {
        let finished = self.new_empty(self.shape(), written)?;
        for piece in elementwise_pieces(name, &[&finished, self])? {
            let [finished, joined] = &*piece.operands else { continue };
            let whole = joined.contiguous()?.reshape([joined.elements(), 1])?;
            let result = Pass::new(whole, 1)?.run_all(name, [last; 2], written, divisor)?;
            finished.copy_(&result.reshape(finished.shape())?)?;
        }
        Ok(finished)
    }
}

/// Returns the two halves of an axis; an axis of one index has one.
fn halves(size: usize) -> Vec<Range<usize>> {
    let half = size / 2;
    [0..half, half..size].into_iter().filter(|range| !range.is_empty()).collect()
}
