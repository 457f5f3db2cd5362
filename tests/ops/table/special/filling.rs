//! Which special values, and whether a result is right.

use super::Of;
use wgpu_pool::{DType, f16};

/// A set of special values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    /// NaN of both signs.
    NotNumbers,
    /// Infinities, and zeros of both signs.
    Infinities,
    /// The least numbers of both signs, and zeros. A driver may take a subnormal number for 0.
    Subnormals,
    /// Ties, and numbers up to the largest.
    Large,
    /// The limits of the integers, and numbers around them.
    Limits,
    /// Numbers that f32 has, up to the limits.
    Representable,
    /// Numbers whose products wrap and are below 2^53 with their sums, which the model has exactly.
    Factors,
}

pub(super) const FLOATING: [Filling; 4] =
    [Filling::NotNumbers, Filling::Infinities, Filling::Subnormals, Filling::Large];

/// The values of a dtype.
pub(super) fn values(filling: Filling, dtype: DType, of: Of) -> Vec<f64> {
    let half = dtype == DType::F16;
    let least = |bits: [u32; 3], of_half: [u16; 3]| {
        let all = if half {
            of_half.map(|bits| f16::from_bits(bits).to_f64())
        } else {
            bits.map(|bits| f64::from(f32::from_bits(bits)))
        };
        all.into_iter().flat_map(|x| [x, -x])
    };
    let found: Vec<f64> = match filling {
        Filling::NotNumbers => vec![f64::NAN, -f64::NAN],
        Filling::Infinities => vec![f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0],
        Filling::Subnormals => least([1, 0x007f_ffff, 0x0080_0000], [1, 0x3ff, 0x400]).chain([0.0, -0.0]).collect(),
        Filling::Large if half => {
            vec![0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 1023.5, -1023.5, 2050.0, -32_768.0, 65_504.0, -65_504.0]
        }
        Filling::Large => {
            let most = f64::from(f32::MAX);
            let ties = [0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 8_388_607.5, -8_388_607.5, 16_777_216.0];
            let limits = [2_147_483_648.0, -2_147_483_648.0, 2_147_483_520.0, 4_294_967_296.0, 4_294_967_040.0];
            ties.into_iter().chain(limits).chain([most, -most, 1e10_f32.into(), 3e38_f32.into()]).collect()
        }
        Filling::Limits => match dtype {
            DType::U32 => vec![0.0, 1.0, 4_294_967_295.0, 4_294_967_294.0, 2_147_483_648.0, 2_147_483_647.0, 65_536.0],
            _ => vec![0.0, 1.0, -1.0, 2_147_483_647.0, -2_147_483_648.0, -2_147_483_647.0, 65_536.0, 16_777_217.0],
        },
        Filling::Representable => match dtype {
            DType::U32 => vec![0.0, 1.0, 4_294_967_040.0, 2_147_483_648.0, 16_777_216.0],
            _ => vec![0.0, 1.0, -1.0, 2_147_483_520.0, -2_147_483_648.0, 16_777_216.0],
        },
        Filling::Factors => match dtype {
            DType::U32 => vec![0.0, 1.0, 65_535.0, 65_536.0, 1_048_575.0],
            _ => vec![0.0, 1.0, -1.0, 46_341.0, -65_536.0, 65_537.0, 1_048_575.0],
        },
    };
    let is_positive = of == Of::Positive && !dtype.is_floating_point();
    found.into_iter().filter(|&x| x > 0.0 || !is_positive).collect()
}

/// The least normal number.
fn least_normal(dtype: DType) -> f64 {
    if dtype == DType::F16 { f16::MIN_POSITIVE.to_f64() } else { f64::from(f32::MIN_POSITIVE) }
}

/// A number as a driver may take it: 0 in the place of a subnormal one.
pub(super) fn flushed(x: f64, dtype: DType) -> f64 {
    if dtype.is_floating_point() && x.abs() < least_normal(dtype) { 0.0_f64.copysign(x) } else { x }
}

/// Whether an element of a result is the model's.
pub(super) fn is_right(found: f64, wanted: f64, dtype: DType, filling: Filling, tolerance: f64) -> bool {
    let modulus = f64::from(u32::MAX) + 1.0;
    let tolerance = if filling == Filling::Large { tolerance.max(1e-4) } else { tolerance };
    let (most, largest) = match dtype {
        DType::U32 => return found == wanted.rem_euclid(modulus),
        DType::I32 => return found.rem_euclid(modulus) == wanted.rem_euclid(modulus),
        DType::F16 => (tolerance * wanted.abs().max(1.0) + wanted.abs() / 1024.0 + 1e-7, f16::MAX.to_f64()),
        _ => (tolerance * wanted.abs().max(1.0), f64::from(f32::MAX)),
    };
    let overflows = wanted.abs() + most.min(wanted.abs()) > largest && found == f64::INFINITY.copysign(wanted);
    // The sign of a zero in the place of a subnormal number is the driver's choice, and so is that of its reciprocal.
    let is_pole = filling == Filling::Subnormals && found.is_infinite() && wanted.is_infinite();
    found == wanted
        || (found.is_nan() && wanted.is_nan())
        || (wanted.is_finite() && found.is_finite() && (found - wanted).abs() <= most)
        || overflows
        || is_pole
}
