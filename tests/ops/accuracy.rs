//! The accuracy that the docs of elementwise operations state, over the whole range of f32, against float64.
//!
//! Numbers are drawn by their bits, so that every magnitude is equally likely, and additional numbers near 0 and 1. A unit
//! in the last place (ULP) is that of the result, and at least that of the smallest normal number, because drivers may
//! flush subnormal operands and results.

use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::ulp;
use crate::special_values::table::UNARY;
use wgpu_pool::Tensor;

/// Finite numbers: by their bits, from -10 to 10, next to 1, and of every power of two.
fn numbers(random: &mut Random) -> Vec<f32> {
    let bits = |random: &mut Random| f32::from_bits(u32::try_from(random.next() >> 32).expect("32 bits"));
    let mut all: Vec<f32> = (0..6000).map(|_| bits(random)).filter(|x| x.is_finite()).collect();
    all.extend((0..4000).map(|_| random.real() * 10.0));
    all.extend((0..2000).map(|_| 1.0 + random.real() * random.real().powi(8)));
    all.extend((0..2000).map(|_| random.real() * 200.0));
    all.extend((-126..128).flat_map(|power| [2.0_f32.powi(power), -2.0_f32.powi(power)]));
    all
}

/// Returns the error of a result as a multiple of the tolerance. Infinity is correct beyond the largest number, and 0 for a
/// subnormal result.
fn excess(found: f32, wanted: f64, allowed: f64) -> f64 {
    let most = f64::from(f32::MAX);
    let is_same = f64::from(found) == wanted || (found.is_nan() && wanted.is_nan());
    let is_overflow =
        wanted.abs() + allowed > most && found.is_infinite() && f64::from(found).signum() == wanted.signum();
    let is_flushed = wanted.abs() < f64::from(f32::MIN_POSITIVE) && found == 0.0;
    if is_same || is_overflow || is_flushed {
        return 0.0;
    }
    let distance = (f64::from(found) - wanted).abs();
    if allowed == 0.0 || distance.is_nan() { f64::INFINITY } else { distance / allowed }
}

#[test]
fn unary_operations_are_as_accurate_as_their_docs_say_over_the_whole_range() -> Outcome {
    let x = numbers(&mut Random::new(140));
    for pool in adapter::all_shared() {
        let tensor = Tensor::from_slice(pool, &x, [x.len()])?;
        let mut faults = Vec::new();
        for row in &UNARY {
            let name = row.name;
            let found = (row.run)(&tensor)?.read_blocking::<f32>()?;
            let mut worst = (0.0, 0.0, 0.0, 0.0);
            for (&x, &y) in x.iter().zip(&found) {
                if !x.is_normal() {
                    continue;
                }
                let wanted = (row.model)(f64::from(x));
                let excess = excess(y, wanted, (row.allowed)(f64::from(x), wanted));
                if excess > worst.0 {
                    worst = (excess, x, y, wanted);
                }
            }
            let (excess, x, y, wanted) = worst;
            eprintln!("{name}: at most {excess:.3} of the bound, at {x:e}: {y:e}, not {wanted:e}");
            if excess > 1.0 {
                faults.push(format!("{name} of {x:e} is {y:e}, not {wanted:e}: {excess} times the bound"));
            }
        }
        assert!(faults.is_empty(), "{faults:#?}");
    }
    Ok(())
}

/// The exponent, as an f32, by which a base is raised to 2^`power`.
#[expect(clippy::cast_possible_truncation, reason = "any number nearby will do")]
fn exponent(base: f32, power: f32) -> f32 {
    (f64::from(power) / f64::from(base).log2()) as f32
}

/// Bases and exponents of every kind whose power is a normal number.
fn powers(random: &mut Random) -> Vec<(f32, f32)> {
    let mut all = Vec::new();
    for _ in 0..6000 {
        // Any base, and the exponent that leads somewhere in the range.
        let x = f32::from_bits(u32::try_from(random.next() >> 33).expect("31 bits"));
        all.push((x, exponent(x, random.real() * 127.0)));
        // Next to 1, above and below.
        let x = 1.0 + random.real() * random.real().powi(6);
        all.push((x, exponent(x, random.real() * 127.0)));
        // Ordinary ones, and whole powers of negative bases.
        all.push((random.real().abs() * 10.0, random.real() * 10.0));
        all.push((random.real() * 10.0, (random.real() * 12.0).round()));
    }
    all
}

#[test]
fn powers_are_within_three_units_in_the_last_place() -> Outcome {
    let pairs = powers(&mut Random::new(141));
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    for pool in adapter::all_shared() {
        let (left, right) = (Tensor::from_slice(pool, &x, [x.len()])?, Tensor::from_slice(pool, &y, [y.len()])?);
        let found = left.pow(&right)?.read_blocking::<f32>()?;
        let mut worst = (0.0, (0.0, 0.0), 0.0, 0.0);
        for (&(x, y), &found) in pairs.iter().zip(&found) {
            let wanted = f64::from(x).powf(f64::from(y));
            let excess = excess(found, wanted, 3.0 * ulp(wanted));
            if excess > worst.0 {
                worst = (excess, (x, y), found, wanted);
            }
        }
        let (excess, (x, y), found, wanted) = worst;
        eprintln!("pow: at most {excess:.3} of the bound, at {x:e} ^ {y:e}: {found:e}, not {wanted:e}");
        assert!(excess <= 1.0, "{x:e} ^ {y:e} is {found:e}, not {wanted:e}: {excess} times the bound");
    }
    Ok(())
}

#[test]
fn remainders_and_integer_quotients_of_every_magnitude_are_exact() -> Outcome {
    let mut random = Random::new(141);
    let x = numbers(&mut random);
    // Divisors of every magnitude, and others near x, whose quotients are small numbers and integers.
    let near = x.iter().map(|x| x / (1.0 + f32::from(u8::try_from(random.below(40)).unwrap_or_default()))).collect();
    let divisors: [Vec<f32>; 2] = [x.iter().rev().copied().collect(), near];
    for (pool, y) in adapter::all_shared().flat_map(|pool| divisors.iter().map(move |y| (pool, y))) {
        let [left, right] = [&x, y].map(|numbers| Tensor::from_slice(pool, numbers, [numbers.len()]));
        let (left, right) = (left?, right?);
        let rest = left.fmod(&right)?.read_blocking::<f32>()?;
        let whole = left.div_floor(&right)?.read_blocking::<f32>()?;
        let cut = left.div_trunc(&right)?.read_blocking::<f32>()?;
        for ((((&x, &y), &rest), &whole), &cut) in x.iter().zip(y).zip(&rest).zip(&whole).zip(&cut) {
            let is_flushed = !x.is_normal() || !y.is_normal() || !(x % y).is_normal() && rest == 0.0;
            assert!(is_flushed || rest == x % y, "{x:e} % {y:e} is {rest:e}, not {:e}", x % y);
            let quotient = (f64::from(x) / f64::from(y)).floor();
            let is_counted = quotient.abs() < 16_777_216.0;
            assert!(
                is_flushed || !is_counted || f64::from(whole) == quotient,
                "{x:e} // {y:e} is {whole}, not {quotient}"
            );
            // Of the rounded quotient, which may be the next integer.
            let wanted = (x / y).trunc();
            assert!(is_flushed || !is_counted || cut == wanted, "{x:e} / {y:e} is {cut}, not {wanted}");
        }
    }
    Ok(())
}
