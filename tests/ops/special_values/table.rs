//! One row for each elementwise operation: its forms, its meaning, its accuracy.

use crate::model::{gelu, gelu_tanh, ulp};
use wgpu_pool::{Activation, Expression, Tensor, TensorError};

type Outcome<T> = Result<T, TensorError>;

/// An operation on one tensor.
pub(crate) struct Unary {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Tensor) -> Outcome<Tensor>,
    pub(crate) in_place: fn(&Tensor) -> Outcome<()>,
    pub(crate) fused: for<'a> fn(Expression<'a>) -> Expression<'a>,
    /// As the end of a product, where there is one.
    pub(crate) activation: Option<Activation>,
    pub(crate) model: fn(f64) -> f64,
    /// The largest error at `(x, result)` that its docs permit.
    pub(crate) allowed: fn(f64, f64) -> f64,
}

/// An operation on two tensors, or on a tensor and a number.
pub(crate) struct Binary {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Tensor, &Tensor) -> Outcome<Tensor>,
    pub(crate) with_scalar: fn(&Tensor, f32) -> Outcome<Tensor>,
    pub(crate) in_place: fn(&Tensor, &Tensor) -> Outcome<()>,
    pub(crate) in_place_scalar: fn(&Tensor, f32) -> Outcome<()>,
    pub(crate) fused: for<'a> fn(Expression<'a>, Expression<'a>) -> Expression<'a>,
    pub(crate) model: fn(f64, f64) -> f64,
    pub(crate) units: f64,
}

/// A comparison of two tensors, or of a tensor and a number.
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Tensor, &Tensor) -> Outcome<Tensor>,
    pub(crate) with_scalar: fn(&Tensor, f32) -> Outcome<Tensor>,
    pub(crate) fused: for<'a> fn(Expression<'a>, Expression<'a>) -> Expression<'a>,
    pub(crate) model: fn(f32, f32) -> bool,
}

/// WGSL's bound for exp, plus one.
fn exponential(x: f64) -> f64 {
    4.0 + 2.0 * x.abs()
}

macro_rules! unary {
    ($name:ident, $in_place:ident, $fused:expr, $activation:expr, $model:expr, $allowed:expr) => {
        Unary {
            name: stringify!($name),
            run: Tensor::$name,
            in_place: Tensor::$in_place,
            fused: $fused,
            activation: $activation,
            model: $model,
            allowed: $allowed,
        }
    };
    ($name:ident, $in_place:ident, $model:expr, $allowed:expr) => {
        unary!($name, $in_place, |x: Expression<'_>| x.$name(), None, $model, $allowed)
    };
    ($name:ident, $in_place:ident, $activation:ident, $model:expr, $allowed:expr) => {
        unary!($name, $in_place, |x: Expression<'_>| x.$name(), Some(Activation::$activation), $model, $allowed)
    };
}

pub(crate) const UNARY: [Unary; 19] = [
    unary!(neg, neg_, |x| -x, None, |x| -x, |_, _| 0.0),
    unary!(abs, abs_, f64::abs, |_, _| 0.0),
    unary!(exp, exp_, f64::exp, |x, y| exponential(x) * ulp(y)),
    unary!(log, log_, f64::ln, |_, y| 3.0 * ulp(y)),
    unary!(sqrt, sqrt_, f64::sqrt, |_, y| 5.0 * ulp(y)),
    unary!(sin, sin_, libm::sin, |_, y| 4.0 * ulp(y)),
    unary!(cos, cos_, libm::cos, |_, y| 4.0 * ulp(y)),
    unary!(tanh, tanh_, Tanh, f64::tanh, |_, y| 8.0 * ulp(y)),
    unary!(sigmoid, sigmoid_, Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), |x, y| (4.0 + exponential(x)) * ulp(y)),
    unary!(relu, relu_, Relu, |x| if x < 0.0 { 0.0 } else { x }, |_, _| 0.0),
    unary!(square, square_, |x| x * x, |_, y| ulp(y)),
    unary!(rsqrt, rsqrt_, |x| 1.0 / x.sqrt(), |_, y| 2.0 * ulp(y)),
    unary!(reciprocal, reciprocal_, f64::recip, |_, y| 2.5 * ulp(y)),
    unary!(floor, floor_, f64::floor, |_, _| 0.0),
    unary!(ceil, ceil_, f64::ceil, |_, _| 0.0),
    unary!(round, round_, f64::round_ties_even, |_, _| 0.0),
    unary!(silu, silu_, Silu, |x| x / (1.0 + (-x).exp()), |x, y| ((5.0 + exponential(x)) * ulp(y)).max(1e-36)),
    unary!(gelu, gelu_, Gelu, gelu, |x, _| 1e-6 * x.abs()),
    unary!(gelu_tanh, gelu_tanh_, GeluTanh, gelu_tanh, |x, _| 1e-6 * x.abs()),
];

macro_rules! binary {
    ($name:ident, $in_place:ident, $fused:expr, $model:expr, $units:literal) => {
        Binary {
            name: stringify!($name),
            run: |x, y| x.$name(y),
            with_scalar: |x, y| x.$name(y),
            in_place: |x, y| x.$in_place(y),
            in_place_scalar: |x, y| x.$in_place(y),
            fused: $fused,
            model: $model,
            units: $units,
        }
    };
}

/// The larger and the smaller number as `torch.maximum` and `torch.minimum`: f64's own drop a NaN.
pub(crate) fn larger(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}

pub(crate) fn smaller(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }
}

/// x - y · floor(x / y), of the exact quotient.
pub(crate) fn remainder(x: f64, y: f64) -> f64 {
    let found = x % y;
    if found != 0.0 && (found < 0.0) != (y < 0.0) { found + y } else { found }
}

/// As Python's `x // y`, which has no value for an infinite x.
pub(crate) fn floored(x: f64, y: f64) -> f64 {
    if y == 0.0 {
        x / y
    } else if !x.is_finite() {
        f64::NAN
    } else if y.is_infinite() {
        if x != 0.0 && (x < 0.0) != (y < 0.0) { -1.0 } else { 0.0 }
    } else {
        (x / y).floor()
    }
}

/// Of the quotient rounded to f32.
#[expect(clippy::cast_possible_truncation, reason = "operands are values of f32")]
pub(crate) fn truncated(x: f64, y: f64) -> f64 {
    let quotient = x / y;
    if quotient.abs() < 16_777_216.0 { f64::from((x as f32 / y as f32).trunc()) } else { quotient.trunc() }
}

pub(crate) const BINARY: [Binary; 11] = [
    binary!(add, add_, |x, y| x + y, |x, y| x + y, 1.0),
    binary!(sub, sub_, |x, y| x - y, |x, y| x - y, 1.0),
    binary!(mul, mul_, |x, y| x * y, |x, y| x * y, 1.0),
    binary!(div, div_, |x, y| x / y, |x, y| x / y, 2.5),
    binary!(maximum, maximum_, |x, y| x.maximum(y), larger, 0.0),
    binary!(minimum, minimum_, |x, y| x.minimum(y), smaller, 0.0),
    binary!(pow, pow_, |x, y| x.pow(y), f64::powf, 3.0),
    binary!(div_floor, div_floor_, |x, y| x.div_floor(y), floored, 2.5),
    binary!(div_trunc, div_trunc_, |x, y| x.div_trunc(y), truncated, 2.5),
    binary!(remainder, remainder_, |x, y| x % y, remainder, 1.0),
    binary!(fmod, fmod_, |x, y| x.fmod(y), |x, y| x % y, 0.0),
];

macro_rules! comparison {
    ($name:ident, $model:expr) => {
        Comparison {
            name: stringify!($name),
            run: |x, y| x.$name(y),
            with_scalar: |x, y| x.$name(y),
            fused: |x, y| x.$name(y),
            model: $model,
        }
    };
}

pub(crate) const COMPARISONS: [Comparison; 6] = [
    comparison!(eq, |x, y| x == y),
    comparison!(ne, |x, y| x != y),
    comparison!(lt, |x, y| x < y),
    comparison!(le, |x, y| x <= y),
    comparison!(gt, |x, y| x > y),
    comparison!(ge, |x, y| x >= y),
];
