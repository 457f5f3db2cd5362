//! Rows of lookups and additions by index.

use super::{ALL, Row, any, below, check};
use crate::common::Outcome;
use crate::model::{Array, indices};
use wgpu_pool::{DType, Tensor};

/// The element of `table` that an index names along an axis, at the index of the result.
fn named(axis: usize, end: usize, at: &[usize], index: f64) -> Option<Vec<usize>> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
    let index = index as usize;
    let mut place = at.to_vec();
    place[axis] = index;
    (index < end).then_some(place)
}

/// Returns `x[axis, index[…]]` for each element of the index, and 0 if the index is beyond the axis.
fn gathered(x: &Array<f64>, axis: usize, index: &Array<f64>) -> Array<f64> {
    let end = x.shape[axis];
    Array::by_index(&index.shape, |at| named(axis, end, at, index.at(at)).map_or(0.0, |place| x.at(&place)))
}

fn scattered(x: &Array<f64>, axis: usize, index: &Array<f64>, source: &Array<f64>) -> Array<f64> {
    let mut sums = x.clone();
    for at in indices(&index.shape) {
        if let Some(place) = named(axis, x.shape[axis], &at, index.at(&at)) {
            let place = place.iter().zip(&x.shape).fold(0, |place, (index, size)| place * size + index);
            sums.elements[place] += source.at(&at);
        }
    }
    sums
}

/// An index of one dimension for every line of an axis.
fn for_all(index: &Array<f64>, axis: usize, shape: &[usize]) -> Array<f64> {
    let mut full = shape.to_vec();
    full[axis] = index.elements.len();
    Array::by_index(&full, |at| index.elements[at[axis]])
}

pub(super) fn lookups() -> Vec<Row> {
    let mut rows = Vec::new();
    for (shape, axis, index) in [
        (&[5, 7][..], 0, &[3, 7][..]),
        (&[5, 7], 1, &[5, 9]),
        (&[4, 8], 1, &[4, 4]),
        (&[3, 4, 5], 1, &[2, 6, 5]),
        (&[2, 2, 2, 3, 2, 2, 2, 2], 3, &[2, 2, 2, 4, 2, 2, 2, 2]),
        (&[2, 2, 2, 2, 2, 2, 3], 6, &[2, 1, 2, 2, 2, 2, 2]),
    ] {
        let detail = format!("{shape:?} {axis}");
        // One of the indices is beyond the axis.
        let numbers = |shape: &[usize], size: usize| below(shape, size + 1);
        let run = move |x: &[&Tensor]| Ok(vec![x[0].gather(axis, x[1])?]);
        let model = move |x: &[&Array<f64>], _: DType| vec![gathered(x[0], axis, x[1])];
        let operands = vec![any(shape), numbers(index, shape[axis])];
        rows.push(Row::new("gather", ALL, operands, run, model).detail(&detail));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].index_select(axis, x[1])?]);
        let model = move |x: &[&Array<f64>], _: DType| vec![gathered(x[0], axis, &for_all(x[1], axis, &x[0].shape))];
        let operands = vec![any(shape), numbers(&index[axis..=axis], shape[axis])];
        rows.push(Row::new("index_select", ALL, operands, run, model).detail(&detail));
        let run = move |x: &[&Tensor]| {
            x[0].scatter_add_(axis, x[1], x[2])?;
            Ok(vec![x[0].clone()])
        };
        let model = move |x: &[&Array<f64>], _: DType| vec![scattered(x[0], axis, x[1], x[2])];
        let operands = vec![any(shape), numbers(index, shape[axis]), any(index)];
        rows.push(Row::new("scatter_add_", ALL, operands, run, model).writes(&[0]).apart().detail(&detail));
        let run = move |x: &[&Tensor]| {
            x[0].index_add_(axis, x[1], x[2])?;
            Ok(vec![x[0].clone()])
        };
        let model =
            move |x: &[&Array<f64>], _: DType| vec![scattered(x[0], axis, &for_all(x[1], axis, &x[0].shape), x[2])];
        let mut source = shape.to_vec();
        source[axis] = index[axis];
        let operands = vec![any(shape), numbers(&index[axis..=axis], shape[axis]), any(&source)];
        rows.push(Row::new("index_add_", ALL, operands, run, model).writes(&[0]).apart().detail(&detail));
    }
    rows
}

#[test]
fn elements_by_their_index() -> Outcome {
    check(&lookups())
}
