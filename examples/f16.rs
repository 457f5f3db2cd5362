//! 16-bit floating point: half the memory, sums as accurate as in 32 bits.
//!
//! Run with `cargo run --example f16`.

use wgpu_pool::{Bytes, DType, Pool, PoolOptions, Tensor, TensorError};

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    let numbers = Tensor::rand(&pool, [100_000], 7)?;
    let halves = match numbers.to(DType::F16) {
        Ok(halves) => halves,
        Err(TensorError::Unsupported { device, .. }) => {
            println!("{device} has no f16 in kernels");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let bytes = |tensor: &Tensor| tensor.elements() as u64 * tensor.dtype().bytes();
    println!("f32: {}, f16: {}", Bytes(bytes(&numbers)), Bytes(bytes(&halves)));
    assert_eq!(bytes(&numbers), 2 * bytes(&halves));

    // Each element has a relative error of up to 2⁻¹¹. Kernels load f16, compute in f32, and round once.
    let error = (&halves.to(DType::F32)? - &numbers)?.abs()?.amax(..)?.item_blocking::<f32>()?;
    println!("largest rounding error of an element: {error:e}");
    assert!(error > 0.0 && error <= 2.0_f32.powi(-12));

    // The mean of 100,000 elements: adding up in f16 would stop at 2048, where the next number is 2 away.
    let mean = halves.mean(..)?.to(DType::F32)?.item_blocking::<f32>()?;
    let exact = numbers.mean(..)?.item_blocking::<f32>()?;
    println!("mean in f16: {mean}, in f32: {exact}");
    assert!((mean - exact).abs() < 1e-3);

    // A number beyond 65,504 is infinite in f16.
    let large = Tensor::full(&pool, [1], 70_000.0_f32)?.to(DType::F16)?.to(DType::F32)?;
    println!("70,000 as f16: {}", large.item_blocking::<f32>()?);
    assert_eq!(large.item_blocking::<f32>()?, f32::INFINITY);
    Ok(())
}
