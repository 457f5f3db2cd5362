//! Invalid arguments of tensor operations: each gives a specific error with both values, and the pool stays usable.

use crate::common::{Outcome, adapter};
use wgpu_pool::{
    AllocateError, Conv2d, DType, MaxPool2d, Memory, Pool, PoolOptions, Tensor, TensorError, Unfold, fuse,
};

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
    refused(x.add(&y), "add: the 2nd operand [4] does not broadcast with [2, 3]");
    refused(y.sub(&x), "sub: the 2nd operand [2, 3] does not broadcast with [4]");
    refused(x.add_scaled_(&y, 1.0_f32), "add_scaled_: the 2nd operand [4] does not broadcast to [2, 3]");
    refused(y.copy_(&x), "copy_: the source [2, 3] does not broadcast to [4]");
    refused(zeros(&[1])?.add_scaled_(&y, 1.0_f32), "add_scaled_: the 2nd operand [4] does not broadcast to [1]");
    refused(x.matmul(&x), "matmul: the right operand [2, 3] has inner size 2, but the left operand [2, 3] has 3");
    refused(x.matmul(&y), "matmul: the right operand [4] has inner size 4, but the left operand [2, 3] has 3");
    refused(x.reshape([4, 2]), "reshape: the tensor [2, 3] has 6 elements, but shape [4, 2] has 8");
    let most = usize::MAX;
    refused(
        x.reshape([most, 3]),
        &format!("reshape: the tensor [2, 3] has 6 elements, but shape [{most}, 3] has more than {most}"),
    );
    refused(x.expand([2, 4]), "expand: the tensor [2, 3] does not broadcast to [2, 4]");
    refused(x.expand([3]), "expand: the tensor [2, 3] does not broadcast to [3]");
    refused(x.permute([0]), "permute: axes [0] are not all 2 of shape [2, 3]");
    refused(
        x.t()?.reshape([6]),
        "reshape: a tensor of shape [3, 2] and strides [1, 3] has no view of shape [6]: call `contiguous` first",
    );
    refused(Tensor::from_slice(&pool, &[1.0_f32; 5], [2, 3]), "5 elements for shape [2, 3], which holds 6");
    assert_usable(&pool, 2)
}

#[test]
fn axes_and_ranges_that_are_not_there_are_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::zeros(&pool, [2, 3], DType::F32)?;
    refused(x.sum([2]), "sum: axis 2 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1");
    refused(
        x.mean_keepdim([0, 5]),
        "mean_keepdim: axis 5 is outside of shape [2, 3], whose axes are 0 to 1, or -2 to -1",
    );
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
        "t: axis 1 is outside of shape [3], whose only axis is 0 or -1",
    );
    assert_usable(&pool, 2)
}

#[test]
fn products_are_refused_with_their_own_names_and_the_shapes_that_were_given() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let (x, y) = (Tensor::zeros(pool, [2, 3], DType::F32)?, Tensor::zeros(pool, [4], DType::F32)?);
    let weight = Tensor::zeros(pool, [5, 4], DType::F32)?;
    refused(x.linear(&weight, None), "linear: the weight [5, 4] has inner size 4, but the input [2, 3] has 3");
    refused(
        x.linear(&weight.narrow(1, 0, 3)?, Some(&y)),
        "linear: the bias [4] must have shape [5] for the weight [5, 3]",
    );
    refused(x.linear(&y, None), "linear: the weight [4] has 1 dimension, and 2 are needed");
    refused(x.linear(&weight.unsqueeze(0)?, None), "linear: the weight [1, 5, 4] has 3 dimensions, and 2 are needed");
    refused(
        x.matmul_then(&weight, None, None),
        "matmul_then: the right operand [5, 4] has inner size 5, but the left operand [2, 3] has 3",
    );
    let integers = weight.to(DType::I32)?;
    refused(x.linear(&integers, None), "linear: the weight has dtype i32, and the input f32: convert one with `to`");
    let batch = |sizes: [usize; 3]| Tensor::zeros(pool, sizes, DType::F32);
    refused(
        batch([2, 3, 4])?.bmm(&batch([3, 4, 1])?),
        "bmm: the right operand [3, 4, 1] has batch size 3, but the left operand [2, 3, 4] has 2",
    );
    refused(
        batch([2, 3, 4])?.bmm(&batch([2, 4, 1])?.select(0, 0)?),
        "bmm: the right operand [4, 1] has 2 dimensions, and 3 are needed",
    );
    refused(
        batch([2, 3, 4])?.matmul(&batch([3, 4, 1])?),
        "matmul: the right operand [3, 4, 1] has leading dimensions that do not broadcast with those of the left operand [2, 3, 4]",
    );
    refused(x.matmul(&y.select(0, 0)?), "matmul: the right operand [] has 0 dimensions, and 1 or more are needed");
    refused(y.select(0, 0)?.matmul(&x), "matmul: the left operand [] has 0 dimensions, and 1 or more are needed");
    refused(
        batch([2, 3, 4])?.bmm(&batch([2, 3, 4])?),
        "bmm: the right operand [2, 3, 4] has inner size 3, but the left operand [2, 3, 4] has 4",
    );
    Ok(())
}

#[test]
fn an_argument_with_a_wrong_shape_is_named() -> Outcome {
    let Some(pool) = adapter::shared() else { return Ok(()) };
    let zeros = |shape: &[usize]| Tensor::zeros(pool, shape, DType::F32);
    let (x, weight, bias) = (zeros(&[1, 16, 6, 6])?, zeros(&[8, 16, 3, 3])?, zeros(&[4])?);
    let conv2d = Conv2d::default();
    refused(
        x.conv2d(&zeros(&[8, 1, 3, 3])?, None, conv2d),
        "conv2d: the weight [8, 1, 3, 3] has 1 input channel per group, but the input [1, 16, 6, 6] has 16 with groups = 1",
    );
    refused(
        x.conv2d(&weight, Some(&bias), conv2d),
        "conv2d: the bias [4] must have shape [8] for the weight [8, 16, 3, 3]",
    );
    refused(x.conv2d(&bias, None, conv2d), "conv2d: the weight [4] has 1 dimension, and 4 are needed");
    refused(bias.conv2d(&weight, None, conv2d), "conv2d: the input [4] has 1 dimension, and 3 or 4 are needed");
    refused(
        x.conv2d_backward_input([1, 16, 6, 6], &weight, conv2d),
        "conv2d_backward_input: the gradient [1, 16, 6, 6] must have shape [1, 8, 4, 4] for the input [1, 16, 6, 6]",
    );
    refused(
        x.conv2d_backward_weight(&x, [8, 16, 3, 3], conv2d),
        "conv2d_backward_weight: the gradient [1, 16, 6, 6] must have shape [1, 8, 4, 4] for the input [1, 16, 6, 6]",
    );
    let pool2d = MaxPool2d::new(2);
    let (largest, places) = x.max_pool2d_with_indices(pool2d)?;
    refused(
        x.max_pool2d_backward(&places, [1, 16, 6, 6], pool2d),
        "max_pool2d_backward: the gradient [1, 16, 6, 6] must have shape [1, 16, 3, 3] for the input [1, 16, 6, 6]",
    );
    refused(
        largest.max_pool2d_backward(&places.narrow(3, 0, 2)?, [1, 16, 6, 6], pool2d),
        "max_pool2d_backward: the places [1, 16, 3, 2] must have shape [1, 16, 3, 3] for the input [1, 16, 6, 6]",
    );
    refused(
        zeros(&[1, 7, 9])?.fold([4, 4], Unfold::new(2)),
        "fold: the tensor [1, 7, 9] must have shape [1, 8, 9] for the image size [4, 4]",
    );
    refused(
        zeros(&[8, 8])?.fold([4, 4], Unfold::new(2)),
        "fold: the tensor [8, 8] must have shape [8, 9] for the image size [4, 4]",
    );
    let condition = zeros(&[2, 1])?;
    refused(condition.where_cond(1.0, &zeros(&[3, 4])?), "where_cond: the other [3, 4] does not broadcast with [2, 1]");
    refused(condition.where_cond(&zeros(&[3])?, &bias), "where_cond: the other [4] does not broadcast with [2, 3]");
    refused(bias.clamp_(0.0, &condition), "clamp_: the high [2, 1] does not broadcast to [4]");
    let three = fuse(|[x, y, z]| x + y + z);
    refused(
        three.run([&bias, &bias.narrow(0, 0, 1)?, &condition.narrow(1, 0, 0)?]),
        "Fused::run: the 3rd operand [2, 0] does not broadcast with [4]",
    );
    Ok(())
}

#[test]
fn dtypes_that_do_not_match_are_refused_with_both_sides() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let zeros = |dtype| Tensor::zeros(&pool, [2, 2], dtype);
    let (floats, signed, unsigned) = (zeros(DType::F32)?, zeros(DType::I32)?, zeros(DType::U32)?);
    refused(
        signed.add(&unsigned),
        "add: the 2nd operand has dtype u32, and the 1st operand i32: convert one with `to`",
    );
    refused(signed.lt(&unsigned), "lt: the 2nd operand has dtype u32, and the 1st operand i32: convert one with `to`");
    refused(signed.add_(&floats), "add_: the result has dtype f32, and the output i32: convert one with `to`");
    refused(signed.mul_(0.5), "mul_: the result has dtype f32, and the output i32: convert one with `to`");
    refused(signed.add(i64::from(i32::MAX) + 1), "add: the 2nd operand 2147483648 is beyond the range of i32");
    refused(unsigned.gt(1_i64 << 32), "gt: the 2nd operand 4294967296 is beyond the range of u32");
    refused(
        signed.matmul(&unsigned),
        "matmul: the right operand has dtype u32, and the left operand i32: convert one with `to`",
    );
    refused(
        signed.add_scaled_(&floats, 1),
        "add_scaled_: the result has dtype f32, and the output i32: convert one with `to`",
    );
    refused(
        signed.add_scaled_(&signed, 0.5_f32),
        "add_scaled_: the alpha has dtype f32, and the tensor i32: convert one with `to`",
    );
    refused(
        signed.add_scaled_(&unsigned, 1),
        "add_scaled_: the 2nd operand has dtype u32, and the output i32: convert one with `to`",
    );
    refused(signed.add_scaled_(&signed, u32::MAX), "add_scaled_: the alpha 4294967295 is beyond the range of i32");
    refused(signed.fill_(1.0_f32), "fill_: the value has dtype f32, and the tensor i32: convert one with `to`");
    refused(
        unsigned.read_blocking::<i32>(),
        "read_blocking: the element type has dtype i32, and the tensor u32: convert one with `to`",
    );
    refused(signed.div_(&signed), "div_: the result has dtype f32, and the output i32: convert one with `to`");
    refused(signed.exp_(), "exp_: the result has dtype f32, and the output i32: convert one with `to`");
    refused(unsigned.neg(), "neg: the 1st operand has dtype u32, for which neg is not defined: convert with `to`");
    refused(signed.mean(..), "mean: the input has dtype i32, for which mean is not defined: convert with `to`");
    assert_usable(&pool, 3)
}

#[test]
fn outputs_that_overlap_an_input_or_themselves_are_refused() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let x = Tensor::from_slice(&pool, &[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3])?;
    let (top, bottom) = (x.narrow(0, 0, 2)?, x.narrow(0, 1, 2)?);
    refused(
        top.add_scaled_(&bottom, 1),
        "add_scaled_: the output overlaps the 2nd operand: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        top.copy_(&bottom),
        "copy_: the tensor overlaps the source: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.add_scaled_(&x.t()?, 1),
        "add_scaled_: the output overlaps the 2nd operand: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.copy_(&x.t()?),
        "copy_: the tensor overlaps the source: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        x.add_scaled_(&x.narrow(0, 0, 1)?, 1),
        "add_scaled_: the output overlaps the 2nd operand: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    let wide = Tensor::full(&pool, [1], 1)?.expand([3])?;
    let other = Tensor::full(&pool, [3], 1)?;
    refused(
        wide.add_scaled_(&other, 1),
        "add_scaled_: the output overlaps itself: use the form that returns a new tensor, or pass a copy (`copied`)",
    );
    refused(
        wide.copy_(&other),
        "copy_: the tensor overlaps itself: use the form that returns a new tensor, or pass a copy (`copied`)",
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
    refused(
        x.add(&y),
        "add: the 2nd operand and the 1st operand belong to different pools: read one and upload it to the pool of the other",
    );
    refused(
        x.matmul(&y),
        "matmul: the right operand and the left operand belong to different pools: read one and upload it to the pool of the other",
    );
    refused(
        x.add_scaled_(&y, 1.0_f32),
        "add_scaled_: the 2nd operand and the output belong to different pools: read one and upload it to the pool of the other",
    );
    refused(
        x.copy_(&y),
        "copy_: the source and the tensor belong to different pools: read one and upload it to the pool of the other",
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
