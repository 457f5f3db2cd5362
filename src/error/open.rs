//! Why a device could not be opened.

use super::OptionsError;
use thiserror::Error;

/// The sources of drivers, for messages.
const DRIVERS: &str = if cfg!(target_os = "linux") {
    "install the GPU's driver, or Mesa's software driver (on Debian and Ubuntu: apt-get install mesa-vulkan-drivers)"
} else if cfg!(windows) {
    "install the GPU's driver from its vendor"
} else if cfg!(target_arch = "wasm32") {
    "use a browser with WebGPU"
} else {
    "use a machine with a GPU that the system supports"
};

/// The reason why no device was opened. Each message names the missing part and the remedy.
///
/// Cause and remedy of each variant: [`guide::errors::open`](crate::guide::errors::open).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// `WGPU_BACKEND` or [`GpuOptions::backends`](crate::GpuOptions::backends) selects no backend of wgpu.
    #[error(
        "no backend is selected; set WGPU_BACKEND or `GpuOptions::backends` to one of vulkan, metal, dx12, gl, webgpu"
    )]
    NoBackend,
    /// Every selected backend was left out when the crate was compiled.
    #[error("{backends} was left out of this build; enable the feature {features} of wgpu-pool")]
    Disabled {
        /// The selected backends that this platform has.
        backends: String,
        /// The features that add them.
        features: String,
    },
    /// Every selected backend belongs to other platforms.
    #[error(
        "{backends} does not exist on this platform; set WGPU_BACKEND or `GpuOptions::backends` to one of {available}"
    )]
    OtherPlatform {
        /// The selected backends.
        backends: String,
        /// The backends of this platform.
        available: String,
    },
    /// The system has no library for any of the backends, such as the Vulkan loader.
    #[error("the system's libraries for {backends} cannot be loaded; {DRIVERS}{}", also(disabled))]
    NoLoader {
        /// The backends that were tried.
        backends: String,
        /// Features of this crate that would add backends of this platform; empty if there are none.
        disabled: String,
    },
    /// The backends found no adapter: there is no GPU, or no driver for it.
    #[error("{backends} found no adapter; {DRIVERS}{}", also(disabled))]
    NoAdapter {
        /// The backends that were tried.
        backends: String,
        /// Features of this crate that would add backends of this platform; empty if there are none.
        disabled: String,
    },
    /// No adapter has the name asked for.
    #[error(
        "no adapter has `{name}` in its name; set WGPU_ADAPTER_NAME or `GpuOptions::adapter_name` to a part of one of {found:?}"
    )]
    NoSuchName {
        /// The part of a name that was asked for.
        name: String,
        /// The adapters that were found.
        found: Vec<String>,
    },
    /// The best adapter has no compute shaders.
    #[error("{adapter} runs no compute shaders; use another adapter or backend, or a newer driver")]
    NoCompute {
        /// The adapter, with its backend.
        adapter: String,
    },
    /// The best adapter has less than the minimum of some limit.
    #[error(
        "{adapter} has {has} {limit}, and wgpu-pool needs {least}; use another adapter or backend, or a newer driver"
    )]
    TooLimited {
        /// The adapter, with its backend.
        adapter: String,
        /// The limit, in words.
        limit: &'static str,
        /// The adapter's value.
        has: u32,
        /// The least value that suffices.
        least: u32,
    },
    /// The adapter was found and returned no device.
    #[error(
        "{adapter} returned no device: {reason}; update its driver, or choose another adapter with WGPU_ADAPTER_NAME"
    )]
    NoDevice {
        /// The adapter, with its backend.
        adapter: String,
        /// wgpu's message.
        reason: String,
    },
    /// The device was opened, and the options of the pool do not suit it.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

fn also(disabled: &str) -> String {
    if disabled.is_empty() { String::new() } else { format!(", or enable the feature {disabled} of wgpu-pool") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_says_what_is_missing_and_what_to_do() {
        let told = |error: OpenError| error.to_string();
        let [backends, disabled] = ["Vulkan", "`gles`"].map(str::to_string);
        assert_eq!(
            told(OpenError::Disabled { backends: "Gl".into(), features: disabled.clone() }),
            "Gl was left out of this build; enable the feature `gles` of wgpu-pool"
        );
        let no_loader = told(OpenError::NoLoader { backends: backends.clone(), disabled: String::new() });
        assert_eq!(no_loader, format!("the system's libraries for Vulkan cannot be loaded; {DRIVERS}"));
        let no_adapter = told(OpenError::NoAdapter { backends, disabled });
        let wanted = format!("Vulkan found no adapter; {DRIVERS}, or enable the feature `gles` of wgpu-pool");
        assert_eq!(no_adapter, wanted);
        let adapter = "Mali-400 (Gl, Other)".to_string();
        let limit = "storage buffers per shader stage";
        assert_eq!(
            told(OpenError::TooLimited { adapter, limit, has: 0, least: 4 }),
            "Mali-400 (Gl, Other) has 0 storage buffers per shader stage, and wgpu-pool needs 4; use another adapter or backend, or a \
             newer driver"
        );
    }
}
