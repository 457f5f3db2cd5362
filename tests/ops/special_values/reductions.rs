//! Reductions and operations on whole rows: rows with special values, and rows of equal numbers.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use wgpu_pool::{DType, Pool, Reduction, Tensor, TensorError};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const LEAST: f32 = f32::from_bits(1);

const ROWS: [[f32; 8]; 16] = [
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    [1.0, NAN, 3.0, NAN, 5.0, INF, 7.0, 8.0],
    [-NAN, INF, -INF, 0.0, 1.0, 2.0, 3.0, 4.0],
    [NAN; 8],
    [INF, 1.0, 2.0, INF, 3.0, 4.0, 5.0, 6.0],
    [-INF, 1.0, 2.0, -INF, 3.0, 4.0, 5.0, 6.0],
    [INF, -INF, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    [INF; 8],
    [-INF; 8],
    [-0.0, 0.0, -0.0, 0.0, 0.0, -0.0, 0.0, -0.0],
    [-1.0, -0.0, 0.0, -1.0, -2.0, -3.0, -0.0, 0.0],
    [5.0; 8],
    [3e38, 3e38, -3e38, 1.0, -3e38, 0.0, 0.0, 0.0],
    [1e30, -1e30, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    [88.0, 89.0, -89.0, 0.0, 100.0, 100.0, -100.0, 90.0],
    [LEAST, 0.0, -LEAST, LEAST, 1.0, 1.0, 0.5, 1.0],
];

/// The rows in every way that a kernel takes them: short, in columns, at odd places, and longer ones with `filler` behind.
fn layouts(pool: &Pool, filler: f32) -> Result<Vec<(String, Tensor)>, TensorError> {
    let all: Vec<f32> = ROWS.concat();
    let rows = Tensor::from_slice(pool, &all, [16, 8])?;
    let columns = rows.t()?.contiguous()?.t()?;
    let odd: Vec<f32> = ROWS.iter().flat_map(|row| [&[7.0; 3], &row[..], &[7.0; 2]].concat()).collect();
    let odd = Tensor::from_slice(pool, &odd, [16, 13])?.narrow(1, 3, 8)?;
    let mut found = vec![("rows".into(), rows), ("columns".into(), columns), ("at odd places".into(), odd)];
    for length in [41, 1500, 5001] {
        let long: Vec<f32> = ROWS.iter().flat_map(|row| [&row[..], &vec![filler; length - 8]].concat()).collect();
        found.push((format!("rows of {length}"), Tensor::from_slice(pool, &long, [16, length])?));
    }
    Ok(found)
}

/// The place of the largest or smallest element: the first of several, and of NaN.
fn first_extreme(row: &[f32], largest: bool) -> usize {
    let better = |x: f32, y: f32| if largest { x > y } else { x < y };
    let of_numbers = (1..row.len()).fold(0, |best, at| if better(row[at], row[best]) { at } else { best });
    row.iter().position(|x| x.is_nan()).unwrap_or(of_numbers)
}

#[test]
fn extremes_and_their_places_are_those_of_the_first_nan_or_of_the_first_of_equals() -> Outcome {
    for pool in adapter::all_shared() {
        for largest in [true, false] {
            for (kind, tensor) in layouts(pool, if largest { -INF } else { INF })? {
                let (extremes, places) = if largest {
                    (tensor.amax([1])?, tensor.argmax(1)?)
                } else {
                    (tensor.amin([1])?, tensor.argmin(1)?)
                };
                let (extremes, places) = (extremes.read_blocking::<f32>()?, places.read_blocking::<u32>()?);
                for (number, row) in ROWS.iter().enumerate() {
                    let place = first_extreme(row, largest);
                    assert_eq!(places[number] as usize, place, "{kind}, row {number}, largest: {largest}");
                    let (found, wanted) = (extremes[number], row[place]);
                    let is_flushed = wanted.is_subnormal() && found == 0.0;
                    assert!(
                        found == wanted || (found.is_nan() && wanted.is_nan()) || is_flushed,
                        "{kind}, row {number}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn variances_are_nan_of_what_has_no_mean_and_0_of_equal_numbers() -> Outcome {
    let rows: [([f32; 4], f64); 8] = [
        ([f32::NAN, 1.0, 2.0, 3.0], f64::NAN),
        ([INF, 1.0, 2.0, 3.0], f64::NAN),
        ([-INF, INF, 2.0, 3.0], f64::NAN),
        ([0.1; 4], 0.0),
        ([-0.0, 0.0, -0.0, 0.0], 0.0),
        // Far from 0, where the mean of squares less the square of the mean has no digit left.
        ([10_000.0, 10_001.0, 10_002.0, 10_003.0], 1.25),
        ([1e-3, -1e-3, 1e-3, -1e-3], 1e-6),
        ([3e38, 3e38, -3e38, -3e38], f64::INFINITY),
    ];
    let elements: Vec<f32> = rows.iter().flat_map(|(row, _)| *row).collect();
    for pool in adapter::all_shared() {
        let x = Tensor::from_slice(pool, &elements, [rows.len(), 4])?;
        for correction in [0, 1, 4, 5] {
            let found = [x.var(1, correction)?, x.var_keepdim(-1, correction)?];
            let roots = [x.std(1, correction)?, x.std_keepdim(-1, correction)?];
            for (found, roots) in found.iter().zip(&roots) {
                let (found, roots) = (found.read_blocking::<f32>()?, roots.read_blocking::<f32>()?);
                for (((row, variance), found), root) in rows.iter().zip(found).zip(roots) {
                    let wanted = variance * 4.0 / 4_usize.saturating_sub(correction) as f64;
                    let near = |found: f32, wanted: f64| {
                        let found = f64::from(found);
                        (found.is_nan() && wanted.is_nan())
                            || found == wanted
                            || (found - wanted).abs() <= 1e-5 * wanted
                    };
                    assert!(near(found, wanted), "{row:?}, {correction}: {found}, not {wanted}");
                    assert!(near(root, wanted.sqrt()), "{row:?}, {correction}: {root}");
                }
            }
        }
        let one = Tensor::full(pool, [1], 5.0_f32)?;
        assert_eq!(one.var(.., 0)?.read_blocking::<f32>()?, [0.0]);
        assert!(one.var(.., 1)?.read_blocking::<f32>()?[0].is_nan());
        let none = Tensor::zeros(pool, [2, 0], wgpu_pool::DType::F32)?;
        assert!(none.var(1, 0)?.read_blocking::<f32>()?.iter().all(|x| x.is_nan()));
        assert_eq!(none.std_keepdim(0, 1)?.shape(), [1, 0]);
    }
    Ok(())
}

#[test]
fn variances_of_equal_numbers_are_exactly_0() -> Outcome {
    for pool in adapter::all_shared() {
        for number in [0.1_f32, -1e-30, 10_000.001, 16_777_215.0, 1e20, -3e30, 3e38, f32::MAX] {
            for count in [1, 2, 3, 5, 7, 31, 100, 1000, 4097, 70_001] {
                let x = Tensor::full(pool, [count], number)?;
                let found = [x.var(.., 0)?, x.std(.., 0)?, x.reshape([count, 1])?.expand([count, 2])?.var(.., 1)?];
                for found in &found {
                    assert_eq!(found.item_blocking::<f32>()?, 0.0, "{count} times {number}");
                }
            }
            let x = Tensor::full(pool, [13, 37, 3], number)?;
            for found in [x.std(0, 1)?, x.std([0, 2], 0)?, x.std([1], 0)?, x.transpose(0, 1)?.var([-1], 0)?] {
                assert!(found.read_blocking::<f32>()?.iter().all(|&found| found == 0.0), "{number}");
            }
        }
    }
    Ok(())
}

/// The bound of `docs/guide/numerical_accuracy.md`, against float64.
#[test]
fn variances_of_numbers_far_from_0_are_accurate() -> Outcome {
    for pool in adapter::all_shared() {
        let near = |number: usize| 10_000.0 + f32::from(u8::from((number * 7).is_multiple_of(3))) * 0.001;
        let rows: [(&str, Vec<f32>); 6] = [
            ("two numbers far from 0", (0..1_000_000).map(near).collect()),
            ("few of them", (0..1000).map(near).collect()),
            ("after an outlier", (0..100_000).map(|i| if i == 0 { 1e6 } else { (i % 5) as f32 }).collect()),
            ("before an outlier", (0..100_000).map(|i| if i == 99_999 { 1e6 } else { (i % 5) as f32 }).collect()),
            ("whose sum overflows", (0..1000).map(|i| 1e38 + (i % 2) as f32 * 1e18).map(|x| x * 2.0).collect()),
            ("whose squares are large", (0..1000).map(|i| ((i % 4) as f32 - 1.5) * 3e17).collect()),
        ];
        for (what, row) in rows {
            let count = row.len() as f64;
            let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let wanted = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
            let x = Tensor::from_slice(pool, &row, [row.len()])?;
            let found = f64::from(x.var(.., 0)?.item_blocking::<f32>()?);
            let error = (found - wanted).abs() / wanted;
            assert!(found == wanted || error < 2e-5, "{what}: {found}, not {wanted}: {error:e}");
        }
    }
    Ok(())
}

#[test]
fn reductions_that_keep_their_axis_give_the_same_bits() -> Outcome {
    for pool in adapter::all_shared() {
        for (kind, x) in layouts(pool, 0.0)? {
            for (dropped, kept) in [
                (x.sum(1)?, x.sum_keepdim(1)?),
                (x.mean(1)?, x.mean_keepdim(1)?),
                (x.amax(1)?, x.amax_keepdim(1)?),
                (x.amin(1)?, x.amin_keepdim(1)?),
            ] {
                assert_eq!(kept.shape(), [16, 1], "{kind}");
                let [dropped, kept] = [dropped.read_blocking::<f32>()?, kept.read_blocking::<f32>()?];
                assert!(dropped.iter().zip(&kept).all(|(x, y)| x.to_bits() == y.to_bits()), "{kind}");
            }
            for (dropped, kept) in [(x.argmax(1)?, x.argmax_keepdim(1)?), (x.argmin(1)?, x.argmin_keepdim(1)?)] {
                assert_eq!(kept.shape(), [16, 1], "{kind}");
                assert_eq!(dropped.read_blocking::<u32>()?, kept.read_blocking::<u32>()?, "{kind}");
            }
        }
    }
    Ok(())
}

#[test]
fn sums_and_means_of_special_values_equal_the_model() -> Outcome {
    for pool in adapter::all_shared() {
        for (kind, tensor) in layouts(pool, 0.0)? {
            let length = tensor.shape()[1] as f64;
            let sums = tensor.sum([1])?.read_blocking::<f32>()?;
            let means = tensor.mean([1])?.read_blocking::<f32>()?;
            for (number, row) in ROWS.iter().enumerate() {
                let wanted: f64 = row.iter().map(|&x| f64::from(x)).sum();
                let magnitude: f64 = row.iter().map(|&x| f64::from(x).abs()).sum();
                // Sums of the largest numbers may overflow on the way.
                let may_overflow = magnitude > f64::from(f32::MAX) && magnitude.is_finite();
                let near = |found: f32, wanted: f64, magnitude: f64| {
                    let distance = (f64::from(found) - wanted).abs();
                    (found.is_nan() && wanted.is_nan())
                        || f64::from(found) == wanted
                        || distance <= magnitude * 1e-6 + 1e-37
                        || (may_overflow && !found.is_finite())
                };
                assert!(near(sums[number], wanted, magnitude), "sum, {kind}, row {number}: {}", sums[number]);
                let mean = wanted / length;
                assert!(near(means[number], mean, magnitude / length), "mean, {kind}, row {number}: {}", means[number]);
            }
        }
    }
    Ok(())
}

#[test]
fn softmax_of_special_values_equals_the_model() -> Outcome {
    for pool in adapter::all_shared() {
        for (kind, tensor) in layouts(pool, -INF)? {
            let length = tensor.shape()[1];
            let (likely, logarithms) = (tensor.softmax(1)?, tensor.log_softmax(1)?);
            let (likely, logarithms) = (likely.read_blocking::<f32>()?, logarithms.read_blocking::<f32>()?);
            for (number, row) in ROWS.iter().enumerate() {
                let top = row.iter().fold(f64::NEG_INFINITY, |top, &x| top.max(f64::from(x)));
                let total: f64 = row.iter().map(|&x| (f64::from(x) - top).exp()).sum();
                for (at, &x) in row.iter().enumerate() {
                    let (found, wanted) = (likely[number * length + at], (f64::from(x) - top).exp() / total);
                    let is_right = (found.is_nan() && wanted.is_nan())
                        || (f64::from(found) - wanted).abs() <= 1e-5 * wanted + 1e-37;
                    assert!(is_right, "softmax, {kind}, row {number}: {found}, not {wanted}");
                    let (found, wanted) = (logarithms[number * length + at], f64::from(x) - top - total.ln());
                    let is_right = (found.is_nan() && wanted.is_nan())
                        || f64::from(found) == wanted
                        || (f64::from(found) - wanted).abs() <= 1e-5 * wanted.abs().max(1.0)
                        || (found.is_infinite() && wanted < f64::from(f32::MIN));
                    assert!(is_right, "log_softmax, {kind}, row {number}: {found}, not {wanted}");
                }
            }
        }
    }
    Ok(())
}

/// Lengths of rows that one kernel holds, and longer ones.
const LENGTHS: [usize; 16] = [1, 2, 3, 5, 7, 8, 41, 47, 55, 61, 82, 96, 100, 768, 1000, 4100];

#[test]
fn rows_of_equal_numbers_have_that_mean_and_no_variance() -> Outcome {
    for pool in adapter::all_shared() {
        for length in LENGTHS {
            for number in [0.1_f32, 1.0, 1000.0, -1e6, 1e-20, 3e30] {
                let rows = Tensor::full(pool, [2, length], number)?;
                let bias = Tensor::full(pool, [length], 0.25_f32)?;
                let found = rows.layer_norm(None, Some(&bias), 1e-5)?.read_blocking::<f32>()?;
                assert_eq!(found, vec![0.25; 2 * length], "{length} times {number:e}");
            }
            let ones = Tensor::full(pool, [2, length], 1.0_f32)?;
            assert_eq!(ones.mean([1])?.read_blocking::<f32>()?, [1.0; 2], "{length}");
            assert_eq!(ones.t()?.contiguous()?.mean([0])?.read_blocking::<f32>()?, [1.0; 2], "{length}");
            let threes = ones.mul(3.0_f32)?.reshape([1, 1, 2, length])?;
            let window = Window::new([2, length], [1, 1], [0, 0]);
            assert_eq!(threes.avg_pool2d(window.avg())?.read_blocking::<f32>()?, [3.0], "{length}");
            let loss = ones.mse_loss(&Tensor::zeros(pool, [2, length], DType::F32)?, Reduction::Mean)?;
            assert_eq!(loss.read_blocking::<f32>()?, [1.0], "{length}");
        }
    }
    Ok(())
}

#[test]
fn norms_of_numbers_far_from_0_and_of_special_values_equal_the_model() -> Outcome {
    for pool in adapter::all_shared() {
        // A large mean and a small spread; and one number that is far from all others, first and last.
        for length in [48, 768, 5000, 5001] {
            let spread: Vec<f32> = (0..length).map(|at: u16| 10_000.0 + f32::from(at % 7)).collect();
            let outlier = |place: usize| {
                let mut row: Vec<f32> = (0..length).map(|at: u16| f32::from(at % 5)).collect();
                row[place] = 1e8;
                row
            };
            let count = usize::from(length);
            for row in [spread, outlier(0), outlier(count - 1)] {
                let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
                let variance = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count as f64;
                let found = Tensor::from_slice(pool, &row, [1, count])?.layer_norm(None, None, 1e-5)?;
                for (&x, &found) in row.iter().zip(&found.read_blocking::<f32>()?) {
                    let wanted = (f64::from(x) - mean) / (variance + 1e-5).sqrt();
                    let allowed = 100.0 * f64::from(f32::EPSILON) * wanted.abs().max(1.0);
                    assert!((f64::from(found) - wanted).abs() <= allowed, "{length}: {found}, not {wanted}");
                }
            }
        }
        for (kind, tensor) in layouts(pool, 1.0)? {
            let length = tensor.shape()[1];
            let elements = tensor.read_blocking::<f32>()?;
            let normalized = tensor.layer_norm(None, None, 1e-5)?.read_blocking::<f32>()?;
            let scaled = tensor.rms_norm(None, 1e-5)?.read_blocking::<f32>()?;
            for (number, row) in ROWS.iter().enumerate() {
                let of_row = |all: &[f32]| all[number * length..(number + 1) * length].to_vec();
                let whole: Vec<f64> =
                    elements[number * length..(number + 1) * length].iter().map(|&x| x.into()).collect();
                for (what, found, mean) in [
                    ("layer_norm", of_row(&normalized), whole.iter().sum::<f64>() / length as f64),
                    ("rms_norm", of_row(&scaled), 0.0),
                ] {
                    let squares = whole.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                    let root = (squares / length as f64 + 1e-5).sqrt();
                    for (&found, x) in found.iter().zip(&whole) {
                        let (found, wanted) = (f64::from(found), (x - mean) / root);
                        let allowed = 100.0 * f64::from(f32::EPSILON) * wanted.abs().max(1.0);
                        let is_near = match squares {
                            in_range if in_range < f64::from(f32::MAX) => (found - wanted).abs() <= allowed,
                            // As PyTorch in f32. Differences to the mean overflow in layer_norm alone.
                            finite if finite.is_finite() => found == 0.0 || (found.is_nan() && what == "layer_norm"),
                            _ => true,
                        };
                        assert!(is_near, "{what}, {kind}, row {number}: {found}, not {wanted}");
                    }
                }
                if row.iter().any(|x| x.is_nan()) {
                    assert!(of_row(&normalized).iter().all(|x| x.is_nan()), "layer_norm, {kind}, row {number}");
                    assert!(of_row(&scaled).iter().all(|x| x.is_nan()), "rms_norm, {kind}, row {number}");
                } else if row.iter().any(|x| x.is_infinite()) {
                    assert!(of_row(&normalized).iter().all(|x| x.is_nan()), "layer_norm, {kind}, row {number}");
                    let wanted = |x: &f32| if x.is_infinite() { NAN } else { 0.0 };
                    for (found, x) in of_row(&scaled).iter().zip(row) {
                        assert!(
                            found.is_nan() == wanted(x).is_nan() && (found.is_nan() || *found == 0.0),
                            "{kind} {number}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}
