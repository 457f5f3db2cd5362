//! The division of an operation into pieces whose operands are in one block each.

use super::{Tensor, arithmetic};
use crate::error::{Argument, TensorError};
use std::ops::Range;

/// A piece of an operation: an ordinary tensor for each operand, and the indices of the common axes.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) operands: Vec<Tensor>,
    pub(crate) ranges: Vec<Range<usize>>,
}

/// Divides operands whose first `axes` axes have the same sizes into pieces along these axes, such that each operand of a piece is
/// in one block. The pieces are ordered by their indices along each axis. `None` if a single index of all these axes is in several
/// blocks. The number of pieces is about that of the blocks, unless operands are divided along different axes.
pub(crate) fn pieces(operands: &[&Tensor], axes: usize) -> Option<Vec<Piece>> {
    let sizes = operands.first().map_or(&[][..], |first| &first.shape()[..axes]);
    let whole = Piece {
        operands: operands.iter().map(|&operand| operand.clone()).collect(),
        ranges: sizes.iter().map(|&size| 0..size).collect(),
    };
    let mut found = Vec::new();
    divide(whole, &mut found).then_some(found)
}

/// Divides operands of one shape into pieces along all axes, such that each operand of a piece is in one block. See [`pieces`].
///
/// # Errors
/// [`TensorError::SeveralBlocks`] never occurs: a single element is in one block.
pub(crate) fn elementwise_pieces(operation: &'static str, operands: &[&Tensor]) -> Result<Vec<Piece>, TensorError> {
    let axes = operands.first().map_or(0, |first| first.rank());
    pieces(operands, axes).ok_or_else(|| {
        let named: Vec<(Argument, &Tensor)> = (0..).map(Argument::operand).zip(operands.iter().copied()).collect();
        several_blocks(operation, &named)
    })
}

/// Returns the error of an operation that cannot be divided into pieces. An operand of f16 in one block may need several for its copy in
/// f32, with which kernels compute.
pub(crate) fn several_blocks(
    operation: &'static str,
    operands: &[(impl Into<Argument> + Copy, &Tensor)],
) -> TensorError {
    let blocks_of = |operand: &Tensor| {
        let bytes = arithmetic::bytes(operand.elements(), operand.dtype().number().bytes());
        let of_copy = bytes.div_ceil(operand.any_storage().largest_block().max(1));
        operand.storages().len().max(usize::try_from(of_copy).unwrap_or(usize::MAX))
    };
    let counted = operands.iter().map(|&(argument, operand)| (argument.into(), blocks_of(operand)));
    let (argument, blocks) = counted.max_by_key(|&(_, blocks)| blocks).unwrap_or(("tensor".into(), 0));
    TensorError::SeveralBlocks { operation, argument, blocks }
}

/// Returns whether any of the tensors has several blocks.
pub(crate) fn any_divided<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> bool {
    tensors.into_iter().any(Tensor::is_divided)
}

/// Adds the pieces of a piece. Returns false if it cannot be divided further.
fn divide(piece: Piece, found: &mut Vec<Piece>) -> bool {
    let Some(divided) = piece.operands.iter().find(|operand| operand.is_divided()) else {
        found.push(piece);
        return true;
    };
    let Some(axis) = divided.outermost_axis(0..piece.ranges.len()) else { return false };
    for range in divided.runs(axis) {
        let narrow = |operand: &Tensor| operand.narrow(axis, range.start, range.len());
        let Ok(operands) = piece.operands.iter().map(narrow).collect() else { return false };
        let mut ranges = piece.ranges.clone();
        let first = ranges[axis].start;
        ranges[axis] = first + range.start..first + range.end;
        if !divide(Piece { operands, ranges }, found) {
            return false;
        }
    }
    true
}

impl Tensor {
    /// Returns the axis of several indices with the largest stride, among some axes.
    pub(crate) fn outermost_axis(&self, axes: Range<usize>) -> Option<usize> {
        axes.filter(|&axis| self.shape()[axis] > 1 && self.strides()[axis] > 0)
            .max_by_key(|&axis| (self.strides()[axis], std::cmp::Reverse(axis)))
    }

    /// Returns consecutive ranges of an axis, each as long as possible with its elements in one block. An index whose elements
    /// are in several blocks is a range of its own.
    pub(crate) fn runs(&self, axis: usize) -> Vec<Range<usize>> {
        let (size, stride) = (self.shape()[axis], self.strides()[axis]);
        let span = self.layout.span();
        // The extent of one index.
        let extent = span.len() - (size - 1) * stride;
        let mut runs = Vec::new();
        let mut start = 0;
        while start < size {
            let first = span.start + start * stride;
            let room = self.blocks.end_of_block(first) - first;
            let more = room.checked_sub(extent).map_or(0, |rest| rest.checked_div(stride).unwrap_or(size));
            let end = size.min(start.saturating_add(more).saturating_add(1));
            runs.push(start..end);
            start = end;
        }
        runs
    }

    /// Returns the ordinary tensors of which a tensor above the largest block consists, each with the index of its first element:
    /// element (i, j, …) of a part is element (`start[0] + i`, `start[1] + j`, …) of the tensor. A tensor whose elements are in
    /// one block is its only part. The parts are views: kernels that write to them write to the tensor.
    ///
    /// Tensors of equal shape and dtype, created by operations of one pool, have parts of equal shapes. Cost: no memory, and no
    /// command.
    ///
    /// # Examples
    /// ```no_run
    /// use wgpu_pool::{Pool, PoolOptions, Tensor};
    ///
    /// let pool = Pool::request_blocking(PoolOptions::default())?;
    /// // 4 GiB: three parts on a device whose largest binding is 2 GiB.
    /// let cube = Tensor::randn(&pool, [1024, 1024, 1024], 7)?;
    /// for part in cube.parts() {
    ///     println!("{:?} from {:?} on", part.tensor.shape(), part.start);
    /// }
    /// # Ok::<(), wgpu_pool::Error>(())
    /// ```
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        // Each element is in one block, so there are pieces.
        let pieces = pieces(&[self], self.rank()).unwrap_or_default();
        let parts = pieces.into_iter().flat_map(|piece| {
            let start = piece.ranges.iter().map(|range| range.start).collect();
            piece.operands.into_iter().map(move |tensor| Part { start: Vec::clone(&start), tensor })
        });
        parts.collect()
    }
}

/// A part of a tensor that is in one block. See [`Tensor::parts`].
#[derive(Clone, Debug)]
pub struct Part {
    /// The index of the part's first element in the tensor.
    pub start: Vec<usize>,
    /// The elements, as a view.
    pub tensor: Tensor,
}
