//! Conversions of special values, from and to every dtype: those of Rust's `as`.

use super::{values, views};
use crate::common::{Outcome, adapter};
use crate::half::pools;
use wgpu_pool::{DType, Tensor, f16};

const LIMITS: [i32; 16] = [
    i32::MIN,
    i32::MAX,
    0,
    -1,
    1,
    16_777_217,
    -16_777_217,
    2_147_483_584,
    -2_147_483_584,
    65_504,
    65_519,
    70_000,
    -70_000,
    2049,
    2051,
    33_554_431,
];

#[test]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is tested is what they do")]
fn special_values_of_f32_saturate_in_integers_and_nan_is_0() -> Outcome {
    let x = values();
    for pool in adapter::all_shared() {
        for (kind, view) in views(pool, &x, 1.0)? {
            let signed: Vec<i32> = x.iter().map(|&x| x as i32).collect();
            assert_eq!(view.to(DType::I32)?.read_blocking::<i32>()?, signed, "{kind}");
            let unsigned: Vec<u32> = x.iter().map(|&x| x as u32).collect();
            assert_eq!(view.to(DType::U32)?.read_blocking::<u32>()?, unsigned, "{kind}");
        }
    }
    Ok(())
}

#[test]
fn limits_of_integers_round_in_f32_and_keep_their_bits_in_each_other() -> Outcome {
    let unsigned = LIMITS.map(i32::cast_unsigned);
    // To a neighbour, which one is the device's choice.
    let is_near = |found: f32, wanted: f64| (f64::from(found) - wanted).abs() <= wanted.abs() * f64::from(f32::EPSILON);
    for pool in adapter::all_shared() {
        for (kind, view) in views(pool, &LIMITS, 7)? {
            assert_eq!(view.to(DType::U32)?.read_blocking::<u32>()?, unsigned, "{kind}");
            let found = view.to(DType::F32)?.read_blocking::<f32>()?;
            assert!(found.iter().zip(LIMITS).all(|(&found, x)| is_near(found, f64::from(x))), "{kind}: {found:?}");
        }
        for (kind, view) in views(pool, &unsigned, 7)? {
            assert_eq!(view.to(DType::I32)?.read_blocking::<i32>()?, LIMITS, "{kind}");
            let found = view.to(DType::F32)?.read_blocking::<f32>()?;
            assert!(found.iter().zip(unsigned).all(|(&found, x)| is_near(found, f64::from(x))), "{kind}: {found:?}");
        }
    }
    Ok(())
}

#[test]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is tested is what they do")]
fn every_number_of_f16_is_cast_as_by_rust_and_overflow_is_infinite() -> Outcome {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for pool in pools() {
        let tensor = Tensor::from_slice(pool, &all, [256, 256])?;
        for (kind, view, order) in [("rows", tensor.clone(), false), ("columns", tensor.t()?, true)] {
            let at = |place: usize| if order { all[place % 256 * 256 + place / 256] } else { all[place] };
            let signed = view.to(DType::I32)?.read_blocking::<i32>()?;
            let unsigned = view.to(DType::U32)?.read_blocking::<u32>()?;
            for place in 0..all.len() {
                let x = at(place).to_f32();
                assert_eq!((signed[place], unsigned[place]), (x as i32, x as u32), "{x:?} in {kind}");
            }
        }
        let found = Tensor::from_slice(pool, &LIMITS, [16])?.to(DType::F16)?.read_blocking::<f16>()?;
        for (found, x) in found.iter().zip(LIMITS) {
            let (found, step) = (f64::from(found.to_f32()), f64::from(x).abs() / 1024.0);
            let is_near = (found - f64::from(x)).abs() <= step;
            assert!(is_near || (found.abs() >= 65_504.0 && x.unsigned_abs() > 65_504), "{x}: {found}");
        }
    }
    Ok(())
}
