//! A device that is lost: every call says so, drops are safe, and nothing panics or hangs.

use crate::common::{Outcome, adapter, watchdog};
use wgpu_pool::{AllocateError, DType, DeviceError, KernelError, Pool, PoolOptions, Tensor, TensorError};

/// Devices to lose, each with its pool: one of the pool's own, one of the program's, and one without a driver.
fn pools() -> Vec<(&'static str, Pool)> {
    let (device, queue) = adapter::noop();
    let noop = Pool::from_device(device, queue, PoolOptions::default()).expect("the options suit every device");
    let opened = adapter::fresh().map(|pool| ("opened", pool));
    let embedded = adapter::foreign_pool().map(|pool| ("embedded", pool));
    opened.into_iter().chain(embedded).chain([("noop", noop)]).collect()
}

/// Every kind of call, on a pool whose device is known to be lost.
fn assert_all_say_so(name: &str, pool: &Pool, tensor: &Tensor) {
    let is_lost = |error: &DeviceError| matches!(error, DeviceError::Lost { .. });
    let in_tensor = |error: TensorError| match error {
        TensorError::Device(error) | TensorError::Allocate(AllocateError::Device(error)) => is_lost(&error),
        _ => false,
    };
    let large = pool.allocate(64 << 20).expect_err("a segment would be needed");
    assert!(matches!(&large, AllocateError::Device(error) if is_lost(error)), "{name}: {large}");
    assert!(pool.submit().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.synchronize().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.memory().check().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.download(100).is_err_and(|error| is_lost(&error)), "{name}");
    assert!(tensor.read_blocking::<f32>().is_err_and(in_tensor), "{name}");
    assert!(pollster::block_on(tensor.read::<f32>()).is_err_and(in_tensor), "{name}");
    assert!(tensor.clone().exp().is_err_and(in_tensor), "{name}: a kernel that was never compiled");
    let kernel = pool.kernel("@compute @workgroup_size(1) fn main() {}", "main");
    assert!(matches!(kernel, Err(KernelError::Device(error)) if is_lost(&error)), "{name}");
    pool.trim();
    pool.check().expect("the heap keeps its laws");
}

// Case 40.
#[test]
fn a_lost_device_is_an_error_of_every_call() -> Outcome {
    for (name, pool) in pools() {
        watchdog::guarded(name, move || {
            let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
            let recorded = tensor.add(&tensor).expect("it can be recorded");
            let mut download = pool.download(400).expect("there is room");
            download.add(tensor.storage(), 0, 400).expect("it can be recorded");
            let pinned = tensor.binding().expect("the device works");
            pool.memory().device().destroy();
            // A device that the program owns tells the program, and the program tells the pool.
            pool.memory().notify_lost("destroyed");
            assert_all_say_so(name, &pool, &tensor);
            let lost = pool.submit().expect_err("it is lost");
            assert_eq!(lost.to_string(), "the device is lost: destroyed");
            assert!(download.finish_blocking().is_err());
            drop((pinned, recorded, tensor));
            assert_eq!(pool.stats().blocks.current, 0);
            pool.trim();
            drop(pool);
        });
    }
    Ok(())
}

/// A pool that opened its device itself hears of the loss by itself, at the first call that fails for it.
#[test]
fn a_pool_that_opened_its_device_notices_the_loss() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    watchdog::guarded("a loss that is noticed", move || {
        let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
        pool.synchronize().expect("the device works");
        pool.memory().device().destroy();
        let error = tensor.read_blocking::<f32>().expect_err("the device is gone");
        assert!(matches!(error, TensorError::Device(DeviceError::Lost { .. })), "{error}");
        assert_all_say_so("opened", &pool, &tensor);
    });
    Ok(())
}

// Case 60.
/// Nobody tells the pool: what fails is an error of some kind, and nothing hangs.
#[test]
fn a_loss_that_nobody_tells_the_pool_of_ends_in_errors() -> Outcome {
    for (name, pool) in pools() {
        watchdog::guarded(name, move || {
            let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
            pool.synchronize().expect("the device works");
            pool.memory().device().destroy();
            for _ in 0..3 {
                drop(tensor.add(&tensor));
                drop(Tensor::from_slice(&pool, &[1.0_f32; 100], [100]));
                assert!(tensor.read_blocking::<f32>().is_err(), "{name}");
                assert!(pollster::block_on(tensor.read::<f32>()).is_err(), "{name}");
                drop(pool.synchronize());
                drop(pool.allocate(64 << 20));
                pool.trim();
            }
            pool.check().expect("the heap keeps its laws");
        });
    }
    Ok(())
}

/// The read began before the loss.
#[test]
fn a_read_that_is_awaited_when_the_device_is_lost_ends() -> Outcome {
    for tells in [true, false] {
        let Some(pool) = adapter::foreign_pool() else { return Ok(()) };
        watchdog::guarded("an awaited read", move || {
            let x = Tensor::full(&pool, [700, 700], 1.0_f32).expect("there is room");
            let product = x.matmul(&x).and_then(|y| y.matmul(&x)).expect("it can be recorded");
            std::thread::scope(|scope| {
                // What it ends with depends on who was first.
                let reading = scope.spawn(|| drop(pollster::block_on(product.read::<f32>())));
                std::thread::sleep(std::time::Duration::from_millis(20));
                if tells {
                    pool.memory().notify_lost("the program says so");
                } else {
                    pool.memory().device().destroy();
                }
                reading.join().expect("a read does not panic");
            });
        });
    }
    Ok(())
}

#[test]
fn only_the_first_reason_of_a_loss_is_kept() -> Outcome {
    let (device, queue) = adapter::noop();
    let pool = Pool::from_device(device, queue, PoolOptions::default())?;
    let zeros = Tensor::zeros(&pool, [4], DType::F32)?;
    pool.memory().notify_lost("first");
    pool.memory().notify_lost("second");
    assert_eq!(pool.submit(), Err(DeviceError::Lost { reason: "first".into() }));
    drop(zeros);
    Ok(())
}
