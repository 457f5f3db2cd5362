//! Rows of views, copies, reading, new tensors, and the steps of optimizers.

use super::{ALL, FLOATS, Operand, Row, any, check, positive};
use crate::common::{Outcome, adapter};
use crate::model::Array;
use wgpu_pool::ops::philox;
use wgpu_pool::{AdamW, AdamWParameter, DType, Sgd, SgdParameter, Tensor, TensorError, f16};

type ViewModel = fn(&Array<f64>) -> Array<f64>;
type View = fn(&Tensor) -> Result<Tensor, TensorError>;

pub(super) fn views() -> Vec<Row> {
    let kinds: [(&str, &[usize], View, ViewModel); 22] = [
        ("narrow", &[5, 7], |x| x.narrow(1, 2, 4), |x| x.narrow(1, 2, 4)),
        ("transpose", &[5, 7], |x| x.transpose(0, 1), |x| x.permute(&[1, 0])),
        ("t", &[5, 7], Tensor::t, |x| x.permute(&[1, 0])),
        ("permute", &[3, 4, 5], |x| x.permute([2, 0, 1]), |x| x.permute(&[2, 0, 1])),
        ("expand", &[5, 1], |x| x.expand([2, 5, 3]), |x| x.expand(&[2, 5, 3])),
        ("reshape", &[5, 7], |x| x.reshape([5, 1, 7]), |x| x.reshape(&[5, 1, 7])),
        ("contiguous", &[5, 7], Tensor::contiguous, Clone::clone),
        ("slice", &[5, 9], |x| x.slice(1, -8..-1, 3), |x| stepped(x, [1, 4, 7])),
        ("slice", &[5, 12], |x| x.slice(-1, 2.., 4), |x| stepped(x, [2, 6, 10])),
        ("select", &[5, 7], |x| x.select(1, -2), |x| x.narrow(1, 5, 1).reshape(&[5])),
        ("i", &[3, 4, 5], |x| x.i((.., 1..3, -1)), |x| x.narrow(1, 1, 2).narrow(2, 4, 1).reshape(&[3, 2])),
        ("i", &[3, 4, 8], |x| x.i((1..=2, 0)), |x| x.narrow(0, 1, 2).narrow(1, 0, 1).reshape(&[2, 8])),
        ("i", &[5, 7], |x| x.i(..-2), |x| x.narrow(0, 0, 3)),
        ("permute", &[2; 8], |x| x.permute([3, 0, 7, 2, 5, 1, 6, 4]), |x| x.permute(&[3, 0, 7, 2, 5, 1, 6, 4])),
        ("expand", &[2, 1, 2, 1, 2, 1, 2], |x| x.expand([2; 8]), |x| x.expand(&[2; 8])),
        ("contiguous", &[2; 8], Tensor::contiguous, Clone::clone),
        ("squeeze", &[5, 1, 7], |x| x.squeeze([0, 1]), |x| x.reshape(&[5, 7])),
        ("unsqueeze", &[5, 7], |x| x.unsqueeze(-1), |x| x.reshape(&[5, 7, 1])),
        ("unsqueeze", &[3, 8], |x| x.unsqueeze(1), |x| x.reshape(&[3, 1, 8])),
        ("flatten", &[3, 4, 5], |x| x.flatten(1..), |x| x.reshape(&[3, 20])),
        ("flatten", &[3, 4, 5], |x| x.flatten(..), |x| x.reshape(&[60])),
        ("flatten", &[3, 4, 8], |x| x.flatten(-3..-1), |x| x.reshape(&[12, 8])),
    ];
    let mut rows: Vec<Row> = kinds
        .into_iter()
        .map(|(name, shape, run, model)| {
            Row::new(name, ALL, vec![any(shape)], move |x| Ok(vec![run(x[0])?]), move |x, _| vec![model(x[0])])
        })
        .collect();
    type Parts = fn(&Tensor) -> Result<Vec<Tensor>, TensorError>;
    type Part = (&'static str, &'static [usize], Parts, &'static [(usize, usize)]);
    let parts: [Part; 4] = [
        ("split", &[5, 7], |x| x.split(3, 1), &[(0, 3), (3, 3), (6, 1)]),
        ("split_with_sizes", &[5, 7], |x| x.split_with_sizes(&[2, 0, 5], -1), &[(0, 2), (2, 0), (2, 5)]),
        ("chunk", &[5, 7], |x| x.chunk(2, 1), &[(0, 4), (4, 3)]),
        ("chunk", &[5, 8], |x| x.chunk(2, 1), &[(0, 4), (4, 4)]),
    ];
    for (name, shape, run, ranges) in parts {
        let model = move |x: &[&Array<f64>], _: DType| {
            ranges.iter().map(|&(start, length)| x[0].narrow(1, start, length)).collect()
        };
        rows.push(Row::new(name, ALL, vec![any(shape)], move |x| run(x[0]), model));
    }
    for shape in [&[5, 7][..], &[3, 8], &[12, 9, 2], &[2; 8]] {
        let same = |x: &[&Array<f64>], _: DType| vec![x[0].clone()];
        rows.push(Row::new("copied", ALL, vec![any(shape)], |x| Ok(vec![x[0].copied()?]), same));
        rows.push(Row::new("read_blocking", ALL, vec![any(shape)], |x| Ok(vec![x[0].clone()]), same));
        let read = |x: &[&Tensor]| {
            // Read in the other way, and written again.
            let (x, pool) = (x[0], x[0].pool());
            let again = match x.dtype() {
                DType::F32 => Tensor::from_slice(&pool, &pollster::block_on(x.read::<f32>())?, x.shape()),
                DType::F16 => Tensor::from_slice(&pool, &pollster::block_on(x.read::<f16>())?, x.shape()),
                DType::I32 => Tensor::from_slice(&pool, &pollster::block_on(x.read::<i32>())?, x.shape()),
                _ => Tensor::from_slice(&pool, &pollster::block_on(x.read::<u32>())?, x.shape()),
            };
            Ok(vec![again?])
        };
        rows.push(Row::new("read", ALL, vec![any(shape)], read, same));
    }
    rows
}

/// Some columns of a matrix.
fn stepped(x: &Array<f64>, columns: [usize; 3]) -> Array<f64> {
    Array::by_index(&[x.shape[0], 3], |index| x.at(&[index[0], columns[index[1]]]))
}

/// Rows of a tensor with one element, read as a number and written again.
pub(super) fn items() -> Vec<Row> {
    macro_rules! row {
        ($name:literal, |$x:ident, $number:ident| $item:expr) => {{
            let run = |x: &[&Tensor]| {
                fn again<$number: wgpu_pool::Element>($x: &Tensor) -> Result<Tensor, TensorError> {
                    Tensor::full(&$x.pool(), $x.shape(), $item?)
                }
                let item = match x[0].dtype() {
                    DType::F32 => again::<f32>(x[0]),
                    DType::F16 => again::<f16>(x[0]),
                    DType::I32 => again::<i32>(x[0]),
                    _ => again::<u32>(x[0]),
                };
                Ok(vec![item?])
            };
            Row::new($name, ALL, vec![any(&[1, 1])], run, |x, _| vec![x[0].clone()])
        }};
    }
    vec![row!("item_blocking", |x, T| x.item_blocking::<T>()), row!("item", |x, T| pollster::block_on(x.item::<T>()))]
}

pub(super) fn copies() -> Vec<Row> {
    let mut rows = Vec::new();
    for [target, source] in [
        [&[5, 7][..], &[5, 7][..]],
        [&[3, 8], &[3, 8]],
        [&[5, 7], &[7]],
        [&[9, 12], &[9, 12]],
        [&[2; 8], &[2, 1, 2, 2, 2, 1, 2]],
        [&[2, 3, 2, 2, 2, 2, 2], &[2, 3, 2, 2, 2, 2, 2]],
    ] {
        let run = |x: &[&Tensor]| {
            x[0].copy_(x[1])?;
            Ok(vec![x[0].clone()])
        };
        let model = |x: &[&Array<f64>], _: DType| vec![x[1].expand(&x[0].shape)];
        let row = Row::new("copy_", ALL, vec![any(target), any(source)], run, model);
        rows.push(row.writes(&[0]).detail(format_args!("{target:?} {source:?}")));
    }
    for (shape, other, axis) in [
        (&[5, 7][..], &[5, 3][..], 1),
        (&[5, 7], &[2, 7], 0),
        (&[2, 8], &[2, 4], 1),
        (&[2; 8], &[2, 2, 2, 3, 2, 2, 2, 2], 3),
    ] {
        let run = move |x: &[&Tensor]| Ok(vec![Tensor::cat(&[x[0], x[1]], axis)?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut shape = x[0].shape.clone();
            shape[axis] += x[1].shape[axis];
            vec![Array::by_index(&shape, |index| {
                let first = x[0].shape[axis];
                let mut within = index.to_vec();
                within[axis] = index[axis].checked_sub(first).unwrap_or(index[axis]);
                x[usize::from(index[axis] >= first)].at(&within)
            })]
        };
        rows.push(Row::new("cat", ALL, vec![any(shape), any(other)], run, model).detail(axis));
    }
    for (shape, axis) in [(&[5, 7][..], 0), (&[5, 7], 1), (&[3, 8], 2), (&[2, 2, 3, 2, 2, 2, 2], 4)] {
        let run = move |x: &[&Tensor]| Ok(vec![Tensor::stack(&[x[0], x[1]], axis)?]);
        let model = move |x: &[&Array<f64>], _: DType| {
            let mut shape = x[0].shape.clone();
            shape.insert(axis, 2);
            vec![Array::by_index(&shape, |index| {
                let mut within = index.to_vec();
                let which = within.remove(axis);
                x[which].at(&within)
            })]
        };
        rows.push(Row::new("stack", ALL, vec![any(shape); 2], run, model).detail(axis));
    }
    for shape in [&[5, 7][..], &[3, 8], &[2; 8]] {
        let run = |x: &[&Tensor]| {
            match x[0].dtype() {
                DType::F32 => x[0].fill_(3.0_f32)?,
                DType::F16 => x[0].fill_(f16::from_f32(3.0))?,
                DType::I32 => x[0].fill_(3_i32)?,
                _ => x[0].fill_(3_u32)?,
            }
            Ok(vec![x[0].clone()])
        };
        rows.push(Row::new("fill_", ALL, vec![any(shape)], run, |x, _| vec![x[0].map(|_| 3.0)]).writes(&[0]));
        let run = |x: &[&Tensor]| {
            x[0].fill_(x[1])?;
            Ok(vec![x[0].clone()])
        };
        let model = |x: &[&Array<f64>], _: DType| vec![x[0].map(|_| x[1].elements[0])];
        rows.push(Row::new("fill_", ALL, vec![any(shape), any(&[])], run, model).writes(&[0]).detail("a tensor"));
    }
    rows
}

/// Rows of new tensors, which have the pool, shape and dtype of the operand.
pub(super) fn new() -> Vec<Row> {
    let mut rows = Vec::new();
    for shape in [&[5, 7][..], &[3, 8]] {
        let constant = |value: f64| move |x: &[&Array<f64>], _: DType| vec![x[0].map(|_| value)];
        let run = |x: &[&Tensor]| {
            let (pool, shape) = (x[0].pool(), x[0].shape());
            Ok(vec![match x[0].dtype() {
                DType::F32 => Tensor::full(&pool, shape, 3.0_f32)?,
                DType::F16 => Tensor::full(&pool, shape, f16::from_f32(3.0))?,
                DType::I32 => Tensor::full(&pool, shape, 3_i32)?,
                _ => Tensor::full(&pool, shape, 3_u32)?,
            }])
        };
        rows.push(Row::new("full", ALL, vec![any(shape)], run, constant(3.0)));
        let run = |x: &[&Tensor]| Ok(vec![Tensor::ones(&x[0].pool(), x[0].shape(), x[0].dtype())?]);
        rows.push(Row::new("ones", ALL, vec![any(shape)], run, constant(1.0)));
        rows.push(Row::new("ones_like", ALL, vec![any(shape)], |x| Ok(vec![x[0].ones_like()?]), constant(1.0)));
        rows.push(Row::new("zeros_like", ALL, vec![any(shape)], |x| Ok(vec![x[0].zeros_like()?]), constant(0.0)));
        rows.push(Row::new("full_like", ALL, vec![any(shape)], |x| Ok(vec![x[0].full_like(5)?]), constant(5.0)));
        let run = |x: &[&Tensor]| Ok(vec![Tensor::zeros(&x[0].pool(), x[0].shape(), x[0].dtype())?]);
        rows.push(Row::new("zeros", ALL, vec![any(shape)], run, constant(0.0)));
        let run = |x: &[&Tensor]| {
            // Its elements are stale, and all of them are there to be written.
            let empty = Tensor::empty(&x[0].pool(), x[0].shape(), x[0].dtype())?;
            empty.copy_(x[0])?;
            Ok(vec![empty])
        };
        rows.push(Row::new("empty", ALL, vec![any(shape)], run, |x, _| vec![x[0].clone()]));
        let run = |x: &[&Tensor]| {
            let empty = x[0].empty_like()?;
            empty.copy_(x[0])?;
            Ok(vec![empty])
        };
        rows.push(Row::new("empty_like", ALL, vec![any(shape)], run, |x, _| vec![x[0].clone()]));
        let run = |x: &[&Tensor]| {
            let (pool, count) = (x[0].pool(), x[0].elements());
            let line = match x[0].dtype() {
                DType::F32 => Tensor::arange(&pool, count, 2.0_f32, 0.5_f32)?,
                DType::F16 => Tensor::arange(&pool, count, f16::from_f32(2.0), f16::from_f32(0.5))?,
                DType::I32 => Tensor::arange(&pool, count, -2_i32, 3_i32)?,
                _ => Tensor::arange(&pool, count, 2_u32, 3_u32)?,
            };
            Ok(vec![line])
        };
        let model = |x: &[&Array<f64>], dtype: DType| {
            let (start, step) = match dtype {
                DType::I32 => (-2.0, 3.0),
                DType::U32 => (2.0, 3.0),
                _ => (2.0, 0.5),
            };
            let count = x[0].elements.len();
            vec![Array { shape: vec![count], elements: (0..count).map(|at| start + at as f64 * step).collect() }]
        };
        rows.push(Row::new("arange", ALL, vec![any(shape)], run, model));
        let numbers = |random: fn(u64, u64, u64) -> f32| {
            move |x: &[&Array<f64>], _: DType| {
                let mut next = 0..;
                let mut number = || f64::from(random(7, 0, next.next().unwrap_or_default()));
                vec![Array::new(&x[0].shape, &mut number)]
            }
        };
        let run = |x: &[&Tensor]| Ok(vec![Tensor::rand(&x[0].pool(), x[0].shape(), 7)?]);
        rows.push(Row::new("rand", &[DType::F32], vec![any(shape)], run, numbers(philox::uniform)).within(0.0));
        let run = |x: &[&Tensor]| Ok(vec![Tensor::randn(&x[0].pool(), x[0].shape(), 7)?]);
        rows.push(Row::new("randn", &[DType::F32], vec![any(shape)], run, numbers(philox::normal)).within(0.0));
        let run = |x: &[&Tensor]| Ok(vec![x[0].rand_like(7)?]);
        rows.push(Row::new("rand_like", FLOATS, vec![any(shape)], run, numbers(philox::uniform)).within(0.0));
        let run = |x: &[&Tensor]| Ok(vec![x[0].randn_like(7)?]);
        rows.push(Row::new("randn_like", FLOATS, vec![any(shape)], run, numbers(philox::normal)).within(0.0));
        let run = |x: &[&Tensor]| {
            let (pool, count) = (x[0].pool(), x[0].elements());
            let numbers: Vec<u32> = (0..).take(count).collect();
            let vector = Tensor::from_vec(&pool, numbers.clone(), x[0].shape())?;
            Ok(vec![Tensor::from_slice(&pool, &numbers, x[0].shape())?, vector])
        };
        let model = |x: &[&Array<f64>], _: DType| {
            let elements = (0..x[0].elements.len()).map(|at| at as f64).collect();
            vec![Array { shape: x[0].shape.clone(), elements }; 2]
        };
        rows.push(Row::new("from_slice", &[DType::U32], vec![any(shape)], run, model));
        rows.push(Row::new("from_vec", &[DType::U32], vec![any(shape)], run, model));
    }
    rows
}

/// Each element of some arrays of one shape, and what becomes of it: one array for each result.
fn each<const N: usize, const R: usize>(x: &[&Array<f64>], step: impl Fn([f64; N]) -> [f64; R]) -> Vec<Array<f64>> {
    let count = x[0].elements.len();
    let results = (0..count).map(|at| step(std::array::from_fn(|operand| x[operand].elements[at])));
    let results: Vec<[f64; R]> = results.collect();
    let array = |result: usize| results.iter().map(|results| results[result]).collect();
    (0..R).map(|result| Array { shape: x[0].shape.clone(), elements: array(result) }).collect()
}

pub(super) fn steps() -> Vec<Row> {
    let mut rows = Vec::new();
    for shape in [&[5, 7][..], &[3, 8], &[1100]] {
        let operands = |count: usize| -> Vec<Operand> { vec![any(shape); count] };
        let sgd = Sgd { learning_rate: 0.125, momentum: 0.5, weight_decay: 0.25, nesterov: true };
        let run = move |x: &[&Tensor]| {
            sgd.step(&[SgdParameter { value: x[0], gradient: x[1], velocity: x[2] }])?;
            Ok(vec![x[0].clone(), x[2].clone()])
        };
        let model = |x: &[&Array<f64>], _: DType| {
            each(x, |[x, gradient, velocity]| {
                let slope = gradient + 0.25 * x;
                let velocity = 0.5 * velocity + slope;
                [x - 0.125 * (slope + 0.5 * velocity), velocity]
            })
        };
        let row = Row::new("", FLOATS, operands(3), run, model).of_type("Sgd::step");
        rows.push(row.writes(&[0, 2]).contiguous().apart());
        let adamw = AdamW { learning_rate: 0.125, betas: [0.5, 0.75], epsilon: 0.5, weight_decay: 0.25 };
        let run = move |x: &[&Tensor]| {
            adamw.step(2, &[AdamWParameter { value: x[0], gradient: x[1], mean: x[2], mean_square: x[3] }])?;
            Ok(vec![x[0].clone(), x[2].clone(), x[3].clone()])
        };
        let by = |kept: fn(f64) -> f64, x: &[&Array<f64>]| {
            each(x, |[x, gradient, mean, mean_square]| {
                let mean = 0.5 * mean + 0.5 * gradient;
                let mean_square = kept(0.75 * mean_square) + 0.25 * gradient * gradient;
                let [unbiased, unbiased_square] = [mean / (1.0 - 0.25), mean_square / (1.0 - 0.5625)];
                let x = x * (1.0 - 0.125 * 0.25);
                [x - 0.125 * unbiased / (unbiased_square.sqrt() + 0.5), mean, mean_square]
            })
        };
        let model = move |x: &[&Array<f64>], _: DType| by(|product| product, x);
        // A driver may take a subnormal product for 0: of a square below 0, the root is no number otherwise.
        let flushing = move |x: &[&Array<f64>], _: DType| {
            by(|product| if product.abs() < f64::from(f32::MIN_POSITIVE) { 0.0 } else { product }, x)
        };
        let mut all = operands(4);
        all[3] = positive(shape);
        let row = Row::new("", FLOATS, all, run, model).of_type("AdamW::step").or(flushing);
        rows.push(row.writes(&[0, 2, 3]).contiguous().apart());
    }
    rows
}

#[test]
fn views_and_reading() -> Outcome {
    check(&views())
}

#[test]
fn single_elements_that_are_read() -> Outcome {
    check(&items())
}

#[test]
fn copies_and_fills() -> Outcome {
    check(&copies())
}

#[test]
fn new_tensors() -> Outcome {
    check(&new())
}

#[test]
fn steps_of_optimizers() -> Outcome {
    check(&steps())
}

#[test]
fn optimizers_refuse_operands_that_are_not_contiguous() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let [x, other] = [Tensor::zeros(pool, [5, 7], DType::F32)?, Tensor::zeros(pool, [5, 7], DType::F32)?];
    let transposed = Tensor::zeros(pool, [7, 5], DType::F32)?.t()?;
    let refused = Sgd::default().step(&[SgdParameter { value: &x, gradient: &transposed, velocity: &other }]);
    assert!(matches!(refused, Err(TensorError::NotContiguous { .. })), "{refused:?}");
    Ok(())
}
