//! Every operation that a case may name.

use crate::elementwise::{self, Way, as_given, number_first, with_scalar};
use crate::operands::{
    Failure, R, avg_pool, boolean, convolution, dtype, e, list, max_pool, num, pair, patches, real, signed,
};
use serde_json::Value;
use std::ops::RangeFull;
use wgpu_pool::{
    AdamW, AdamWParameter, Corners, CrossEntropy, DType, Pool, Reduction, Sgd, SgdParameter, Tensor, TensorError, f16,
    fuse,
};

/// Runs an operation on its inputs, with its other arguments. One that is not here is [`Failure::Unknown`].
pub(crate) fn run(pool: &Pool, op: &str, way: Way, i: &[Tensor], a: &Value) -> R<Vec<Tensor>> {
    if let Some(result) = elementwise::run(op, way, i, &a["scalar"]) {
        return Ok(vec![result?]);
    }
    let one = |r: R<Tensor>| r.map(|t| vec![t]);
    match op {
        "radd_scalar" | "rsub_scalar" | "rmul_scalar" | "rdiv_scalar" | "rpow_scalar" | "rremainder_scalar" => {
            one(number_first(op, &i[0], &a["scalar"]))
        }
        "add_alpha" => {
            let c = e(e(i[0].expand(list(&a["shape"])))?.copied())?;
            with_scalar!(c, &a["alpha"], |s| e(c.add_scaled_(&i[1], s)))?;
            Ok(vec![c])
        }
        "where" => one(match way {
            Way::Method => e(i[0].where_cond(&i[1], &i[2])),
            _ => e(fuse(|[c, x, y]| c.select(x, y)).run([&i[0], &i[1], &i[2]])),
        }),
        "clamp" => {
            let [low, high] = optional(i, a).map(|bound| bound.map(Bound::Tensor));
            one(clamp(way, &i[0], low, high))
        }
        "clamp_scalar" => {
            let [low, high] = ["min", "max"].map(|name| Bound::number(&a[name]));
            one(clamp(way, &i[0], low, high))
        }
        "cast" => one(e(i[0].to(dtype(a["to"].as_str().unwrap())))),
        "sum" => one(reduced(a, &i[0], Tensor::sum, Tensor::sum_keepdim, Tensor::sum, Tensor::sum_keepdim)),
        "mean" => one(reduced(a, &i[0], Tensor::mean, Tensor::mean_keepdim, Tensor::mean, Tensor::mean_keepdim)),
        "amax" => one(reduced(a, &i[0], Tensor::amax, Tensor::amax_keepdim, Tensor::amax, Tensor::amax_keepdim)),
        "amin" => one(reduced(a, &i[0], Tensor::amin, Tensor::amin_keepdim, Tensor::amin, Tensor::amin_keepdim)),
        "argmax" => one(along(a, &i[0], Tensor::argmax, Tensor::argmax_keepdim)),
        "argmin" => one(along(a, &i[0], Tensor::argmin, Tensor::argmin_keepdim)),
        "max_with_index" => Ok(vec![
            along(a, &i[0], Tensor::amax, Tensor::amax_keepdim)?,
            along(a, &i[0], Tensor::argmax, Tensor::argmax_keepdim)?,
        ]),
        "min_with_index" => Ok(vec![
            along(a, &i[0], Tensor::amin, Tensor::amin_keepdim)?,
            along(a, &i[0], Tensor::argmin, Tensor::argmin_keepdim)?,
        ]),
        "argmax_all" => one(flat(&i[0], [i[0].elements()]).and_then(|x| e(x.argmax(0)))),
        "argmin_all" => one(flat(&i[0], [i[0].elements()]).and_then(|x| e(x.argmin(0)))),
        "var" | "std" => one(variance(op, &i[0], a)),
        "softmax" => one(e(i[0].softmax(num(&a["axis"])))),
        "log_softmax" => one(e(i[0].log_softmax(num(&a["axis"])))),
        "layer_norm" | "rms_norm" => one(norm(op, i, a)),
        "matmul" => one(e(i[0].matmul(&i[1]))),
        "bmm" => one(e(i[0].bmm(&i[1]))),
        "linear" => one(e(i[0].linear(&i[1], i.get(2)))),
        "gemm" => one(gemm(i, a)),
        "permute" => one(e(i[0].permute(list(&a["axes"])))),
        "transpose" => one(e(i[0].transpose(num(&a["first"]), num(&a["second"])))),
        "t" => one(e(i[0].t())),
        "reshape" => one(e(i[0].reshape(list(&a["shape"])))),
        "reshape_copy" => one(flat(&i[0], list(&a["shape"]))),
        "expand" => one(e(i[0].expand(list(&a["shape"])))),
        "narrow" => one(e(i[0].narrow(num(&a["axis"]), num(&a["start"]), num(&a["length"])))),
        "slice" => {
            let mut t = i[0].clone();
            for part in a["parts"].as_array().unwrap() {
                let [axis, start, end, step] = list(part).try_into().unwrap();
                t = e(t.slice(axis, start..end, step))?;
            }
            Ok(vec![t])
        }
        "select" => one(e(i[0].select(signed(&a["axis"]), signed(&a["index"])))),
        "squeeze" => one(match &a["axes"] {
            Value::Null => e(i[0].squeeze(..)),
            axes => e(i[0].squeeze(axes.as_array().unwrap().iter().map(signed).collect::<Vec<_>>())),
        }),
        "unsqueeze" => one(e(i[0].unsqueeze(signed(&a["axis"])))),
        "flatten" => one(e(i[0].flatten(num(&a["first"])..=num(&a["last"])))),
        "split" => e(i[0].split(num(&a["into"]), num(&a["axis"]))),
        "split_with_sizes" => e(i[0].split_with_sizes(&list(&a["into"]), num(&a["axis"]))),
        "chunk" => e(i[0].chunk(num(&a["into"]), num(&a["axis"]))),
        "contiguous" => one(e(i[0].contiguous())),
        "copied" => one(e(i[0].copied())),
        "fill_" => {
            let c = e(i[0].copied())?;
            with_scalar!(c, &a["scalar"], |s| e(c.fill_(s)))?;
            Ok(vec![c])
        }
        "full" => {
            let (shape, v) = (list(&a["shape"]), real(&a["scalar"]));
            one(match dtype(a["dtype"].as_str().unwrap()) {
                DType::I32 => e(Tensor::full(pool, shape, v as i32)),
                DType::U32 => e(Tensor::full(pool, shape, v as u32)),
                DType::F16 => e(Tensor::full(pool, shape, f16::from_f64(v))),
                _ => e(Tensor::full(pool, shape, v as f32)),
            })
        }
        "zeros" => one(e(Tensor::zeros(pool, list(&a["shape"]), dtype(a["dtype"].as_str().unwrap())))),
        "ones" => one(e(Tensor::ones(pool, list(&a["shape"]), dtype(a["dtype"].as_str().unwrap())))),
        "zeros_like" => one(e(i[0].zeros_like())),
        "ones_like" => one(e(i[0].ones_like())),
        "full_like" => one(as_given!(&a["scalar"], |s| e(i[0].full_like(s)))),
        "arange" => one(arange(pool, a)),
        "cat" => one(e(Tensor::cat(&i.iter().collect::<Vec<_>>(), num(&a["axis"])))),
        "stack" => one(e(Tensor::stack(&i.iter().collect::<Vec<_>>(), signed(&a["axis"])))),
        "gather" => one(e(i[0].gather(num(&a["axis"]), &i[1]))),
        "index_select" => one(e(i[0].index_select(num(&a["axis"]), &i[1]))),
        "scatter_add" => {
            let c = e(i[0].copied())?;
            e(c.scatter_add_(num(&a["axis"]), &i[1], &i[2]))?;
            Ok(vec![c])
        }
        "index_add" => {
            let c = e(i[0].copied())?;
            let mut source = i[2].clone();
            if real(&a["alpha"]) != 1.0 {
                source = as_given!(&a["alpha"], |s| e(source.mul(s)))?;
            }
            e(c.index_add_(num(&a["axis"]), &i[1], &source))?;
            Ok(vec![c])
        }
        "conv2d" => one(e(i[0].conv2d(&i[1], i.get(2), convolution(a)))),
        "conv2d_backward_input" => one(e(i[0].conv2d_backward_input(list(&a["input"]), &i[1], convolution(a)))),
        "conv2d_backward_weight" => one(e(i[0].conv2d_backward_weight(&i[1], list(&a["weight"]), convolution(a)))),
        "max_pool2d" => one(e(i[0].max_pool2d(max_pool(a)))),
        "max_pool2d_with_indices" => {
            let (most, places) = e(i[0].max_pool2d_with_indices(max_pool(a)))?;
            Ok(vec![most, places])
        }
        "max_pool2d_backward" => one(e(i[0].max_pool2d_backward(&i[1], list(&a["input"]), max_pool(a)))),
        "avg_pool2d" => one(e(i[0].avg_pool2d(avg_pool(a)))),
        "avg_pool2d_backward" => one(e(i[0].avg_pool2d_backward(list(&a["input"]), avg_pool(a)))),
        "upsample_nearest" => one(e(i[0].upsample_nearest(pair(&a["size"])))),
        "upsample_bilinear" => one(e(i[0].upsample_bilinear(pair(&a["size"]), corners(a)))),
        "upsample_nearest_backward" => one(e(i[0].upsample_nearest_backward(pair(&a["size"])))),
        "upsample_bilinear_backward" => one(e(i[0].upsample_bilinear_backward(pair(&a["size"]), corners(a)))),
        "unfold" => one(e(i[0].unfold(patches(a)))),
        "fold" => one(e(i[0].fold(pair(&a["size"]), patches(a)))),
        "mse_loss" => one(e(i[0].mse_loss(&i[1], reduction(a)))),
        "mse_loss_backward" => one(e(i[0].mse_loss_backward(&i[1], reduction(a)))),
        "cross_entropy" => one(e(i[0].cross_entropy(&i[1], classification(i, a)))),
        "cross_entropy_backward" => one(e(i[0].cross_entropy_backward(&i[1], classification(i, a)))),
        "sgd" => sgd(pool, i, a),
        "adamw" => adamw(pool, i, a),
        _ => Err(Failure::Unknown),
    }
}

/// A bound of [`clamp`]: a tensor, or a number as the case has it.
enum Bound<'a> {
    Tensor(&'a Tensor),
    Integer(i64),
    Real(f64),
}

impl Bound<'_> {
    fn number(v: &Value) -> Option<Self> {
        (!v.is_null()).then(|| v.as_i64().map_or_else(|| Self::Real(real(v)), Self::Integer))
    }
}

macro_rules! with_bound {
    ($bound:expr, |$b:ident| $body:expr) => {
        match $bound {
            Bound::Tensor($b) => $body,
            Bound::Integer($b) => $body,
            Bound::Real($b) => $body,
        }
    };
}

/// With one bound it is a maximum or a minimum.
fn clamp(way: Way, x: &Tensor, low: Option<Bound<'_>>, high: Option<Bound<'_>>) -> R<Tensor> {
    if way == Way::InPlace {
        let copy = e(x.copied())?;
        e(match (low, high) {
            (Some(low), Some(high)) => with_bound!(low, |low| with_bound!(high, |high| copy.clamp_(low, high))),
            (Some(low), None) => with_bound!(low, |low| copy.maximum_(low)),
            (None, Some(high)) => with_bound!(high, |high| copy.minimum_(high)),
            (None, None) => Ok(()),
        })?;
        return Ok(copy);
    }
    e(match (low, high) {
        (Some(low), Some(high)) => with_bound!(low, |low| with_bound!(high, |high| x.clamp(low, high))),
        (Some(low), None) => with_bound!(low, |low| x.maximum(low)),
        (None, Some(high)) => with_bound!(high, |high| x.minimum(high)),
        (None, None) => Ok(x.clone()),
    })
}

/// Along some axes, where none in the case stands for all.
fn variance(op: &str, x: &Tensor, a: &Value) -> R<Tensor> {
    let correction = num(&a["correction"]);
    let axes = match list(&a["axes"]) {
        axes if axes.is_empty() => (0..x.rank()).collect(),
        axes => axes,
    };
    e(match (op, boolean(&a["keep"])) {
        ("var", false) => x.var(axes, correction),
        ("var", true) => x.var_keepdim(axes, correction),
        (_, false) => x.std(axes, correction),
        (_, true) => x.std_keepdim(axes, correction),
    })
}

type Reduced<A> = fn(&Tensor, A) -> Result<Tensor, TensorError>;

/// Along one axis, which is dropped or kept.
fn along(a: &Value, x: &Tensor, dropping: Reduced<usize>, keeping: Reduced<usize>) -> R<Tensor> {
    e((if boolean(&a["keep"]) { keeping } else { dropping })(x, num(&a["axis"])))
}

/// Along some axes, where none in the case stands for all.
fn reduced(
    a: &Value,
    x: &Tensor,
    dropping: Reduced<Vec<usize>>,
    keeping: Reduced<Vec<usize>>,
    dropping_all: Reduced<RangeFull>,
    keeping_all: Reduced<RangeFull>,
) -> R<Tensor> {
    let axes = list(&a["axes"]);
    e(match (axes.is_empty(), boolean(&a["keep"])) {
        (true, false) => dropping_all(x, ..),
        (true, true) => keeping_all(x, ..),
        (false, false) => dropping(x, axes),
        (false, true) => keeping(x, axes),
    })
}

/// The two inputs after the first, each of which a case may leave out.
fn optional<'i>(inputs: &'i [Tensor], a: &Value) -> [Option<&'i Tensor>; 2] {
    let mut given = inputs[1..].iter();
    [0, 1].map(|at| boolean(&a["has"][at]).then(|| given.next().unwrap()))
}

/// A copy where no view has the shape.
fn flat(x: &Tensor, shape: impl AsRef<[usize]>) -> R<Tensor> {
    e(x.contiguous().and_then(|x| x.reshape(shape)))
}

/// Over several axes: they are one after a reshape.
fn norm(op: &str, i: &[Tensor], a: &Value) -> R<Tensor> {
    let x = &i[0];
    let (eps, axes) = (real(&a["eps"]) as f32, num(&a["axes"]));
    let (lead, last) = x.shape().split_at(x.rank() - axes);
    let elements: usize = last.iter().product();
    let as_one = |x: &Tensor, shape: Vec<usize>| if axes == 1 { Ok(x.clone()) } else { flat(x, shape) };
    let rows = as_one(x, [lead, &[elements]].concat())?;
    let [weight, bias] = optional(i, a);
    let weight = weight.map(|weight| as_one(weight, vec![elements])).transpose()?;
    let bias = bias.map(|bias| as_one(bias, vec![elements])).transpose()?;
    let y = match op {
        "layer_norm" => e(rows.layer_norm(weight.as_ref(), bias.as_ref(), eps))?,
        _ => e(rows.rms_norm(weight.as_ref(), eps))?,
    };
    e(y.reshape(x.shape()))
}

/// alpha · A' · B' + beta · C, of a product, a multiplication and an addition.
fn gemm(i: &[Tensor], a: &Value) -> R<Tensor> {
    let transposed = |t: &Tensor, turn: &Value| if boolean(turn) { e(t.t()) } else { Ok(t.clone()) };
    let mut y = e(transposed(&i[0], &a["trans_a"])?.matmul(&transposed(&i[1], &a["trans_b"])?))?;
    if real(&a["alpha"]) != 1.0 {
        y = as_given!(&a["alpha"], |s| e(y.mul(s)))?;
    }
    if let Some(c) = i.get(2) {
        with_scalar!(y, &a["beta"], |s| e(y.add_scaled_(c, s)))?;
    }
    Ok(y)
}

/// Of f16 from f32, if the numbers are not f16's own.
fn arange(pool: &Pool, a: &Value) -> R<Tensor> {
    let (count, start, step) = (num(&a["count"]), real(&a["start"]), real(&a["step"]));
    let is_half = |number: f64| f64::from(f16::from_f64(number)) == number;
    match dtype(a["dtype"].as_str().unwrap()) {
        DType::I32 => e(Tensor::arange(pool, count, start as i32, step as i32)),
        DType::U32 => e(Tensor::arange(pool, count, start as i64 as u32, step as i64 as u32)),
        DType::F16 if is_half(start) && is_half(step) => {
            e(Tensor::arange(pool, count, f16::from_f64(start), f16::from_f64(step)))
        }
        other => e(Tensor::arange(pool, count, start as f32, step as f32).and_then(|x| x.to(other))),
    }
}

fn copies(inputs: &[Tensor]) -> R<Vec<Tensor>> {
    inputs.iter().map(|x| e(x.copied())).collect()
}

fn zeros(pool: &Pool, like: &[Tensor]) -> R<Vec<Tensor>> {
    like.iter().map(|x| e(Tensor::zeros(pool, x.shape(), x.dtype()))).collect()
}

/// The inputs are the parameters, and their gradients in each step.
fn sgd(pool: &Pool, i: &[Tensor], a: &Value) -> R<Vec<Tensor>> {
    let step = Sgd {
        learning_rate: real(&a["lr"]) as f32,
        momentum: real(&a["momentum"]) as f32,
        weight_decay: real(&a["weight_decay"]) as f32,
        nesterov: boolean(&a["nesterov"]),
    };
    let (given, gradients) = i.split_at(num(&a["parameters"]));
    let xs = copies(given)?;
    let velocities = zeros(pool, &xs)?;
    for gradients in gradients.chunks(xs.len()) {
        let with = xs.iter().zip(gradients).zip(&velocities);
        let list: Vec<_> =
            with.map(|((x, gradient), velocity)| SgdParameter { value: x, gradient, velocity }).collect();
        e(step.step(&list))?;
    }
    Ok(xs)
}

/// As [`sgd`].
fn adamw(pool: &Pool, i: &[Tensor], a: &Value) -> R<Vec<Tensor>> {
    let step = AdamW {
        learning_rate: real(&a["lr"]) as f32,
        betas: [real(&a["beta1"]) as f32, real(&a["beta2"]) as f32],
        epsilon: real(&a["eps"]) as f32,
        weight_decay: real(&a["weight_decay"]) as f32,
    };
    let (given, gradients) = i.split_at(num(&a["parameters"]));
    let xs = copies(given)?;
    let (means, squares) = (zeros(pool, &xs)?, zeros(pool, &xs)?);
    for (number, gradients) in (1..).zip(gradients.chunks(xs.len())) {
        let with = xs.iter().zip(gradients).zip(means.iter().zip(&squares));
        let list: Vec<_> = with
            .map(|((x, gradient), (mean, mean_square))| AdamWParameter { value: x, gradient, mean, mean_square })
            .collect();
        e(step.step(number, &list))?;
    }
    Ok(xs)
}

fn corners(a: &Value) -> Corners {
    if a["align_corners"].as_bool() == Some(true) { Corners::Centers } else { Corners::Outer }
}

fn reduction(a: &Value) -> Reduction {
    match a["reduction"].as_str() {
        Some("none") => Reduction::None,
        Some("sum") => Reduction::Sum,
        _ => Reduction::Mean,
    }
}

/// The options of a cross-entropy, whose weights are the third input.
fn classification<'a>(i: &'a [Tensor], a: &Value) -> CrossEntropy<'a> {
    CrossEntropy {
        weight: i.get(2),
        ignore_index: a["ignore_index"].as_i64().unwrap_or(-100) as i32,
        reduction: reduction(a),
        label_smoothing: if a["label_smoothing"].is_null() { 0.0 } else { real(&a["label_smoothing"]) as f32 },
    }
}
