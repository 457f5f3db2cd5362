//! Opening an adapter and a device for the pool alone.

use super::startup::Opening;
use super::{Gpu, missing};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::teardown;
use crate::error::OpenError;
use std::sync::Arc;

/// The size of the driver blocks in which wgpu places small buffers, on a device that is opened here. Larger buffers have
/// separate driver allocations, which are freed when the buffers are destroyed.
pub(super) const DRIVER_BLOCK: u64 = 4 << 20;

/// The options for opening an adapter.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// The backends to choose from; the environment variable `WGPU_BACKEND` overrides this. All backends by default. GL is
    /// only initialized if no other backend has a suitable GPU.
    pub backends: wgpu::Backends,
    /// A part of the adapter's name, case-insensitive; the environment variable `WGPU_ADAPTER_NAME` overrides this.
    pub adapter_name: Option<String>,
    /// Features to request, if the adapter has them, in addition to those that kernels use.
    pub features: wgpu::Features,
    /// Opts in to wgpu's experimental features. Constructing the token is unsafe, so the caller supplies it: with
    /// `unsafe { wgpu::ExperimentalFeatures::enabled() }`, f16 matrix products use cooperative matrices (tensor cores) where the
    /// adapter has them. Disabled by default.
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
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::TIMESTAMP_QUERY);

impl Gpu {
    /// Opens the best adapter with its limits, and with memory hints that return destroyed segments to the driver.
    ///
    /// GPUs are preferred to software renderers, then the other backends to GL. GL is only initialized if no other backend has
    /// a suitable GPU.
    ///
    /// An adapter is suitable if it supports compute shaders and, with the feature `tensor`, at least 4 storage buffers per
    /// shader stage and 128 invocations per workgroup. Natively, the first poll of the future waits for the driver.
    ///
    /// # Errors
    /// [`OpenError`], whose message states what is missing and the remedy.
    pub async fn open(options: &GpuOptions) -> Result<Self, OpenError> {
        #[cfg(not(target_arch = "wasm32"))]
        let _opening = teardown::opening();
        let mut opening = Opening::begin();
        let selected = wgpu::Backends::from_env().unwrap_or(options.backends);
        let name = environment("WGPU_ADAPTER_NAME").or_else(|| options.adapter_name.clone());
        let adapter = choose(selected, name.as_deref()).await?;
        opening.found();
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
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| OpenError::NoDevice {
            adapter: describe(&adapter.get_info()),
            reason: error.to_string(),
        })?;
        let gpu = Self::from_device(device, queue);
        opening.created();
        gpu.checked.stages().opened(opening);
        #[cfg(feature = "tensor")]
        gpu.use_cooperative_matrices(&adapter);
        // No application uses the device, so the pool may install the device's only lost callback.
        let health = Arc::clone(gpu.submission.health());
        gpu.device.set_device_lost_callback(move |reason, message| {
            health.mark_lost(|| format!("{reason:?}: {message}"));
        });
        Ok(gpu)
    }

    /// Returns the description of the device's adapter.
    #[must_use]
    pub fn adapter_info(&self) -> wgpu::AdapterInfo {
        self.device.adapter_info()
    }
}

/// NVIDIA's PCI number.
const NVIDIA: u32 = 0x10de;

/// The number of bytes from which a kernel copies faster than `copy_buffer_to_buffer`, on adapters where that is known.
pub(super) fn kernel_copies(info: &wgpu::AdapterInfo) -> Option<u64> {
    (info.vendor == NVIDIA && info.backend == wgpu::Backend::Vulkan).then_some(2 << 20)
}

/// Whether the driver is NVIDIA's for Linux, whose destructors of threads have defects.
pub(super) fn is_of_nvidia_for_linux(info: &wgpu::AdapterInfo) -> bool {
    cfg!(all(unix, not(target_vendor = "apple"))) && info.vendor == NVIDIA
}

/// Keeps the libraries of a Vulkan or GL driver loaded until the process ends, except on Windows and Apple's systems. Dropping the last
/// instance would unload them, with two defects:
/// - The last handle may be dropped by any thread while the main thread ends the process, which calls the destructors of
///   libraries. Those of a library that is unloaded meanwhile are no longer there.
/// - NVIDIA's driver registers destructors for every thread that uses it. A thread that ends later would jump to them.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn keep_driver_loaded(backend: wgpu::Backend, opened: impl FnOnce() -> wgpu::Instance) {
    static VULKAN: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();
    static GL: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();

    let kept = match backend {
        wgpu::Backend::Vulkan => &VULKAN,
        wgpu::Backend::Gl => &GL,
        _ => return,
    };
    if cfg!(all(unix, not(target_vendor = "apple"))) {
        kept.get_or_init(opened);
    }
}

/// Keeps the libraries of the Vulkan driver of an application's device loaded, as [`keep_driver_loaded`], by an instance of its own. Not those
/// of GL: the crate opens no second display.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn keep_driver_of_application_loaded(info: &wgpu::AdapterInfo) {
    if info.backend == wgpu::Backend::Vulkan {
        keep_driver_loaded(info.backend, || instance(wgpu::Backends::VULKAN));
    }
}

/// Returns the best suitable adapter of the selected backends.
#[cfg(not(target_arch = "wasm32"))]
async fn choose(selected: wgpu::Backends, name: Option<&str>) -> Result<wgpu::Adapter, OpenError> {
    let compiled = wgpu::Instance::enabled_backend_features();
    let usable = missing::usable(selected, compiled)?;
    let (mut found, mut unsuitable, mut best) = (Vec::new(), Vec::new(), None::<wgpu::Adapter>);
    for backends in [usable & !wgpu::Backends::GL, usable & wgpu::Backends::GL] {
        if backends.is_empty()
            || (backends == wgpu::Backends::GL && !needs_gl(best.as_ref().map(wgpu::Adapter::get_info)))
        {
            continue;
        }
        let instance = instance(backends);
        for adapter in instance.enumerate_adapters(backends).await {
            let info = adapter.get_info();
            found.push(describe(&info));
            if name.is_some_and(|part| !info.name.to_lowercase().contains(&part.to_lowercase())) {
                continue;
            }
            match lacking(&adapter) {
                Some(error) => unsuitable.push(error),
                None if best.as_ref().is_none_or(|best| rank(&info) < rank(&best.get_info())) => best = Some(adapter),
                None => {}
            }
        }
        if let Some(best) = &best {
            keep_driver_loaded(best.get_info().backend, || instance);
        }
    }
    best.ok_or_else(|| match (unsuitable.into_iter().next(), name) {
        (Some(error), _) => error,
        (None, Some(name)) if !found.is_empty() => OpenError::NoSuchName { name: name.to_string(), found },
        (None, _) => missing::no_adapter(selected, compiled, missing::has_vulkan_loader),
    })
}

/// Returns whether GL has to be initialized: the best adapter of the other backends is not a GPU, and GL may have one.
#[cfg(not(target_arch = "wasm32"))]
fn needs_gl(best: Option<wgpu::AdapterInfo>) -> bool {
    best.is_none_or(|info| is_software(&info))
}

/// Returns the adapter that the browser prefers.
#[cfg(target_arch = "wasm32")]
async fn choose(selected: wgpu::Backends, _name: Option<&str>) -> Result<wgpu::Adapter, OpenError> {
    let compiled = wgpu::Instance::enabled_backend_features();
    let usable = missing::usable(selected, compiled)?;
    let options =
        wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    let adapter = instance(usable).request_adapter(&options).await;
    let adapter = adapter.map_err(|_| missing::no_adapter(selected, compiled, || None))?;
    lacking(&adapter).map_or(Ok(adapter), Err)
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() })
}

fn lacking(adapter: &wgpu::Adapter) -> Option<OpenError> {
    let computes = adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
    missing::lacking(&describe(&adapter.get_info()), computes, &adapter.limits())
}

/// Returns the rank of an adapter; the lowest rank is preferred: GPUs before software renderers, then by backend.
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

/// Returns whether the adapter is a software renderer. GL reports the device type `Other` for every adapter, so its
/// software renderer is recognized by name.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let named = info.backend == wgpu::Backend::Gl && info.name.to_lowercase().contains("llvmpipe");
    named || info.device_type == wgpu::DeviceType::Cpu
}

/// Returns whether the adapter supports cooperative 16 × 16 matrices of f16 with f32 accumulators, in subgroups of 32.
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

fn describe(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?}, {:?})", info.name, info.backend, info.device_type)
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Returns the largest binding whose bytes 32-bit numbers count: kernels count elements so, and wgpu's shaders for Metal check accesses
/// against such a size. Metal has larger bindings, up to the largest buffer (wgpu 30); Vulkan, DX12 and GL have at most 2 GiB.
pub(super) fn largest_binding(limits: &wgpu::Limits) -> u64 {
    limits.max_storage_buffer_binding_size.min(u64::from(u32::MAX)) & !3
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

    #[test]
    fn gl_is_only_initialized_where_no_other_backend_has_a_gpu() {
        use wgpu::{Backend, DeviceType};
        assert!(!needs_gl(Some(info("card", Backend::Vulkan, DeviceType::DiscreteGpu))));
        assert!(!needs_gl(Some(info("card", Backend::Dx12, DeviceType::IntegratedGpu))));
        assert!(needs_gl(Some(info("llvmpipe (LLVM 15)", Backend::Vulkan, DeviceType::Cpu))));
        assert!(needs_gl(None));
    }

    #[test]
    fn a_binding_has_no_more_bytes_than_32_bits_count() {
        for (limit, wanted) in [(1 << 27, 1 << 27), (u64::from(u32::MAX), (1 << 32) - 4), (1 << 36, (1 << 32) - 4)] {
            let limits = wgpu::Limits { max_storage_buffer_binding_size: limit, ..wgpu::Limits::default() };
            assert_eq!(largest_binding(&limits), wanted, "{limit}");
        }
    }
}
