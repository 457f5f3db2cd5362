//! Runs the small examples: each checks its own results.

use std::error::Error;
use wgpu_pool::wgpu::RequestAdapterError;

/// Declares each example as a module, and a test that runs it.
macro_rules! examples {
    ($($(#[$condition:meta])? $name:ident: $file:literal;)*) => {
        $(
            $(#[$condition])?
            #[path = $file]
            mod $name;

            $(#[$condition])?
            #[test]
            fn $name() {
                run($name::main().map_err(Into::into));
            }
        )*
    };
}

examples! {
    #[cfg(feature = "tensor")]
    convolution: "../examples/convolution.rs";
    #[cfg(feature = "tensor")]
    existing_device: "../examples/existing_device.rs";
    #[cfg(feature = "tensor")]
    f16: "../examples/f16.rs";
    #[cfg(feature = "tensor")]
    first_tensors: "../examples/first_tensors.rs";
    #[cfg(feature = "tensor")]
    fused_expression: "../examples/fused_expression.rs";
    growth_check: "../examples/growth_check.rs";
    leak: "../examples/leak.rs";
    memory_pressure: "../examples/memory_pressure.rs";
    out_of_memory: "../examples/out_of_memory.rs";
    #[cfg(feature = "tensor")]
    own_kernel: "../examples/own_kernel.rs";
    #[cfg(feature = "tensor")]
    pipeline_cache: "../examples/pipeline_cache.rs";
    weak_cache: "../examples/weak_cache.rs";
}

/// Fails if an example failed; one that found no adapter is skipped unless the environment requires an adapter.
fn run(result: Result<(), Box<dyn Error>>) {
    let Err(error) = result else { return };
    let is_without_adapter = matches!(error.downcast_ref(), Some(wgpu_pool::Error::Open(_)))
        || error.downcast_ref::<RequestAdapterError>().is_some();
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_without_adapter && !["CI", "WGPU_POOL_REQUIRE_ADAPTER"].iter().any(is_set) {
        eprintln!("skipped: {error}");
        return;
    }
    panic!("{error}");
}
