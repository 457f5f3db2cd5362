//! Devices of small limits: the results of a larger device, or an error that says what is missing. `table/divided.rs` runs every
//! operation on a device of the least limits.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use std::error::Error;
use wgpu_pool::{DType, DeviceError, Pool, PoolOptions, Tensor, TensorError, fuse};

/// A pool on a device of these limits, and one on a device of the adapter's.
fn pools(limits: &str) -> Result<Option<[Pool; 2]>, Box<dyn Error>> {
    let Some((device, queue)) = adapter::foreign_with(adapter::small_limits(limits)) else { return Ok(None) };
    let small = Pool::from_device(device, queue, crate::common::options())?;
    Ok(adapter::shared().map(|large| [small, large.clone()]))
}

/// Six inputs of each kind of view: transposed, a scalar, with an odd offset, a row, two in one storage.
fn views(pool: &Pool) -> Result<[Tensor; 6], TensorError> {
    let random = |shape: &[usize], seed| Tensor::randn(pool, shape, seed);
    let both = random(&[2, 7, 9], 14)?;
    Ok([
        random(&[9, 7], 10)?.t()?,
        random(&[], 11)?,
        random(&[70], 12)?.narrow(0, 3, 63)?.reshape([7, 9])?,
        random(&[9], 13)?,
        both.narrow(0, 0, 1)?.reshape([7, 9])?,
        both.narrow(0, 1, 1)?.reshape([7, 9])?.narrow(0, 2, 1)?,
    ])
}

/// The bits of fused expressions with more inputs than a small device has bindings.
fn expressions(pool: &Pool) -> Result<Vec<(&'static str, Vec<u32>)>, TensorError> {
    let [a, b, c, d, e, f] = views(pool)?;
    let bits =
        |tensor: Tensor| Ok::<_, TensorError>(tensor.read_blocking::<f32>()?.into_iter().map(f32::to_bits).collect());
    let six = fuse(|[a, b, c, d, e, f]| (a - b).maximum(c * d) + e * (f - 0.5_f32));
    let in_place = c.copied()?;
    six.run_into([&a, &b, &in_place, &d, &e, &f], &in_place)?;
    // Of dtypes u32, i32 and f32, two each.
    let (count, index) = (Tensor::arange(pool, 9, 0_u32, 1_u32)?, Tensor::arange(pool, 7, -3_i32, 1_i32)?);
    let index = index.reshape([7, 1])?.expand([7, 9])?;
    let mixed = fuse(|[a, b, count, more, index, step]| (count.eq(more) & index.lt(step)).select(a, b) * a);
    let (more, step) = (count.add(&count)?.sub(4_u32)?, index.abs()?.sub(2_i32)?);
    let wide = Tensor::randn(pool, [2, 3, 1, 2, 1, 2, 2, 3], 15)?.permute([7, 6, 5, 4, 3, 2, 1, 0])?;
    let of_wide = |seed| Tensor::randn(pool, [3, 1, 2, 1, 2, 1, 3, 2], seed);
    let eight = six.run([&wide, &b, &of_wide(16)?, &of_wide(17)?, &of_wide(18)?, &of_wide(19)?])?;
    let constants = fuse(|[a, b, c]| (0..60_i16).fold(a * b, |sum, step| sum * 0.5_f32 + f32::from(step)) + c);
    Ok(vec![
        ("six", bits(six.run([&a, &b, &c, &d, &e, &f])?)?),
        ("six again", bits(six.run([&c, &b, &a, &d, &a, &f])?)?),
        ("in place", bits(in_place)?),
        ("dtypes", bits(mixed.run([&a, &c, &count, &more, &index, &step])?)?),
        ("eight dimensions", bits(eight)?),
        ("constants", bits(constants.run([&a, &c, &e])?)?),
        ("without elements", bits(six.run([&a.narrow(0, 0, 0)?, &b, &b, &d, &d, &f])?)?),
    ])
}

#[test]
fn expressions_of_more_inputs_than_bindings_equal_those_of_a_large_device() -> Outcome {
    let Some([small, large]) = pools("downlevel")? else { return Ok(()) };
    for ((name, small), (_, large)) in expressions(&small)?.into_iter().zip(expressions(&large)?) {
        assert_eq!(small, large, "{name}");
    }
    assert!(expressions(&small)?[6].1.is_empty());
    // In blocks of less than the inputs that share a binding.
    let Some((device, queue)) = adapter::foreign_with(adapter::small_limits("downlevel")) else { return Ok(()) };
    let options = PoolOptions { largest_block: Some(488), ..crate::common::options() };
    let divided = Pool::from_device(device, queue, options)?;
    for ((name, divided), (_, large)) in expressions(&divided)?.into_iter().zip(expressions(&large)?) {
        assert_eq!(divided, large, "{name}, in several blocks");
    }
    divided.check()?;
    small.check()?;
    // A binding has one dtype, and the constants are another.
    let [floats, signed] = [DType::F32, DType::I32].map(|dtype| Tensor::ones(&small, [5], dtype));
    let (floats, signed, unsigned) = (floats?, signed?, Tensor::ones(&small, [5], DType::U32)?);
    let many = fuse(|[x, i, u]| (0..60_i16).fold(x, |sum, step| sum + f32::from(step)) * (i.gt(0_i32) & u.gt(0_u32)));
    for _ in 0..2 {
        let refused = many.run([&floats, &signed, &unsigned]);
        let expected = DeviceError::TooManyBindings { tensors: 5, limit: 4 };
        assert!(matches!(refused, Err(TensorError::Device(error)) if error == expected));
    }
    Ok(())
}

// Such a device has to be requested: WebGPU's minimum is 65,535.
#[test]
fn a_dispatch_of_more_workgroups_than_the_device_runs_is_refused_and_fails_no_other_command() -> Outcome {
    const LIMIT: u32 = 16;
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: LIMIT, ..wgpu::Limits::default() };
    let Some((device, queue)) = adapter::foreign_with(limits) else { return Ok(()) };
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let one = Tensor::ones(&pool, [3, 5], DType::F32)?;
    let large = Tensor::zeros(&pool, [1 << 20], DType::F32)?;
    let [columns, images, many] =
        [vec![700, 900], vec![1, 3, 300, 300], vec![20_000, 2]].map(|shape| Tensor::zeros(&pool, shape, DType::F32));
    let (columns, images, many) = (columns?, images?, many?);
    let kernel = Tensor::zeros(&pool, [8, 3, 3, 3], DType::F32)?;
    for _ in 0..2 {
        let refused = [
            ("add", large.add(1.0_f32)),
            ("randn", Tensor::randn(&pool, [1 << 20], 1)),
            ("transposed", columns.t()?.contiguous()),
            ("softmax", columns.softmax(1)),
            ("sum", many.sum([1])),
            ("matmul", columns.matmul(&columns.t()?)),
            ("conv2d", images.conv2d(&kernel, None, Window::new([3, 3], [1, 1], [1, 1]).conv())),
        ];
        for (name, result) in refused {
            let Err(TensorError::Device(DeviceError::TooManyWorkgroups { workgroups, limit })) = &result else {
                panic!("{name}: {result:?}")
            };
            assert!(*limit == LIMIT && workgroups.iter().any(|count| count > limit), "{name}: {workgroups:?}");
        }
        assert_eq!(one.add(&one)?.read_blocking::<f32>()?, [2.0; 15]);
        assert_eq!(pool.fault(), None);
    }
    // A copy is not refused.
    pool.memory().set_kernel_copies(Some(0));
    let (source, target) = (Tensor::from_vec(&pool, vec![7_u32; 1 << 20], [1 << 20])?, pool.allocate(4 << 20)?);
    source.storage()?.copy_to(&target)?;
    pool.synchronize_blocking()?;
    assert_eq!((pool.fault(), pool.memory().kernel_copies()), (None, None));
    Ok(())
}

#[test]
fn parameters_that_the_device_cannot_bind_are_an_error_each_time_and_fail_no_other_command() -> Outcome {
    let limits = wgpu::Limits { min_uniform_buffer_offset_alignment: 512, ..wgpu::Limits::default() };
    let Some((device, queue)) = adapter::foreign_with(limits) else { return Ok(()) };
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let x = Tensor::from_slice(&pool, &[1.0_f32, 2.0, 3.0], [3])?;
    for _ in 0..2 {
        let error = x.add(&x).expect_err("the offset of its parameters is a multiple of 256");
        assert!(error.to_string().contains("min_uniform_buffer_offset_alignment is 512"), "{error}");
        assert_eq!((x.read_blocking::<f32>()?, pool.fault()), (vec![1.0, 2.0, 3.0], None));
    }
    Ok(())
}
