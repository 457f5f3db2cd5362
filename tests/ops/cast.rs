//! Conversions between dtypes.

use crate::SIZES;
use crate::common::random::Random;
use crate::common::{Outcome, adapter};
use crate::model::{Array, assert_close, assert_equal};
use wgpu_pool::{DType, Tensor};

#[test]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is tested is what they do")]
fn conversions_equal_those_of_rust_at_sizes_around_the_workgroup() -> Outcome {
    let mut random = Random::new(100);
    for pool in adapter::all_shared() {
        for size in SIZES {
            let x = Array::real(&[size], &mut random).map(|x| x * 70_000.0);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.to(DType::I32)?, &x.map(|x| x as i32), format_args!("f32 to i32, {size}"));
            assert_equal(&tensor.to(DType::U32)?, &x.map(|x| x as u32), format_args!("f32 to u32, {size}"));
            let x = Array::<i32>::any(&[size], &mut random);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.to(DType::U32)?, &x.map(i32::cast_unsigned), format_args!("i32 to u32, {size}"));
            let near = |_: usize, y: f64| y.abs() * f64::from(f32::EPSILON);
            assert_close(&tensor.to(DType::F32)?, &x.map(f64::from), near, format_args!("i32 to f32, {size}"));
            let x = Array::<u32>::any(&[size], &mut random);
            let tensor = x.to_device(pool)?;
            assert_equal(&tensor.to(DType::I32)?, &x.map(u32::cast_signed), format_args!("u32 to i32, {size}"));
            assert_close(&tensor.to(DType::F32)?, &x.map(f64::from), near, format_args!("u32 to f32, {size}"));
        }
    }
    Ok(())
}

#[test]
fn numbers_beyond_an_integer_become_its_least_or_largest() -> Outcome {
    for pool in adapter::all_shared() {
        let x = Tensor::from_slice(pool, &[3e9_f32, -3e9, 1e20, f32::NEG_INFINITY, -0.9, 0.9, -0.0, 1e-40], [8])?;
        let signed = x.to(DType::I32)?.read_blocking::<i32>()?;
        // The largest f32 that an i32 can hold may stand for the largest i32.
        let most = 2_147_483_520..=i32::MAX;
        assert!(most.contains(&signed[0]) && most.contains(&signed[2]), "{signed:?}");
        assert_eq!([signed[1], signed[3]], [i32::MIN; 2]);
        assert_eq!(signed[4..], [0; 4]);
        let unsigned = x.to(DType::U32)?.read_blocking::<u32>()?;
        assert_eq!(unsigned[0], 3_000_000_000);
        assert!(unsigned[2] >= 4_294_967_040, "{unsigned:?}");
        assert_eq!([unsigned[1], unsigned[3], unsigned[4], unsigned[5]], [0; 4]);
    }
    Ok(())
}

#[test]
fn views_are_converted_and_the_own_dtype_is_the_tensor_itself() -> Outcome {
    let mut random = Random::new(101);
    for pool in adapter::all_shared() {
        let x = Array::<i32>::any(&[6, 8], &mut random).map(|x| x >> 8);
        let tensor = x.to_device(pool)?;
        #[expect(clippy::cast_precision_loss, reason = "24 bits and a sign are exact")]
        let real = |x: i32| x as f32;
        assert_equal(&tensor.t()?.to(DType::F32)?, &x.permute(&[1, 0]).map(real), "a transpose");
        let column = (tensor.narrow(1, 3, 1)?.expand([6, 4])?, x.narrow(1, 3, 1).expand(&[6, 4]));
        assert_equal(&column.0.to(DType::F32)?, &column.1.map(real), "a repeated column");
        assert!(tensor.to(DType::I32)?.storage()?.is_same(tensor.storage()?));
    }
    Ok(())
}
