//! Kernels on a GPU: the device's capabilities, compiled programs, bindings, parameters, and timestamps.
//!
//! Only with the feature `tensor`. The allocator alone records copies and clears.

mod bind_groups;
mod bound;
mod cache;
mod parameters;
mod profile;
mod program;
mod timing;
mod unbind;
mod warm_up;

pub(super) use bind_groups::BindGroups;
pub(super) use bound::Bound;
pub(super) use parameters::{Ring, Slot};
pub(super) use program::Passing;
pub(super) use timing::Timing;
pub(super) use unbind::Unbinder;

pub(crate) use parameters::SLOT_BYTES;
pub(crate) use program::{ExpressionKey, Program, ProgramDescriptor, ProgramKey, Structure};

use super::super::context::InContext;
use super::{Gpu, adapter};
use crate::device::CacheUse;
use crate::device::lock::Lock;
use crate::error::DeviceError;
use bind_groups::Layouts;
use program::Programs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use warm_up::WarmUps;

/// A kernel that does nothing, to try a cache with.
const EMPTY: &str = "@compute @workgroup_size(1) fn empty() {}";

/// The kernels of this module, with a name for each.
#[cfg(test)]
pub(super) fn texts() -> Vec<(&'static str, String)> {
    // No device has fewer buffers than 4, and those of WebGPU's default limits have 8.
    let unbinders = [4, 8].map(|slots| ("unbinder", unbind::source(slots)));
    [("pipeline cache", EMPTY.to_string())].into_iter().chain(unbinders).collect()
}

/// The device's capabilities for kernels, and the kernels that were compiled for the device.
#[derive(Debug)]
pub(super) struct Kernels {
    /// The largest size of a shader's immediates, in bytes; 0 if parameters are passed in uniform buffers.
    immediate_bytes: u32,
    /// The number of invocations in a workgroup of most kernels.
    workgroup_size: u32,
    /// The largest number of storage buffers of a shader.
    storage_buffers: u32,
    /// Bytes of workgroup memory that a workgroup may have.
    workgroup_bytes: u32,
    /// The largest number of workgroups in one dimension of a dispatch.
    workgroups: u32,
    /// Whether shaders may use f16.
    has_f16: bool,
    /// Whether f16 matrix products use cooperative matrices.
    has_cooperative_matrices: AtomicBool,
    /// Whether the adapter is a software renderer, which computes on the CPU.
    is_software: bool,
    /// Whether copying pairs of 64-bit integers is faster than copying four 32-bit integers, in shaders that may use
    /// 64-bit integers.
    moves_pairs: bool,
    layouts: Layouts,
    programs: Programs,
    warm_ups: WarmUps,
    /// The driver's cache of compiled pipelines, if the application has one.
    pipeline_cache: Lock<Option<Arc<InContext<wgpu::PipelineCache>>>>,
}

/// Returns the largest size of the immediates of the crate's shaders, in bytes; 0 if they are passed in uniform buffers.
///
/// On DX12 immediates are root constants, in which arrays are not permitted: indices that are no constants read anything ("Using
/// Constants Directly in the Root Signature" in Microsoft's documentation). Most parameters contain an array.
fn immediate_bytes(backend: wgpu::Backend, features: wgpu::Features, limits: &wgpu::Limits) -> u32 {
    let are_usable = features.contains(wgpu::Features::IMMEDIATES) && backend != wgpu::Backend::Dx12;
    if are_usable { limits.max_immediate_size } else { 0 }
}

impl Kernels {
    pub(super) fn new(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Self {
        let features = device.features();
        let is_software = adapter::is_software(info);
        Self {
            immediate_bytes: immediate_bytes(info.backend, features, &device.limits()),
            workgroup_size: workgroup_size(&device.limits()),
            storage_buffers: device.limits().max_storage_buffers_per_shader_stage,
            workgroup_bytes: device.limits().max_compute_workgroup_storage_size,
            workgroups: device.limits().max_compute_workgroups_per_dimension,
            has_f16: features.contains(wgpu::Features::SHADER_F16),
            has_cooperative_matrices: AtomicBool::new(false),
            is_software,
            // Software drivers load and store the components of a vector one at a time.
            moves_pairs: is_software && features.contains(wgpu::Features::SHADER_INT64),
            layouts: Layouts::default(),
            programs: Programs::default(),
            warm_ups: WarmUps::default(),
            pipeline_cache: Lock::new(None),
        }
    }

    /// Returns the usage of the caches: pipelines, and layouts of bind groups.
    pub(super) fn usage(&self) -> Vec<CacheUse> {
        let mut caches = self.programs.usage();
        caches.push(self.layouts.usage());
        caches
    }

    /// Empties the caches.
    pub(super) fn clear(&self) {
        self.programs.clear();
        self.layouts.clear();
    }
}

/// The usual number of invocations in a workgroup.
pub(crate) const LARGEST_WORKGROUP: u32 = 256;

/// The largest power of two, up to [`LARGEST_WORKGROUP`], that the device permits.
fn workgroup_size(limits: &wgpu::Limits) -> u32 {
    let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    1 << most.clamp(1, LARGEST_WORKGROUP).ilog2()
}

impl Gpu {
    /// Returns the number of invocations in a workgroup of most kernels: a power of two, at most [`LARGEST_WORKGROUP`].
    pub(crate) fn workgroup_size(&self) -> u32 {
        self.kernels.workgroup_size
    }

    /// Returns the largest number of storage buffers of a shader.
    pub(crate) fn storage_buffers(&self) -> usize {
        self.kernels.storage_buffers as usize
    }

    /// Returns whether workgroups may have [`LARGEST_WORKGROUP`] invocations, which some kernels need.
    pub(crate) fn has_large_workgroups(&self) -> bool {
        self.workgroup_size() == LARGEST_WORKGROUP
    }

    /// Returns an error for a dispatch that the device cannot run. wgpu would refuse the whole batch, and with it the commands of others.
    pub(super) fn check_workgroups(&self, workgroups: [u32; 3]) -> Result<(), DeviceError> {
        let limit = self.kernels.workgroups;
        if workgroups.iter().all(|&count| count <= limit) {
            Ok(())
        } else {
            Err(DeviceError::TooManyWorkgroups { workgroups, limit })
        }
    }

    /// Returns the bytes of workgroup memory that a workgroup may have.
    pub(crate) fn workgroup_bytes(&self) -> u32 {
        self.kernels.workgroup_bytes
    }

    /// Returns whether the adapter is a software renderer, on which large kernels take long to compile and are not faster.
    pub(crate) fn is_software(&self) -> bool {
        self.kernels.is_software
    }

    /// Whether copying pairs of 64-bit integers is faster than copying four 32-bit integers, in shaders that may use
    /// 64-bit integers.
    pub(crate) fn moves_pairs(&self) -> bool {
        self.kernels.moves_pairs
    }

    /// Whether shaders may use f16, in storage and in arithmetic.
    pub(crate) fn has_f16(&self) -> bool {
        self.kernels.has_f16
    }

    /// Whether shaders may multiply cooperative 16 × 16 matrices of f16 with f32 accumulators, in subgroups of 32.
    pub(crate) fn has_cooperative_matrices(&self) -> bool {
        self.kernels.has_cooperative_matrices.load(Ordering::Relaxed)
    }

    /// Enables cooperative matrices for f16 matrix products, and returns whether they are enabled.
    ///
    /// The device must have been created from `adapter` with [`wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX`], and
    /// the adapter must support 16 × 16 matrices of f16 with f32 accumulators in subgroups of 32.
    ///
    /// Only needed for a device that the application created: [`Gpu::open`] calls this where
    /// [`GpuOptions::experimental`](crate::GpuOptions::experimental) permits.
    pub fn use_cooperative_matrices(&self, adapter: &wgpu::Adapter) -> bool {
        let needed =
            wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let has = self.device.features().contains(needed) && adapter::has_cooperative_matrices(adapter);
        self.kernels.has_cooperative_matrices.store(has, Ordering::Relaxed);
        has
    }

    /// Uses a cache of compiled pipelines for the kernels that are compiled from now on; `None` for no cache. The application
    /// creates it from the data of an earlier run of the program ([`wgpu::Device::create_pipeline_cache`], which is unsafe because
    /// wgpu does not check the data), and saves [`wgpu::PipelineCache::get_data`] afterwards. `examples/pipeline_cache.rs` does both.
    ///
    /// A handle to the cache keeps the device: drop it before the pool.
    ///
    /// Drivers for PCs have caches of their own on disk, which are on by default. A pipeline cache helps where there is none, as
    /// on many phones, and where the application's data is deleted separately.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] if the device does not have the feature `PIPELINE_CACHE`, which only Vulkan has. [`Gpu::open`]
    /// requests it. [`DeviceError::Validation`] if the cache is of another device: it is tried with an empty kernel, for which wgpu
    /// may panic; the panic is caught. The previous cache stays in use then.
    pub fn set_pipeline_cache(&self, cache: Option<wgpu::PipelineCache>) -> Result<(), DeviceError> {
        if cache.is_some() && !self.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Err(DeviceError::Unsupported { feature: "PIPELINE_CACHE" });
        }
        let cache = cache.map(|cache| Arc::new(self.checked.in_context(cache)));
        if let Some(cache) = &cache {
            self.check()?;
            self.try_cache(cache)?;
        }
        let previous = std::mem::replace(&mut *self.kernels.pipeline_cache.lock(), cache);
        drop(previous);
        Ok(())
    }

    /// Compiles an empty kernel with a cache.
    fn try_cache(&self, cache: &wgpu::PipelineCache) -> Result<(), DeviceError> {
        let refused = |reason: &str| DeviceError::Validation {
            message: format!("a pipeline cache, which must be of the pool's device: {reason}"),
        };
        let compile = || self.checked.kernel("wgpu-pool pipeline cache", EMPTY, "empty", Some(cache)).map(drop);
        match catch_unwind(AssertUnwindSafe(compile)) {
            Ok(Err(DeviceError::Validation { message })) => Err(refused(&message)),
            Ok(outcome) => outcome.map_err(|error| self.loss_or(error)),
            Err(_) => Err(refused("wgpu does not know it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::immediate_bytes;

    #[test]
    fn parameters_with_arrays_are_no_root_constants_of_dx12() {
        let limits = wgpu::Limits { max_immediate_size: 128, ..wgpu::Limits::default() };
        let of = |backend, features| immediate_bytes(backend, features, &limits);
        assert_eq!(of(wgpu::Backend::Vulkan, wgpu::Features::IMMEDIATES), 128);
        assert_eq!(of(wgpu::Backend::Dx12, wgpu::Features::IMMEDIATES), 0);
        assert_eq!(of(wgpu::Backend::Vulkan, wgpu::Features::empty()), 0);
    }
}
