//! A page that computes in frames: a hundred, or for as long as the variable WGPU_POOL_WEB_MINUTES said when the tests
//! were compiled.

use crate::common::{Outcome, pause, pool};
use wasm_bindgen_test::wasm_bindgen_test;
use wgpu_pool::{AdamW, AdamWParameter, DType, Tensor};

/// The frames after which memory must not change.
const WARM_UP: u32 = 30;
/// The frames without the variable.
const FRAMES: u32 = 100;

fn milliseconds() -> f64 {
    let minutes = option_env!("WGPU_POOL_WEB_MINUTES").and_then(|minutes| minutes.parse::<f64>().ok());
    minutes.map_or(0.0, |minutes| minutes * 60_000.0)
}

/// Bytes of the module's memory, which never shrinks.
fn module_bytes() -> u32 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::JsCast::unchecked_into(wasm_bindgen::memory());
    js_sys::Reflect::get(&memory.buffer(), &"byteLength".into())
        .ok()
        .and_then(|bytes| bytes.as_f64())
        .map_or(0, |bytes| bytes as u32)
}

// Case 67.
#[wasm_bindgen_test]
async fn memory_stays_flat_over_frames_of_training() -> Outcome {
    let pool = pool().await;
    let x = Tensor::randn(&pool, [64, 32], 1)?;
    let target = Tensor::randn(&pool, [64, 1], 2)?;
    let [weights, mean, mean_square] = [
        Tensor::randn(&pool, [32, 1], 3)?,
        Tensor::zeros(&pool, [32, 1], DType::F32)?,
        Tensor::zeros(&pool, [32, 1], DType::F32)?,
    ];
    let optimizer = AdamW::default();
    let (begin, mut frame, mut warm) = (js_sys::Date::now(), 0_u32, None);
    while frame < FRAMES || js_sys::Date::now() - begin < milliseconds() {
        frame += 1;
        for _ in 0..5 {
            let error = x.matmul(&weights)?.sub(&target)?;
            let gradient = x.t()?.matmul(&error)?;
            let parameter =
                AdamWParameter { value: &weights, gradient: &gradient, mean: &mean, mean_square: &mean_square };
            optimizer.step(frame, &[parameter])?;
        }
        // An upload of a frame's data, small and large, and a number that the page shows.
        let small = Tensor::from_slice(&pool, &[frame as f32; 256], [256])?;
        let large = Tensor::from_slice(&pool, &vec![frame as f32; 1 << 16], [1 << 16])?;
        let shown = small.sum(..)?.add(&large.mean(..)?)?;
        assert_eq!(shown.read::<f32>().await?, [257.0 * frame as f32]);
        pool.synchronize().await?;
        pause(4).await;
        let now = (pool.stats().reserved.current, module_bytes());
        if frame == WARM_UP {
            warm = Some(now);
        }
        if let Some(warm) = warm {
            assert_eq!(now, warm, "frame {frame}: reserved bytes, bytes of the module");
        }
    }
    wasm_bindgen_test::console_log!(
        "{frame} frames, {} bytes reserved, {} of the module",
        pool.stats().reserved.current,
        module_bytes()
    );
    Ok(())
}
