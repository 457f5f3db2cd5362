//! The crate in a dedicated worker.
#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use wgpu_pool::{Pool, PoolOptions, Tensor};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn tensors_work_in_a_dedicated_worker() -> Result<(), wgpu_pool::Error> {
    let pool = Pool::request(PoolOptions::default()).await?;
    pool.start_history(10);
    let x = Tensor::full(&pool, [1000], 2.0_f32)?;
    assert_eq!(x.add(1.0_f32)?.read::<f32>().await?, vec![3.0; 1000]);
    let error = pool.reserve(1 << 30).await.expect_err("there is no such memory");
    assert!(error.to_string().contains("1.0 GiB"), "{error}");
    assert_eq!(x.read::<f32>().await?, vec![2.0; 1000]);
    Ok(())
}
