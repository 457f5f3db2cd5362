//! What the device refuses: a browser reports it late, and nothing else may be lost with it.

use crate::common::{Outcome, REFUSED_BYTES, faults, logged, pause, pool};
use wasm_bindgen_test::wasm_bindgen_test;
use wgpu_pool::{AllocateError, DType, DeviceError, Pool, Tensor, TensorError};

fn refused(bytes: u64) -> DeviceError {
    DeviceError::Refused { bytes }
}

fn device(error: TensorError) -> DeviceError {
    match error {
        TensorError::Device(error) => error,
        other => panic!("expected an error of the device, got: {other}"),
    }
}

/// Two tensors that have nothing to do with what is refused: written before, and by work that is recorded after.
async fn innocents(pool: &Pool) -> Result<[Tensor; 2], wgpu_pool::Error> {
    let before = Tensor::full(pool, [1000], 3.0_f32)?;
    let later = before.add(1.0_f32)?;
    Ok([before, later])
}

async fn check_innocents([before, later]: &[Tensor; 2]) -> Outcome {
    assert_eq!(before.read::<f32>().await?, vec![3.0; 1000]);
    assert_eq!(later.read::<f32>().await?, vec![4.0; 1000]);
    Ok(())
}

// Case 66.
#[wasm_bindgen_test]
async fn a_refused_buffer_is_reported_by_the_next_read_and_other_work_of_the_batch_is_kept() -> Outcome {
    logged();
    let pool = pool().await;
    let others = innocents(&pool).await?;
    // The browser has not answered yet.
    let huge = Tensor::full(&pool, [1 << 28], 1.5_f32)?;
    let after = others[0].mul(2.0_f32)?;
    let of_huge = huge.narrow(0, 0, 16)?.add(1.0_f32)?;
    let error = others[0].read::<f32>().await.expect_err("the buffer is refused");
    assert_eq!(device(error), refused(REFUSED_BYTES));
    let lines = logged();
    assert!(lines.len() == 1 && lines[0].contains("the device refused 1.0 GiB"), "{lines:?}");
    // Until it is cleared, each fallible call returns it.
    assert_eq!(pool.memory().check(), Err(refused(REFUSED_BYTES)));
    assert_eq!(pool.submit(), Err(refused(REFUSED_BYTES)));
    assert_eq!(pool.synchronize().await, Err(refused(REFUSED_BYTES)));
    assert_eq!(pool.clear_fault().map(|fault| (fault.number, fault.error)), Some((1, refused(REFUSED_BYTES))));
    pause(50).await;
    assert_eq!((pool.fault(), faults()), (None, 0), "one refusal is one fault");
    check_innocents(&others).await?;
    assert_eq!(after.read::<f32>().await?, vec![6.0; 1000]);
    drop((of_huge, huge));
    pool.check().expect("the heap is whole");
    // The refused segment is gone.
    Tensor::full(&pool, [1000], 1.0_f32)?.read::<f32>().await?;
    assert!(pool.stats().reserved.current < 64 << 20, "{}", pool.stats().reserved.current);
    Ok(())
}

#[wasm_bindgen_test]
async fn a_refused_buffer_that_no_command_uses_is_reported_too() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let storage = pool.allocate(REFUSED_BYTES)?;
    assert_eq!(pool.synchronize().await, Err(refused(REFUSED_BYTES)));
    pool.clear_fault();
    check_innocents(&others).await?;
    drop(storage);
    pool.trim();
    assert!(pool.stats().reserved.current < REFUSED_BYTES);
    Ok(())
}

#[wasm_bindgen_test]
async fn a_large_write_to_a_refused_buffer_is_the_same_fault_as_the_commands_before_it() -> Outcome {
    logged();
    let pool = pool().await;
    let others = innocents(&pool).await?;
    // The first write ends the batch of the others, and is submitted; the second is open when the large one begins.
    let huge = pool.allocate(REFUSED_BYTES)?;
    huge.write(0, &[1; 4])?;
    huge.write(0, &[2; 4])?;
    huge.write(4, &vec![1; 1 << 20])?;
    assert_eq!(pool.synchronize().await, Err(refused(REFUSED_BYTES)));
    assert!(pool.clear_fault().is_some());
    pause(50).await;
    assert_eq!((pool.fault(), faults()), (None, 1), "one refusal is one fault");
    check_innocents(&others).await
}

#[wasm_bindgen_test]
async fn the_second_use_of_a_refused_tensor_fails_as_clearly_as_the_first() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let huge = Tensor::full(&pool, [1 << 28], 1.5_f32)?;
    for round in 0..3 {
        let outcome = match huge.add_(1.0_f32) {
            Ok(_) => pool.synchronize().await,
            Err(error) => Err(device(error)),
        };
        assert_eq!(outcome, Err(refused(REFUSED_BYTES)), "round {round}");
        assert!(pool.clear_fault().is_some(), "round {round}");
        check_innocents(&others).await?;
    }
    Ok(())
}

#[wasm_bindgen_test]
async fn reserving_too_much_is_an_error_and_no_recorded_work_is_lost() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let error = pool.reserve(REFUSED_BYTES).await.expect_err("there is no such memory");
    let AllocateError::OutOfMemory(error) = error else { panic!("{error}") };
    assert_eq!((error.requested, error.refused), (REFUSED_BYTES, Some(REFUSED_BYTES)));
    assert_eq!(pool.fault(), None, "the error was returned");
    check_innocents(&others).await?;
    assert!(matches!(pool.reserve(2 << 30).await, Err(AllocateError::TooLarge { .. })));
    pool.reserve(16 << 20).await?;
    let reserved = pool.stats().reserved.current;
    let filled = Tensor::full(&pool, [4 << 20], 2.0_f32)?;
    assert_eq!(pool.stats().reserved.current, reserved);
    assert_eq!(filled.sum(..)?.read::<f32>().await?, [(8 << 20) as f32]);
    Ok(())
}

#[wasm_bindgen_test]
async fn an_allocation_that_waits_for_the_answer_returns_memory_that_exists() -> Outcome {
    let pool = pool().await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(pool.allocate_accepted(256 << 20).await?);
    }
    let error = pool.allocate_accepted(REFUSED_BYTES).await.expect_err("there is no such memory");
    assert!(matches!(error, AllocateError::OutOfMemory(_)), "{error}");
    assert_eq!(pool.fault(), None);
    for (storage, byte) in held.iter().zip(1_u8..) {
        storage.write((256 << 20) - 4, &[byte; 4])?;
    }
    for (storage, byte) in held.iter().zip(1_u8..) {
        assert_eq!(storage.read((256 << 20) - 4, 4).await?, [byte; 4]);
    }
    // Released memory serves the next request.
    held.clear();
    pool.allocate_accepted(300 << 20).await?;
    Ok(())
}

/// naga accepts a barrier in control flow that is not uniform; browsers refuse it.
const NOT_UNIFORM: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
var<workgroup> w: array<f32, 64>;
@compute @workgroup_size(64)
fn go(@builtin(local_invocation_index) i: u32, @builtin(global_invocation_id) id: vec3<u32>) {
    w[i] = 1.0;
    if x[id.x] > 0.5 { workgroupBarrier(); }
    x[id.x] = w[63u - i] + 1.0;
}";

#[wasm_bindgen_test]
async fn a_kernel_that_only_the_browser_refuses_is_reported_with_the_browsers_message() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let kernel = pool.kernel(NOT_UNIFORM, "go")?;
    let x = Tensor::full(&pool, [64], 7.0_f32)?;
    kernel.dispatch(&[&x], &[], [1, 1, 1])?;
    let error = device(x.read::<f32>().await.expect_err("the kernel is refused"));
    let DeviceError::Validation { message } = &error else { panic!("{error}") };
    assert!(message.contains("uniform control flow"), "{message}");
    pool.clear_fault();
    check_innocents(&others).await?;
    assert_eq!(x.read::<f32>().await?, vec![7.0; 64]);
    // The second error is as clear as the first, and immediate.
    assert_eq!(kernel.dispatch(&[&x], &[], [1, 1, 1]).map_err(|error| error.to_string()), Err(error.to_string()));
    assert_eq!(pool.fault(), None);
    Ok(())
}

#[wasm_bindgen_test]
async fn an_asynchronous_kernel_constructor_gives_the_verdict() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let error = pool.kernel_accepted(NOT_UNIFORM, "go").await.expect_err("the kernel is refused");
    assert!(error.to_string().contains("uniform control flow"), "{error}");
    assert_eq!(pool.fault(), None);
    check_innocents(&others).await?;
    let double = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x < arrayLength(&x) { x[id.x] *= 2.0; }
        }";
    let kernel = pool.kernel_accepted(double, "double").await?;
    kernel.dispatch(&[&others[0]], &[], [16, 1, 1])?;
    assert_eq!(others[0].read::<f32>().await?, vec![6.0; 1000]);
    Ok(())
}

#[wasm_bindgen_test]
async fn a_read_too_large_for_the_device_is_an_error_of_that_read_alone() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let wide = Tensor::zeros(&pool, [1 << 16], DType::F32)?;
    let mut download = pool.download(REFUSED_BYTES)?;
    download.add(wide.storage()?, 0, 1 << 18)?;
    assert_eq!(download.finish().await, Err(refused(REFUSED_BYTES)));
    assert_eq!(pool.fault(), None);
    check_innocents(&others).await
}

#[wasm_bindgen_test]
async fn a_download_that_is_dropped_takes_nothing_with_it() -> Outcome {
    let pool = pool().await;
    let others = innocents(&pool).await?;
    let mut download = pool.download(4)?;
    download.add(others[0].storage()?, 0, 4)?;
    drop(download);
    check_innocents(&others).await
}
