//! Every number of f16, and all pairs of special ones: the model's result within the accuracy of f32, rounded once to a
//! neighbour.

use super::table::{BINARY, UNARY};
use super::values;
use crate::common::Outcome;
use crate::half::{neighbours, pools};
use crate::model::ulp;
use wgpu_pool::{CrossEntropy, DType, Reduction, Tensor, f16, fuse};

/// Whether it is one of the numbers of f16 next to any number that is as near to the wanted one as allowed. The least ones may be
/// flushed.
#[expect(clippy::cast_possible_truncation, reason = "rounded on the way to f16")]
fn is_rounded(found: f16, wanted: f64, allowed: f64) -> bool {
    let found = found.to_f32();
    let [low, _] = neighbours((wanted - allowed) as f32);
    let [_, high] = neighbours((wanted + allowed) as f32);
    let is_flushed = found == 0.0 && wanted.abs() < f64::from(f16::MIN_POSITIVE.to_f32());
    (found.is_nan() && wanted.is_nan()) || f64::from(found) == wanted || (low..=high).contains(&found) || is_flushed
}

/// A number, and 0 where a driver may take it for that.
fn taken(x: f16) -> [f64; 2] {
    let flushed = if x.to_f32().abs() < f16::MIN_POSITIVE.to_f32() { f16::ZERO.copysign(x) } else { x };
    [x.to_f64(), flushed.to_f64()]
}

#[test]
fn unary_operations_equal_the_model_for_every_number_of_f16_and_round_once() -> Outcome {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for pool in pools() {
        let tensor = Tensor::from_slice(pool, &all, [all.len()])?;
        for row in &UNARY {
            let changed = tensor.copied()?;
            (row.in_place)(&changed)?;
            let fused = fuse(|[x]| (row.fused)(x * 1.0_f32)).run([&tensor])?;
            for (form, result) in [("plain", (row.run)(&tensor)?), ("in place", changed), ("fused", fused)] {
                let found = result.read_blocking::<f16>()?;
                let fault = all.iter().zip(&found).find(|&(&x, &found)| {
                    let near = |x: f64| is_rounded(found, (row.model)(x), (row.allowed)(x, (row.model)(x)));
                    !taken(x).into_iter().any(near)
                });
                assert!(fault.is_none(), "{} {form}: {fault:?}", row.name);
            }
        }
    }
    Ok(())
}

#[test]
fn binary_operations_equal_the_model_for_all_pairs_of_special_numbers_of_f16() -> Outcome {
    let all: Vec<f16> = values().into_iter().map(f16::from_f32).collect();
    let (x, y): (Vec<f16>, Vec<f16>) = all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y))).unzip();
    for pool in pools() {
        let (left, right) = (Tensor::from_slice(pool, &x, [x.len()])?, Tensor::from_slice(pool, &y, [y.len()])?);
        for row in &BINARY {
            let found = (row.run)(&left, &right)?.read_blocking::<f16>()?;
            for ((&found, &x), &y) in found.iter().zip(&x).zip(&y) {
                let models = taken(x).into_iter().flat_map(|x| taken(y).map(|y| (row.model)(x, y)));
                let is_pole =
                    |wanted: f64| found.is_infinite() && wanted.is_infinite() && (x == f16::ZERO || y == f16::ZERO);
                let is_right = |wanted: f64| is_rounded(found, wanted, row.units * ulp(wanted)) || is_pole(wanted);
                assert!(models.into_iter().any(is_right), "{} of {x:?} and {y:?}: {found:?}", row.name);
            }
        }
    }
    Ok(())
}

#[test]
fn losses_of_f16_and_their_gradients_round_once() -> Outcome {
    for pool in pools() {
        // 300² is beyond f16, and the mean of it and 99 zeros is not.
        let mut values = vec![f16::ZERO; 100];
        values[0] = f16::from_f32(300.0);
        let x = Tensor::from_slice(pool, &values, [100])?;
        let zeros = Tensor::zeros(pool, [100], DType::F16)?;
        assert_eq!(x.mse_loss(&zeros, Reduction::Mean)?.read_blocking::<f16>()?, [f16::from_f32(900.0)]);
        assert_eq!(
            x.mse_loss_backward(&zeros, Reduction::Mean)?.read_blocking::<f16>()?[..2],
            [f16::from_f32(6.0), f16::ZERO]
        );
        // The gradient is the difference of two numbers next to 1.
        for margin in [2.0_f32, 4.0, 6.0, 8.0, 10.0] {
            let x = Tensor::from_slice(pool, &[f16::from_f32(margin), f16::ZERO], [1, 2])?;
            let target = Tensor::from_slice(pool, &[0_u32], [1])?;
            let other = 1.0 / (1.0 + f64::from(margin).exp());
            let found = x.cross_entropy_backward(&target, CrossEntropy::default())?.read_blocking::<f16>()?;
            // In f32 there is the error of a number next to 1.
            assert!(is_rounded(found[0], -other, 3e-7) && is_rounded(found[1], other, 3e-7), "{margin}: {found:?}");
            let loss = x.cross_entropy(&target, CrossEntropy::default())?.read_blocking::<f16>()?[0];
            assert!(is_rounded(loss, (-f64::from(margin)).exp().ln_1p(), 3e-7), "{margin}: {loss:?}");
        }
        // Many of them: sums of f16 would stop at 2048.
        let count = 10_000;
        let logits: Vec<f16> = (0..count * 4).map(|at: u16| f16::from_f32(f32::from(at % 7) * 0.375)).collect();
        let targets: Vec<u32> = (0..u32::from(count)).map(|row| row % 4).collect();
        let mut wanted = 0.0;
        for (row, &target) in logits.chunks(4).zip(&targets) {
            let total: f64 = row.iter().map(|x| x.to_f64().exp()).sum();
            wanted += (total.ln() - row[target as usize].to_f64()) / f64::from(count);
        }
        let x = Tensor::from_slice(pool, &logits, [usize::from(count), 4])?;
        let loss =
            x.cross_entropy(&Tensor::from_slice(pool, &targets, [usize::from(count)])?, CrossEntropy::default())?;
        let loss = loss.read_blocking::<f16>()?[0];
        assert!(is_rounded(loss, wanted, 1e-5), "{loss:?}, not {wanted}");
        let ones = Tensor::full(pool, [10_000], f16::ONE)?;
        let sum = Tensor::zeros(pool, [2], DType::F16)?;
        sum.index_add_(0, &Tensor::zeros(pool, [10_000], DType::U32)?, &ones)?;
        assert_eq!(sum.read_blocking::<f16>()?, [f16::from_f32(10_000.0), f16::ZERO]);
    }
    Ok(())
}
