//! Products of matrices of which one is in several blocks.
//!
//! The product is divided into pieces along its batches, rows, columns and K, such that the operands and the output of a piece are in
//! one block each. Pieces of K are added in their order, without rounding.

use super::product::Finish;
use super::{NAME, have_one_stride};
use crate::error::TensorError;
use crate::ops::activation::Activation;
use crate::tensor::{Axis, MAX_RANK, Tensor, elementwise_pieces};

/// Writes the product of (…, m, k) and (…, k, n) to an output of shape (…, m, n), whose dtype does not round sums if K is divided.
#[track_caller]
pub(super) fn multiply(
    [left, right, output]: [&Tensor; 3],
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<(), TensorError> {
    let [_, depth] = left.last_two();
    if depth == 0 {
        output.clear()?;
        return epilogue(output, bias, activation);
    }
    if output.rank() == MAX_RANK {
        // One axis more than a tensor may have: each batch of the first axis by itself.
        let [left, right] = [left, right].map(|operand| {
            let sides = operand.last_two();
            operand.expand([&output.shape()[..output.rank() - 2], &sides].concat())
        });
        let (left, right) = (left?, right?);
        for batch in (0..output.shape()[0]).map(Axis::from) {
            let [left, right, output] = [&left, &right, output].map(|operand| operand.select(0, batch));
            multiply([&left?, &right?, &output?], bias, activation)?;
        }
        return Ok(());
    }
    // The axes of all pieces: the batch, then rows, columns and K.
    let wide = [output.shape(), &[depth]].concat();
    let [row, column, inner] = [wide.len() - 3, wide.len() - 2, wide.len() - 1];
    let mut operands = vec![
        output.unsqueeze(-1)?.expand(&wide)?,
        left.unsqueeze(-2)?.expand(&wide)?,
        right.transpose(-1, -2)?.unsqueeze(-3)?.expand(&wide)?,
    ];
    if let Some(bias) = bias {
        operands.push(bias.unsqueeze(-1)?.expand(&wide)?);
    }
    let references: Vec<&Tensor> = operands.iter().collect();
    for piece in elementwise_pieces(NAME, &references)? {
        let [output, left, right, bias @ ..] = &*piece.operands else { continue };
        let output = output.select(inner, 0)?;
        let left = left.select(column, 0)?;
        let right = right.select(row, 0)?.transpose(-1, -2)?;
        let bias = match bias {
            [bias, ..] => Some((0..=row).try_fold(bias.select(inner, 0)?, |bias, _| bias.select(0, 0))?),
            [] => None,
        };
        let range = &piece.ranges[inner];
        let sum = Sum { is_first: range.start == 0, is_last: range.end == depth };
        multiply_piece([&left, &right, &output], bias.as_ref(), activation, sum)?;
    }
    Ok(())
}

/// Whether a piece has the first products of the sums, and the last.
#[derive(Clone, Copy, Debug)]
struct Sum {
    is_first: bool,
    is_last: bool,
}

/// Multiplies matrices in one block each, of which each operand has all batches.
#[track_caller]
fn multiply_piece(
    [left, right, output]: [&Tensor; 3],
    bias: Option<&Tensor>,
    activation: Option<Activation>,
    sum: Sum,
) -> Result<(), TensorError> {
    if output.rank() > 2 && !have_one_stride(left, right) {
        // Otherwise a copy, which may exceed a block.
        for batch in (0..output.shape()[0]).map(Axis::from) {
            let [left, right, output] = [left, right, output].map(|operand| operand.select(0, batch));
            multiply_piece([&left?, &right?, &output?], bias, activation, sum)?;
        }
        return Ok(());
    }
    if sum.is_first && sum.is_last {
        return finished(left, right, output, bias, activation);
    }
    let sums = left.new_empty(output.shape(), output.dtype())?;
    left.multiply_into(right, &output.shape()[..output.rank() - 2], &sums, Finish::NONE)?;
    if sum.is_first {
        output.copy_(&sums)?;
    } else {
        output.add_(&sums)?;
    }
    if sum.is_last { epilogue(output, bias, activation) } else { Ok(()) }
}

/// Adds a bias and applies an activation.
#[track_caller]
fn epilogue(output: &Tensor, bias: Option<&Tensor>, activation: Option<Activation>) -> Result<(), TensorError> {
    bias.map_or(Ok(()), |bias| output.add_(bias))?;
    activation.map_or(Ok(()), |activation| output.copy_(&activation.apply(output)?))
}

/// Writes a product whose K is not divided.
#[track_caller]
fn finished(
    left: &Tensor,
    right: &Tensor,
    output: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<(), TensorError> {
    if !output.is_whole() {
        return output.copy_(&left.matmul_then(right, bias, activation)?);
    }
    let operation = activation.map_or(Ok(Finish::NONE.operation), |activation| activation.on(NAME, left.dtype()))?;
    let batch = &output.shape()[..output.rank() - 2];
    left.multiply_into(right, batch, output, Finish { bias, operation })
}
