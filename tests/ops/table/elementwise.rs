//! Rows of elementwise operations: by themselves, in place, with a scalar, and fused.

use super::{ALL, FLOATS, Operand, Row, any, below, check, positive};
use crate::common::Outcome;
use crate::model::{Array, gelu, gelu_tanh};
use crate::special_values::table::{floored, larger, remainder, smaller, truncated};
use wgpu_pool::{DType, Tensor, TensorError, f16, fuse};

/// Shapes with odd sizes, with rows that kernels move as vec4, and with more dimensions than a kernel supports.
const SHAPES: [&[usize]; 3] = [&[5, 7], &[3, 8], &[2; 8]];
/// Shapes that broadcast to each other.
const PAIRS: [[&[usize]; 2]; 6] = [
    [&[5, 7], &[5, 7]],
    [&[3, 8], &[3, 8]],
    [&[5, 7], &[7]],
    [&[3, 1], &[3, 8]],
    [&[2; 8], &[2, 1, 2, 1, 2, 1, 2, 2]],
    [&[2, 3, 2, 2, 2, 2, 2], &[3, 1, 2, 2, 1, 2]],
];
const EVERY: &[DType] = ALL;
const SIGNED: &[DType] = &[DType::F32, DType::F16, DType::I32];

/// Returns the dtypes for a row with this shape. Only f32 for more than six dimensions: a kernel is generated for each layout,
/// which takes a software driver 0.1 seconds to compile.
pub(super) fn dtypes_for(shape: &[usize], dtypes: &'static [DType]) -> &'static [DType] {
    if shape.len() > 6 { &[DType::F32] } else { dtypes }
}

type Unary = fn(&Tensor) -> Result<Tensor, TensorError>;
type InPlace = fn(&Tensor) -> Result<(), TensorError>;
type UnaryRow = (&'static str, [&'static [DType]; 2], fn(&[usize]) -> Operand, Unary, InPlace, fn(f64) -> f64);

macro_rules! unary {
    ($($name:ident $in_place:ident, $dtypes:ident, $in_place_dtypes:ident, $of:ident, $model:expr;)*) => {
        [$((stringify!($name), [$dtypes, $in_place_dtypes], $of, Tensor::$name, Tensor::$in_place, $model)),*]
    };
}

const UNARY: [UnaryRow; 19] = unary! {
    neg neg_, SIGNED, SIGNED, any, |x| -x;
    abs abs_, EVERY, EVERY, any, f64::abs;
    exp exp_, EVERY, FLOATS, any, f64::exp;
    log log_, EVERY, FLOATS, positive, f64::ln;
    sqrt sqrt_, EVERY, FLOATS, positive, f64::sqrt;
    rsqrt rsqrt_, EVERY, FLOATS, positive, |x| 1.0 / x.sqrt();
    reciprocal reciprocal_, EVERY, FLOATS, positive, |x| 1.0 / x;
    square square_, EVERY, EVERY, any, |x| x * x;
    sin sin_, EVERY, FLOATS, any, libm::sin;
    cos cos_, EVERY, FLOATS, any, libm::cos;
    tanh tanh_, EVERY, FLOATS, any, f64::tanh;
    sigmoid sigmoid_, EVERY, FLOATS, any, |x| 1.0 / (1.0 + (-x).exp());
    relu relu_, EVERY, EVERY, any, |x| if x < 0.0 { 0.0 } else { x };
    silu silu_, FLOATS, FLOATS, any, |x| x / (1.0 + (-x).exp());
    gelu gelu_, FLOATS, FLOATS, any, gelu;
    gelu_tanh gelu_tanh_, FLOATS, FLOATS, any, gelu_tanh;
    floor floor_, EVERY, FLOATS, any, f64::floor;
    ceil ceil_, EVERY, FLOATS, any, f64::ceil;
    round round_, EVERY, FLOATS, any, f64::round_ties_even;
};

/// The model of an operation on one operand, of integers exact.
pub(super) fn unary_on_dtype(name: &str, model: fn(f64) -> f64, dtype: DType) -> impl Fn(f64) -> f64 + use<> {
    let squares = name == "square" && !dtype.is_floating_point();
    move |x| if squares { power_of_integers(x, 2.0) } else { model(x) }
}

/// The model of an operation on two operands, of integers exact: products modulo 2^32.
pub(super) fn on_dtype(name: &str, model: fn(f64, f64) -> f64, dtype: DType) -> fn(f64, f64) -> f64 {
    match name {
        _ if dtype.is_floating_point() => model,
        "mul" => product_of_integers,
        "pow" => power_of_integers,
        "div_trunc" => |x, y| (x / y).trunc(),
        _ => model,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "integers of 32 bits")]
fn product_of_integers(x: f64, y: f64) -> f64 {
    let product = (x as i64).wrapping_mul(y as i64);
    f64::from(product as i32)
}

/// x to the y, modulo 2^32; of a negative exponent the integer part.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integers of 32 bits")]
fn power_of_integers(x: f64, y: f64) -> f64 {
    if y < 0.0 {
        return if x.abs() == 1.0 { x.powf(y) } else { 0.0 };
    }
    f64::from((x as i64 as i32).wrapping_pow(y as u32))
}

/// The dtypes of an operation that returns its result.
pub(super) fn dtypes_of(name: &str) -> &'static [DType] {
    let unary = UNARY.iter().map(|row| (row.0, row.1[0]));
    let mut all = unary.chain(BINARY.iter().map(|row| (row.0, row.1[0])));
    all.find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is not in the table")).1
}

/// Makes an operand of an operation on two.
pub(super) fn operand_of(name: &str) -> fn(&[usize]) -> Operand {
    BINARY.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is not in the table")).2
}

pub(super) fn unary() -> Vec<Row> {
    let all = UNARY.iter().flat_map(|row| SHAPES.map(|shape| (row, shape)));
    all.map(|(&(name, [dtypes, _], of, run, _, model), shape)| {
        let model = move |x: &[&Array<f64>], dtype: DType| vec![x[0].map(unary_on_dtype(name, model, dtype))];
        Row::new(name, dtypes, vec![of(shape)], move |x| Ok(vec![run(x[0])?]), model)
    })
    .collect()
}

pub(super) fn unary_in_place() -> Vec<Row> {
    let all = UNARY.iter().flat_map(|row| SHAPES.map(|shape| (row, shape)));
    all.map(|(&(name, [_, dtypes], of, _, run, model), shape)| {
        let run = move |x: &[&Tensor]| {
            run(x[0])?;
            Ok(vec![x[0].clone()])
        };
        let model = move |x: &[&Array<f64>], dtype: DType| vec![x[0].map(unary_on_dtype(name, model, dtype))];
        Row::new(&format!("{name}_"), dtypes_for(shape, dtypes), vec![of(shape)], run, model).writes(&[0])
    })
    .collect()
}

type Binary = fn(&Tensor, &Tensor) -> Result<Tensor, TensorError>;
type BinaryInPlace = fn(&Tensor, &Tensor) -> Result<(), TensorError>;
type Scalar<R> = fn(&Tensor, DType) -> Result<R, TensorError>;
type BinaryRow = (
    &'static str,
    [&'static [DType]; 2],
    fn(&[usize]) -> Operand,
    (Binary, BinaryInPlace),
    (Scalar<Tensor>, Scalar<()>),
    fn(f64, f64) -> f64,
);

/// The scalar of every operation that takes one, in each dtype.
const SCALAR: f64 = 3.0;

/// Calls a method with [`SCALAR`] in a dtype.
macro_rules! with_scalar {
    ($method:path) => {
        |x, dtype| match dtype {
            DType::F32 => $method(x, 3.0_f32),
            DType::F16 => $method(x, f16::from_f32(3.0)),
            DType::I32 => $method(x, 3_i32),
            _ => $method(x, 3_u32),
        }
    };
}

macro_rules! binary {
    ($($name:ident $in_place:ident, $dtypes:ident, $in_place_dtypes:ident, $of:ident, $model:expr;)*) => {
        [$((
            stringify!($name), [$dtypes, $in_place_dtypes], $of, (|x, y| x.$name(y), |x, y| x.$in_place(y)),
            (with_scalar!(Tensor::$name), with_scalar!(Tensor::$in_place)), $model,
        )),*]
    };
}

const BINARY: [BinaryRow; 11] = binary! {
    add add_, EVERY, EVERY, any, |x, y| x + y;
    sub sub_, EVERY, EVERY, any, |x, y| x - y;
    mul mul_, EVERY, EVERY, any, |x, y| x * y;
    div div_, EVERY, FLOATS, positive, |x, y| x / y;
    pow pow_, EVERY, EVERY, positive, f64::powf;
    div_floor div_floor_, EVERY, EVERY, positive, floored;
    div_trunc div_trunc_, EVERY, EVERY, positive, truncated;
    remainder remainder_, EVERY, EVERY, positive, remainder;
    fmod fmod_, EVERY, EVERY, positive, |x, y| x % y;
    maximum maximum_, EVERY, EVERY, any, larger;
    minimum minimum_, EVERY, EVERY, any, smaller;
};

pub(super) fn binary() -> Vec<Row> {
    let all = BINARY.iter().flat_map(|row| PAIRS.map(|pair| (row, pair)));
    all.map(|(&(name, [dtypes, _], of, (run, _), _, model), [left, right])| {
        let run = move |x: &[&Tensor]| Ok(vec![run(x[0], x[1])?]);
        Row::new(name, dtypes_for(left, dtypes), vec![of(left), of(right)], run, move |x, dtype| {
            vec![x[0].zip(x[1], on_dtype(name, model, dtype))]
        })
        .detail(format_args!("{left:?} {right:?}"))
    })
    .collect()
}

pub(super) fn binary_in_place() -> Vec<Row> {
    let pairs = PAIRS.into_iter().filter(|[left, _]| left.iter().all(|&size| size > 1));
    let all = BINARY.iter().flat_map(|row| pairs.clone().map(move |pair| (row, pair)));
    let mut rows: Vec<Row> = all
        .map(|(&(name, [_, dtypes], of, (_, run), _, model), [left, right])| {
            let run = move |x: &[&Tensor]| {
                run(x[0], x[1])?;
                Ok(vec![x[0].clone()])
            };
            let model = move |x: &[&Array<f64>], dtype| vec![x[0].zip(x[1], on_dtype(name, model, dtype))];
            let row = Row::new(&format!("{name}_"), dtypes_for(left, dtypes), vec![of(left), of(right)], run, model);
            row.writes(&[0]).detail(format_args!("{left:?} {right:?}"))
        })
        .collect();
    rows.extend(pairs.clone().map(|[left, right]| {
        let run = |x: &[&Tensor]| {
            match x[0].dtype() {
                DType::I32 => x[0].add_scaled_(x[1], 3_i32)?,
                DType::U32 => x[0].add_scaled_(x[1], 3_u32)?,
                _ => x[0].add_scaled_(x[1], 3.0_f32)?,
            }
            Ok(vec![x[0].clone()])
        };
        let model = |x: &[&Array<f64>], _| vec![x[0].zip(x[1], |x, y| x + 3.0 * y)];
        Row::new("add_scaled_", dtypes_for(left, ALL), vec![any(left), any(right)], run, model).writes(&[0])
    }));
    rows.extend(pairs.map(|[left, right]| {
        let run = |x: &[&Tensor]| {
            x[0].add_scaled_(x[1], 2)?;
            Ok(vec![x[0].clone()])
        };
        let model = |x: &[&Array<f64>], _| vec![x[0].zip(x[1], |x, y| x + 2.0 * y)];
        let operands = vec![any(left), below(right, 5)];
        Row::new("add_scaled_", dtypes_for(left, FLOATS), operands, run, model).writes(&[0]).detail("u32 operand")
    }));
    rows
}

pub(super) fn scalars() -> Vec<Row> {
    let all = BINARY.iter().flat_map(|row| SHAPES.map(|shape| (row, shape)));
    all.flat_map(|(&(name, [dtypes, in_place_dtypes], of, _, (run, in_place), model), shape)| {
        let model = move |x: &[&Array<f64>], dtype: DType| {
            let model = on_dtype(name, model, dtype);
            vec![x[0].map(|x| model(x, SCALAR))]
        };
        let returning = move |x: &[&Tensor]| Ok(vec![run(x[0], x[0].dtype())?]);
        let changing = move |x: &[&Tensor]| {
            in_place(x[0], x[0].dtype())?;
            Ok(vec![x[0].clone()])
        };
        [
            Row::new(name, dtypes, vec![of(shape)], returning, model).detail("a number"),
            Row::new(&format!("{name}_"), dtypes_for(shape, in_place_dtypes), vec![of(shape)], changing, model)
                .writes(&[0])
                .detail("a number"),
        ]
    })
    .collect()
}

pub(super) fn bounds() -> Vec<Row> {
    let mut rows = Vec::new();
    for [shape, bound] in PAIRS {
        let between = |x: f64, low: f64, high: f64| smaller(larger(x, low), high);
        let numbers = move |x: &[&Array<f64>], _: DType| vec![x[0].map(|x| between(x, 1.0, 2.0))];
        rows.push(Row::new(
            "clamp",
            dtypes_for(shape, ALL),
            vec![any(shape)],
            |x| Ok(vec![x[0].clamp(1, 2)?]),
            numbers,
        ));
        let run = |x: &[&Tensor]| {
            x[0].clamp_(1, 2)?;
            Ok(vec![x[0].clone()])
        };
        rows.push(Row::new("clamp_", dtypes_for(shape, ALL), vec![any(shape)], run, numbers).writes(&[0]));
        let tensors = move |x: &[&Array<f64>], _: DType| {
            let low = x[0].zip(x[1], larger);
            vec![low.zip(x[2], smaller)]
        };
        let operands = || vec![any(shape), any(bound), any(shape)];
        rows.push(
            Row::new("clamp", dtypes_for(shape, ALL), operands(), |x| Ok(vec![x[0].clamp(x[1], x[2])?]), tensors)
                .detail("tensors"),
        );
        if shape.iter().all(|&size| size > 1) {
            let run = |x: &[&Tensor]| {
                x[0].clamp_(x[1], x[2])?;
                Ok(vec![x[0].clone()])
            };
            rows.push(
                Row::new("clamp_", dtypes_for(shape, ALL), operands(), run, tensors).writes(&[0]).detail("tensors"),
            );
        }
    }
    rows
}

type CompareRow = (&'static str, Binary, Scalar<Tensor>, fn(&f64, &f64) -> bool);

macro_rules! comparisons {
    ($($name:ident, $model:expr;)*) => {
        [$((stringify!($name), |x, y| x.$name(y), with_scalar!(Tensor::$name), $model)),*]
    };
}

const COMPARISONS: [CompareRow; 6] = comparisons! {
    eq, f64::eq;
    ne, f64::ne;
    lt, f64::lt;
    le, f64::le;
    gt, f64::gt;
    ge, f64::ge;
};

pub(super) fn comparisons() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, run, with_scalar, model) in COMPARISONS {
        let truth = move |x: f64, y: f64| f64::from(u8::from(model(&x, &y)));
        for [left, right] in [PAIRS[0], PAIRS[3], PAIRS[4]] {
            let run = move |x: &[&Tensor]| Ok(vec![run(x[0], x[1])?]);
            let model = move |x: &[&Array<f64>], _| vec![x[0].zip(x[1], truth)];
            rows.push(Row::new(name, dtypes_for(left, ALL), vec![any(left), any(right)], run, model));
        }
        let run = move |x: &[&Tensor]| Ok(vec![with_scalar(x[0], x[0].dtype())?]);
        let model = move |x: &[&Array<f64>], _| vec![x[0].map(|x| truth(x, SCALAR))];
        rows.push(Row::new(name, ALL, vec![any(&[5, 7])], run, model).detail("a number"));
    }
    rows
}

pub(super) fn choices() -> Vec<Row> {
    let mut rows: Vec<Row> =
        [[&[5, 7][..], &[5, 7], &[7]], [&[3, 1], &[3, 8], &[3, 8]], [&[2; 8], &[2; 6], &[2, 1, 2, 1, 2, 2, 1]]]
            .into_iter()
            .map(|[condition, this, other]| {
                let run = |x: &[&Tensor]| Ok(vec![x[0].where_cond(x[1], x[2])?]);
                let model = |x: &[&Array<f64>], _| {
                    let this = x[0].zip(x[1], |condition, x| if condition == 0.0 { 0.0 } else { x });
                    let other = x[0].zip(x[2], |condition, x| if condition == 0.0 { x } else { 0.0 });
                    vec![this.zip(&other, |this, other| this + other)]
                };
                Row::new(
                    "where_cond",
                    dtypes_for(condition, ALL),
                    vec![below(condition, 2), any(this), any(other)],
                    run,
                    model,
                )
            })
            .collect();
    for shapes in [
        [&[5, 7][..], &[5, 7], &[5, 7]],
        [&[3, 8], &[3, 8], &[8]],
        [&[5, 7], &[7], &[5, 1]],
        [&[2; 8], &[2; 8], &[2, 1, 2, 1, 2, 2]],
    ] {
        let operands = || shapes.map(any).to_vec();
        let model = |x: &[&Array<f64>], _: DType| vec![x[0].zip(x[1], |x, y| x * y).zip(x[2], |x, y| x + y)];
        let run = |x: &[&Tensor]| Ok(vec![fuse(|[a, b, c]| a * b + c).run([x[0], x[1], x[2]])?]);
        rows.push(Row::new("", dtypes_for(shapes[0], ALL), operands(), run, model).of_type("Fused::run"));
        let run = |x: &[&Tensor]| {
            fuse(|[a, b, c]| a * b + c).run_into([x[0], x[1], x[2]], x[0])?;
            Ok(vec![x[0].clone()])
        };
        rows.push(
            Row::new("", dtypes_for(shapes[0], ALL), operands(), run, model).of_type("Fused::run_into").writes(&[0]),
        );
    }
    rows
}

pub(super) fn casts() -> Vec<Row> {
    // Numbers saturate, integers keep their bits, and NaN becomes 0.
    fn to(number: f64, from: DType, to: DType) -> f64 {
        let whole = if number.is_nan() { 0.0 } else { number.trunc() };
        match to {
            DType::I32 if from.is_floating_point() => whole.clamp(f64::from(i32::MIN), f64::from(i32::MAX)),
            DType::U32 if from.is_floating_point() => whole.clamp(0.0, f64::from(u32::MAX)),
            _ => number,
        }
    }
    let mut rows = Vec::new();
    for target in ALL.iter().copied() {
        for (shape, source) in SHAPES.into_iter().flat_map(|shape| ALL.iter().map(move |&source| (shape, source))) {
            let run = move |x: &[&Tensor]| Ok(vec![x[0].to(target)?]);
            let model = move |x: &[&Array<f64>], from: DType| vec![x[0].map(|x| to(x, from, target))];
            rows.push(Row::new("to", &[source], vec![any(shape)], run, model).detail(target.name()).needs(target));
        }
    }
    rows
}

#[test]
fn elementwise_operations_of_one_operand() -> Outcome {
    check(&unary())
}

#[test]
fn elementwise_operations_of_one_operand_in_place() -> Outcome {
    check(&unary_in_place())
}

#[test]
fn elementwise_operations_of_two_operands() -> Outcome {
    check(&binary())
}

#[test]
fn elementwise_operations_of_two_operands_in_place() -> Outcome {
    check(&binary_in_place())
}

#[test]
fn elementwise_operations_with_a_scalar() -> Outcome {
    check(&scalars())
}

#[test]
fn elements_between_bounds() -> Outcome {
    check(&bounds())
}

#[test]
fn comparisons_of_tensors_and_scalars() -> Outcome {
    check(&comparisons())
}

#[test]
fn choices_and_fused_expressions() -> Outcome {
    check(&choices())
}

#[test]
fn casts_from_every_dtype_to_every_dtype() -> Outcome {
    check(&casts())
}
