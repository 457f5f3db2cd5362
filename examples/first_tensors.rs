//! First tensors: creating, computing, viewing, reading, and what happens to the memory.
//!
//! Run with `cargo run --example first_tensors`.

use wgpu_pool::{Bytes, Pool, PoolOptions, Tensor};

pub(crate) fn main() -> wgpu_pool::Result<()> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    println!("device: {}", pool.memory().adapter_info().name);

    let a = Tensor::arange(&pool, 6, 0.0_f32, 1.0)?.reshape([2, 3])?;
    let b = Tensor::from_slice(&pool, &[10.0_f32, 20.0, 30.0], [3])?;
    let sum = (&a + &b)?; // shapes broadcast
    println!("a + b = {}", sum.to_text_blocking()?);
    assert_eq!(sum.read_blocking::<f32>()?, [10.0, 21.0, 32.0, 13.0, 24.0, 35.0]);

    // A view shares the memory of its tensor; an operation in place writes through it.
    let last_column = a.select(1, -1)?;
    last_column.fill_(-1.0_f32)?;
    println!("a with a column of -1 = {}", a.to_text_blocking()?);
    assert_eq!(a.read_blocking::<f32>()?, [0.0, 1.0, -1.0, 3.0, 4.0, -1.0]);

    let product = a.matmul(&a.t()?)?;
    let largest: f32 = product.amax(..)?.item_blocking()?;
    println!("the largest element of a · aᵀ is {largest}");
    assert_eq!(largest, 26.0);

    println!("{} requested in {} blocks", Bytes(pool.stats().requested.current), pool.stats().blocks.current);
    drop((a, b, sum, last_column, product));
    let stats = pool.stats();
    println!(
        "after dropping: {} requested, {} reserved",
        Bytes(stats.requested.current),
        Bytes(stats.reserved.current)
    );
    assert_eq!(stats.requested.current, 0);
    pool.trim();
    println!("after trimming: {} reserved", Bytes(pool.stats().reserved.current));
    assert_eq!(pool.stats().reserved.current, 0);
    Ok(())
}
