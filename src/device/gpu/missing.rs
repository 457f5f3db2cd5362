//! The reason why no adapter can be opened. Decided from plain data, so that each case can be tested on any machine.

use crate::error::OpenError;

/// The backends of this platform, whether or not they were compiled.
const PLATFORM: wgpu::Backends = if cfg!(target_arch = "wasm32") {
    wgpu::Backends::BROWSER_WEBGPU
} else if cfg!(target_vendor = "apple") {
    wgpu::Backends::METAL
} else if cfg!(windows) {
    wgpu::Backends::VULKAN.union(wgpu::Backends::DX12).union(wgpu::Backends::GL)
} else {
    wgpu::Backends::VULKAN.union(wgpu::Backends::GL)
};

/// The name of each backend, and the feature of this crate that compiles the backend.
const NAMES: [(wgpu::Backends, &str, &str); 5] = [
    (wgpu::Backends::VULKAN, "Vulkan", "`vulkan`"),
    (wgpu::Backends::METAL, "Metal", "`metal`"),
    (wgpu::Backends::DX12, "DX12", "`dx12`"),
    (wgpu::Backends::GL, "GL", "`gles`"),
    (wgpu::Backends::BROWSER_WEBGPU, "WebGPU", "`webgpu`"),
];

fn names(backends: wgpu::Backends) -> String {
    joined(NAMES.iter().filter(|(backend, ..)| backends.intersects(*backend)).map(|(_, name, _)| *name))
}

fn features(backends: wgpu::Backends) -> String {
    joined(NAMES.iter().filter(|(backend, ..)| backends.intersects(*backend)).map(|(.., feature)| *feature))
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

/// Returns the selected backends that were compiled.
pub(super) fn usable(selected: wgpu::Backends, compiled: wgpu::Backends) -> Result<wgpu::Backends, OpenError> {
    let usable = selected & compiled;
    if !usable.is_empty() {
        return Ok(usable);
    }
    let here = selected & PLATFORM;
    Err(if selected.is_empty() {
        OpenError::NoBackend
    } else if here.is_empty() {
        OpenError::OtherPlatform { backends: names(selected), available: names(PLATFORM) }
    } else {
        OpenError::Disabled { backends: names(here), features: features(here) }
    })
}

/// Returns the error of usable backends that found no adapter. `has_loader` returns whether the system has a Vulkan loader,
/// or `None` if this is unknown.
pub(super) fn no_adapter(
    selected: wgpu::Backends,
    compiled: wgpu::Backends,
    has_loader: impl FnOnce() -> Option<bool>,
) -> OpenError {
    let backends = names(selected & compiled);
    let disabled = features(selected & PLATFORM & !compiled);
    if (selected & compiled).contains(wgpu::Backends::VULKAN) && has_loader() == Some(false) {
        OpenError::NoLoader { backends, disabled }
    } else {
        OpenError::NoAdapter { backends, disabled }
    }
}

/// Returns whether the dynamic linker of Linux finds the Vulkan loader, in its cache or in the folders of
/// `LD_LIBRARY_PATH`. `None` on other systems, and without a cache.
#[cfg(target_os = "linux")]
pub(super) fn has_vulkan_loader() -> Option<bool> {
    let cache = std::fs::read("/etc/ld.so.cache").ok()?;
    let folders = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let in_folders = std::env::split_paths(&folders).any(|folder| folder.join(VULKAN_LOADER).exists());
    Some(in_folders || lists_vulkan_loader(&cache))
}

#[cfg(all(not(target_os = "linux"), not(target_arch = "wasm32")))]
pub(super) fn has_vulkan_loader() -> Option<bool> {
    None
}

#[cfg(target_os = "linux")]
const VULKAN_LOADER: &str = "libvulkan.so.1";

#[cfg(target_os = "linux")]
fn lists_vulkan_loader(cache: &[u8]) -> bool {
    cache.windows(VULKAN_LOADER.len()).any(|window| window == VULKAN_LOADER.as_bytes())
}

/// The minimum limits of a suitable adapter.
const MINIMUM: [(&str, u32); 2] = if cfg!(feature = "tensor") {
    // An elementwise operation binds three tensors and its output. Kernels have workgroups of up to 256 invocations, or as many
    // as there are, down to 128 (OpenGL ES 3.1).
    [(STORAGE_BUFFERS, 4), (INVOCATIONS, 128)]
} else {
    [(STORAGE_BUFFERS, 1), (INVOCATIONS, 1)]
};
const STORAGE_BUFFERS: &str = "storage buffers per shader stage";
const INVOCATIONS: &str = "compute invocations per workgroup";

/// Returns the reason why an adapter with these capabilities is not suitable, if there is one.
pub(super) fn lacking(adapter: &str, computes: bool, limits: &wgpu::Limits) -> Option<OpenError> {
    let adapter = adapter.to_string();
    if !computes {
        return Some(OpenError::NoCompute { adapter });
    }
    let has = [limits.max_storage_buffers_per_shader_stage, limits.max_compute_invocations_per_workgroup];
    let short = MINIMUM.into_iter().zip(has).find(|((_, least), has)| has < least);
    short.map(|((limit, least), has)| OpenError::TooLimited { adapter, limit, has, least })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use wgpu::Backends;

    #[test]
    fn a_selected_backend_that_was_not_compiled_names_its_feature() {
        let compiled = Backends::VULKAN;
        assert_eq!(usable(Backends::all(), compiled), Ok(Backends::VULKAN));
        let disabled = OpenError::Disabled { backends: "GL".into(), features: "`gles`".into() };
        assert_eq!(usable(Backends::GL, compiled), Err(disabled.clone()));
        assert_eq!(usable(Backends::GL | Backends::METAL, compiled), Err(disabled));
        let none = OpenError::Disabled { backends: "Vulkan or GL".into(), features: "`vulkan` or `gles`".into() };
        assert_eq!(usable(Backends::all(), Backends::empty()), Err(none));
        let metal = OpenError::OtherPlatform { backends: "Metal".into(), available: "Vulkan or GL".into() };
        assert_eq!(usable(Backends::METAL, compiled), Err(metal));
        assert_eq!(usable(Backends::empty(), compiled), Err(OpenError::NoBackend));
    }

    #[test]
    fn a_machine_without_adapters_lacks_the_loader_or_a_driver() {
        let both = Backends::VULKAN | Backends::GL;
        let backends = || "Vulkan or GL".to_string();
        for has_loader in [Some(true), None] {
            let error = no_adapter(Backends::all(), both, || has_loader);
            assert_eq!(error, OpenError::NoAdapter { backends: backends(), disabled: String::new() });
        }
        let error = no_adapter(Backends::all(), both, || Some(false));
        assert_eq!(error, OpenError::NoLoader { backends: backends(), disabled: String::new() });
        let error = no_adapter(Backends::all(), Backends::GL, || Some(false));
        assert_eq!(error, OpenError::NoAdapter { backends: "GL".into(), disabled: "`vulkan`".into() });
        let error = no_adapter(Backends::VULKAN, both, || Some(true));
        assert_eq!(error, OpenError::NoAdapter { backends: "Vulkan".into(), disabled: String::new() });
    }

    #[test]
    fn the_loader_is_looked_for_in_the_linkers_cache() {
        assert!(lists_vulkan_loader(b"\0libvulkan.so.1\0/usr/lib/x86_64-linux-gnu/libvulkan.so.1\0"));
        assert!(!lists_vulkan_loader(b"\0libvulkan_lvp.so\0libGL.so.1\0"));
        assert!(!lists_vulkan_loader(b""));
    }

    #[test]
    fn an_adapter_below_the_minimum_says_which_limit_is_too_low() {
        let limits = wgpu::Limits::downlevel_defaults();
        assert_eq!(lacking("card", true, &limits), None);
        assert_eq!(lacking("card", false, &limits), Some(OpenError::NoCompute { adapter: "card".into() }));
        let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 0, ..limits.clone() };
        let too_limited = |limit, has, least| Some(OpenError::TooLimited { adapter: "card".into(), limit, has, least });
        assert_eq!(lacking("card", true, &few), too_limited(STORAGE_BUFFERS, 0, MINIMUM[0].1));
        let few = wgpu::Limits { max_compute_invocations_per_workgroup: 0, ..limits };
        assert_eq!(lacking("card", true, &few), too_limited(INVOCATIONS, 0, MINIMUM[1].1));
    }
}
