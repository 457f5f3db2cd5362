//! The limits of i32 and u32 through every operation on integers, which wrap: plain, in place, fused, in views of every kind.

use super::views;
use crate::common::{Outcome, adapter};
use std::fmt::Debug;
use wgpu_pool::{Element, Expression, Pool, Tensor, TensorError, fuse};

const SIGNED: [i32; 16] = [
    i32::MIN,
    i32::MIN + 1,
    i32::MAX,
    i32::MAX - 1,
    0,
    -1,
    1,
    2,
    -2,
    65_535,
    65_536,
    -65_536,
    16_777_217,
    46_341,
    -46_341,
    7,
];
const UNSIGNED: [u32; 16] = [
    0,
    1,
    2,
    u32::MAX,
    u32::MAX - 1,
    1 << 31,
    (1 << 31) - 1,
    (1 << 31) + 1,
    65_535,
    65_536,
    65_537,
    16_777_217,
    46_341,
    7,
    3,
    1 << 30,
];

type Run = fn(&Tensor) -> Result<Tensor, TensorError>;
type RunInPlace = fn(&Tensor) -> Result<(), TensorError>;
type Fuse = for<'a> fn(Expression<'a>) -> Expression<'a>;
type Unary<T> = (&'static str, Run, RunInPlace, Fuse, fn(T) -> T);
type Binary<T> = (
    fn(&Tensor, &Tensor) -> Result<Tensor, TensorError>,
    fn(&Tensor, T) -> Result<Tensor, TensorError>,
    fn(&Tensor, &Tensor) -> Result<(), TensorError>,
    for<'a> fn(Expression<'a>, Expression<'a>) -> Expression<'a>,
    fn(T, T) -> T,
);

fn unary<T: Element>(pool: &Pool, all: &[T], rows: &[Unary<T>]) -> Outcome {
    for &(name, run, in_place, fused, model) in rows {
        let wanted: Vec<T> = all.iter().map(|&x| model(x)).collect();
        for (kind, view) in views(pool, all, all[0])? {
            assert_eq!(run(&view)?.read_blocking::<T>()?, wanted, "{name}, {kind}");
        }
        let changed = Tensor::from_slice(pool, all, [all.len()])?;
        assert_eq!(fuse(|[x]| fused(x)).run([&changed])?.read_blocking::<T>()?, wanted, "fused {name}");
        in_place(&changed)?;
        assert_eq!(changed.read_blocking::<T>()?, wanted, "{name}_");
    }
    Ok(())
}

fn binary<T: Element + Debug>(pool: &Pool, all: &[T], rows: &[(&str, Binary<T>)]) -> Outcome {
    let pairs = || all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y)));
    let (x, y): (Vec<T>, Vec<T>) = pairs().unzip();
    let (left, right) = (views(pool, &x, all[0])?, views(pool, &y, all[0])?);
    for &(name, (run, with_scalar, in_place, fused, model)) in rows {
        let wanted: Vec<T> = pairs().map(|(x, y)| model(x, y)).collect();
        for ((kind, left), (_, right)) in left.iter().zip(&right) {
            assert_eq!(run(left, right)?.read_blocking::<T>()?, wanted, "{name}, {kind}");
        }
        let changed = left[0].1.copied()?;
        let found = fuse(|[x, y]| fused(x, y)).run([&changed, &right[0].1])?;
        assert_eq!(found.read_blocking::<T>()?, wanted, "fused {name}");
        in_place(&changed, &right[0].1)?;
        assert_eq!(changed.read_blocking::<T>()?, wanted, "{name}_");
        let row = Tensor::from_slice(pool, all, [all.len()])?;
        for &scalar in all {
            let wanted: Vec<T> = all.iter().map(|&x| model(x, scalar)).collect();
            assert_eq!(with_scalar(&row, scalar)?.read_blocking::<T>()?, wanted, "{name} and {scalar:?}");
        }
    }
    Ok(())
}

fn comparisons<T: Element + PartialOrd>(pool: &Pool, all: &[T]) -> Outcome {
    let pairs = || all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y)));
    let column = Tensor::from_slice(pool, all, [all.len(), 1])?;
    let row = Tensor::from_slice(pool, all, [all.len()])?;
    let ones = |model: fn(&T, &T) -> bool| -> Vec<u32> { pairs().map(|(x, y)| u32::from(model(&x, &y))).collect() };
    assert_eq!(column.eq(&row)?.read_blocking::<u32>()?, ones(T::eq));
    assert_eq!(column.ne(&row)?.read_blocking::<u32>()?, ones(T::ne));
    assert_eq!(column.lt(&row)?.read_blocking::<u32>()?, ones(T::lt));
    assert_eq!(column.le(&row)?.read_blocking::<u32>()?, ones(T::le));
    assert_eq!(column.gt(&row)?.read_blocking::<u32>()?, ones(T::gt));
    assert_eq!(column.ge(&row)?.read_blocking::<u32>()?, ones(T::ge));
    let is_true = |x: &T| *x != T::default();
    let chosen = row.where_cond(&Tensor::full(pool, [], 1_u32)?, &Tensor::full(pool, [], 0_u32)?)?;
    assert_eq!(chosen.read_blocking::<u32>()?, all.iter().map(|x| u32::from(is_true(x))).collect::<Vec<_>>());
    let negated = fuse(|[x]| !x).run([&row])?.read_blocking::<u32>()?;
    assert_eq!(negated, all.iter().map(|x| u32::from(!is_true(x))).collect::<Vec<_>>());
    Ok(())
}

/// The sum, the extremes and their places, of rows, columns and long rows.
fn reductions<T: Element + Ord>(pool: &Pool, all: &[T], add: fn(T, T) -> T) -> Outcome {
    let long: Vec<T> = std::iter::repeat_n(all, 400).flatten().copied().collect();
    for row in [all, &long] {
        let sum = row.iter().fold(T::default(), |sum, &x| add(sum, x));
        let (most, least) = (*row.iter().max().expect("not empty"), *row.iter().min().expect("not empty"));
        let place = |wanted: T| u32::try_from(row.iter().position(|&x| x == wanted).expect("it is there"));
        let rows = Tensor::from_slice(pool, row, [1, row.len()])?.expand([4, row.len()])?;
        let columns = rows.contiguous()?.t()?.contiguous()?.t()?;
        for tensor in [rows, columns] {
            assert_eq!(tensor.sum([1])?.read_blocking::<T>()?, [sum; 4]);
            assert_eq!(tensor.amax([1])?.read_blocking::<T>()?, [most; 4]);
            assert_eq!(tensor.amin([1])?.read_blocking::<T>()?, [least; 4]);
            assert_eq!(tensor.argmax(1)?.read_blocking::<u32>()?, [place(most)?; 4]);
            assert_eq!(tensor.argmin(1)?.read_blocking::<u32>()?, [place(least)?; 4]);
        }
    }
    Ok(())
}

/// A row of two operands: the method, with a number, in place, fused, and the model.
macro_rules! row {
    ($name:ident, $in_place:ident, $model:expr) => {
        row!($name, $in_place, |x, y| x.$name(y), $model)
    };
    ($name:ident, $in_place:ident, $fused:expr, $model:expr) => {
        (stringify!($name), (|x, y| x.$name(y), |x, y| x.$name(y), |x, y| x.$in_place(y), $fused, $model))
    };
}

/// The divisor that takes the place of one without a quotient.
fn divisor(x: i32, y: i32) -> i32 {
    if y == 0 || (x == i32::MIN && y == -1) { 1 } else { y }
}

fn signed_power(x: i32, y: i32) -> i32 {
    match (x, u32::try_from(y)) {
        (_, Ok(y)) => x.wrapping_pow(y),
        (1, _) => 1,
        (-1, _) => 1 - 2 * (y & 1),
        _ => 0,
    }
}

#[test]
fn limits_of_i32_wrap_in_every_operation() -> Outcome {
    for pool in adapter::all_shared() {
        unary(
            pool,
            &SIGNED,
            &[
                ("neg", Tensor::neg, Tensor::neg_, |x| -x, i32::wrapping_neg),
                ("abs", Tensor::abs, Tensor::abs_, |x| x.abs(), i32::wrapping_abs),
                ("relu", Tensor::relu, Tensor::relu_, |x| x.relu(), |x| x.max(0)),
                ("square", Tensor::square, Tensor::square_, |x| x.square(), |x| x.wrapping_mul(x)),
            ],
        )?;
        binary(
            pool,
            &SIGNED,
            &[
                row!(add, add_, |x, y| x + y, i32::wrapping_add),
                row!(sub, sub_, |x, y| x - y, i32::wrapping_sub),
                row!(mul, mul_, |x, y| x * y, i32::wrapping_mul),
                row!(maximum, maximum_, i32::max),
                row!(minimum, minimum_, i32::min),
                row!(pow, pow_, signed_power),
                row!(div_trunc, div_trunc_, |x, y| x / divisor(x, y)),
                row!(div_floor, div_floor_, |x, y| {
                    let y = divisor(x, y);
                    x / y - i32::from(x % y != 0 && (x < 0) != (y < 0))
                }),
                row!(fmod, fmod_, |x, y| x % divisor(x, y)),
                row!(remainder, remainder_, |x, y| x % y, |x, y| {
                    let y = divisor(x, y);
                    let rest = x % y;
                    if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
                }),
            ],
        )?;
        comparisons(pool, &SIGNED)?;
        reductions(pool, &SIGNED, i32::wrapping_add)?;
    }
    Ok(())
}

#[test]
fn limits_of_u32_wrap_in_every_operation() -> Outcome {
    for pool in adapter::all_shared() {
        unary(
            pool,
            &UNSIGNED,
            &[
                ("abs", Tensor::abs, Tensor::abs_, |x| x.abs(), |x| x),
                ("relu", Tensor::relu, Tensor::relu_, |x| x.relu(), |x| x),
                ("square", Tensor::square, Tensor::square_, |x| x.square(), |x| x.wrapping_mul(x)),
            ],
        )?;
        binary(
            pool,
            &UNSIGNED,
            &[
                row!(add, add_, |x, y| x + y, u32::wrapping_add),
                row!(sub, sub_, |x, y| x - y, u32::wrapping_sub),
                row!(mul, mul_, |x, y| x * y, u32::wrapping_mul),
                row!(maximum, maximum_, u32::max),
                row!(minimum, minimum_, u32::min),
                row!(pow, pow_, u32::wrapping_pow),
                row!(div_trunc, div_trunc_, |x, y| x / y.max(1)),
                row!(div_floor, div_floor_, |x, y| x / y.max(1)),
                row!(fmod, fmod_, |x, y| x % y.max(1)),
                row!(remainder, remainder_, |x, y| x % y, |x, y| x % y.max(1)),
            ],
        )?;
        comparisons(pool, &UNSIGNED)?;
        reductions(pool, &UNSIGNED, u32::wrapping_add)?;
    }
    Ok(())
}
