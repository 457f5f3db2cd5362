#![cfg_attr(feature = "tensor", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tensor"),
    doc = "A caching GPU memory pool over wgpu: the allocator alone, without the feature `tensor`. Start at [`Pool`]."
)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

/// Pages that explain how the crate works.
pub mod guide {
    #[doc = include_str!("../docs/threads.md")]
    pub mod threads {}

    #[cfg(feature = "tensor")]
    #[doc = include_str!("../docs/CONFORMANCE.md")]
    pub mod conformance {}
}

/// What a typical program imports: `use wgpu_pool::prelude::*`.
pub mod prelude {
    pub use crate::{Bytes, Error, Memory, Pool, PoolOptions, Result, Storage};
    #[cfg(feature = "tensor")]
    pub use crate::{DType, Element, Kernel, Scalar, Tensor, f16, fuse};
}

pub mod device;
pub mod error;
pub mod heap;
#[cfg(feature = "tensor")]
pub mod ops;
pub mod pool;
pub mod report;
#[cfg(feature = "tensor")]
pub mod tensor;

pub use device::{
    AccountingMemory, COPY_UNIT, CacheUse, DriverHoldings, Fault, Gpu, GpuOptions, HostMemory, HostOptions, Memory,
    MemoryLimits,
};
#[cfg(feature = "serde")]
pub use error::SnapshotFileError;
pub use error::{
    Advice, AllocateError, Bytes, DeviceError, Error, GrowthError, Holder, OpenError, OptionsError, OutOfMemory, Result,
};
#[cfg(feature = "tensor")]
pub use error::{KernelError, TensorError};
#[cfg(feature = "tensor")]
pub use half::f16;
pub use heap::{BlockState, Counter, Stats};
#[cfg(feature = "tensor")]
pub use ops::{
    Activation, AdamW, AdamWParameter, AvgPool2d, Conv2d, Expression, Fused, Kernel, MaxPool2d, Operand, Padding,
    Scalar, Sgd, SgdParameter, Unfold, fuse,
};
#[cfg(feature = "tensor")]
pub use pool::Profile;
pub use pool::{
    Compacted, Download, Event, EventKind, GrowthBetween, GrowthCheck, Holding, Leaks, Mark, MemoryPressure, Pin,
    Pinned, Pool, PoolOptions, Relief, Remedies, Report, Scope, ScopeCounts, SiteGrowth, Snapshot, Storage, Trimmed,
    WeakStorage,
};
pub use report::{Breakdown, DriverBreakdown, Fragmentation, MemoryTable};
#[cfg(feature = "tensor")]
pub use tensor::{
    Axes, Axis, DType, Element, HostTensor, IndexRange, IntoHostError, MAX_RANK, Tensor, TensorOrScalar, WeakTensor,
};
pub use wgpu;
