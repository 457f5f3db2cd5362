//! Devices of small limits, of which the least are four storage buffers in a shader and 128 invocations: the results of a
//! larger device, or an error that says what is missing.

use crate::common::{Outcome, adapter};
use crate::window::Window;
use std::error::Error;
use wgpu_pool::{
    Activation, AdamW, AdamWParameter, Corners, CrossEntropy, DType, DeviceError, Pool, Tensor, TensorError, fuse,
};

/// The name and the result of an operation.
type Named = (&'static str, Result<Vec<f32>, TensorError>);

/// Returns a result of each kind of operation.
fn results(pool: &Pool) -> Result<Vec<Named>, TensorError> {
    let x = Tensor::randn(pool, [20, 36], 1)?;
    let (row, index) = (Tensor::randn(pool, [36], 2)?, Tensor::zeros(pool, [20, 1], DType::U32)?);
    let images = Tensor::randn(pool, [2, 3, 8, 8], 3)?;
    let kernel = Tensor::randn(pool, [4, 3, 3, 3], 4)?;
    let window = Window::new([3, 3], [1, 1], [1, 1]);
    let read = |result: Result<Tensor, TensorError>| result.and_then(|tensor| tensor.to(DType::F32)?.read_blocking());
    let optimized = || -> Result<Tensor, TensorError> {
        let [x, gradient, mean, mean_square] = std::array::from_fn(|seed| Tensor::rand(pool, [500], seed as u64));
        let (x, gradient, mean, mean_square) = (x?, gradient?, mean?, mean_square?);
        let one = AdamWParameter { value: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square };
        AdamW::default().step(1, &[one])?;
        Ok(x)
    };
    let scattered = || -> Result<Tensor, TensorError> {
        let table = x.copied()?;
        table.scatter_add_(1, &index, &x.narrow(1, 0, 1)?)?;
        Ok(table)
    };
    Ok(vec![
        ("add", read(x.add(&row))),
        ("transposed", read(x.t()?.contiguous())),
        ("where_cond", read(x.gt(0.0_f32)?.where_cond(&x, &x.neg()?))),
        ("fuse of 3", read(fuse(|[a, b, c]| a * b + c).run([&x, &row, &x.exp()?]))),
        (
            "fuse of 6",
            read(fuse(|[a, b, c, d, e, f]| a * b + c * d + e * f).run([
                &x,
                &row,
                &x.exp()?,
                &x.abs()?,
                &x.neg()?,
                &x.relu()?,
            ])),
        ),
        ("sum", read(x.sum(..))),
        ("argmax", read(x.argmax(1))),
        ("softmax", read(x.softmax(1))),
        ("layer_norm", read(x.layer_norm(Some(&row), Some(&row.exp()?), 1e-5))),
        ("matmul_then", read(x.matmul_then(&x.t()?, Some(&row.narrow(0, 0, 20)?), Some(Activation::Relu)))),
        ("conv2d", read(images.conv2d(&kernel, Some(&row.narrow(0, 0, 4)?), window.conv()))),
        (
            "conv2d_backward_input",
            read(images.conv2d(&kernel, None, window.conv())?.conv2d_backward_input(
                [2, 3, 8, 8],
                &kernel,
                window.conv(),
            )),
        ),
        (
            "conv2d_backward_weight",
            read(images.conv2d(&kernel, None, window.conv())?.conv2d_backward_weight(
                &images,
                [4, 3, 3, 3],
                window.conv(),
            )),
        ),
        ("max_pool2d", read(images.max_pool2d(Window::square(2).max()).map(|(largest, _)| largest))),
        ("upsample_bilinear", read(images.upsample_bilinear([5, 17], Corners::Outer))),
        ("gather", read(x.gather(1, &index))),
        ("scatter_add_", read(scattered())),
        ("cross_entropy", read(x.cross_entropy(&index.reshape([20])?, CrossEntropy::default()))),
        ("adamw", read(optimized())),
    ])
}

#[test]
fn a_device_of_small_limits_does_what_a_large_one_does() -> Outcome {
    for limits in ["downlevel", "workgroups"] {
        let Some([small, large]) = pools(limits)? else { return Ok(()) };
        for ((name, small), (_, large)) in results(&small)?.into_iter().zip(results(&large)?) {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
            assert!(small?.iter().zip(&large?).all(near), "{limits}, {name}");
        }
        small.check()?;
    }
    Ok(())
}

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
