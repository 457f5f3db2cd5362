//! One kernel for an elementwise expression: the same values as step by step, with less memory.
//!
//! Run with `cargo run --example fused_expression`.

use wgpu_pool::{Bytes, Pool, PoolOptions, Tensor, fuse};

/// The peak of the requested bytes while `compute` runs, in addition to the bytes at its start; and its result.
fn peak(pool: &Pool, compute: impl FnOnce() -> wgpu_pool::Result<Tensor>) -> wgpu_pool::Result<(u64, Tensor)> {
    let before = pool.stats().requested.current;
    pool.reset_peaks();
    let result = compute()?;
    Ok((pool.stats().requested.peak - before, result))
}

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    let x = Tensor::randn(&pool, [512, 512], 1)?;
    let scale = Tensor::rand(&pool, [512], 2)?; // broadcast along the rows

    // Four kernels, each of which reads its operands and writes a result.
    let (separate_peak, separate) = peak(&pool, || {
        let scaled = x.mul(&scale)?;
        let shifted = scaled.add(0.5_f32)?;
        let clipped = shifted.relu()?;
        Ok(clipped.mul(&x)?)
    })?;

    // One kernel, which reads each operand once.
    let gate = fuse(|[x, scale]| (x * scale + 0.5_f32).relu() * x);
    let (fused_peak, fused) = peak(&pool, || Ok(gate.run([&x, &scale])?))?;

    println!("step by step: {} at most", Bytes(separate_peak));
    println!("fused:        {} at most", Bytes(fused_peak));
    assert_eq!(separate_peak, 4 * (512 * 512 * 4));
    assert_eq!(fused_peak, 512 * 512 * 4);

    let difference: f32 = (&separate - &fused)?.abs()?.amax(..)?.item_blocking()?;
    println!("largest difference: {difference}");
    assert!(difference < 1e-5);

    // Another constant is a parameter of the same kernel: nothing is compiled.
    let compiled =
        || pool.caches().iter().map(|cache| if cache.name.contains("pipelines") { cache.made } else { 0 }).sum::<u64>();
    let before = compiled();
    let other = fuse(|[x, scale]| (x * scale + 0.75_f32).relu() * x);
    other.run([&x, &scale])?;
    println!("kernels compiled: {before}, and for another constant {}", compiled() - before);
    assert!(before >= 5 && compiled() == before);
    Ok(())
}
