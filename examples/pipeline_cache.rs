//! Compiles the kernels of a step before the first step runs, and keeps the compiled code for the next run of the program.
//!
//! Run with `cargo run --example pipeline_cache`, twice.

use std::path::Path;
use wgpu_pool::{Pool, PoolOptions, Tensor, TensorError, wgpu};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::request_blocking(PoolOptions::default())?;
    // One file for each adapter and driver. `None` on backends other than Vulkan.
    let key = wgpu::util::pipeline_cache_key(&pool.memory().adapter_info());
    let file = key.map(|key| std::env::temp_dir().join(format!("wgpu-pool-example-{key}")));
    let cache = file.as_deref().map(|file| load(&pool, file));
    pool.memory().set_pipeline_cache(cache.clone())?;

    // The step is called twice: without execution, to find its kernels, and then to run it.
    let weights = Tensor::randn(&pool, [64, 64], 1)?;
    let step = || -> Result<Tensor, TensorError> { weights.matmul(&weights)?.relu()?.softmax(1)?.sum(..) };
    let (result, warm_up) = pool.warm_up(step)?;
    result?;
    println!("{} kernels compiled before the first step", warm_up.kernels);
    let before = pool.memory().startup().kernels;
    let sum = step()?.item_blocking::<f32>()?;
    println!("the rows of a softmax add up to {sum:.3}");
    assert!((sum - 64.0).abs() < 1e-3);
    assert_eq!(pool.memory().startup().kernels, before, "the step compiled nothing");
    println!("{}", pool.memory().startup());

    if let (Some(file), Some(data)) = (file, cache.and_then(|cache| cache.get_data())) {
        save(&file, &data)?;
        println!("{} bytes of compiled code in {}", data.len(), file.display());
    }
    Ok(())
}

#[expect(unsafe_code, reason = "wgpu does not check the data; this program wrote it")]
fn load(pool: &Pool, file: &Path) -> wgpu::PipelineCache {
    let data = std::fs::read(file).ok();
    // With `fallback`, data of another driver is ignored.
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: data.as_deref(), fallback: true };
    unsafe { pool.memory().device().create_pipeline_cache(&descriptor) }
}

/// Replaces the file as a whole, so that a program that ends meanwhile leaves the old one.
fn save(file: &Path, data: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, data)?;
    std::fs::rename(new, file)
}
