//! Operations on one tensor: plain, in place, fused, at the end of a product.

use super::table::UNARY;
use super::{assert_model, one_ulp, values, views};
use crate::common::{Outcome, adapter};
use wgpu_pool::{Conv2d, Tensor, fuse};

#[test]
fn unary_operations_equal_the_model_for_special_values_in_views_of_every_kind() -> Outcome {
    let x = values();
    for pool in adapter::all_shared() {
        let views = views(pool, &x, f32::NAN)?;
        for row in &UNARY {
            for (kind, view) in &views {
                let found = (row.run)(view)?.read_blocking::<f32>()?;
                assert_model(&found, &x, &format!("{} {kind}", row.name), row.model, row.allowed);
            }
        }
    }
    Ok(())
}

#[test]
fn unary_operations_equal_the_model_for_special_values_in_place_and_fused() -> Outcome {
    let x = values();
    for pool in adapter::all_shared() {
        for row in &UNARY {
            let tensor = Tensor::from_slice(pool, &x, [x.len()])?;
            (row.in_place)(&tensor)?;
            assert_model(&tensor.read_blocking::<f32>()?, &x, &format!("{}_", row.name), row.model, row.allowed);
            // A product by 1 changes nothing but may flush, and takes the place of an input.
            let tensor = Tensor::from_slice(pool, &x, [x.len() / 8, 8])?;
            let fused = fuse(|[x]| (row.fused)(x * 1.0_f32)).run([&tensor.t()?])?;
            let found = fused.t()?.read_blocking::<f32>()?;
            assert_model(&found, &x, &format!("fused {}", row.name), row.model, row.allowed);
        }
    }
    Ok(())
}

/// Mesa's software GL takes 20 seconds to compile a product.
#[test]
fn activations_of_products_and_convolutions_equal_the_model_for_special_values() -> Outcome {
    let x = values();
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let one = Tensor::full(pool, [1, 1], 1.0_f32)?;
    let zero = Tensor::zeros(pool, [1], wgpu_pool::DType::F32)?;
    let column = Tensor::from_slice(pool, &x, [x.len(), 1])?;
    for row in &UNARY {
        let Some(activation) = row.activation else { continue };
        for bias in [None, Some(&zero)] {
            let images = column.reshape([x.len(), 1, 1, 1])?;
            let convolved = images.conv2d_then(&one.reshape([1; 4])?, bias, Conv2d::default(), Some(activation))?;
            let product = column.matmul_then(&one, bias, Some(activation))?;
            for (found, what) in [(product, "a product"), (convolved, "a convolution")] {
                let found = found.read_blocking::<f32>()?;
                assert_model(&found, &x, &format!("{activation:?} of {what}"), row.model, |x, y| {
                    (row.allowed)(x, y) + if y == 0.0 { 0.0 } else { one_ulp(y) }
                });
            }
        }
    }
    Ok(())
}

/// Operations that only move bits, or the sign.
#[test]
fn negation_and_magnitude_keep_every_bit_but_the_sign() -> Outcome {
    let x = values();
    let bits = |tensor: &Tensor| -> Result<Vec<u32>, wgpu_pool::TensorError> {
        Ok(tensor.read_blocking::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    let is_same = |(found, wanted): (&u32, u32)| {
        let is_subnormal = f32::from_bits(wanted).is_subnormal() && found & 0x7fff_ffff == 0;
        *found == wanted || (f32::from_bits(*found).is_nan() && f32::from_bits(wanted).is_nan()) || is_subnormal
    };
    for pool in adapter::all_shared() {
        let tensor = Tensor::from_slice(pool, &x, [x.len()])?;
        let negated = bits(&tensor.neg()?)?;
        assert!(negated.iter().zip(x.iter().map(|x| x.to_bits() ^ 0x8000_0000)).all(is_same), "{negated:x?}");
        let magnitudes = bits(&tensor.abs()?)?;
        assert!(magnitudes.iter().zip(x.iter().map(|x| x.to_bits() & 0x7fff_ffff)).all(is_same), "{magnitudes:x?}");
        assert_eq!(bits(&tensor.copied()?)?, x.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    }
    Ok(())
}
