#![cfg_attr(feature = "tensor", doc = include_str!("../docs/crate.md"))]
#![cfg_attr(not(feature = "tensor"), doc = include_str!("../docs/crate_allocator.md"))]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The guide: pages with compiled examples, from the first tensors to the rejected ideas.
///
/// Without the feature `tensor` only the pages about the allocator exist.
pub mod guide {
    /// Declares one module for each page; the text of a page is its documentation. The pages below a page follow in braces.
    macro_rules! pages {
        ($($(#[$attribute:meta])* $page:ident: $file:literal $({ $($below:tt)* })?;)*) => {
            $(
                $(#[$attribute])*
                #[doc = include_str!(concat!("../docs/", $file))]
                pub mod $page {
                    $(pages! { $($below)* })?
                }
            )*
        };
    }

    pages! {
        #[cfg(feature = "tensor")]
        first_tensors: "guide/first_tensors.md";
        #[cfg(feature = "tensor")]
        writing_kernels: "guide/writing_kernels.md";
        #[cfg(feature = "tensor")]
        existing_device: "guide/existing_device.md";
        #[cfg(feature = "tensor")]
        browser: "guide/browser.md";
        limits: "guide/limits.md";
        #[cfg(feature = "tensor")]
        large_tensors: "guide/large_tensors.md";
        spilling: "guide/spilling.md";
        finding_leaks: "guide/finding_leaks.md";
        // Targets of links in the page's table: pages that do not exist with these features are read on docs.rs.
        #[cfg_attr(feature = "tensor", doc = "[tensor]: crate::guide::errors::tensor")]
        #[cfg_attr(not(feature = "tensor"), doc = "[tensor]: https://docs.rs/wgpu-pool/latest/wgpu_pool/guide/errors/tensor/")]
        #[cfg_attr(feature = "tensor", doc = "[into_host]: crate::guide::errors::into_host")]
        #[cfg_attr(not(feature = "tensor"), doc = "[into_host]: https://docs.rs/wgpu-pool/latest/wgpu_pool/guide/errors/into_host/")]
        #[cfg_attr(feature = "tensor", doc = "[kernel]: crate::guide::errors::kernel")]
        #[cfg_attr(not(feature = "tensor"), doc = "[kernel]: https://docs.rs/wgpu-pool/latest/wgpu_pool/guide/errors/kernel/")]
        #[cfg_attr(feature = "tensor", doc = "[warm_up]: crate::guide::errors::warm_up")]
        #[cfg_attr(not(feature = "tensor"), doc = "[warm_up]: https://docs.rs/wgpu-pool/latest/wgpu_pool/guide/errors/warm_up/")]
        #[cfg_attr(feature = "serde", doc = "[snapshot_file]: crate::guide::errors::snapshot_file")]
        #[cfg_attr(not(feature = "serde"), doc = "[snapshot_file]: https://docs.rs/wgpu-pool/latest/wgpu_pool/guide/errors/snapshot_file/")]
        errors: "guide/errors.md" {
            open: "guide/errors/open.md";
            options: "guide/errors/options.md";
            allocate: "guide/errors/allocate.md";
            device: "guide/errors/device.md";
            #[cfg(feature = "tensor")]
            tensor: "guide/errors/tensor.md";
            #[cfg(feature = "tensor")]
            into_host: "guide/errors/into_host.md";
            #[cfg(feature = "tensor")]
            kernel: "guide/errors/kernel.md";
            growth: "guide/errors/growth.md";
            dry_run: "guide/errors/dry_run.md";
            max_batch: "guide/errors/max_batch.md";
            #[cfg(feature = "tensor")]
            warm_up: "guide/errors/warm_up.md";
            budget: "guide/errors/budget.md";
            plan: "guide/errors/plan.md";
            repeat: "guide/errors/repeat.md";
            #[cfg(feature = "serde")]
            snapshot_file: "guide/errors/snapshot_file.md";
            heap: "guide/errors/heap.md";
            invariant: "guide/errors/invariant.md";
        };
        threads: "threads.md";
        #[cfg(feature = "tensor")]
        performance: "guide/performance.md";
        #[cfg(feature = "tensor")]
        numerical_accuracy: "guide/numerical_accuracy.md";
        #[cfg(feature = "tensor")]
        from_pytorch: "guide/from_pytorch.md";
        #[cfg(feature = "tensor")]
        from_create_buffer: "guide/from_create_buffer.md";
        #[cfg(feature = "tensor")]
        from_cubecl: "guide/from_cubecl.md";
        planning: "guide/planning.md";
        dry_run: "guide/dry_run.md";
        repeated_steps: "guide/repeated_steps.md";
        why_an_arena_works: "guide/why_an_arena_works.md";
        #[cfg(feature = "tensor")]
        limitations: "guide/limitations.md";
        #[cfg(feature = "tensor")]
        rejected_ideas: "guide/rejected_ideas.md";
        guarantees: "GUARANTEES.md";
        #[cfg(feature = "tensor")]
        conformance: "CONFORMANCE.md";
    }
}

// The README's examples compile and run as documentation tests.
#[cfg(all(doctest, feature = "tensor"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The items that a typical program imports: `use wgpu_pool::prelude::*`.
pub mod prelude {
    #[cfg(feature = "tensor")]
    pub use crate::{
        Activation, AdamW, AdamWParameter, AvgPool2d, Conv2d, Corners, CrossEntropy, MaxPool2d, Padding, Reduction,
        Sgd, SgdParameter, Unfold,
    };
    pub use crate::{Bytes, Error, GpuOptions, HostMemory, Memory, Pool, PoolOptions, RepeatOptions, Result, Storage};
    #[cfg(feature = "tensor")]
    pub use crate::{DType, Element, Kernel, Scalar, Tensor, f16, fuse};
    pub use crate::{DeviceResources as _, DeviceStatus as _};
}

pub mod device;
pub mod error;
pub mod heap;
#[cfg(feature = "tensor")]
pub mod ops;
pub mod plan;
pub mod pool;
pub mod report;
#[cfg(feature = "tensor")]
pub mod tensor;

pub use device::{
    AccountingMemory, COPY_UNIT, CacheLevel, CacheUse, DeviceResources, DeviceStatus, DriverHoldings, Fault, Gpu,
    GpuOptions, HostMemory, HostOptions, Memory, MemoryLimits, Startup, Submit,
};
#[cfg(feature = "serde")]
pub use error::SnapshotFileError;
pub use error::{
    Advice, AllocateError, BudgetError, Bytes, DeviceError, DryRunError, Error, GrowthError, Holder, HolderGrowth,
    MaxBatchError, OpenError, OptionsError, OutOfMemory, RepeatError, Result, Site,
};
#[cfg(feature = "tensor")]
pub use error::{KernelError, TensorError, WarmUpError};
#[cfg(feature = "tensor")]
pub use half::f16;
pub use heap::{BlockState, Counter, Stats};
#[cfg(feature = "tensor")]
pub use ops::{
    Activation, AdamW, AdamWParameter, AvgPool2d, Conv2d, Corners, CrossEntropy, Expression, Fused, Kernel, MaxPool2d,
    Operand, Padding, Reduction, Scalar, Sgd, SgdParameter, Unfold, fuse,
};
pub use pool::{
    Compacted, Deviation, DeviationCause, Download, DryRun, Event, EventKind, GrowthBetween, GrowthCheck, HeldBlock,
    Leaks, Mark, MaxBatch, MemoryPressure, Peak, Pin, Pinned, Pool, PoolOptions, Refusal, Relief, Remedies, Repeat,
    RepeatOptions, RepeatStats, Report, Residence, Scope, ScopeCounts, Snapshot, SpillStats, Storage, Trimmed,
    WeakPool, WeakStorage,
};
#[cfg(feature = "tensor")]
pub use pool::{Profile, WarmUp};
pub use report::{Breakdown, Budget, DriverBreakdown, Fragmentation, MemoryTable};
#[cfg(feature = "tensor")]
pub use tensor::{
    Axes, Axis, DType, Element, HostTensor, IndexRange, IntoHostError, MAX_RANK, Part, Tensor, TensorIndex,
    TensorOrScalar, WeakTensor,
};
pub use wgpu;
