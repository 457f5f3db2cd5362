#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod device;
pub mod error;
pub mod heap;
pub mod ops;
pub mod pool;
pub mod report;
pub mod tensor;

pub use device::{AccountingMemory, COPY_UNIT, Gpu, GpuOptions, HostMemory, HostOptions, Memory, MemoryLimits};
pub use error::{
    AllocateError, Bytes, DeviceError, HeapError, KernelError, LawBroken, OptionsError, OutOfMemory, TensorError,
};
pub use heap::{BlockState, Counter, Snapshot, Stats};
pub use ops::{Kernel, Scalar};
pub use pool::{
    Compacted, Download, MemoryPressure, Pin, Pinned, Pool, PoolOptions, Relief, Remedies, Storage, Trimmed,
};
pub use report::MemoryTable;
pub use tensor::{DType, Element, HostTensor, IntoHostError, MAX_RANK, Tensor};
