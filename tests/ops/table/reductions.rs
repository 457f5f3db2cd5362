//! Rows of reductions, of operations on whole rows, and of losses.

use super::elementwise::dtypes_for;
use super::{ALL, FLOATS, Row, any, below, check, positive};
use crate::common::Outcome;
use crate::model::{Array, indices};
use crate::special_values::table::{larger, smaller};
use wgpu_pool::{CrossEntropy, DType, Reduction, Tensor, TensorError};

/// Shapes and the axes along which they are reduced, for each of the ways in which reductions go over their operand:
/// few elements, rows of a team, rows of a workgroup, columns of vec4, and any others.
const REDUCED: [(&[usize], &[usize]); 10] = [
    (&[5, 7], &[1]),
    (&[5, 7], &[0]),
    (&[3, 40], &[1]),
    (&[2, 1100], &[1]),
    (&[33, 8], &[0]),
    (&[3, 5, 11], &[0, 2]),
    (&[3, 5, 11], &[]),
    (&[2, 4, 12], &[1]),
    (&[2; 8], &[1, 3, 4, 6]),
    (&[2, 3, 2, 2, 2, 2, 3], &[0, 2, 5]),
];

type Join = fn(f64, f64) -> f64;
type Reduce = fn(&Tensor, &[usize]) -> Result<Tensor, TensorError>;

/// The number of elements that an element of the result is made of.
fn reduced(shape: &[usize], axes: &[usize]) -> f64 {
    let is_reduced = |axis: &usize| axes.is_empty() || axes.contains(axis);
    (0..shape.len()).filter(is_reduced).map(|axis| shape[axis] as f64).product()
}

pub(super) fn reductions() -> Vec<Row> {
    type Kind = (&'static str, &'static [DType], bool, Reduce, f64, Join);
    let kinds: [Kind; 8] = [
        ("sum", ALL, false, |x, axes| x.sum(axes), 0.0, |sum, x| sum + x),
        ("sum_keepdim", ALL, true, |x, axes| x.sum_keepdim(axes), 0.0, |sum, x| sum + x),
        ("mean", FLOATS, false, |x, axes| x.mean(axes), 0.0, |sum, x| sum + x),
        ("mean_keepdim", FLOATS, true, |x, axes| x.mean_keepdim(axes), 0.0, |sum, x| sum + x),
        ("amax", ALL, false, |x, axes| x.amax(axes), f64::NEG_INFINITY, larger),
        ("amax_keepdim", ALL, true, |x, axes| x.amax_keepdim(axes), f64::NEG_INFINITY, larger),
        ("amin", ALL, false, |x, axes| x.amin(axes), f64::INFINITY, smaller),
        ("amin_keepdim", ALL, true, |x, axes| x.amin_keepdim(axes), f64::INFINITY, smaller),
    ];
    let mut rows = Vec::new();
    for (name, dtypes, keep, run, start, join) in kinds {
        for (shape, axes) in REDUCED {
            let divisor = if name.starts_with("mean") { reduced(shape, axes) } else { 1.0 };
            let run = move |x: &[&Tensor]| Ok(vec![run(x[0], axes)?]);
            let model = move |x: &[&Array<f64>], _| vec![x[0].fold(axes, keep, start, join).map(|x| x / divisor)];
            rows.push(Row::new(name, dtypes, vec![any(shape)], run, model).detail(format_args!("{shape:?} {axes:?}")));
        }
    }
    rows
}

pub(super) fn variances() -> Vec<Row> {
    type Spread = fn(&Tensor, &[usize], usize) -> Result<Tensor, TensorError>;
    type Kind = (&'static str, bool, Spread, fn(f64) -> f64);
    let kinds: [Kind; 4] = [
        ("var", false, |x, axes, correction| x.var(axes, correction), |x| x),
        ("var_keepdim", true, |x, axes, correction| x.var_keepdim(axes, correction), |x| x),
        ("std", false, |x, axes, correction| x.std(axes, correction), f64::sqrt),
        ("std_keepdim", true, |x, axes, correction| x.std_keepdim(axes, correction), f64::sqrt),
    ];
    let mut rows = Vec::new();
    for (name, keep, run, of_variance) in kinds {
        for ((shape, axes), correction) in REDUCED.into_iter().flat_map(|reduced| [(reduced, 0), (reduced, 1)]) {
            let run = move |x: &[&Tensor]| Ok(vec![run(x[0], axes, correction)?]);
            let model = move |x: &[&Array<f64>], _| {
                let count = reduced(shape, axes);
                let mean = x[0].fold(axes, true, 0.0, |sum, x| sum + x).map(|sum| sum / count);
                let squares = x[0].zip(&mean, |x, mean| (x - mean) * (x - mean));
                let sum = squares.fold(axes, keep, 0.0, |sum, x| sum + x);
                vec![sum.map(|sum| of_variance(sum / (count - correction as f64)))]
            };
            rows.push(Row::new(name, FLOATS, vec![any(shape)], run, model).detail(format_args!("{shape:?} {axes:?}")));
        }
    }
    rows
}

/// The first index of the best element, or of the first NaN, of each line along an axis.
fn index_of_best(x: &Array<f64>, axis: usize, keep: bool, is_better: fn(&f64, &f64) -> bool) -> Array<f64> {
    let mut shape = x.shape.clone();
    shape[axis] = 1;
    let found = Array::by_index(&shape, |index| {
        let at = |along: usize| {
            let mut index = index.to_vec();
            index[axis] = along;
            x.at(&index)
        };
        let better = |best: usize, along: usize| {
            let (best_yet, next) = (at(best), at(along));
            if !best_yet.is_nan() && (next.is_nan() || is_better(&next, &best_yet)) { along } else { best }
        };
        (1..x.shape[axis]).fold(0, better) as f64
    });
    if keep {
        return found;
    }
    shape.remove(axis);
    found.reshape(&shape)
}

pub(super) fn indices_of_extremes() -> Vec<Row> {
    let mut rows = Vec::new();
    type Find = fn(&Tensor, usize) -> Result<Tensor, TensorError>;
    type Kind = (&'static str, bool, Find, fn(&f64, &f64) -> bool);
    let kinds: [Kind; 4] = [
        ("argmax", false, |x, axis| x.argmax(axis), f64::gt),
        ("argmax_keepdim", true, |x, axis| x.argmax_keepdim(axis), f64::gt),
        ("argmin", false, |x, axis| x.argmin(axis), f64::lt),
        ("argmin_keepdim", true, |x, axis| x.argmin_keepdim(axis), f64::lt),
    ];
    for (shape, axis) in
        [(&[5, 7][..], 1), (&[5, 7], 0), (&[3, 4, 8], 1), (&[2, 40], 1), (&[2, 2, 3, 2, 2, 2, 2, 2], 2)]
    {
        for (name, keep, run, is_better) in kinds {
            let run = move |x: &[&Tensor]| Ok(vec![run(x[0], axis)?]);
            let model = move |x: &[&Array<f64>], _| vec![index_of_best(x[0], axis, keep, is_better)];
            rows.push(Row::new(name, ALL, vec![any(shape)], run, model));
        }
    }
    rows
}

/// exp(x) over its sum along an axis.
fn softmax(x: &Array<f64>, axis: usize) -> Array<f64> {
    let most = x.fold(&[axis], true, f64::NEG_INFINITY, f64::max);
    let raised = x.zip(&most, |x, most| (x - most).exp());
    raised.zip(&raised.fold(&[axis], true, 0.0, |sum, x| sum + x), |x, sum| x / sum)
}

/// The logarithm of softmax, which is finite where that is 0.
fn log_softmax(x: &Array<f64>, axis: usize) -> Array<f64> {
    let less = x.zip(&x.fold(&[axis], true, f64::NEG_INFINITY, f64::max), |x, most| x - most);
    let sums = less.map(f64::exp).fold(&[axis], true, 0.0, |sum, x| sum + x);
    less.zip(&sums, |x, sum| x - sum.ln())
}

/// (x - mean) / √(variance + epsilon), or x / √(mean of squares + epsilon), along the last axis.
fn normalized(x: &Array<f64>, epsilon: f64, is_centred: bool) -> Array<f64> {
    let axis = x.shape.len() - 1;
    let count = x.shape[axis] as f64;
    let mean = |x: &Array<f64>| x.fold(&[axis], true, 0.0, |sum, x| sum + x).map(|sum| sum / count);
    let centred = if is_centred { x.zip(&mean(x), |x, mean| x - mean) } else { x.clone() };
    let variance = mean(&centred.map(|x| x * x));
    centred.zip(&variance, |x, variance| x / (variance + epsilon).sqrt())
}

pub(super) fn rows_of_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (shape, axis) in [
        (&[5, 7][..], 1),
        (&[3, 8], 1),
        (&[3, 4, 5], 1),
        (&[1030, 3], 1),
        (&[2, 2, 2, 2, 3, 2, 2, 2], 4),
        (&[2, 2, 2, 2, 2, 2, 2, 5], 7),
        (&[3, 2, 2, 2, 2, 2, 2], 0),
    ] {
        let run = move |x: &[&Tensor]| Ok(vec![x[0].softmax(axis)?]);
        let model = move |x: &[&Array<f64>], _| vec![softmax(x[0], axis)];
        rows.push(Row::new("softmax", FLOATS, vec![any(shape)], run, model).detail(format_args!("{shape:?}")));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].log_softmax(axis)?]);
        let model = move |x: &[&Array<f64>], _| vec![log_softmax(x[0], axis)];
        rows.push(Row::new("log_softmax", FLOATS, vec![any(shape)], run, model).within(2e-5));
    }
    for shape in [&[5, 7][..], &[3, 8], &[2, 2, 2, 2, 2, 2, 5], &[2, 1, 2, 2, 2, 3, 2, 4]] {
        let row = &shape[shape.len() - 1..];
        let dtypes = dtypes_for(shape, FLOATS);
        let epsilon = 0.5_f32;
        let run = move |x: &[&Tensor]| Ok(vec![x[0].layer_norm(Some(x[1]), Some(x[2]), epsilon)?]);
        let model = |x: &[&Array<f64>], _: DType| {
            vec![normalized(x[0], 0.5, true).zip(x[1], |x, weight| x * weight).zip(x[2], |x, bias| x + bias)]
        };
        rows.push(Row::new("layer_norm", dtypes, vec![any(shape), any(row), any(row)], run, model).within(2e-5));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].layer_norm(None, None, epsilon)?]);
        let model = |x: &[&Array<f64>], _: DType| vec![normalized(x[0], 0.5, true)];
        rows.push(Row::new("layer_norm", dtypes, vec![any(shape)], run, model).within(2e-5).detail("alone"));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].rms_norm(Some(x[1]), epsilon)?]);
        let model = |x: &[&Array<f64>], _: DType| vec![normalized(x[0], 0.5, false).zip(x[1], |x, weight| x * weight)];
        rows.push(Row::new("rms_norm", dtypes, vec![any(shape), any(row)], run, model).within(2e-5));
    }
    rows
}

/// The class of a target.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a class")]
fn class_of(targets: &Array<f64>, index: &[usize]) -> usize {
    targets.at(index) as usize
}

/// The losses of a classification and its gradient by the logits, by PyTorch's formulas.
fn classification(x: &[&Array<f64>], ignored: usize, smoothing: f64, reduction: Reduction) -> [Array<f64>; 2] {
    let (likely, logarithms, targets) = (softmax(x[0], 1), log_softmax(x[0], 1), x[1]);
    let classes = likely.shape[1];
    let weight = |class: usize| x.get(2).map_or(1.0, |weights| weights.elements[class]);
    let at = |index: &[usize], class: usize| {
        let mut full = index.to_vec();
        full.insert(1, class);
        full
    };
    let spread = smoothing / classes as f64;
    let part = |target: usize, class: usize| if class == target { 1.0 - smoothing + spread } else { spread };
    let is_counted = |index: &[usize]| class_of(targets, index) != ignored;
    let all = indices(&targets.shape);
    let count = match reduction {
        Reduction::Mean => {
            let counted = all.iter().filter(|index| is_counted(index));
            counted.map(|index| weight(class_of(targets, index))).sum()
        }
        _ => 1.0,
    };
    let loss = |index: &[usize]| {
        let target = class_of(targets, index);
        let of_class = |class| {
            // A class without a part has none, not even times infinity.
            let part = part(target, class);
            if part == 0.0 { 0.0 } else { -logarithms.at(&at(index, class)) * weight(class) * part }
        };
        if is_counted(index) { (0..classes).map(of_class).sum() } else { 0.0 }
    };
    let losses = Array::by_index(&targets.shape, loss);
    let gradient = |full: &[usize]| {
        let mut index = full.to_vec();
        let class = index.remove(1);
        let target = class_of(targets, &index);
        // Nor has its weight.
        let weighed = |class: usize| if part(target, class) == 0.0 { 0.0 } else { weight(class) * part(target, class) };
        let total: f64 = (0..classes).map(weighed).sum();
        let slope = likely.at(full) * total - weighed(class);
        if is_counted(&index) { slope / count } else { 0.0 }
    };
    let result = match reduction {
        Reduction::None => losses,
        _ => Array { shape: Vec::new(), elements: vec![losses.elements.iter().sum::<f64>() / count] },
    };
    [result, Array::by_index(&likely.shape, gradient)]
}

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

pub(super) fn losses() -> Vec<Row> {
    let mut rows = Vec::new();
    let shapes = [&[5, 7][..], &[3, 8], &[2, 3, 2, 2, 2, 2, 2], &[2; 8]];
    for (shape, reduction) in shapes.into_iter().flat_map(|shape| REDUCTIONS.map(|one| (shape, one))) {
        let dtypes = dtypes_for(shape, FLOATS);
        let run = move |x: &[&Tensor]| Ok(vec![x[0].mse_loss(x[1], reduction)?]);
        let count = move |x: &Array<f64>| if reduction == Reduction::Mean { x.elements.len() as f64 } else { 1.0 };
        let model = move |x: &[&Array<f64>], _: DType| {
            let squares = x[0].zip(x[1], |x, y| (x - y).powi(2));
            if reduction == Reduction::None {
                return vec![squares];
            }
            let count = count(x[0]);
            vec![squares.fold(&[], false, 0.0, |sum, x| sum + x).map(|sum| sum / count)]
        };
        let row = Row::new("mse_loss", dtypes, vec![any(shape), any(shape)], run, model);
        rows.push(row.detail(format_args!("{reduction:?}")));
        let run = move |x: &[&Tensor]| Ok(vec![x[0].mse_loss_backward(x[1], reduction)?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let count = count(x[0]);
            vec![x[0].zip(x[1], |x, y| 2.0 * (x - y) / count)]
        };
        let row = Row::new("mse_loss_backward", dtypes, vec![any(shape), any(shape)], run, model);
        rows.push(row.detail(format_args!("{reduction:?}")));
    }
    let plain = [
        (&[5, 7][..], &[5][..]),
        (&[3, 8], &[3]),
        (&[2, 3, 5], &[2, 5]),
        (&[6], &[]),
        (&[2, 3, 2, 2, 2, 2, 2], &[2, 2, 2, 2, 2, 2]),
        (&[2, 4, 2, 1, 2, 2, 2, 3], &[2, 2, 1, 2, 2, 2, 3]),
    ];
    let plain = plain.map(|(shape, targets)| (shape, targets, false, 100, 0.0, Reduction::Mean));
    let options = REDUCTIONS.into_iter().flat_map(|reduction| {
        // An ignored class, the smoothing, and weights.
        [(2, 0.0, true), (1, 0.25, false), (0, 0.5, true), (100, 0.0, true)].map(|(ignored, smoothing, weighted)| {
            (&[2, 3, 5][..], &[2, 5][..], weighted, ignored, smoothing, reduction)
        })
    });
    for (shape, targets, weighted, ignored, smoothing, reduction) in plain.into_iter().chain(options) {
        let dtypes = dtypes_for(shape, FLOATS);
        let classes = if shape.len() == 1 { shape[0] } else { shape[1] };
        let mut operands = vec![any(shape), below(targets, classes)];
        operands.extend(weighted.then(|| positive(&[classes])));
        let options =
            move |x: &[&Tensor], run: fn(&Tensor, &Tensor, CrossEntropy<'_>) -> Result<Tensor, TensorError>| {
                let weight = x.get(2).copied();
                let (ignore_index, label_smoothing) = (ignored, smoothing);
                Ok(vec![run(x[0], x[1], CrossEntropy { weight, ignore_index, reduction, label_smoothing })?])
            };
        let model = move |x: &[&Array<f64>]| {
            let ignored = usize::try_from(ignored).expect("a class");
            if x[0].shape.len() > 1 {
                return classification(x, ignored, f64::from(smoothing), reduction);
            }
            let row = Array { shape: vec![1, classes], elements: x[0].elements.clone() };
            let target = Array { shape: vec![1], elements: x[1].elements.clone() };
            let [loss, gradient] = classification(&[&row, &target], ignored, f64::from(smoothing), reduction);
            [loss, Array { shape: vec![classes], elements: gradient.elements }]
        };
        let detail = format!("{reduction:?}, {ignored} ignored, smoothing {smoothing}");
        let (run, loss) = (options, move |x: &[&Array<f64>], _: DType| model(x)[..1].to_vec());
        let run = move |x: &[&Tensor]| run(x, Tensor::cross_entropy);
        rows.push(Row::new("cross_entropy", dtypes, operands.clone(), run, loss).within(4e-5).detail(&detail));
        let gradient = move |x: &[&Array<f64>], _: DType| model(x)[1..].to_vec();
        let run = move |x: &[&Tensor]| options(x, Tensor::cross_entropy_backward);
        rows.push(Row::new("cross_entropy_backward", dtypes, operands, run, gradient).within(1e-5).detail(&detail));
    }
    rows
}

#[test]
fn variances_and_standard_deviations() -> Outcome {
    check(&variances())
}

#[test]
fn reductions_along_every_kind_of_axis() -> Outcome {
    check(&reductions())
}

#[test]
fn indices_of_the_extremes() -> Outcome {
    check(&indices_of_extremes())
}

#[test]
fn softmax_and_norms() -> Outcome {
    check(&rows_of_rows())
}

#[test]
fn losses_and_their_gradients() -> Outcome {
    check(&losses())
}
