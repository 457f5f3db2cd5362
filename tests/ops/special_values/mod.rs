//! Special values through every operation, in every form, against a model in float64: NaN of both signs, quiet and signalling,
//! infinities, both zeros, subnormal numbers, ties, the largest numbers, the limits of the integers.
//!
//! `table.rs` has a row for each elementwise operation. That every operation has a cell for each form is what `table/special` tests.
//! WGSL lets a driver flush subnormal numbers, operands and results alike: the model has an alternative with 0 in their
//! place. The sign of a zero is free, but for operations that only move bits.

mod binary;
mod casts;
mod choices;
mod half;
mod images;
mod integers;
mod reductions;
pub(crate) mod table;
mod unary;

use crate::model::ulp;
use wgpu_pool::{Element, Pool, Tensor, TensorError};

/// Special values of f32, a multiple of eight of them.
pub(crate) fn values() -> Vec<f32> {
    let bits = [
        0x7fc0_0000,
        0xffc0_0000,
        0x7f80_0001,
        0xff80_0001,
        0x7fff_ffff,
        0xffff_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x0000_0000,
        0x8000_0000,
        0x0000_0001,
        0x8000_0001,
        0x007f_ffff,
        0x807f_ffff,
        0x0080_0000,
        0x8080_0000,
        0x7f7f_ffff,
        0xff7f_ffff,
    ];
    let numbers = [
        0.5,
        -0.5,
        1.5,
        -1.5,
        2.5,
        -2.5,
        0.499_999_97,
        8_388_607.5,
        -8_388_607.5,
        8_388_609.0,
        16_777_216.0,
        2_147_483_520.0,
        2_147_483_648.0,
        -2_147_483_648.0,
        -2_147_483_904.0,
        4_294_967_040.0,
        4_294_967_296.0,
        1.0,
        -1.0,
        0.999_999_94,
        1.000_000_1,
        -0.1,
        3.0,
        -3.0,
        1e-3,
        0.625,
        15.0,
        -88.0,
        89.0,
        65_504.0,
        65_520.0,
        -70_000.0,
        1e10,
        -1e10,
        3e38,
        1e-38,
        std::f32::consts::PI,
        6e-8,
    ];
    let all: Vec<f32> = bits.map(f32::from_bits).into_iter().chain(numbers).collect();
    assert!(all.len().is_multiple_of(8), "{}", all.len());
    all
}

/// The same elements as views of every kind, whose elements in order they are; their number is a multiple of eight.
pub(crate) fn views<T: Element>(pool: &Pool, all: &[T], other: T) -> Result<Vec<(&'static str, Tensor)>, TensorError> {
    let (count, rows) = (all.len(), all.len() / 8);
    let framed = |before: usize| [vec![other; before], all.to_vec(), vec![other; 5]].concat();
    let offset =
        |before: usize| Tensor::from_slice(pool, &framed(before), [before + count + 5])?.narrow(0, before, count);
    let spaced: Vec<T> = all.iter().flat_map(|&one| [one, other]).collect();
    let columns: Vec<T> = (0..8).flat_map(|column| (0..rows).map(move |row| all[row * 8 + column])).collect();
    let wide: Vec<T> = all.chunks(8).flat_map(|row| [&[other; 4], row, &[other; 4]].concat()).collect();
    Ok(vec![
        ("contiguous", Tensor::from_slice(pool, all, [count])?),
        ("from the fourth element on", offset(4)?),
        ("from the third element on", offset(3)?),
        ("every second element", Tensor::from_slice(pool, &spaced, [count, 2])?.narrow(1, 0, 1)?),
        ("transposed", Tensor::from_slice(pool, &columns, [8, rows])?.t()?),
        ("columns of a wider matrix", Tensor::from_slice(pool, &wide, [rows, 16])?.narrow(1, 4, 8)?),
    ])
}

/// A number, and 0 where a driver may take it for that.
fn taken(x: f32) -> [f64; 2] {
    let flushed = if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
    [f64::from(x), f64::from(flushed)]
}

/// Whether a result is the wanted one within what is allowed.
fn is_close(found: f32, wanted: f64, allowed: f64) -> bool {
    let most = f64::from(f32::MAX);
    let distance = (f64::from(found) - wanted).abs();
    f64::from(found) == wanted
        || (found.is_nan() && wanted.is_nan())
        || distance <= allowed
        || (found == 0.0 && wanted.abs() < f64::from(f32::MIN_POSITIVE))
        || (found.is_infinite()
            && wanted.abs() + allowed > most
            && found.is_sign_negative() == wanted.is_sign_negative())
}

/// Asserts that each result is what the model gives, for a subnormal operand as it is or for 0 in its place.
#[track_caller]
fn assert_model(found: &[f32], x: &[f32], what: &str, model: impl Fn(f64) -> f64, allowed: impl Fn(f64, f64) -> f64) {
    assert_eq!(found.len(), x.len(), "{what}");
    let mut faults = Vec::new();
    for (&found, &x) in found.iter().zip(x) {
        let is_right = taken(x).into_iter().any(|x| is_close(found, model(x), allowed(x, model(x))));
        if !is_right {
            faults.push(format!("of {x:e} ({:#x}): {found:e}, not {:e}", x.to_bits(), model(f64::from(x))));
        }
    }
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

/// The distance that one rounding may be away.
fn one_ulp(y: f64) -> f64 {
    ulp(y)
}
