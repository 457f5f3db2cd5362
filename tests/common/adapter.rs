//! Adapters for tests: a missing adapter skips a test, or fails it where an adapter is required.

use std::fmt;
use std::sync::OnceLock;
use wgpu_pool::{Gpu, GpuOptions, Memory, Pool, PoolOptions};

/// Whether a missing adapter is a failure: in continuous integration, or if an environment variable requests that. Always in a
/// browser, which has no environment variables.
fn is_required() -> bool {
    if cfg!(target_arch = "wasm32") {
        return true;
    }
    ["CI", "WGPU_POOL_REQUIRE_ADAPTER"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Returns the opened value. `None` with the reason on standard error if opening failed.
///
/// # Panics
/// If opening failed and an adapter is required.
fn or_skip<T>(opened: Result<T, impl fmt::Display>) -> Option<T> {
    match opened {
        Ok(opened) => Some(opened),
        Err(error) if is_required() => {
            panic!("this test needs an adapter, and CI or WGPU_POOL_REQUIRE_ADAPTER is set: {error}")
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// The limits of a small device, by name.
///
/// # Panics
/// If there is no such name.
pub(crate) fn small_limits(name: &str) -> wgpu::Limits {
    let webgpu = wgpu::Limits::default();
    match name {
        "webgpu" => webgpu,
        "downlevel" => wgpu::Limits::downlevel_defaults(),
        "buffers" => wgpu::Limits { max_buffer_size: 3 << 20, max_storage_buffer_binding_size: 3 << 20, ..webgpu },
        "workgroups" => wgpu::Limits {
            max_compute_invocations_per_workgroup: 128,
            max_compute_workgroup_size_x: 128,
            max_compute_workgroup_size_y: 128,
            max_compute_workgroup_storage_size: 16 << 10,
            ..webgpu
        },
        other => panic!("no limits are named {other:?}; there are webgpu, downlevel, buffers and workgroups"),
    }
}

/// The least storage buffers, invocations and workgroup memory of the small devices.
pub(crate) fn least_limits() -> wgpu::Limits {
    let [few, small] = ["downlevel", "workgroups"].map(small_limits);
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: few.max_storage_buffers_per_shader_stage,
        max_compute_workgroup_storage_size: few
            .max_compute_workgroup_storage_size
            .min(small.max_compute_workgroup_storage_size),
        ..small
    }
}

/// The limits that the environment variable `WGPU_POOL_TEST_LIMITS` names. The device then has no optional features
/// either.
fn forced_limits() -> Option<wgpu::Limits> {
    let name = std::env::var("WGPU_POOL_TEST_LIMITS").ok().filter(|name| !name.is_empty())?;
    Some(small_limits(&name))
}

/// Opens a new memory on the best adapter, with small limits on request. `None` if there is no adapter; fails the test if
/// one is required.
pub(crate) fn gpu() -> Option<Gpu> {
    if let Some(required_limits) = forced_limits() {
        // Small blocks of the driver, as the crate requests them.
        let memory_hints = wgpu::MemoryHints::Manual { suballocated_device_memory_block_size: 4 << 20..4 << 20 };
        let descriptor = wgpu::DeviceDescriptor { required_limits, memory_hints, ..Default::default() };
        return foreign_as(&descriptor).map(|(device, queue)| Gpu::from_device(device, queue));
    }
    or_skip(pollster::block_on(Gpu::open(&GpuOptions::default())))
}

/// Whether a block of this many bytes fits in a buffer and a binding of the pool's device. If not, says so on standard error: a
/// test of larger blocks is skipped.
pub(crate) fn holds<M: Memory>(pool: &Pool<M>, bytes: u64) -> bool {
    let limits = pool.memory().limits();
    let most = limits.largest_segment.min(limits.largest_binding);
    if most < bytes {
        eprintln!("skipped: needs blocks of {bytes} bytes, and the device's largest has {most}");
    }
    most >= bytes
}

/// Opens a new pool on the best adapter, as [`gpu`].
pub(crate) fn open(options: PoolOptions) -> Option<Pool> {
    gpu().map(|gpu| Pool::new(gpu, options).expect("the options suit every device"))
}

/// Opens a new pool with default options on the best adapter, as [`gpu`].
pub(crate) fn fresh() -> Option<Pool> {
    open(crate::common::options())
}

/// The pool that the tests of this process share, on the best adapter, as [`gpu`]. Other tests change its counters.
pub(crate) fn shared() -> Option<&'static Pool> {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    POOL.get_or_init(fresh).as_ref()
}

/// Opens a new pool whose tensors have blocks of at most so many bytes.
pub(crate) fn fresh_divided(bytes: u64) -> Option<Pool> {
    open(PoolOptions { largest_block: Some(bytes), ..crate::common::options() })
}

/// The pool that the tests of this process share on GL. `None` if GL is not available or is the best adapter; never
/// required.
pub(crate) fn shared_gl() -> Option<&'static Pool> {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    POOL.get_or_init(fresh_gl).as_ref()
}

/// Opens a new pool with default options on GL, as [`shared_gl`].
pub(crate) fn fresh_gl() -> Option<Pool> {
    gl().map(|gpu| Pool::new(gpu, crate::common::options()).expect("the options suit every device"))
}

/// Opens a new memory on GL, as [`shared_gl`].
pub(crate) fn gl() -> Option<Gpu> {
    let options = GpuOptions { backends: wgpu::Backends::GL, ..GpuOptions::default() };
    let opened = pollster::block_on(Gpu::open(&options));
    let gpu = opened.inspect_err(|error| eprintln!("skipped on GL: {error}")).ok()?;
    // The environment variable for backends takes precedence; its backend is tested as the best adapter.
    (gpu.adapter_info().backend == wgpu::Backend::Gl).then_some(gpu)
}

/// All pools that kernels are tested on. Empty, with the reason on standard error, if there is no adapter.
pub(crate) fn all_shared() -> impl Iterator<Item = &'static Pool> {
    shared().into_iter().chain(shared_gl())
}

/// Whether the device of a pool has f16.
pub(crate) fn has_f16(pool: &Pool) -> bool {
    pool.memory().device().features().contains(wgpu::Features::SHADER_F16)
}

/// A device as an application creates it: on the best adapter, with wgpu's default limits and no features.
pub(crate) fn foreign() -> Option<(wgpu::Device, wgpu::Queue)> {
    foreign_with(wgpu::Limits::default())
}

/// As [`foreign`], with other limits.
pub(crate) fn foreign_with(required_limits: wgpu::Limits) -> Option<(wgpu::Device, wgpu::Queue)> {
    foreign_as(&wgpu::DeviceDescriptor { required_limits, ..Default::default() })
}

fn foreign_as(descriptor: &wgpu::DeviceDescriptor<'_>) -> Option<(wgpu::Device, wgpu::Queue)> {
    let opened = pollster::block_on(async {
        let adapter = foreign_adapter().await.map_err(|error| error.to_string())?;
        adapter.request_device(descriptor).await.map_err(|error| error.to_string())
    });
    or_skip(opened)
}

/// An adapter of the selected backends, GL only if no other has one, as the crate chooses.
async fn foreign_adapter() -> Result<wgpu::Adapter, wgpu::RequestAdapterError> {
    let request = async |backends| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await
    };
    let selected = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    match request(selected & !wgpu::Backends::GL).await {
        Err(_) if selected.contains(wgpu::Backends::GL) => request(wgpu::Backends::GL).await,
        other => other,
    }
}

/// Creates a new pool on a device as in [`foreign`].
pub(crate) fn foreign_pool() -> Option<Pool> {
    let (device, queue) = foreign()?;
    Some(Pool::from_device(device, queue, crate::common::options()).expect("the options suit every device"))
}

/// A device without a driver, as an application creates it: runs copies and ignores dispatches.
pub(crate) fn noop() -> (wgpu::Device, wgpu::Queue) {
    wgpu::Device::noop(&wgpu::DeviceDescriptor::default())
}
