#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Pages that explain how the crate works.
pub mod guide {
    #[doc = include_str!("../docs/threads.md")]
    pub mod threads {}
}

pub mod device;
pub mod error;
pub mod heap;
pub mod ops;
pub mod pool;
pub mod report;
pub mod tensor;

pub use device::{
    AccountingMemory, COPY_UNIT, CacheUse, DriverHoldings, Fault, Gpu, GpuOptions, HostMemory, HostOptions, Memory,
    MemoryLimits,
};
pub use error::{
    Advice, AllocateError, Bytes, DeviceError, Gains, GrowthError, HeapError, Holder, KernelError, LawBroken,
    OptionsError, OutOfMemory, TensorError,
};
pub use half::f16;
pub use heap::{BlockState, Counter, Stats};
pub use ops::{
    Activation, AdamW, AdamWParameter, Expression, Fused, Kernel, Operand, Scalar, Sgd, SgdParameter, Window, fuse,
};
pub use pool::{
    Compacted, Download, Event, EventKind, GrowthBetween, Holding, Leaks, Mark, MemoryPressure, NoGrowth, Pin, Pinned,
    Pool, PoolOptions, Profile, Relief, Remedies, Report, Scope, ScopeCounts, SiteGrowth, Snapshot, Storage, Trimmed,
    WeakStorage,
};
#[cfg(feature = "serde")]
pub use report::SnapshotFileError;
pub use report::{Beyond, Fragmentation, MemoryTable, Split};
pub use tensor::{DType, Element, HostTensor, IntoHostError, MAX_RANK, Tensor, WeakTensor};
