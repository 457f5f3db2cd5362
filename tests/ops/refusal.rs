//! Invalid arguments of tensor operations: each gives a specific error with both values, and the pool stays usable.

use crate::common::{Outcome, adapter};
use wgpu_pool::{AllocateError, DType, Memory, Pool, PoolOptions, Tensor, TensorError};

/// Asserts that a call returns an error with this text.
#[track_caller]
fn refused<T>(outcome: Result<T, TensorError>, text: &str) -> TensorError {
    match outcome {
        Ok(_) => panic!("it went through, instead of: {text}"),
        Err(error) => {
            assert_eq!(error.to_string(), text);
            error
        }
    }
}

/// Asserts that no memory is leaked, and that the pool works.
fn assert_usable(pool: &Pool, live: u64) -> Outcome {
    assert_eq!(pool.stats().blocks.current, live, "a refused operation left a block behind");
    pool.check()?;
    let two = Tensor::full(pool, [3], 2.0_f32)?;
    assert_eq!(two.add(&two)?.read_blocking::<f32>()?, [4.0; 3]);
    Ok(())
}

#[test]
fn shapes_that_do_not_match_are_refused_with_both_sides() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let zeros = |shape: &[usize]| Tensor::zeros(&pool, shape, DType::F32);
    let (x, y) = (zeros(&[2, 3])?, zeros(&[4])?);
    refused(x.add(&y), "add: shapes [2, 3] and [4] do not match");
    refused(y.sub(&x), "sub: shapes [4] and [2, 3] do not match");
    refused(x.add_scaled_(&y, 1.0_f32), "add_scaled_: shapes [4] and [2, 3] do not match");
    refused(y.copy_(&x), "copy_: shapes [2, 3] and [4] do not match");
    refused(zeros(&[1])?.add_scaled_(&y, 1.0_f32), "add_scaled_: shapes [4] and [1] do not match");
    refused(x.matmul(&x), "matmul: shapes [2, 3] and [2, 3] do not match");
    refused(x.matmul(&y), "matmul: shapes [2, 3] and [4] do not match");
    refused(x.reshape([4, 2]), "reshape: shapes [2, 3] and [4, 2] do not match");
    refused(x.reshape([usize::MAX, 3]), &format!("reshape: shapes [2, 3] and [{}, 3] do not match", usize::MAX));
    refused(x.expand([2, 4]), "expand: shapes [2, 3] and [2, 4] do not match");
    refused(x.expand([3]), "expand: shapes [2, 3] and [3] do not match");
    refused(x.permute([0]), "permute: axes [0] are not all 2 of shape [2, 3]");
    refused(
        x.t()?.reshape([6]),
        "reshape: a tensor of shape [3, 2] and strides [1, 3] has no view of shape [6]: call `contiguous` first",
    );
    refused(Tensor::from_slice(&pool, &[1.0_f32; 5], [2, 3]), "5 elements were given for shape [2, 3], which holds 6");
    assert_usable(&pool, 2)
}

#[test]
fn axes_and_ranges_that_are_not_there_are_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::zeros(&pool, [2, 3], DType::F32)?;
    refused(x.sum([2]), "sum: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.mean_keepdim([0, 5]), "mean: axis 5 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.sum([1, 0, 1]), "sum: axis 1 is named twice");
    refused(x.permute([0, 0]), "permute: axis 0 is named twice");
    refused(x.permute([0, 2]), "permute: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.transpose(0, 2), "transpose: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.sum(-3), "sum: axis -3 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.sum([1, -1]), "sum: axis -1 is named twice");
    let last = i64::try_from(usize::MAX).unwrap_or(i64::MAX);
    refused(
        x.amax(usize::MAX),
        &format!("amax: axis {last} is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1"),
    );
    let scalar = x.sum(..)?;
    refused(scalar.sum(1), "sum: axis 1 is outside of shape [], which has no axes");
    refused(scalar.sum([0, -1]), "sum: axis -1 is named twice");
    refused(scalar.narrow(0, 0, 1), "narrow: axis 0 is outside of shape [], which has no axes");
    refused(x.narrow(2, 0, 1), "narrow: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(x.narrow(1, 2, 2), "narrow: 2..4 is outside of axis 1, which holds 3");
    let end = usize::MAX;
    refused(x.narrow(1, end, 2), &format!("narrow: {end}..{end} is outside of axis 1, which holds 3"));
    refused(
        Tensor::zeros(&pool, [3], DType::F32)?.t(),
        "transpose: axis 1 is outside of shape [3], whose only axis is 0 or -1",
    );
    assert_usable(&pool, 2)
}

#[test]
fn products_are_refused_with_their_own_names_and_the_shapes_that_were_given() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let (x, y) = (Tensor::zeros(pool, [2, 3], DType::F32)?, Tensor::zeros(pool, [4], DType::F32)?);
    let weight = Tensor::zeros(pool, [5, 4], DType::F32)?;
    refused(x.linear(&weight, None), "linear: shapes [2, 3] and [5, 4] do not match");
    refused(x.linear(&weight.narrow(1, 0, 3)?, Some(&y)), "linear: shapes [4] and [5] do not match");
    refused(x.linear(&y, None), "linear: shape [4] has 1 dimensions; 2 are needed");
    refused(x.linear(&weight.unsqueeze(0)?, None), "linear: shape [1, 5, 4] has 3 dimensions; 2 are needed");
    refused(x.matmul_then(&weight, None, None), "matmul_then: shapes [2, 3] and [5, 4] do not match");
    let integers = weight.to(DType::I32)?;
    refused(x.linear(&integers, None), "linear: dtypes f32 and i32 do not match");
    let batch = |sizes: [usize; 3]| Tensor::zeros(pool, sizes, DType::F32);
    refused(batch([2, 3, 4])?.bmm(&batch([2, 3, 4])?), "bmm: shapes [2, 3, 4] and [2, 3, 4] do not match");
    Ok(())
}

#[test]
fn dtypes_that_do_not_match_are_refused_with_both_sides() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let zeros = |dtype| Tensor::zeros(&pool, [2, 2], dtype);
    let (floats, signed, unsigned) = (zeros(DType::F32)?, zeros(DType::I32)?, zeros(DType::U32)?);
    refused(signed.add(&unsigned), "add: dtypes i32 and u32 do not match");
    refused(signed.lt(&unsigned), "lt: dtypes i32 and u32 do not match");
    refused(signed.add_(&floats), "add_: dtypes i32 and f32 do not match");
    refused(signed.mul_(0.5), "mul_: dtypes i32 and f32 do not match");
    refused(signed.add(i64::from(i32::MAX) + 1), "add: 2147483648 is beyond the range of i32");
    refused(unsigned.gt(1_i64 << 32), "gt: 4294967296 is beyond the range of u32");
    refused(signed.matmul(&unsigned), "matmul: dtypes i32 and u32 do not match");
    refused(signed.add_scaled_(&floats, 1), "add_scaled_: dtypes i32 and f32 do not match");
    refused(signed.add_scaled_(&signed, 0.5_f32), "add_scaled_: dtypes i32 and f32 do not match");
    refused(signed.add_scaled_(&unsigned, 1), "add_scaled_: dtypes i32 and u32 do not match");
    refused(signed.add_scaled_(&signed, u32::MAX), "add_scaled_: 4294967295 is beyond the range of i32");
    refused(signed.fill_(1.0_f32), "fill_: dtypes i32 and f32 do not match");
    refused(unsigned.read_blocking::<i32>(), "read: dtypes u32 and i32 do not match");
    refused(signed.div_(&signed), "div_: dtypes f32 and i32 do not match");
    refused(signed.exp_(), "exp_: dtypes f32 and i32 do not match");
    refused(unsigned.neg(), "neg is not defined for u32");
    refused(signed.mean(..), "mean is not defined for i32");
    assert_usable(&pool, 3)
}

#[test]
fn outputs_that_overlap_an_input_or_themselves_are_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::from_slice(&pool, &[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3])?;
    let (top, bottom) = (x.narrow(0, 0, 2)?, x.narrow(0, 1, 2)?);
    refused(
        top.add_scaled_(&bottom, 1),
        "add_scaled_: the output overlaps an input: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        top.copy_(&bottom),
        "copy_: the output overlaps an input: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.add_scaled_(&x.t()?, 1),
        "add_scaled_: the output overlaps an input: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.copy_(&x.t()?),
        "copy_: the output overlaps an input: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.add_scaled_(&x.narrow(0, 0, 1)?, 1),
        "add_scaled_: the output overlaps an input: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    let wide = Tensor::full(&pool, [1], 1)?.expand([3])?;
    let other = Tensor::full(&pool, [3], 1)?;
    refused(
        wide.add_scaled_(&other, 1),
        "add_scaled_: the output overlaps itself: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        wide.copy_(&other),
        "copy_: the output overlaps itself: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    assert_eq!(x.read_blocking::<i32>()?, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_usable(&pool, 3)
}

#[test]
fn sizes_beyond_every_limit_are_refused_with_both_sides() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let zeros = |shape: &[usize]| Tensor::zeros(&pool, shape, DType::F32);
    let huge = usize::MAX / 2;
    refused(zeros(&[huge, 3]), &format!("shape [{huge}, 3] of 4-byte elements overflows"));
    refused(zeros(&[huge]), &format!("shape [{huge}] of 4-byte elements overflows"));
    refused(zeros(&[0, huge, 3]), &format!("shape [0, {huge}, 3] of 4-byte elements overflows"));
    refused(zeros(&[1; 9]), "rank 9 is above the largest, 8");
    refused(
        Tensor::randn(&pool, [1 << 21, 1 << 20, 1 << 20], 1),
        "shape [2097152, 1048576, 1048576] of 4-byte elements overflows",
    );
    let x = zeros(&[2])?;
    refused(x.expand([1, 1, 1, 1, 1, 1, 1, 1, 2]), "rank 9 is above the largest, 8");
    // Above 4,096 blocks of a binding each.
    let limit = pool.memory().limits().largest_binding.saturating_mul(4096);
    let elements = usize::try_from(limit / 4 + 1)?;
    match zeros(&[elements]) {
        Err(TensorError::Allocate(AllocateError::TooLarge { requested, limit: named })) => {
            assert_eq!(requested, 4 * elements as u64);
            assert!(named <= limit);
        }
        other => panic!("{other:?}"),
    }
    assert_usable(&pool, 1)
}

#[test]
fn a_repeated_view_of_too_many_elements_is_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let one = Tensor::full(&pool, [1], 1.0_f32)?;
    let wide = one.expand([1 << 16, 1 << 16])?;
    let error = wide.sum(..).expect_err("2^32 elements are beyond a kernel's index");
    assert!(matches!(error, TensorError::TooManyElements { elements: 0x1_0000_0000, .. }), "{error}");
    let too_much = wide.expand([1 << 30, 1 << 16, 1 << 16]);
    match too_much.and_then(|view| view.neg()) {
        Err(TensorError::Overflow { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_usable(&pool, 1)
}

/// Tensors above the largest binding of the device, which consist of several blocks.
#[test]
fn a_tensor_above_the_largest_binding_is_written_and_read() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let limits = pool.memory().limits();
    let elements = usize::try_from(limits.largest_binding / 4 + 1024)?;
    if limits.largest_binding > 256 << 20 {
        eprintln!("skipped: a binding of {} bytes is more than a test should take", limits.largest_binding);
        return Ok(());
    }
    let tensor = Tensor::zeros(&pool, [elements], DType::F32)?;
    assert_eq!(tensor.parts().len(), 2);
    tensor.narrow(0, 1, elements - 2)?.fill_(1.0_f32)?;
    assert_eq!(tensor.narrow(0, elements - 3, 3)?.read_blocking::<f32>()?, [1.0, 1.0, 0.0]);
    assert_eq!(tensor.sum(..)?.item_blocking::<f32>()?, (elements - 2) as f32);
    drop(tensor);
    assert_usable(&pool, 0)
}

#[test]
fn tensors_of_two_pools_are_refused() -> Outcome {
    let (Some(pool), Some(other)) = (adapter::fresh(), adapter::fresh()) else { return Ok(()) };
    let (x, y) = (Tensor::full(&pool, [2, 2], 1.0_f32)?, Tensor::full(&other, [2, 2], 2.0_f32)?);
    refused(x.add(&y), "add: the tensors belong to different pools: read one and upload it to the pool of the other");
    refused(
        x.matmul(&y),
        "matmul: the tensors belong to different pools: read one and upload it to the pool of the other",
    );
    refused(
        x.add_scaled_(&y, 1.0_f32),
        "add_scaled_: the tensors belong to different pools: read one and upload it to the pool of the other",
    );
    refused(
        x.copy_(&y),
        "copy_: the tensors belong to different pools: read one and upload it to the pool of the other",
    );
    assert_usable(&pool, 1)?;
    assert_usable(&other, 1)
}

#[test]
fn a_pool_without_memory_says_so_through_tensors_and_works_on() -> Outcome {
    let Some(pool) = adapter::open(PoolOptions { limit: Some(8 << 20), ..crate::common::options() }) else {
        return Ok(());
    };
    // Above that it is the device that refuses.
    if !adapter::holds(&pool, 16 << 20) {
        return Ok(());
    }
    let kept = Tensor::full(&pool, [1 << 20], 1.5_f32)?;
    let error = kept.expand([4, 1 << 20])?.contiguous().expect_err("16 MiB are above the limit");
    assert!(matches!(&error, TensorError::Allocate(AllocateError::OutOfMemory(_))), "{error}");
    assert!(error.to_string().starts_with("out of memory: requested 16.0 MiB, limit 8.0 MiB, "), "{error}");
    assert_eq!(kept.sum(..)?.read_blocking::<f32>()?, [1_572_864.0]);
    assert_usable(&pool, 1)
}
