//! The memory that the driver holds, and when segments are returned to the driver.

use crate::common::{Outcome, adapter};
use std::process::Command;
use wgpu_pool::{
    AllocateError, DType, DeviceError, DeviceResources, Gpu, Kernel, KernelError, Memory, MemoryPressure, Pool,
    PoolOptions, Tensor, Trimmed,
};

/// Creates a kernel that runs for at least a few milliseconds on any GPU and adds one to each element.
fn slow(pool: &Pool) -> Result<Kernel, KernelError> {
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(64)
        fn slow(@builtin(global_invocation_id) id: vec3<u32>) {
            var state = x[id.x];
            for (var turn = 0u; turn < 60000u; turn++) {
                state = state * 1664525u + 1013904223u;
            }
            // Never equal, but the compiler can't prove that.
            x[id.x] = select(x[id.x] + 1u, state, state == x[id.x]);
        }";
    pool.kernel(wgsl, "slow")
}

// Case 18.
#[test]
fn bytes_in_use_by_the_device_are_pending_until_it_has_finished() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    if !adapter::holds(&pool, 8 << 20) {
        return Ok(());
    }
    let slow = slow(&pool)?;
    let kept = Tensor::zeros(&pool, [64], DType::U32)?;
    let freed = Tensor::zeros(&pool, [2 << 20], DType::U32)?;
    pool.synchronize_blocking()?;
    for _ in 0..20 {
        slow.dispatch(&[&freed], &[], [64, 1, 1])?;
    }
    let bytes = pool.stats().large.reserved;
    drop(freed);
    let first = pool.trim();
    assert_eq!((first.segments, first.freed + first.pending), (1, bytes));
    // Mesa's GL executes a dispatch before the call that submits it returns.
    let was_done = pool.memory().device().adapter_info().backend == wgpu::Backend::Gl && first.pending == 0;
    let pending = if was_done { 0 } else { bytes };
    assert_eq!(first.pending, pending, "the device was done before the trim, or it is said to be");
    pool.synchronize_blocking()?;
    assert_eq!(pool.trim(), Trimmed { segments: 0, freed: pending, pending: 0, ..Trimmed::default() });
    assert_eq!(pool.trim(), Trimmed::default());
    assert_eq!(kept.read_blocking::<u32>()?, [0; 64]);
    Ok(())
}

// Case 19.
#[test]
fn driver_memory_falls_by_the_bytes_that_a_trim_reports() -> Outcome {
    let Some(pool) = adapter::fresh() else { return Ok(()) };
    if !adapter::holds(&pool, 4 << 20) {
        return Ok(());
    }
    let Some(at_first) = pool.memory().driver_holdings().map(|held| held.reserved) else {
        eprintln!("skipped: this backend does not tell what the driver holds");
        return Ok(());
    };
    let mut tensors = Vec::new();
    while pool.stats().segments.current < 3 {
        tensors.push(Tensor::full(&pool, [1 << 20], 1.5_f32)?);
    }
    pool.synchronize_blocking()?;
    let held = pool.memory().driver_holdings().map(|held| held.reserved).ok_or("it told before")?;
    let reserved = pool.stats().reserved.current;
    assert!(held >= at_first + reserved, "{held} bytes, {at_first} at first and {reserved} reserved");
    drop(tensors);
    pool.synchronize_blocking()?;
    let trimmed = pool.trim();
    assert_eq!(trimmed, Trimmed { segments: 3, freed: reserved, pending: 0, ..Trimmed::default() });
    let after = pool.memory().driver_holdings().map(|held| held.reserved).ok_or("it told before")?;
    assert!(after + trimmed.freed <= held, "{held} bytes before, {after} after {trimmed:?}");
    Ok(())
}

/// Creates a pool with eight segments of at least 8 MiB, of which every second one contains one live tensor.
fn half_dropped(pool: &Pool) -> Result<Vec<Tensor>, Box<dyn std::error::Error>> {
    let mut tensors = Vec::new();
    while pool.stats().segments.current < 8 {
        tensors.push(Tensor::full(pool, [1 << 20], 2.5_f32)?);
    }
    let mut kept = Vec::new();
    for (index, tensor) in tensors.into_iter().enumerate() {
        if index % 8 == 0 {
            kept.push(tensor);
        }
    }
    pool.synchronize_blocking()?;
    Ok(kept)
}

// Case 19, for every call that releases segments.
#[test]
fn driver_memory_falls_by_the_reported_bytes_for_every_kind_of_release() -> Outcome {
    type Way = fn(&Pool) -> Result<Trimmed, DeviceError>;
    let ways: [(&str, Way); 3] = [
        ("to a target", |pool| Ok(pool.trim_to(pool.stats().reserved.current / 2))),
        ("after a compaction", |pool| {
            pool.compact()?;
            pool.synchronize_blocking()?;
            Ok(pool.trim())
        }),
        ("under pressure", |pool| {
            pool.pressure(MemoryPressure::Critical)?;
            pool.synchronize_blocking()?;
            // The pending segments are freed by now. Each segment is counted in one of the two trims.
            Ok(pool.trim())
        }),
    ];
    for (name, way) in ways {
        for foreign in [false, true] {
            let pool = if foreign { adapter::foreign_pool() } else { adapter::fresh() };
            let Some(pool) = pool else { return Ok(()) };
            if !adapter::holds(&pool, 4 << 20) {
                continue;
            }
            let kept = half_dropped(&pool)?;
            let reserved = pool.stats().reserved.current;
            let Some(held) = pool.memory().driver_holdings().map(|held| held.reserved) else { return Ok(()) };
            way(&pool)?;
            pool.synchronize_blocking()?;
            pool.trim();
            let gone = reserved - pool.stats().reserved.current;
            let after = pool.memory().driver_holdings().map(|held| held.reserved).ok_or("it told before")?;
            assert!(gone > 0, "{name}: nothing went");
            // With default hints, the driver allocates large blocks and frees a block only when it is completely
            // unused.
            if !foreign {
                assert!(after + gone <= held, "{name}: {held} bytes before, {after} after {gone} went");
            }
            assert!(after >= pool.stats().reserved.current, "{name}: {after} bytes hold all segments");
            for tensor in &kept {
                assert_eq!(tensor.narrow(0, 1000, 2)?.read_blocking::<f32>()?, [2.5; 2], "{name}");
            }
        }
    }
    Ok(())
}

/// The bytes of a tensor that [`shrink`] allocates.
const LARGE: u64 = 64 << 20;
/// Set in the child process whose resident memory is measured.
const WATCHED: &str = "WGPU_POOL_TEST_WATCHED";

/// Returns the resident bytes of this process, where the system reports them.
fn resident_bytes() -> Option<u64> {
    // Wine shows the files of Linux to Windows programs, too.
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Runs [`shrink`] in a child process, because the memory of other tests varies. On a software adapter, segments are
/// memory of the process itself.
fn watch(name: &str, kind: &str, memory: Option<Gpu>) -> Outcome {
    if std::env::var_os(WATCHED).is_some() {
        return shrink(kind);
    }
    let Some(gpu) = memory else { return Ok(()) };
    if gpu.limits().largest_segment < LARGE {
        eprintln!("skipped: needs buffers of {LARGE} bytes");
        return Ok(());
    }
    let is_software = gpu.adapter_info().device_type == wgpu::DeviceType::Cpu;
    if !is_software || resident_bytes().is_none() {
        eprintln!("skipped: needs a software adapter and a system that tells resident bytes");
        return Ok(());
    }
    drop(gpu);
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(WATCHED, "1")
        .output()?;
    let text = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {text}", child.status);
    assert!(text.contains("resident bytes fell"), "{text}");
    Ok(())
}

#[test]
fn on_a_software_adapter_resident_memory_falls_by_the_bytes_that_a_trim_reports() -> Outcome {
    let name = "driver::on_a_software_adapter_resident_memory_falls_by_the_bytes_that_a_trim_reports";
    watch(name, "best", adapter::gpu())
}

/// GL retains the most recently bound buffer until another buffer is bound.
#[test]
fn on_gl_resident_memory_falls_by_the_bytes_that_a_trim_reports() -> Outcome {
    watch("driver::on_gl_resident_memory_falls_by_the_bytes_that_a_trim_reports", "gl", adapter::gl())
}

/// Allocates, frees and trims, and compares resident bytes with the reported bytes. Runs in the child process.
fn shrink(kind: &str) -> Outcome {
    let memory = if kind == "gl" { adapter::gl() } else { adapter::gpu() };
    let pool = Pool::new(memory.ok_or("it opened before")?, crate::common::options())?;
    let kept = Tensor::full(&pool, [1000], 2.5_f32)?;
    // A first round, so that memory that the driver caches permanently is allocated before measuring.
    drop(Tensor::full(&pool, [16 << 20], 1.5_f32)?);
    pool.synchronize_blocking()?;
    pool.trim();
    for mebibytes in [64, 256, 512] {
        let tensors: Vec<_> =
            (0..mebibytes / 64).map(|_| Tensor::full(&pool, [64 << 18], 1.5_f32)).collect::<Result<_, _>>()?;
        pool.synchronize_blocking()?;
        let held = resident_bytes().ok_or("it told before")?;
        drop(tensors);
        let freed = pool.trim().freed;
        // GL frees the memory when the commands recorded for that have completed.
        pool.synchronize_blocking()?;
        let fell = held.saturating_sub(resident_bytes().ok_or("it told before")?);
        assert!(freed >= mebibytes << 20, "{freed} bytes of {mebibytes} MiB");
        assert!(fell.abs_diff(freed) <= 8 << 20, "resident bytes fell by {fell}, {freed} were reported");
        println!("resident bytes fell by {fell}, {freed} were reported");
    }
    assert_eq!(kept.read_blocking::<f32>()?, [2.5; 1000]);
    Ok(())
}

/// Set in the child process whose address space is limited.
const LIMITED: &str = "WGPU_POOL_TEST_LIMITED";

// Case 36. The software Vulkan of Mesa 22 returns an error when the host is out of memory; later versions crash.
#[test]
fn a_device_without_free_memory_returns_an_error_and_stays_usable() -> Outcome {
    if std::env::var_os(LIMITED).is_some() {
        return exhaust();
    }
    let Some(gpu) = adapter::gpu() else { return Ok(()) };
    let info = gpu.adapter_info();
    if info.backend != wgpu::Backend::Vulkan || !info.driver_info.starts_with("Mesa 22.") || cfg!(windows) {
        eprintln!(
            "skipped: only Mesa 22's software Vulkan on Linux can be driven out of memory ({})",
            info.driver_info
        );
        return Ok(());
    }
    drop(gpu);
    let test = std::env::current_exe()?;
    let name = "driver::a_device_without_free_memory_returns_an_error_and_stays_usable";
    // The limit of the address space in KiB: enough for the driver's threads and compiler, and for some segments.
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

/// Allocates until the driver is out of memory. Runs in the limited child process.
fn exhaust() -> Outcome {
    let pool = Pool::request_blocking(PoolOptions { smallest_segment: Some(512 << 20), ..crate::common::options() })?;
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
    pool.synchronize_blocking()?;
    assert_eq!(kept.add(&kept)?.read_blocking::<f32>()?, [5.0; 1000]);
    Ok(())
}
