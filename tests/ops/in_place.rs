//! Operations that write into the tensor they are called on.

use crate::SIZES;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal, ulp};
use wgpu_pool::{Tensor, TensorError};

#[test]
fn a_scaled_addition_equals_the_model_at_sizes_around_the_workgroup() -> Outcome {
    let mut random = Random::new(11);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let (x, y) = (Array::real(&[size], &mut random), Array::real(&[size], &mut random));
            let sum = x.to_device(pool)?;
            sum.add_scaled_(&y.to_device(pool)?, -0.01_f32)?;
            let (x, y) = (x.map(f64::from), y.map(f64::from));
            let step = f64::from(-0.01_f32);
            let wanted = x.zip(&y, |x, y| x + step * y);
            // One rounding of the product and one of the sum, or one of both where they are fused.
            let allowed = |at: usize, z: f64| ulp(z) + ulp(step * y.elements[at]);
            assert_close(&sum, &wanted, allowed, format_args!("add_ of {size}"));
        }
    }
    Ok(())
}

#[test]
fn a_scaled_addition_of_integers_wraps() -> Outcome {
    let mut random = Random::new(12);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::<i32>::any(&[1000], &mut random), Array::<i32>::any(&[1000], &mut random));
        let sum = x.to_device(pool)?;
        sum.add_scaled_(&y.to_device(pool)?, -3)?;
        assert_equal(&sum, &x.zip(&y, |x, y| x.wrapping_sub(y.wrapping_mul(3))), "add_ of i32");
        let (x, y) = (Array::<u32>::any(&[1000], &mut random), Array::<u32>::any(&[1000], &mut random));
        let sum = x.to_device(pool)?;
        sum.add_scaled_(&y.to_device(pool)?, u32::MAX)?;
        assert_equal(&sum, &x.zip(&y, u32::wrapping_sub), "add_ of u32");
    }
    Ok(())
}

#[test]
fn a_tensor_can_be_added_to_itself() -> Outcome {
    let mut random = Random::new(13);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[9, 11], &mut random);
        let tensor = x.to_device(pool)?;
        tensor.add_scaled_(&tensor, 2)?;
        assert_equal(&tensor, &x.map(|x| x.wrapping_mul(3)), "itself");
        let tensor = x.to_device(pool)?;
        tensor.t()?.add_scaled_(&tensor.t()?, -1)?;
        assert_equal(&tensor, &x.map(|_| 0), "its transpose with its transpose");
    }
    Ok(())
}

#[test]
fn an_operand_may_be_another_part_of_the_same_storage() -> Outcome {
    let mut random = Random::new(14);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[6, 10], &mut random);
        let tensor = x.to_device(pool)?;
        tensor.narrow(0, 0, 3)?.add_scaled_(&tensor.narrow(0, 3, 3)?, 5)?;
        let mut wanted = x.clone();
        for at in 0..30 {
            wanted.elements[at] = wanted.elements[at].wrapping_add(x.elements[at + 30].wrapping_mul(5));
        }
        assert_equal(&tensor, &wanted, "two halves");
        let tensor = x.to_device(pool)?;
        // Even and odd columns interleave without meeting.
        let columns = tensor.reshape([6, 5, 2])?;
        columns.narrow(2, 0, 1)?.add_scaled_(&columns.narrow(2, 1, 1)?, 1)?;
        let mut wanted = x.clone();
        for at in (0..60).step_by(2) {
            wanted.elements[at] = x.elements[at].wrapping_add(x.elements[at + 1]);
        }
        assert_equal(&tensor, &wanted, "even and odd columns");
        let tensor = x.to_device(pool)?;
        tensor.narrow(0, 3, 3)?.copy_(&tensor.narrow(0, 0, 3)?)?;
        let mut wanted = x.clone();
        wanted.elements.copy_within(0..30, 30);
        assert_equal(&tensor, &wanted, "a half copied to the other");
    }
    Ok(())
}

#[test]
fn writing_a_view_leaves_everything_else_of_the_storage() -> Outcome {
    let mut random = Random::new(15);
    for pool in adapter::all_shared() {
        let (x, y) = (Array::<i32>::any(&[8, 9], &mut random), Array::<i32>::any(&[5, 3], &mut random));
        let other = y.to_device(pool)?;
        let write = |view: &Tensor, how: usize| -> Result<(), TensorError> {
            match how {
                0 => view.copy_(&other),
                1 => view.add_scaled_(&other, 1),
                _ => view.fill_(42),
            }
        };
        for how in 0..3 {
            let tensor = x.to_device(pool)?;
            let view = tensor.narrow(0, 2, 5)?.narrow(1, 4, 3)?;
            write(&view, how)?;
            let mut wanted = x.clone();
            for row in 0..5 {
                for column in 0..3 {
                    let place = &mut wanted.elements[(row + 2) * 9 + column + 4];
                    let y = y.at(&[row, column]);
                    *place = [y, place.wrapping_add(y), 42][how];
                }
            }
            assert_equal(&tensor, &wanted, format_args!("way {how}"));
        }
    }
    Ok(())
}

#[test]
fn copying_a_tensor_to_itself_changes_nothing() -> Outcome {
    let mut random = Random::new(16);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[4, 5], &mut random);
        let tensor = x.to_device(pool)?;
        tensor.copy_(&tensor)?;
        assert_equal(&tensor, &x, "itself");
    }
    Ok(())
}

/// Elements as bits, NaN as one pattern.
fn bits(tensor: &Tensor) -> Result<Vec<u32>, TensorError> {
    let elements = tensor.read_blocking::<f32>()?;
    Ok(elements.into_iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect())
}

#[test]
fn each_form_in_place_leaves_what_the_other_form_returns() -> Outcome {
    type Unary = (&'static str, fn(&Tensor) -> Result<(), TensorError>, fn(&Tensor) -> Result<Tensor, TensorError>);
    type Binary = (
        &'static str,
        fn(&Tensor, &Tensor) -> Result<(), TensorError>,
        fn(&Tensor, &Tensor) -> Result<Tensor, TensorError>,
    );
    type WithScalar =
        (&'static str, fn(&Tensor, f32) -> Result<(), TensorError>, fn(&Tensor, f32) -> Result<Tensor, TensorError>);
    macro_rules! forms {
        ($($in_place:ident, $other:ident;)*) => { [$((stringify!($in_place), Tensor::$in_place, Tensor::$other)),*] };
    }
    macro_rules! of_two {
        ($($in_place:ident, $other:ident;)*) => {
            [$((stringify!($in_place), |x, y| x.$in_place(y), |x, y| x.$other(y))),*]
        };
    }
    let unary: [Unary; 19] = forms! {
        neg_, neg; abs_, abs; exp_, exp; log_, log; sqrt_, sqrt; rsqrt_, rsqrt; reciprocal_, reciprocal; square_, square;
        sin_, sin; cos_, cos; tanh_, tanh; sigmoid_, sigmoid; relu_, relu; silu_, silu; gelu_, gelu; gelu_tanh_, gelu_tanh;
        floor_, floor; ceil_, ceil; round_, round;
    };
    let binary: [Binary; 7] = of_two! {
        add_, add; sub_, sub; mul_, mul; div_, div; pow_, pow; maximum_, maximum; minimum_, minimum;
    };
    let with_scalar: [WithScalar; 7] = of_two! {
        add_, add; sub_, sub; mul_, mul; div_, div; pow_, pow; maximum_, maximum; minimum_, minimum;
    };
    let mut random = Random::new(14);
    for pool in adapter::all_shared() {
        let mut x = Array::real(&[7, 12], &mut random);
        x.elements[..4].copy_from_slice(&[-0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
        let (whole, row) = (x.to_device(pool)?, Array::real(&[12], &mut random).to_device(pool)?);
        for transposed in [false, true] {
            let view = if transposed { whole.t()? } else { whole.clone() };
            let other = if transposed { row.reshape([12, 1])? } else { row.clone() };
            let kept = || -> Result<Tensor, TensorError> {
                let copy = whole.copied()?;
                if transposed { copy.t() } else { Ok(copy) }
            };
            for (name, in_place, returning) in unary {
                let changed = kept()?;
                in_place(&changed)?;
                assert_eq!(bits(&changed)?, bits(&returning(&view)?)?, "{name} {transposed}");
            }
            for (name, in_place, returning) in binary {
                let changed = kept()?;
                in_place(&changed, &other)?;
                assert_eq!(bits(&changed)?, bits(&returning(&view, &other)?)?, "{name} {transposed}");
            }
            for (name, in_place, returning) in with_scalar {
                let changed = kept()?;
                in_place(&changed, 1.5)?;
                assert_eq!(bits(&changed)?, bits(&returning(&view, 1.5)?)?, "{name} {transposed}");
            }
        }
        let few = Tensor::full(pool, [3], 1.0_f32)?;
        assert!(matches!(few.sub_(&whole), Err(TensorError::Shape { operation: "sub_", .. })));
        let whole = Tensor::full(pool, [3], 1_i32)?;
        assert!(matches!(
            whole.mul_(2.5),
            Err(TensorError::DType { operation: "mul_", dtype: "f32", by_dtype: "i32", .. })
        ));
        assert!(matches!(few.expand([2, 3])?.exp_(), Err(TensorError::Overlap { operation: "exp_", .. })));
    }
    Ok(())
}
