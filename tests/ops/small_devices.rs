//! A device with wgpu's downlevel limits, of which the least is four storage buffers in a shader: what a larger device
//! gives, or an error that says what is missing.

use crate::common::{Outcome, adapter};
use crate::window::Window;
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
        let one = AdamWParameter { x: &x, gradient: &gradient, mean: &mean, mean_square: &mean_square };
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
            "conv2d_input",
            read(images.conv2d(&kernel, None, window.conv())?.conv2d_input([2, 3, 8, 8], &kernel, window.conv())),
        ),
        (
            "conv2d_weight",
            read(images.conv2d(&kernel, None, window.conv())?.conv2d_weight(&images, [4, 3, 3, 3], window.conv())),
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
fn a_device_of_small_limits_does_what_a_large_one_does_or_says_what_it_lacks() -> Outcome {
    check("downlevel", &["fuse of 6"])?;
    check("workgroups", &[])
}

/// Compares a device of these limits with one of the adapter's. It lacks storage buffers for some operations.
fn check(limits: &str, lacking: &[&str]) -> Outcome {
    let Some((device, queue)) = adapter::foreign_with(adapter::small_limits(limits)) else { return Ok(()) };
    let small = Pool::from_device(device, queue, crate::common::options())?;
    let Some(large) = adapter::shared() else { return Ok(()) };
    let mut refused = Vec::new();
    for ((name, small), (_, large)) in results(&small)?.into_iter().zip(results(large)?) {
        match small {
            Ok(small) => {
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                assert!(small.iter().zip(&large?).all(near), "{name}");
            }
            Err(TensorError::Device(DeviceError::TooManyBindings { limit: 4, .. })) => refused.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!(refused, lacking);
    small.check()?;
    Ok(())
}
