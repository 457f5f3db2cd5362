//! What the driver holds, and when it has it back.

use crate::common::{Outcome, adapter};
use std::process::Command;
use wgpu_pool::{AllocateError, DType, Kernel, KernelError, Memory, Pool, PoolOptions, Tensor, Trimmed};

/// Spins for some milliseconds at least, also on a fast GPU, and adds one to each element.
fn slow(pool: &Pool) -> Result<Kernel, KernelError> {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(64)
        fn slow(@builtin(global_invocation_id) id: vec3<u32>) {
            var state = x[id.x];
            for (var turn = 0u; turn < 60000u; turn++) {
                state = state * 1664525u + 1013904223u;
            }
            // Never so, but the compiler can't tell.
            x[id.x] = select(x[id.x] + 1u, state, state == x[id.x]);
        }";
    pool.kernel(wgsl, "slow")
}

// Case 18.
#[test]
fn bytes_that_the_device_still_uses_are_pending_until_it_is_done() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let slow = slow(&pool)?;
    let kept = Tensor::zeros(&pool, [64], DType::U32)?;
    let freed = Tensor::zeros(&pool, [2 << 20], DType::U32)?;
    pool.synchronize()?;
    for _ in 0..20 {
        slow.dispatch(&[&freed], &[], [64, 1, 1])?;
    }
    let bytes = pool.stats().large.reserved;
    drop(freed);
    let first = pool.trim();
    assert_eq!((first.segments, first.freed + first.pending), (1, bytes));
    assert_eq!(first.pending, bytes, "the device was done before the trim, or it is said to be");
    pool.synchronize()?;
    assert_eq!(pool.trim(), Trimmed { segments: 0, freed: bytes, pending: 0, ..Trimmed::default() });
    assert_eq!(pool.trim(), Trimmed::default());
    assert_eq!(kept.read_blocking::<u32>()?, [0; 64]);
    Ok(())
}

// Case 19.
#[test]
fn the_driver_holds_less_by_the_bytes_that_a_trim_reports() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    let Some(at_first) = pool.memory().driver_bytes() else {
        eprintln!("skipped: this backend does not tell what the driver holds");
        return Ok(());
    };
    let mut tensors = Vec::new();
    while pool.stats().segments.current < 3 {
        tensors.push(Tensor::full(&pool, [1 << 20], 1.5_f32)?);
    }
    pool.synchronize()?;
    let held = pool.memory().driver_bytes().ok_or("it told before")?;
    let reserved = pool.stats().reserved.current;
    assert!(held >= at_first + reserved, "{held} bytes, {at_first} at first and {reserved} reserved");
    drop(tensors);
    pool.synchronize()?;
    let trimmed = pool.trim();
    assert_eq!(trimmed, Trimmed { segments: 3, freed: reserved, pending: 0, ..Trimmed::default() });
    let after = pool.memory().driver_bytes().ok_or("it told before")?;
    assert!(after + trimmed.freed <= held, "{held} bytes before, {after} after {trimmed:?}");
    Ok(())
}

/// Set in the process whose address space is limited.
const LIMITED: &str = "WGPU_POOL_TEST_LIMITED";

// Case 36. Mesa 22's software Vulkan says so when the host has no memory left; later ones crash.
#[test]
fn a_device_without_memory_is_an_error_and_works_on() -> Outcome {
    if std::env::var_os(LIMITED).is_some() {
        return exhaust();
    }
    let Some(gpu) = adapter::gpu() else { return Ok(()) };
    let info = gpu.adapter_info();
    if info.backend != wgpu::Backend::Vulkan || !info.driver_info.starts_with("Mesa 22.") {
        eprintln!("skipped: only Mesa 22's software Vulkan can be driven out of memory ({})", info.driver_info);
        return Ok(());
    }
    drop(gpu);
    let test = std::env::current_exe()?;
    let name = "driver::a_device_without_memory_is_an_error_and_works_on";
    // Address space, in KiB: room for the driver's threads and compiler, and for some segments.
    let script = "ulimit -v 6000000 && exec \"$0\" \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(test)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(LIMITED, "1")
        .output()?;
    let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {text}", child.status);
    assert!(text.contains("the device refused"), "{text}");
    Ok(())
}

/// Takes memory until the driver has none, in the limited process.
fn exhaust() -> Outcome {
    let pool = Pool::request_blocking(PoolOptions { smallest_segment: Some(512 << 20), ..PoolOptions::default() })?;
    let kept = Tensor::full(&pool, [1000], 2.5_f32)?;
    let mut storages = Vec::new();
    let error = loop {
        match pool.allocate(512 << 20) {
            Ok(storage) => storages.push(storage),
            Err(error) => break error,
        }
        assert!(storages.len() < 64, "the driver never refused");
    };
    println!("{error}");
    let AllocateError::OutOfMemory(numbers) = &error else { return Err(error.into()) };
    assert!(numbers.refused.is_some());
    assert!(!storages.is_empty());
    assert_eq!(kept.add(&kept)?.read_blocking::<f32>()?, [5.0; 1000]);
    storages.clear();
    pool.trim();
    let again = pool.allocate(512 << 20)?;
    again.clear()?;
    pool.synchronize()?;
    assert_eq!(kept.add(&kept)?.read_blocking::<f32>()?, [5.0; 1000]);
    Ok(())
}
