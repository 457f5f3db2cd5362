//! Adapters: opened where there is one, and missed loudly where there has to be one.

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use wgpu_pool::{Gpu, GpuOptions, Pool, PoolOptions};

/// Whether a machine without an adapter is a failure: in continuous integration, or when asked for.
fn is_required() -> bool {
    ["CI", "WGPU_POOL_REQUIRE_ADAPTER"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// What was opened, or nothing, with the reason on standard error.
///
/// # Panics
/// When an adapter is required.
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

/// A new memory on the best adapter. Nothing where there is none, unless one is required: that fails the test.
pub(crate) fn gpu() -> Option<Gpu> {
    or_skip(pollster::block_on(Gpu::open(&GpuOptions::default())))
}

/// A new pool on the best adapter, as [`gpu`].
pub(crate) fn open(options: PoolOptions) -> Option<Pool> {
    gpu().map(|gpu| Pool::new(gpu, options).expect("the options suit every device"))
}

/// A new pool of default options on the best adapter, as [`gpu`].
pub(crate) fn fresh() -> Option<Pool> {
    open(crate::common::options())
}

/// The pool that tests of this process share, on the best adapter, as [`gpu`]. Its counters are anyone's.
pub(crate) fn shared() -> Option<&'static Pool> {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    POOL.get_or_init(fresh).as_ref()
}

/// The pool that tests of this process share on GL, where that is another adapter than the best one and opens; no
/// machine has to have it.
pub(crate) fn shared_gl() -> Option<&'static Pool> {
    static POOL: OnceLock<Option<Pool>> = OnceLock::new();
    POOL.get_or_init(|| gl().and_then(|gpu| Pool::new(gpu, crate::common::options()).ok())).as_ref()
}

/// A new memory on GL, as [`shared_gl`].
pub(crate) fn gl() -> Option<Gpu> {
    let options = GpuOptions { backends: wgpu::Backends::GL, ..GpuOptions::default() };
    let opened = pollster::block_on(Gpu::open(&options));
    let gpu = opened.inspect_err(|error| eprintln!("skipped on GL: {error}")).ok()?;
    // The environment has the last word on backends; what it chose is tested as the best adapter.
    (gpu.adapter_info().backend == wgpu::Backend::Gl).then_some(gpu)
}

/// Every pool that kernels are tested on. Empty, with the reason on standard error, where there is no adapter.
pub(crate) fn all_shared() -> impl Iterator<Item = &'static Pool> {
    shared().into_iter().chain(GlInTurn::default())
}

/// The pool on GL, for one test at a time: wgpu gives GL up for deadlocked when one thread keeps it from another for
/// seconds, which a software driver may.
#[derive(Default)]
struct GlInTurn {
    turn: Option<MutexGuard<'static, ()>>,
}

impl Iterator for GlInTurn {
    type Item = &'static Pool;

    fn next(&mut self) -> Option<&'static Pool> {
        static TURN: Mutex<()> = Mutex::new(());
        if self.turn.is_some() {
            return None;
        }
        self.turn = Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
        shared_gl()
    }
}

/// A device of the kind that an app has: the best adapter's, with wgpu's default limits and no features.
pub(crate) fn foreign() -> Option<(wgpu::Device, wgpu::Queue)> {
    foreign_with(wgpu::Limits::default())
}

/// The same, with other limits.
pub(crate) fn foreign_with(required_limits: wgpu::Limits) -> Option<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all()),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let options = wgpu::RequestAdapterOptions::default();
    let opened = pollster::block_on(async {
        let adapter = instance.request_adapter(&options).await.map_err(|error| error.to_string())?;
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        adapter.request_device(&descriptor).await.map_err(|error| error.to_string())
    });
    or_skip(opened)
}

/// A new pool on a device of [`foreign`]'s kind.
pub(crate) fn foreign_pool() -> Option<Pool> {
    let (device, queue) = foreign()?;
    Some(Pool::from_device(device, queue, crate::common::options()).expect("the options suit every device"))
}

/// A device without a driver, as an app has it: it runs copies, and passes over dispatches.
pub(crate) fn noop() -> (wgpu::Device, wgpu::Queue) {
    wgpu::Device::noop(&wgpu::DeviceDescriptor::default())
}
