//! Opening a device of our own.

use super::Gpu;
use crate::error::DeviceError;
use std::sync::Arc;

/// The size of the driver blocks that wgpu carves small buffers out of, on a device that is opened here. Larger buffers
/// get memory of their own, which the driver has back when they are destroyed.
pub(super) const DRIVER_BLOCK: u64 = 4 << 20;

/// Which adapter to open, and with what.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Backends to look at; the environment's `WGPU_BACKEND` has the last word. All of them by default.
    pub backends: wgpu::Backends,
    /// Part of the adapter's name, in any case; the environment's `WGPU_ADAPTER_NAME` has the last word.
    pub adapter_name: Option<String>,
    /// Features to ask for beyond the pool's own, where the adapter has them.
    pub features: wgpu::Features,
    /// Leave to use what wgpu has for trial, which only the program can give, since wgpu promises less of it: with
    /// `unsafe { wgpu::ExperimentalFeatures::enabled() }` products of f16 use cooperative matrices (tensor cores) where the
    /// adapter has them. None by default.
    pub experimental: wgpu::ExperimentalFeatures,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            backends: wgpu::Backends::all(),
            adapter_name: None,
            features: wgpu::Features::empty(),
            experimental: wgpu::ExperimentalFeatures::disabled(),
        }
    }
}

/// Features that kernels use where the adapter has them.
const USED_FEATURES: wgpu::Features = wgpu::Features::IMMEDIATES
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY);

impl Gpu {
    /// Opens the best adapter: a real GPU before a software one, and a modern backend before GL. The device gets the
    /// adapter's limits, and memory hints that let destroyed segments go back to the driver.
    ///
    /// # Errors
    /// [`DeviceError::NoAdapter`] or [`DeviceError::NoDevice`], with what was there.
    pub async fn open(options: &GpuOptions) -> Result<Self, DeviceError> {
        let backends = wgpu::Backends::from_env().unwrap_or(options.backends);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let name = environment("WGPU_ADAPTER_NAME").or_else(|| options.adapter_name.clone());
        let adapter = choose(&instance, backends, name.as_deref()).await?;
        let mut used = USED_FEATURES;
        used.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, options.experimental.is_enabled());
        used.set(wgpu::Features::SHADER_INT64, is_software(&adapter.get_info()));
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-pool"),
            required_features: adapter.features() & (used | options.features),
            required_limits: adapter.limits(),
            experimental_features: options.experimental,
            memory_hints: wgpu::MemoryHints::Manual {
                suballocated_device_memory_block_size: DRIVER_BLOCK..DRIVER_BLOCK,
            },
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| DeviceError::NoDevice { adapter: adapter.get_info().name, reason: error.to_string() })?;
        let gpu = Self::from_device(device, queue);
        #[cfg(feature = "tensor")]
        gpu.use_cooperative_matrices(&adapter);
        // The device is ours alone, so its one callback slot is too.
        let health = Arc::clone(gpu.submission.health());
        gpu.device.set_device_lost_callback(move |reason, message| {
            health.mark_lost(|| format!("{reason:?}: {message}"));
        });
        Ok(gpu)
    }

    /// What the device runs on.
    #[must_use]
    pub fn adapter_info(&self) -> wgpu::AdapterInfo {
        self.device.adapter_info()
    }
}

/// Keeps the driver's library loaded until the process ends, where that is needed: the Vulkan driver of NVIDIA on Linux registers
/// destructors for every thread that uses it. A thread that ends after the last instance was dropped, and the library with it, would jump
/// to where they were.
#[cfg(all(unix, not(target_vendor = "apple"), not(target_arch = "wasm32")))]
pub(super) fn keep_driver_loaded(info: &wgpu::AdapterInfo) {
    /// The vendor's PCI number.
    const NVIDIA: u32 = 0x10de;
    static INSTANCE: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();

    if info.backend == wgpu::Backend::Vulkan && info.vendor == NVIDIA {
        INSTANCE.get_or_init(|| {
            wgpu::Instance::new(wgpu::InstanceDescriptor {
                backends: wgpu::Backends::VULKAN,
                ..wgpu::InstanceDescriptor::new_without_display_handle()
            })
        });
    }
}

#[cfg(not(all(unix, not(target_vendor = "apple"), not(target_arch = "wasm32"))))]
pub(super) fn keep_driver_loaded(_info: &wgpu::AdapterInfo) {}

#[cfg(not(target_arch = "wasm32"))]
async fn choose(
    instance: &wgpu::Instance,
    backends: wgpu::Backends,
    name: Option<&str>,
) -> Result<wgpu::Adapter, DeviceError> {
    let adapters = instance.enumerate_adapters(backends).await;
    let found: Vec<String> = adapters.iter().map(|adapter| describe(&adapter.get_info())).collect();
    let wanted = name.map(str::to_lowercase);
    let fits = |adapter: &wgpu::Adapter| {
        let computes = wgpu::DownlevelFlags::COMPUTE_SHADERS;
        adapter.get_downlevel_capabilities().flags.contains(computes)
            && wanted.as_ref().is_none_or(|part| adapter.get_info().name.to_lowercase().contains(part))
    };
    adapters.into_iter().filter(fits).min_by_key(|adapter| rank(&adapter.get_info())).ok_or_else(|| {
        let name = name.map_or(String::new(), |name| format!(" with `{name}` in its name"));
        let reason = format!("none of {backends:?}{name} runs compute shaders; there are: {found:?}");
        DeviceError::NoAdapter { reason }
    })
}

#[cfg(target_arch = "wasm32")]
async fn choose(
    instance: &wgpu::Instance,
    _backends: wgpu::Backends,
    _name: Option<&str>,
) -> Result<wgpu::Adapter, DeviceError> {
    let options =
        wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    let adapter = instance.request_adapter(&options).await;
    adapter.map_err(|error| DeviceError::NoAdapter { reason: error.to_string() })
}

/// The lower, the better: real GPUs before software, and among equals the backends that manage memory themselves first.
#[cfg(not(target_arch = "wasm32"))]
fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let backend = match info.backend {
        wgpu::Backend::Vulkan | wgpu::Backend::Metal => 0,
        wgpu::Backend::Dx12 => 1,
        wgpu::Backend::BrowserWebGpu => 2,
        wgpu::Backend::Gl => 3,
        wgpu::Backend::Noop => 4,
    };
    (if is_software(info) { 4 } else { kind }, backend)
}

/// Whether the adapter computes on the processor. GL names every adapter `Other`: a software one must not pass for a GPU.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let named = info.backend == wgpu::Backend::Gl && info.name.to_lowercase().contains("llvmpipe");
    named || info.device_type == wgpu::DeviceType::Cpu
}

/// Whether it multiplies matrices of 16 by 16, of f16 with sums of f32, in subgroups of 32.
#[cfg(feature = "tensor")]
pub(super) fn has_cooperative_matrices(adapter: &wgpu::Adapter) -> bool {
    let info = adapter.get_info();
    let fits = |matrices: &wgpu::CooperativeMatrixProperties| {
        [matrices.m_size, matrices.n_size, matrices.k_size] == [16; 3]
            && matrices.ab_type == wgpu::CooperativeScalarType::F16
            && matrices.cr_type == wgpu::CooperativeScalarType::F32
    };
    [info.subgroup_min_size, info.subgroup_max_size] == [32; 2]
        && adapter.cooperative_matrix_properties().iter().any(fits)
}

#[cfg(not(target_arch = "wasm32"))]
fn describe(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?}, {:?})", info.name, info.backend, info.device_type)
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    fn info(name: &str, backend: wgpu::Backend, device_type: wgpu::DeviceType) -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(device_type, backend);
        info.name = name.into();
        info
    }

    #[test]
    fn a_real_gpu_ranks_before_a_software_one_whatever_the_backend() {
        use wgpu::{Backend, DeviceType};
        let discrete = info("card", Backend::Vulkan, DeviceType::DiscreteGpu);
        let through_gl = info("card", Backend::Gl, DeviceType::Other);
        let lavapipe = info("llvmpipe (LLVM 15)", Backend::Vulkan, DeviceType::Cpu);
        let llvmpipe = info("llvmpipe (LLVM 15)", Backend::Gl, DeviceType::Other);
        let ranks = [&discrete, &through_gl, &lavapipe, &llvmpipe].map(rank);
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(rank(&lavapipe) < rank(&llvmpipe));
    }
}
