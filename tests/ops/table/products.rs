//! Rows of products of matrices.

use super::{ALL, FLOATS, Operand, Row, any, check, rectified};
use crate::common::Outcome;
use crate::model::Array;
use wgpu_pool::{Activation, DType, Tensor};

/// Shapes for each kernel of products, and each way in which they broadcast: small ones, tiles of odd rows, tiles of
/// vec4, batches, vectors.
const SHAPES: [[&[usize]; 2]; 10] = [
    [&[5, 7], &[7, 3]],
    [&[33, 64], &[64, 37]],
    [&[32, 64], &[64, 36]],
    [&[2, 5, 7], &[7, 3]],
    [&[2, 3, 5], &[2, 5, 4]],
    [&[2, 1, 3, 5], &[3, 5, 2]],
    [&[7], &[7, 3]],
    [&[5, 7], &[7]],
    [&[7], &[7]],
    [&[2, 1, 2, 2, 1, 2, 3, 4], &[2, 2, 1, 2, 2, 2, 4, 2]],
];

/// The product of matrices by its definition. Vectors become matrices, and batches broadcast.
pub(super) fn product(left: &Array<f64>, right: &Array<f64>) -> Array<f64> {
    let (is_row, is_column) = (left.shape.len() == 1, right.shape.len() == 1);
    let left = if is_row { left.reshape(&[1, left.shape[0]]) } else { left.clone() };
    let right = if is_column { right.reshape(&[right.shape[0], 1]) } else { right.clone() };
    let split = |array: &Array<f64>| {
        let lead = array.shape.len() - 2;
        (array.shape[..lead].to_vec(), [array.shape[lead], array.shape[lead + 1]])
    };
    let ((left_lead, [rows, depth]), (right_lead, [_, columns])) = (split(&left), split(&right));
    let zeros = |shape: &[usize]| Array::new(shape, || 0.0);
    let batch = zeros(&left_lead).zip(&zeros(&right_lead), |x, _| x).shape;
    let left = left.expand(&[&batch[..], &[rows, depth]].concat()).elements;
    let right = right.expand(&[&batch[..], &[depth, columns]].concat()).elements;
    let mut elements = Vec::new();
    for batch in 0..batch.iter().product() {
        let (left, right) = (&left[batch * rows * depth..], &right[batch * depth * columns..]);
        for row in 0..rows {
            let line = &left[row * depth..][..depth];
            elements.extend((0..columns).map(|column| {
                line.iter().enumerate().map(|(at, factor)| factor * right[at * columns + column]).sum::<f64>()
            }));
        }
    }
    let rows = if is_row { None } else { Some(rows) };
    let columns = if is_column { None } else { Some(columns) };
    let shape = batch.into_iter().chain(rows).chain(columns).collect();
    Array { shape, elements }
}

/// Sums of up to 64 products of numbers up to 2.
pub(super) const TOLERANCE: f64 = 4e-5;

/// Kernels of tiles take a software driver a second each to compile, and are the same for integers.
fn dtypes(shapes: [&[usize]; 2]) -> &'static [DType] {
    if shapes[0].contains(&64) { FLOATS } else { ALL }
}

pub(super) fn products() -> Vec<Row> {
    let operands = |shapes: [&[usize]; 2]| -> Vec<Operand> { shapes.map(any).to_vec() };
    let mut rows: Vec<Row> = SHAPES
        .into_iter()
        .map(|shapes| {
            let run = |x: &[&Tensor]| Ok(vec![x[0].matmul(x[1])?]);
            let model = |x: &[&Array<f64>], _: DType| vec![product(x[0], x[1])];
            let row = Row::new("matmul", dtypes(shapes), operands(shapes), run, model);
            row.within(TOLERANCE).detail(format_args!("{shapes:?}"))
        })
        .collect();
    let run = |x: &[&Tensor]| Ok(vec![x[0].bmm(x[1])?]);
    let model = |x: &[&Array<f64>], _: DType| vec![product(x[0], x[1])];
    rows.push(Row::new("bmm", ALL, operands(SHAPES[4]), run, model).within(TOLERANCE));
    rows
}

pub(super) fn epilogues() -> Vec<Row> {
    let mut rows = Vec::new();
    for shapes in SHAPES.into_iter().take(4) {
        let columns = shapes[1][shapes[1].len() - 1];
        let mut operands: Vec<Operand> = shapes.map(any).to_vec();
        operands.push(any(&[columns]));
        let run = |x: &[&Tensor]| Ok(vec![x[0].matmul_then(x[1], Some(x[2]), Some(Activation::Relu))?]);
        let model = |x: &[&Array<f64>], dtype: DType| {
            let sums = product(x[0], x[1]).zip(x[2], |x, bias| x + bias);
            vec![sums.map(|x| rectified(x, dtype))]
        };
        rows.push(Row::new("matmul_then", dtypes(shapes), operands.clone(), run, model).within(TOLERANCE));
        if shapes[1].len() == 2 {
            operands[1].shape.reverse();
            let run = |x: &[&Tensor]| Ok(vec![x[0].linear(x[1], Some(x[2]))?]);
            let model =
                |x: &[&Array<f64>], _: DType| vec![product(x[0], &x[1].permute(&[1, 0])).zip(x[2], |x, bias| x + bias)];
            rows.push(Row::new("linear", dtypes(shapes), operands, run, model).within(TOLERANCE));
        }
    }
    rows
}

#[test]
fn products_of_matrices() -> Outcome {
    check(&products())
}

#[test]
fn products_with_a_bias_and_an_activation() -> Outcome {
    check(&epilogues())
}
