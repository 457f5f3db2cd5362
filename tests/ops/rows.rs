//! Softmax and norms, against the model in 64 bits.
//!
//! The tolerance of a softmax is that of two exponentials and a division by WGSL's accuracy table, and of a sum of positive
//! numbers; those of the others follow in absolute terms, for elements of a few units.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, ulp};
use wgpu_pool::{DType, Tensor};

/// Lengths near the size of a vec4, of a workgroup, and near the number of elements of an invocation and of a workgroup.
const LENGTHS: [usize; 14] = [1, 2, 3, 4, 7, 8, 255, 1000, 1024, 1028, 2052, 4096, 4100, 5001];

fn rows_of(x: &Array<f32>) -> impl Iterator<Item = Vec<f64>> + '_ {
    let columns = x.shape[x.shape.len() - 1];
    x.elements.chunks(columns).map(|row| row.iter().copied().map(f64::from).collect())
}

fn by_rows(x: &Array<f32>, apply: impl Fn(&[f64]) -> Vec<f64>) -> Array<f64> {
    Array { shape: x.shape.clone(), elements: rows_of(x).flat_map(|row| apply(&row)).collect() }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = row.iter().map(|x| (x - top).exp()).sum();
    row.iter().map(|x| (x - top).exp() / total).collect()
}

fn normalized(row: &[f64], mean: f64, epsilon: f64) -> Vec<f64> {
    let count = f64::from(u32::try_from(row.len()).expect("rows are short"));
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    row.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()).collect()
}

fn mean(row: &[f64]) -> f64 {
    row.iter().sum::<f64>() / f64::from(u32::try_from(row.len()).expect("rows are short"))
}

/// Numbers from -12 to 4.
fn spread(shape: &[usize], random: &mut Random) -> Array<f32> {
    Array::real(shape, random).map(|x| x * 8.0 - 4.0)
}

fn close_softmax(found: &Tensor, wanted: &Array<f64>, what: &str) {
    // The exponent is at most 16 below the top: 3 + 2 * 16 units each.
    assert_close(found, wanted, |_, y| 100.0 * ulp(y), what);
}

#[test]
fn softmax_and_its_logarithm_equal_the_model_at_every_length() -> Outcome {
    let mut random = Random::new(90);
    for pool in adapter::all_shared() {
        for length in LENGTHS {
            let x = spread(&[3, length], &mut random);
            let tensor = x.to_device(pool)?;
            let wanted = by_rows(&x, softmax);
            close_softmax(&tensor.softmax(1)?, &wanted, &format!("softmax of {length}"));
            assert_close(&tensor.log_softmax(1)?, &wanted.map(f64::ln), |_, _| 2e-5, format_args!("log of {length}"));
        }
    }
    Ok(())
}

#[test]
fn softmax_goes_along_any_axis_of_any_view() -> Outcome {
    let mut random = Random::new(91);
    for pool in adapter::all_shared() {
        let x = spread(&[5, 8, 12], &mut random);
        let tensor = x.to_device(pool)?;
        for axis in 0..3 {
            let mut axes = [0, 1, 2];
            axes.swap(axis, 2);
            let transposed = by_rows(&x.permute(&axes), softmax);
            close_softmax(&tensor.softmax(axis)?, &transposed.permute(&axes), &format!("axis {axis}"));
            let logarithm = transposed.permute(&axes).map(f64::ln);
            assert_close(&tensor.log_softmax(axis)?, &logarithm, |_, _| 2e-5, format_args!("log, axis {axis}"));
        }
        let many = spread(&[1500, 5], &mut random);
        let (rows, wanted) = (many.to_device(pool)?, by_rows(&many, softmax));
        close_softmax(&rows.softmax(1)?, &wanted, "many short rows");
        assert_close(&rows.log_softmax(1)?, &wanted.map(f64::ln), |_, _| 2e-5, "log of many short rows");
        for start in 0..5 {
            let (part, model) = (tensor.narrow(2, start, 7)?, x.narrow(2, start, 7));
            close_softmax(&part.softmax(2)?, &by_rows(&model, softmax), &format!("from {start}"));
            let (part, model) =
                (tensor.reshape([40, 12])?.narrow(0, start, 9)?, x.reshape(&[40, 12]).narrow(0, start, 9));
            close_softmax(&part.softmax(1)?, &by_rows(&model, softmax), &format!("rows from {start}"));
        }
    }
    Ok(())
}

#[test]
fn softmax_keeps_the_rules_of_infinities_and_never_overflows() -> Outcome {
    const INF: f32 = f32::INFINITY;
    for pool in adapter::all_shared() {
        // As a row, and as a column, which no workgroup holds.
        for (length, columns) in [(4, None), (5, None), (4, Some(1)), (5, Some(1))] {
            let row = |elements: [f32; 4]| {
                let mut row = elements.to_vec();
                row.extend(std::iter::repeat_n(-INF, length - 4));
                let shape: Vec<usize> = std::iter::once(length).chain(columns).collect();
                Tensor::from_slice(pool, &row, shape)?.softmax(0)?.read_blocking::<f32>()
            };
            let halves = row([3e38, 3e38, -INF, -3e38])?;
            assert_eq!(halves[..4], [0.5, 0.5, 0.0, 0.0], "of {length}");
            assert_eq!(row([-3e38; 4])?[..4], [0.25; 4], "of {length}");
            for elements in [[INF, 0.0, 0.0, 0.0], [f32::NAN, 0.0, 1.0, 2.0], [-INF; 4]] {
                let found = row(elements)?;
                assert!(found.iter().all(|x| x.is_nan()), "{elements:?} of {length}: {found:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn norms_equal_the_model_at_every_length() -> Outcome {
    let mut random = Random::new(92);
    for pool in adapter::all_shared() {
        for length in LENGTHS {
            let x = spread(&[3, length], &mut random);
            let (w, b) = (Array::real(&[length], &mut random), Array::real(&[length], &mut random));
            let (tensor, weight, bias) = (x.to_device(pool)?, w.to_device(pool)?, b.to_device(pool)?);
            let epsilon = 0.001_f32;
            let layer = by_rows(&x, |row| normalized(row, mean(row), f64::from(epsilon)));
            let root = by_rows(&x, |row| normalized(row, 0.0, f64::from(epsilon)));
            let scaled = |norms: &Array<f64>, with_bias: bool| {
                let element = |at: usize| {
                    let bias = if with_bias { f64::from(b.elements[at % length]) } else { 0.0 };
                    norms.elements[at] * f64::from(w.elements[at % length]) + bias
                };
                Array { shape: norms.shape.clone(), elements: (0..norms.elements.len()).map(element).collect() }
            };
            let close = |found: Tensor, wanted: &Array<f64>, what: &str| {
                assert_close(&found, wanted, |_, y| 2e-5 * (1.0 + y.abs()), format_args!("{what} of {length}"));
            };
            close(tensor.layer_norm(None, None, epsilon)?, &layer, "layer norm");
            close(tensor.layer_norm(Some(&weight), Some(&bias), epsilon)?, &scaled(&layer, true), "with both");
            close(tensor.layer_norm(Some(&weight), None, epsilon)?, &scaled(&layer, false), "with a weight");
            close(tensor.rms_norm(None, epsilon)?, &root, "root mean square");
            close(tensor.rms_norm(Some(&weight), epsilon)?, &scaled(&root, false), "with a weight, root mean square");
        }
    }
    Ok(())
}

#[test]
fn operands_of_a_norm_may_be_views_of_one_storage() -> Outcome {
    let mut random = Random::new(93);
    for pool in adapter::all_shared() {
        let x = spread(&[6, 8], &mut random);
        let tensor = x.to_device(pool)?;
        let row = |at: usize| tensor.narrow(0, at, 1)?.reshape([8]);
        let found = tensor.narrow(0, 2, 4)?.layer_norm(Some(&row(0)?), Some(&row(1)?), 0.01)?;
        let mut wanted = by_rows(&x.narrow(0, 2, 4), |row| normalized(row, mean(row), f64::from(0.01_f32)));
        for (at, y) in wanted.elements.iter_mut().enumerate() {
            *y = *y * f64::from(x.elements[at % 8]) + f64::from(x.elements[8 + at % 8]);
        }
        assert_close(&found, &wanted, |_, _| 5e-4, "views");
        let (w, b) = (Array::real(&[24], &mut random), Array::real(&[24], &mut random));
        for [of_weight, of_bias] in [[8, 16], [4, 1], [3, 4]] {
            let weight = w.to_device(pool)?.narrow(0, of_weight, 8)?;
            let bias = b.to_device(pool)?.narrow(0, of_bias, 8)?;
            let found = tensor.layer_norm(Some(&weight), Some(&bias), 0.01)?;
            let mut wanted = by_rows(&x, |row| normalized(row, mean(row), f64::from(0.01_f32)));
            for (at, y) in wanted.elements.iter_mut().enumerate() {
                *y = *y * f64::from(w.elements[of_weight + at % 8]) + f64::from(b.elements[of_bias + at % 8]);
            }
            assert_close(&found, &wanted, |_, _| 5e-5, format_args!("from {of_weight} and {of_bias}"));
        }
    }
    Ok(())
}

#[test]
fn rows_that_cannot_be_are_refused() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::zeros(pool, [2, 3], DType::F32)?;
        let refused = |outcome: Result<Tensor, wgpu_pool::TensorError>| match outcome {
            Ok(found) => panic!("{found:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            refused(x.softmax(2)),
            "softmax: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1"
        );
        assert_eq!(
            refused(x.layer_norm(Some(&x), None, 0.1)),
            "layer_norm: the weight [2, 3] must have shape [3] for the input [2, 3]"
        );
        let bias = Tensor::zeros(pool, [2], DType::F32)?;
        assert_eq!(
            refused(x.layer_norm(None, Some(&bias), 0.1)),
            "layer_norm: the bias [2] must have shape [3] for the input [2, 3]"
        );
        assert_eq!(
            refused(x.rms_norm(Some(&bias), 0.1)),
            "rms_norm: the weight [2] must have shape [3] for the input [2, 3]"
        );
        let whole = Tensor::zeros(pool, [2, 3], DType::I32)?;
        assert_eq!(
            refused(whole.log_softmax(0)),
            "log_softmax: the input has dtype i32, for which log_softmax is not defined: convert with `to`"
        );
        assert_eq!(
            refused(whole.rms_norm(None, 0.1)),
            "rms_norm: the input has dtype i32, for which rms_norm is not defined: convert with `to`"
        );
        let scalar = Tensor::zeros(pool, [], DType::F32)?;
        assert_eq!(
            refused(scalar.layer_norm(None, None, 0.1)),
            "layer_norm: the input [] has 0 dimensions, and 1 or more are needed"
        );
        assert_eq!(Tensor::zeros(pool, [0, 3], DType::F32)?.softmax(1)?.shape(), [0, 3]);
        assert_eq!(Tensor::zeros(pool, [3, 0], DType::F32)?.softmax(1)?.shape(), [3, 0]);
    }
    Ok(())
}
