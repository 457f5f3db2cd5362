//! Device loss: every call returns an error, drops are safe, and nothing panics or hangs.

use crate::common::{Outcome, adapter, watchdog};
use std::cell::RefCell;
use wgpu_pool::{
    AdamW, AdamWParameter, AllocateError, DType, DeviceError, Download, Kernel, KernelError, Memory, MemoryPressure,
    Pool, PoolOptions, Sgd, SgdParameter, Tensor, TensorError, WarmUpError, fuse,
};

fn noop() -> Pool {
    let (device, queue) = adapter::noop();
    let options = PoolOptions { spill: Some(64 << 20), ..crate::common::options() };
    Pool::from_device(device, queue, options).expect("the options suit every device")
}

/// Pools on devices to lose: opened by the pool, created by the application, and without a driver.
fn pools() -> Vec<(&'static str, Pool)> {
    let opened = adapter::fresh().map(|pool| ("opened", pool));
    let embedded = adapter::foreign_pool().map(|pool| ("embedded", pool));
    opened.into_iter().chain(embedded).chain([("noop", noop())]).collect()
}

/// The bytes of a block that needs a new segment: 64 MiB, or as many as the device's largest segment has.
fn large(pool: &Pool) -> u64 {
    pool.memory().limits().largest_segment.min(64 << 20)
}

/// Objects that were created before the loss.
pub(super) struct Made {
    tensor: Tensor,
    kernel: Option<Kernel>,
    other: [Tensor; 4],
    /// One for each call that uses a download. A new one would be refused before.
    downloads: RefCell<Vec<Download>>,
}

impl Made {
    fn download(&self) -> Download {
        self.downloads.borrow_mut().pop().expect("there is one for each call")
    }
}

/// A call that needs the device: its name, and a function that returns its result.
pub(super) type Call = (&'static str, fn(&Pool, &Made) -> Result<(), TensorError>);

fn of_kernel(error: KernelError) -> TensorError {
    match error {
        KernelError::Device(error) => TensorError::Device(error),
        error => panic!("an error of another kind: {error}"),
    }
}

/// A pool without spilling refuses to move bytes to host memory before any call to the device. A browser, where nothing can wait
/// for the bytes, refuses until the loss is detected.
fn spilling_or_lost(outcome: Result<(), TensorError>) -> Result<(), TensorError> {
    match outcome {
        Err(TensorError::Device(DeviceError::SpillingOff)) => Err(DeviceError::Lost { reason: String::new() }.into()),
        Err(TensorError::Device(DeviceError::Unsupported { .. })) if cfg!(target_arch = "wasm32") => Ok(()),
        other => other,
    }
}

/// Every fallible call that needs the device. A name begins with the function, as `lost_calls` expects.
#[expect(clippy::unit_arg, reason = "what a call returns does not matter here")]
pub(super) const CALLS: [Call; 50] = [
    ("Pool::allocate a cached block", |pool, _| Ok(drop(pool.allocate(10)?))),
    ("Pool::allocate a new segment", |pool, _| Ok(drop(pool.allocate(large(pool))?))),
    ("Pool::reserve_blocking", |pool, _| Ok(pool.reserve_blocking(large(pool))?)),
    ("Pool::submit", |pool, _| Ok(pool.submit()?)),
    ("Pool::synchronize_blocking", |pool, _| Ok(pool.synchronize_blocking()?)),
    ("Gpu::check", |pool, _| Ok(pool.memory().check()?)),
    ("Pool::download", |pool, _| Ok(drop(pool.download(100)?))),
    ("Download::finish_blocking", |_, made| Ok(drop(made.download().finish_blocking()?))),
    ("Pool::kernel", |pool, _| {
        let wgsl = "@compute @workgroup_size(1) fn main() {}";
        pool.kernel(wgsl, "main").map(drop).map_err(of_kernel)
    }),
    ("Pool::kernel_accepted", |pool, _| {
        let wgsl = "@compute @workgroup_size(1) fn main() {}";
        pollster::block_on(pool.kernel_accepted(wgsl, "main")).map(drop).map_err(of_kernel)
    }),
    ("Pool::allocate_accepted", |pool, _| Ok(drop(pollster::block_on(pool.allocate_accepted(10))?))),
    ("Pool::reserve", |pool, _| Ok(pollster::block_on(pool.reserve(large(pool)))?)),
    ("Pool::synchronize", |pool, _| Ok(pollster::block_on(pool.synchronize())?)),
    ("Pool::compact", |pool, _| pool.compact().map(|_| ()).map_err(TensorError::from)),
    ("Pool::compact_up_to", |pool, _| pool.compact_up_to(1 << 20).map(|_| ()).map_err(TensorError::from)),
    ("Pool::pressure", |pool, _| pool.pressure(MemoryPressure::Critical).map(|_| ()).map_err(TensorError::from)),
    ("Pool::warm_up", |pool, made| {
        let warmed = pool.warm_up(|| made.tensor.tanh().map(drop));
        match warmed {
            Ok((result, _)) => result,
            Err(WarmUpError::Compile(error)) => Err(error.into()),
            Err(error) => panic!("an error of another kind: {error}"),
        }
    }),
    ("Download::add", |_, made| Ok(made.download().add(made.tensor.storage()?, 0, 100)?)),
    ("Download::finish", |_, made| Ok(drop(pollster::block_on(made.download().finish())?))),
    ("Storage::read", |_, made| Ok(drop(pollster::block_on(made.tensor.storage()?.read(3, 50))?))),
    ("Storage::read_blocking", |_, made| Ok(drop(made.tensor.storage()?.read_blocking(3, 50)?))),
    ("Storage::prefetch", |_, made| Ok(made.tensor.storage()?.prefetch()?)),
    ("Storage::keep_on_device", |_, made| Ok(made.tensor.storage()?.keep_on_device()?)),
    ("Storage::offload", |_, made| spilling_or_lost(made.tensor.storage()?.offload().map_err(TensorError::from))),
    ("Tensor::prefetch", |_, made| made.tensor.prefetch()),
    ("Tensor::keep_on_device", |_, made| made.tensor.keep_on_device()),
    ("Tensor::offload", |_, made| spilling_or_lost(made.tensor.offload())),
    ("Fused::run", |_, made| Ok(drop(fuse(|[x]| x * 2.0_f32 + 1.0_f32).run([&made.tensor])?))),
    ("Fused::run_into", |_, made| fuse(|[x]| x * 2.0_f32 + 1.0_f32).run_into([&made.tensor], &made.other[0])),
    ("Sgd::step", |_, made| {
        let [x, gradient, velocity, _] = &made.other;
        Sgd::default().step(&[SgdParameter { value: x, gradient, velocity }])
    }),
    ("AdamW::step", |_, made| {
        let [x, gradient, mean, mean_square] = &made.other;
        AdamW::default().step(1, &[AdamWParameter { value: x, gradient, mean, mean_square }])
    }),
    ("Pool::profile", |pool, made| {
        match pollster::block_on(pool.profile(|| made.tensor.add(&made.tensor).map(drop))) {
            Err(DeviceError::Unsupported { .. }) => Err(DeviceError::Lost { reason: String::new() }.into()),
            other => Ok(other.map(drop)?),
        }
    }),
    ("Kernel::dispatch", |_, made| {
        let dispatched = made.kernel.as_ref().map(|kernel| kernel.dispatch(&[&made.tensor], &[], [1, 1, 1]));
        dispatched.unwrap_or(Err(KernelError::Device(DeviceError::Lost { reason: String::new() }))).map_err(of_kernel)
    }),
    ("Tensor::full", |pool, _| Ok(drop(Tensor::full(pool, [10], 1.0_f32)?))),
    ("Tensor::zeros", |pool, _| Ok(drop(Tensor::zeros(pool, [10], DType::F32)?))),
    ("Tensor::from_slice", |pool, _| Ok(drop(Tensor::from_slice(pool, &[1.0_f32; 100], [100])?))),
    ("Tensor::randn", |pool, _| Ok(drop(Tensor::randn(pool, [10], 1)?))),
    ("Tensor::add", |_, made| Ok(drop(made.tensor.add(&made.tensor)?))),
    ("Tensor::exp a kernel that was never compiled", |_, made| Ok(drop(made.tensor.exp()?))),
    ("Tensor::add_", |_, made| made.tensor.add_(&made.tensor)),
    ("Tensor::sum", |_, made| Ok(drop(made.tensor.sum([0])?))),
    ("Tensor::read_blocking", |_, made| Ok(drop(made.tensor.read_blocking::<f32>()?))),
    ("Tensor::read", |_, made| Ok(drop(pollster::block_on(made.tensor.read::<f32>())?))),
    ("Storage::write", |_, made| Ok(made.tensor.storage()?.write(0, &[1; 8])?)),
    ("Storage::clear", |_, made| Ok(made.tensor.storage()?.clear()?)),
    ("Storage::pin", |_, made| Ok(drop(made.tensor.storage()?.pin()?))),
    ("Tensor::binding", |_, made| Ok(drop(made.tensor.binding()?))),
    ("Tensor::copied", |_, made| Ok(drop(made.tensor.copied()?))),
    ("Storage::copy_to", |pool, made| {
        let other = pool.allocate(made.tensor.storage()?.bytes())?;
        Ok(made.tensor.storage()?.copy_to(&other)?)
    }),
    ("Pool::profile_blocking", |pool, made| {
        let profiled = pool.profile_blocking(|| made.tensor.add(&made.tensor).map(drop));
        // A device without timestamps is refused before any call to it.
        let is_unsupported = |error: &DeviceError| matches!(error, DeviceError::Unsupported { .. });
        match profiled {
            Err(error) if is_unsupported(&error) => Err(DeviceError::Lost { reason: String::new() }.into()),
            other => Ok(other.map(drop)?),
        }
    }),
];

fn is_lost(error: &TensorError) -> bool {
    match error {
        TensorError::Device(error) | TensorError::Allocate(AllocateError::Device(error)) => {
            matches!(error, DeviceError::Lost { .. })
        }
        _ => false,
    }
}

fn made(pool: &Pool) -> Made {
    let tensor = Tensor::full(pool, [1000], 1.0_f32).expect("there is room");
    tensor.add(&tensor).expect("it can be recorded");
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(1) fn main() { x[0] = 2.0; }";
    let kernel = pool.kernel(wgsl, "main").ok();
    let other = [(); 4].map(|()| Tensor::zeros(pool, [1000], DType::F32).expect("there is room"));
    let downloads = [(); 3].map(|()| {
        let mut download = pool.download(200).expect("there is room");
        download.add(tensor.storage().expect("one block"), 0, 100).expect("it can be recorded");
        download
    });
    pool.synchronize_blocking().expect("the device works");
    Made { tensor, kernel, other, downloads: RefCell::new(downloads.into()) }
}

// Case 60.
#[test]
fn after_notify_lost_every_call_that_needs_the_device_returns_lost() {
    for (name, pool) in pools() {
        watchdog::guarded(name, move || {
            let made = made(&pool);
            pool.memory().notify_lost("on purpose");
            for (call, act) in CALLS {
                let outcome = act(&pool, &made);
                assert!(outcome.as_ref().is_err_and(is_lost), "{name}: {call}: {outcome:?}");
            }
            pool.trim();
            pool.check().expect("the invariants of the heap hold");
        });
    }
}

/// For each call as the first one after the loss: an error is `Lost`, and every later call returns it. Some calls only
/// record and succeed until the loss is detected.
#[test]
fn after_the_device_is_destroyed_every_failing_call_returns_lost() {
    for first in 0..CALLS.len() {
        // Opening an adapter takes a large fraction of a second.
        let few = if first % 9 == 0 { pools() } else { vec![("noop", noop())] };
        for (name, pool) in few {
            watchdog::guarded(name, move || {
                let made = made(&pool);
                pool.memory().device().destroy();
                let mut is_detected = false;
                for number in 0..CALLS.len() {
                    let (call, act) = CALLS[(first + number) % CALLS.len()];
                    match act(&pool, &made) {
                        Ok(()) => assert!(!is_detected, "{name}: {call} succeeds on a device that is known to be lost"),
                        Err(error) => assert!(is_lost(&error), "{name}: {call}: {error}"),
                    }
                    is_detected = pool.memory().check().is_err();
                }
                assert!(is_detected, "{name}: no call noticed the loss");
            });
        }
    }
}

/// Every kind of call, on a pool that has detected the loss.
fn assert_all_say_so(name: &str, pool: &Pool, tensor: &Tensor) {
    let is_lost = |error: &DeviceError| matches!(error, DeviceError::Lost { .. });
    let in_tensor = |error: TensorError| match error {
        TensorError::Device(error) | TensorError::Allocate(AllocateError::Device(error)) => is_lost(&error),
        _ => false,
    };
    let large = pool.allocate(64 << 20).expect_err("a segment would be needed");
    assert!(matches!(&large, AllocateError::Device(error) if is_lost(error)), "{name}: {large}");
    assert!(pool.submit().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.synchronize_blocking().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.memory().check().is_err_and(|error| is_lost(&error)), "{name}");
    assert!(pool.download(100).is_err_and(|error| is_lost(&error)), "{name}");
    assert!(tensor.read_blocking::<f32>().is_err_and(in_tensor), "{name}");
    assert!(pollster::block_on(tensor.read::<f32>()).is_err_and(in_tensor), "{name}");
    assert!(tensor.clone().exp().is_err_and(in_tensor), "{name}: a kernel that was never compiled");
    let kernel = pool.kernel("@compute @workgroup_size(1) fn main() {}", "main");
    assert!(matches!(kernel, Err(KernelError::Device(error)) if is_lost(&error)), "{name}");
    pool.trim();
    pool.check().expect("the invariants of the heap hold");
}

// Case 40.
#[test]
fn every_call_on_a_lost_device_returns_an_error() -> Outcome {
    for (name, pool) in pools() {
        watchdog::guarded(name, move || {
            let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
            let recorded = tensor.add(&tensor).expect("it can be recorded");
            let mut download = pool.download(400).expect("there is room");
            download.add(tensor.storage().expect("one block"), 0, 400).expect("it can be recorded");
            let pinned = tensor.binding().expect("the device works");
            pool.memory().device().destroy();
            // For a device that the application owns, wgpu notifies the application, and the application notifies the
            // pool.
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

/// A pool that opened its device detects the loss at the first call that fails.
#[test]
fn a_pool_that_opened_its_device_detects_its_loss() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    watchdog::guarded("a loss that is noticed", move || {
        let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
        pool.synchronize_blocking().expect("the device works");
        pool.memory().device().destroy();
        let error = tensor.read_blocking::<f32>().expect_err("the device is gone");
        assert!(matches!(error, TensorError::Device(DeviceError::Lost { .. })), "{error}");
        assert_all_say_so("opened", &pool, &tensor);
    });
    Ok(())
}

// Case 60.
/// The application does not notify the pool: failing calls return some error, and nothing hangs.
#[test]
fn an_unreported_loss_is_detected_and_returned_as_an_error() -> Outcome {
    for (name, pool) in pools() {
        watchdog::guarded(name, move || {
            let tensor = Tensor::full(&pool, [1000], 1.0_f32).expect("there is room");
            pool.synchronize_blocking().expect("the device works");
            pool.memory().device().destroy();
            for _ in 0..3 {
                drop(tensor.add(&tensor));
                drop(Tensor::from_slice(&pool, &[1.0_f32; 100], [100]));
                assert!(tensor.read_blocking::<f32>().is_err(), "{name}");
                assert!(pollster::block_on(tensor.read::<f32>()).is_err(), "{name}");
                drop(pool.synchronize_blocking());
                drop(pool.allocate(64 << 20));
                pool.trim();
            }
            pool.check().expect("the invariants of the heap hold");
        });
    }
    Ok(())
}

/// The read starts before the loss.
#[test]
fn a_pending_read_ends_when_the_device_is_lost() -> Outcome {
    for tells in [true, false] {
        let Some(pool) = adapter::foreign_pool() else { return Ok(()) };
        watchdog::guarded("an awaited read", move || {
            let x = Tensor::full(&pool, [700, 700], 1.0_f32).expect("there is room");
            let product = x.matmul(&x).and_then(|y| y.matmul(&x)).expect("it can be recorded");
            std::thread::scope(|scope| {
                // The result depends on whether the read or the loss comes first.
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
    let pool = Pool::from_device(device, queue, crate::common::options())?;
    let zeros = Tensor::zeros(&pool, [4], DType::F32)?;
    pool.memory().notify_lost("first");
    pool.memory().notify_lost("second");
    assert_eq!(pool.submit(), Err(DeviceError::Lost { reason: "first".into() }));
    drop(zeros);
    Ok(())
}
