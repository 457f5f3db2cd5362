//! Work in a browser that nothing refuses: limits on what runs ahead, waiting, memory of the page, the end of the device.

use crate::common::{Outcome, pause, pool, pool_with};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use wasm_bindgen_test::wasm_bindgen_test;
use wgpu_pool::{
    AllocateError, CacheUse, DType, DeviceError, Kernel, KernelError, Pool, PoolOptions, Tensor, TensorError,
};

#[wasm_bindgen_test]
async fn the_adapter_has_a_name() -> Outcome {
    let pool = pool().await;
    let name = wgpu_pool::DeviceResources::name(pool.memory());
    assert!(name.starts_with("WebGPU adapter") && name.ends_with("(BrowserWebGpu)"), "{name}");
    Ok(())
}

/// Records `count` launches without returning to the event loop, and returns how many were recorded.
fn launch(x: &Tensor, count: usize) -> (usize, Option<TensorError>) {
    for done in 0..count {
        if let Err(error) = x.add_(1.0_f32) {
            return (done, Some(error));
        }
    }
    (count, None)
}

#[wasm_bindgen_test]
async fn launches_ahead_of_the_device_are_bounded_and_none_is_lost() -> Outcome {
    let pool = pool().await;
    let x = Tensor::zeros(&pool, [256], DType::F32)?;
    x.read::<f32>().await?;
    // Also twice in a row.
    let (done, error) = launch(&x, 1 << 20);
    let Some(TensorError::Device(DeviceError::Backlog { batches, limit })) = error else { panic!("{done} {error:?}") };
    assert_eq!(batches, limit);
    assert!(error.is_some_and(|error| error.to_string().contains("await `synchronize`")));
    pool.synchronize().await?;
    let (more, error) = launch(&x, 1000);
    assert_eq!((more, error), (1000, None));
    let sum = u32::try_from(done + more).expect("less than 2^20 launches");
    assert_eq!(x.read::<f32>().await?, vec![sum as f32; 256]);
    Ok(())
}

#[wasm_bindgen_test]
async fn large_writes_ahead_of_the_device_are_bounded() -> Outcome {
    let pool = pool().await;
    let storage = pool.allocate(1 << 20)?;
    let bytes = vec![7; 1 << 20];
    let refused = (0..10_000).find_map(|done| storage.write(0, &bytes).err().map(|error| (done, error)));
    let Some((done, DeviceError::Backlog { batches, limit })) = refused else { panic!("{refused:?}") };
    assert!(batches == limit && done <= limit, "{done}: {batches} of {limit}");
    pool.synchronize().await?;
    storage.write(0, &bytes)?;
    pool.synchronize().await?;
    Ok(())
}

#[wasm_bindgen_test]
async fn staging_memory_is_bounded_and_reported() -> Outcome {
    let pool = pool().await;
    let x = Tensor::zeros(&pool, [1 << 16], DType::F32)?;
    let mut warm = 0;
    for frame in 0..100 {
        for _ in 0..50 {
            let y = x.add(1.0_f32)?;
            x.copy_(&y)?;
        }
        let small = Tensor::from_slice(&pool, &vec![frame as f32; 1000], [1000])?;
        let large = Tensor::from_slice(&pool, &vec![frame as f32; 1 << 18], [1 << 18])?;
        pool.synchronize().await?;
        assert_eq!(small.read::<f32>().await?, vec![frame as f32; 1000]);
        assert_eq!(large.narrow(0, (1 << 18) - 1, 1)?.read::<f32>().await?, [frame as f32]);
        let staging = staging(&pool);
        assert!(staging.bytes <= staging.most_bytes, "{staging:?}");
        // The kernels are compiled in the first frame, in which each command takes long and gets a batch of its own.
        if frame == 10 {
            warm = staging.made;
        }
    }
    assert_eq!(x.narrow(0, 0, 1)?.read::<f32>().await?, [5000.0]);
    assert_eq!(staging(&pool).made, warm, "a steady loop creates no staging buffer");
    Ok(())
}

fn staging(pool: &Pool) -> CacheUse {
    let caches = wgpu_pool::DeviceResources::caches(pool.memory());
    caches.into_iter().find(|cache| cache.name == "staging buffers").expect("the report has it")
}

#[wasm_bindgen_test]
async fn an_upload_of_any_size_arrives() -> Outcome {
    let pool = pool().await;
    for bytes in [1_usize, 3, 4, 5, 65_535, 65_536, 65_537, 1_000_003, 40 << 20] {
        let data: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let storage = pool.allocate(bytes as u64)?;
        storage.write(0, &data)?;
        let part = (bytes / 2) & !3;
        let length = (bytes - part).next_multiple_of(4).min(1024).min((bytes - part) & !3);
        if length > 0 {
            let mut download = pool.download(length as u64)?;
            download.add(&storage, part as u64, length as u64)?;
            assert_eq!(download.finish().await?, &data[part..part + length], "{bytes}");
        }
    }
    Ok(())
}

#[wasm_bindgen_test]
async fn the_limit_holds_without_a_return_to_the_event_loop() -> Outcome {
    let pool = pool_with(PoolOptions { limit: Some(64 << 20), ..PoolOptions::default() }).await;
    let mut refused = 0;
    for round in 0..6_usize {
        let elements = (40 + 4 * round) << 18;
        let tensor = match Tensor::full(&pool, [elements], 1.0_f32) {
            Err(TensorError::Allocate(AllocateError::Unfinished { requested, pending })) => {
                assert_eq!((requested, pending > 0), (elements as u64 * 4, true));
                refused += 1;
                pool.synchronize().await?;
                Tensor::full(&pool, [elements], 1.0_f32)?
            }
            other => other?,
        };
        assert!(pool.stats().reserved.current <= 64 << 20);
        tensor.add_(1.0_f32)?;
        drop(tensor);
    }
    assert!(refused > 0);
    // A segment whose only use is a large write, with no batch before or after it.
    pool.synchronize().await?;
    pool.trim();
    let written = pool.allocate(40 << 20)?;
    written.write(0, &vec![1; 1 << 20])?;
    drop(written);
    pool.trim();
    pool.synchronize().await?;
    assert_eq!(pool.trim().pending, 0);
    assert_eq!(pool.remedies().waits, 0, "nothing waited");
    // Awaiting needs no second try.
    for round in 0..6_u64 {
        drop(pool.allocate_accepted((40 + 4 * (round % 3)) << 20).await?);
    }
    Ok(())
}

#[wasm_bindgen_test]
async fn a_profile_names_the_kernels() -> Outcome {
    let pool = pool().await;
    let x = Tensor::zeros(&pool, [1000], DType::F32)?;
    match pool.profile(|| x.add_(1.0_f32).and_then(|_| x.exp())).await {
        Ok((result, profile)) => {
            result?;
            assert_eq!(profile.dispatches.len(), 2, "{profile}");
        }
        Err(error) => assert_eq!(error, DeviceError::Unsupported { feature: "TIMESTAMP_QUERY" }),
    }
    Ok(())
}

#[wasm_bindgen_test]
async fn a_copy_within_a_segment_needs_no_second_attempt() -> Outcome {
    let pool = pool().await;
    let storages = [pool.allocate(1000)?, pool.allocate(1000)?];
    storages[0].write(0, &[7; 1000])?;
    storages[0].copy_to(&storages[1])?;
    assert_eq!(storages[1].read(0, 1000).await?, [7; 1000]);
    assert_eq!(storages[1].read(3, 6).await?, [7; 6]);
    Ok(())
}

#[wasm_bindgen_test]
async fn an_upload_of_half_a_gibibyte_arrives() -> Outcome {
    let pool = pool().await;
    let bytes = 512_usize << 20;
    let mut data = vec![0_u8; bytes];
    data[bytes / 2..][..4].copy_from_slice(b"half");
    data[bytes - 4..].copy_from_slice(b"last");
    let storage = pool.allocate_accepted(bytes as u64).await?;
    storage.write(0, &data)?;
    drop(data);
    assert_eq!(storage.read(bytes as u64 / 2, 4).await?, b"half");
    assert_eq!(storage.read(bytes as u64 - 6, 6).await?, b"\0\0last");
    Ok(())
}

/// Polls a future once, with a waker that does nothing.
fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[wasm_bindgen_test]
async fn tensors_outlive_the_handle_of_their_pool_and_dropped_reads_take_nothing_with_them() -> Outcome {
    let pool = pool().await;
    let x = Tensor::full(&pool, [1000], 4.0_f32)?;
    drop(pool);
    let y = x.add(1.0_f32)?;
    drop(x);
    drop(y.read::<f32>());
    let mut begun = Box::pin(y.read::<f32>());
    assert!(poll_once(&mut begun).is_pending());
    drop(begun);
    let (first, second) = (y.read::<f32>(), y.read::<f32>());
    let last = second.await?;
    assert_eq!((first.await?, last), (vec![5.0; 1000], vec![5.0; 1000]));
    Ok(())
}

fn kernel_of_two(pool: &Pool) -> Result<Kernel, KernelError> {
    pool.kernel(
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
         @group(0) @binding(1) var<storage, read_write> y: array<f32>;
         @group(0) @binding(2) var<storage, read_write> z: array<f32>;
         @compute @workgroup_size(64) fn sum(@builtin(global_invocation_id) id: vec3<u32>) {
             if id.x < arrayLength(&z) { z[id.x] = x[id.x] + y[id.x]; }
         }",
        "sum",
    )
}

#[wasm_bindgen_test]
async fn a_tensor_that_is_bound_twice_is_refused_by_name() -> Outcome {
    let pool = pool().await;
    let kernel = kernel_of_two(&pool)?;
    let [x, z] = [Tensor::full(&pool, [64], 1.0_f32)?, Tensor::zeros(&pool, [64], DType::F32)?];
    let error = kernel.dispatch(&[&x, &x, &z], &[], [1, 1, 1]).expect_err("WebGPU forbids it");
    assert!(matches!(error, KernelError::Overlap { binding: 0, other: 1, .. }), "{error}");
    kernel.dispatch(&[&x, &x.copied()?, &z], &[], [1, 1, 1])?;
    assert_eq!(z.read::<f32>().await?, [2.0; 64]);
    Ok(())
}

#[wasm_bindgen_test]
async fn sizes_beyond_32_bits_are_typed_errors() -> Outcome {
    let pool = pool().await;
    let x = Tensor::zeros(&pool, [1, 1], DType::F32)?;
    assert!(x.expand([1 << 20, 1 << 20]).is_err());
    assert!(Tensor::zeros(&pool, [1 << 16, 1 << 16], DType::F32).is_err());
    assert_eq!(x.expand([1 << 10, 1 << 10])?.sum(..)?.read::<f32>().await?, [0.0]);
    Ok(())
}

#[wasm_bindgen_test]
async fn softmax_of_an_infinity_is_nan() -> Outcome {
    let pool = pool().await;
    let x = Tensor::from_slice(&pool, &[f32::INFINITY, 1.0, 2.0, f32::NEG_INFINITY, 1.0, 1.0], [2, 3])?;
    let y = x.softmax(1)?.read::<f32>().await?;
    assert!(y[..3].iter().all(|value| value.is_nan()), "{y:?}");
    assert_eq!(y[3..], [0.0, 0.5, 0.5]);
    Ok(())
}

#[wasm_bindgen_test]
async fn every_error_after_the_loss_of_the_device_says_so() -> Outcome {
    let pool = pool().await;
    let x = Tensor::full(&pool, [1000], 4.0_f32)?;
    x.read::<f32>().await?;
    pool.memory().device().destroy();
    let is_lost = |error: &TensorError| error.to_string().starts_with("the device is lost: ");
    // The browser has not reported the loss yet: an operation may still be accepted.
    if let Err(error) = x.add(1.0_f32) {
        assert!(is_lost(&error), "{error}");
    }
    let error = x.read::<f32>().await.expect_err("the device is lost");
    assert!(is_lost(&error), "{error}");
    pause(20).await;
    let error = x.add(1.0_f32).expect_err("the device is lost");
    assert!(is_lost(&error), "{error}");
    assert!(matches!(pool.allocate(100 << 20), Err(AllocateError::Device(DeviceError::Lost { .. }))));
    assert!(matches!(pool.synchronize().await, Err(DeviceError::Lost { .. })));
    assert!(matches!(pool.reserve(1 << 20).await, Err(AllocateError::Device(DeviceError::Lost { .. }))));
    drop(x);
    pool.trim();
    Ok(())
}

#[wasm_bindgen_test]
async fn a_read_that_is_pending_when_the_device_is_lost_ends() -> Outcome {
    let pool = pool().await;
    let x = Tensor::full(&pool, [1000], 4.0_f32)?;
    let mut reading = Box::pin(x.read::<f32>());
    assert!(poll_once(&mut reading).is_pending());
    pool.memory().device().destroy();
    let error = reading.await.expect_err("the device is lost");
    assert!(error.to_string().starts_with("the device is lost: "), "{error}");
    Ok(())
}

#[wasm_bindgen_test]
async fn a_function_of_nan_is_nan() -> Outcome {
    let pool = pool().await;
    let x = Tensor::from_slice(&pool, &[f32::NAN, -f32::NAN, 1.0], [3])?;
    let results = [
        ("exp", x.exp()?),
        ("log", x.log()?),
        ("sqrt", x.sqrt()?),
        ("reciprocal", x.reciprocal()?),
        ("tanh", x.tanh()?),
        ("sigmoid", x.sigmoid()?),
        ("gelu", x.gelu()?),
        ("relu", x.relu()?),
        ("abs", x.abs()?),
        ("floor", x.floor()?),
        ("sin", x.sin()?),
        ("cos", x.cos()?),
        ("pow", x.pow(1.5_f32)?),
    ];
    let mut wrong = Vec::new();
    for (name, result) in &results {
        let values = result.read::<f32>().await?;
        if !(values[0].is_nan() && values[1].is_nan() && !values[2].is_nan()) {
            wrong.push(format!("{name} {values:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}
